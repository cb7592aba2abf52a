//! The calls of the contracts that a node makes, as storable values.

use alloy::sol_types::SolCall as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};
use sublet_contracts::{CloudToken, Market};
use sublet_market::{Accept, Bid, MarketEvent, Signed};

use super::deployment::Deployment;

/// One transaction to the token or the Market. Amounts are base units of the token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // One value for each transaction, never many at once.
pub enum Call {
    /// Lets the Market take tokens from the wallet; comes before a deposit.
    Approve {
        /// How much.
        amount: u128,
    },
    /// Moves tokens from the wallet into the Market.
    Deposit {
        /// How much.
        amount: u128,
    },
    /// Moves free tokens from the Market into the wallet.
    Withdraw {
        /// How much.
        amount: u128,
    },
    /// Sends tokens from the wallet to another address.
    Transfer {
        /// Who gets them.
        to: Address,
        /// How much.
        amount: u128,
    },
    /// Approves or revokes a key that may act for this maker.
    SetOperator {
        /// The operator key.
        key: Address,
        /// Approve, or revoke.
        approved: bool,
    },
    /// Opens a lease from a bid and an accept.
    Settle {
        /// The buyer's bid.
        bid: Signed<Bid>,
        /// The provider's accept.
        accept: Signed<Accept>,
    },
    /// Makes sure that a bid never becomes a lease.
    Cancel {
        /// The bid.
        bid: Bid,
    },
    /// Voids all bids signed so far.
    BumpEpoch,
    /// Provider: the machine runs, billing starts.
    Activate {
        /// The lease.
        id: B256,
    },
    /// Ends a lease that was not activated.
    Abort {
        /// The lease.
        id: B256,
    },
    /// Buyer: pays for more time.
    TopUp {
        /// The lease.
        id: B256,
        /// Further seconds.
        secs: u32,
    },
    /// Pays the provider what is HOLD old.
    Claim {
        /// The leases.
        ids: Vec<B256>,
    },
    /// Buyer: ends a lease.
    Close {
        /// The lease.
        id: B256,
    },
    /// Buyer: ends a lease that has no working machine.
    Reject {
        /// The lease.
        id: B256,
    },
    /// Provider: ends a lease before its time.
    ProviderClose {
        /// The lease.
        id: B256,
    },
    /// Ends a lease whose funds ended HOLD ago.
    Finish {
        /// The lease.
        id: B256,
    },
    /// Burns the collected fees.
    FlushBurn,
}

impl Call {
    /// The contract's name of the function.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "approve",
            Self::Deposit { .. } => "deposit",
            Self::Withdraw { .. } => "withdraw",
            Self::Transfer { .. } => "transfer",
            Self::SetOperator { .. } => "setOperator",
            Self::Settle { .. } => "settle",
            Self::Cancel { .. } => "cancel",
            Self::BumpEpoch => "bumpEpoch",
            Self::Activate { .. } => "activate",
            Self::Abort { .. } => "abort",
            Self::TopUp { .. } => "topUp",
            Self::Claim { .. } => "claim",
            Self::Close { .. } => "close",
            Self::Reject { .. } => "reject",
            Self::ProviderClose { .. } => "providerClose",
            Self::Finish { .. } => "finish",
            Self::FlushBurn => "flushBurn",
        }
    }

    /// The contract that is called, and the call data.
    pub(crate) fn encode(&self, deployment: &Deployment) -> (Address, Bytes) {
        let to = match self {
            Self::Approve { .. } | Self::Transfer { .. } => deployment.token,
            _ => deployment.market,
        };
        (to, self.data(deployment.market).into())
    }

    fn data(&self, market: Address) -> Vec<u8> {
        match self {
            Self::Approve { amount } => {
                CloudToken::approveCall { spender: market, value: U256::from(*amount) }.abi_encode()
            }
            Self::Transfer { to, amount } => {
                CloudToken::transferCall { to: *to, value: U256::from(*amount) }.abi_encode()
            }
            Self::Deposit { amount } => Market::depositCall { amount: U256::from(*amount) }.abi_encode(),
            Self::Withdraw { amount } => Market::withdrawCall { amount: U256::from(*amount) }.abi_encode(),
            Self::SetOperator { key, approved } => {
                Market::setOperatorCall { key: *key, approved: *approved }.abi_encode()
            }
            Self::Settle { bid, accept } => Market::settleCall {
                bid: (&bid.order).into(),
                bidSignature: Bytes::copy_from_slice(bid.signature.as_bytes()),
                accept: (&accept.order).into(),
                acceptSignature: Bytes::copy_from_slice(accept.signature.as_bytes()),
            }
            .abi_encode(),
            Self::Cancel { bid } => Market::cancelCall { bid: bid.into() }.abi_encode(),
            Self::BumpEpoch => Market::bumpEpochCall {}.abi_encode(),
            Self::Activate { id } => Market::activateCall { id: *id }.abi_encode(),
            Self::Abort { id } => Market::abortCall { id: *id }.abi_encode(),
            Self::TopUp { id, secs } => Market::topUpCall { id: *id, secs: *secs }.abi_encode(),
            Self::Claim { ids } => Market::claimCall { ids: ids.clone() }.abi_encode(),
            Self::Close { id } => Market::closeCall { id: *id }.abi_encode(),
            Self::Reject { id } => Market::rejectCall { id: *id }.abi_encode(),
            Self::ProviderClose { id } => Market::providerCloseCall { id: *id }.abi_encode(),
            Self::Finish { id } => Market::finishCall { id: *id }.abi_encode(),
            Self::FlushBurn => Market::flushBurnCall {}.abi_encode(),
        }
    }
}

/// A transaction that was mined and did what it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxReport {
    /// The function that was called.
    pub call: String,
    /// The transaction.
    pub hash: B256,
    /// The block that has it.
    pub block: u64,
    /// Gas that was used.
    pub gas_used: u64,
    /// What it cost, in wei.
    pub fee_wei: u128,
    /// What the Market said, in order.
    pub events: Vec<MarketEvent>,
}
