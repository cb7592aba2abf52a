//! What the API says of money.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::Amount;

/// `GET /v1/wallet`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wallet {
    /// The address.
    pub address: Address,
    /// The key that this node signs with, where that is only an operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
    /// Gas money of the key that sends transactions, in wei of the chain's native currency.
    pub gas_wei: Amount,
    /// Tokens in the wallet.
    pub wallet: Amount,
    /// Tokens free in the Market.
    pub free: Amount,
    /// Part of the free tokens that bids and accepts of ours may lock any moment; only a running node knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Amount>,
    /// What must be free for orders to count at all, by this node's own rule.
    pub floor: Amount,
    /// Reputation points (10^9 base units of burned fee each).
    pub points: u64,
}

/// `GET /v1/wallet/operators/{key}`: a key that may act for a maker, or may not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Operator {
    /// The key's address.
    pub key: Address,
    /// Whether the maker approves it on chain.
    pub approved: bool,
}

/// `POST /v1/wallet/deposit` and `/withdraw`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveTokens {
    /// How much.
    pub amount: Amount,
}

/// A transaction that is mined.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transaction {
    /// What it did.
    pub call: String,
    /// Its hash.
    pub tx: B256,
    /// Gas used.
    pub gas: u64,
    /// The block.
    pub block: u64,
}

/// `GET /v1/points/{address}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Points {
    /// Whose.
    pub address: Address,
    /// Reputation now.
    pub points: u64,
    /// Tokens free in the Market.
    pub free: Amount,
}
