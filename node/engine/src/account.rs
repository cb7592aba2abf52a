//! What a wallet's key does with its tokens and its name: deposits, withdrawals, operators. A running node
//! does it for its API; without one, a command does it straight on the chain.
//!
//! A node may sign with the key of an operator: then the account that pays and earns is its maker's, and only
//! the maker's own key moves tokens or names operators.

use std::sync::Arc;

use alloy_primitives::Address;
use sublet_chain::{Balances, Call, Chain, ChainError, TxReport};
use sublet_keys::WalletSigner;
use sublet_market::{Order, Signed, amount::format_amount};

use super::{EngineError, counters::Counters};

/// A maker's account and the key that acts for it.
#[derive(Clone)]
pub struct Account {
    chain: Chain,
    maker: Address,
    wallet: WalletSigner,
    counters: Option<Arc<Counters>>,
}

/// What an account has, and who acts for it.
#[derive(Debug, Clone)]
pub struct Holdings {
    /// The maker's tokens and points.
    pub maker: Balances,
    /// Gas money of the key that sends transactions, in wei.
    pub gas: u128,
    /// Whether the maker approves the key, where that is not its own.
    pub approved: Option<bool>,
}

impl Account {
    /// The account of `maker`, for which `wallet` signs, and `chain` sends with its key; transactions are
    /// counted where there are counters.
    #[must_use]
    pub fn new(chain: Chain, maker: Address, wallet: WalletSigner, counters: Option<Arc<Counters>>) -> Self {
        Self { chain, maker, wallet, counters }
    }

    /// The address of the key that signs and sends: the maker's own, or that of its operator.
    #[must_use]
    pub fn key(&self) -> Address {
        self.chain.address()
    }

    /// Signs an order with the wallet. A key that is not on this machine is asked over the network.
    ///
    /// # Errors
    /// The key cannot sign.
    pub async fn sign<T: Order>(&self, order: T) -> Result<Signed<T>, ChainError> {
        let signed = self.wallet.sign_order(order, &self.chain.domain()).await;
        signed.map_err(|error| ChainError::Signing(error.to_string()))
    }

    /// Fails when the wallet has no native currency: without gas a promise could not be kept.
    ///
    /// # Errors
    /// There is none, or the chain does not answer.
    pub async fn require_gas(&self) -> Result<(), EngineError> {
        let address = self.key();
        if self.chain.balances(address).await?.eth > 0 {
            return Ok(());
        }
        Err(EngineError::Gas(format!(
            "the key {address} has no gas money: send some of the native currency of chain {} to it",
            self.chain.deployment().chain_id
        )))
    }

    /// The key that signs, if it is not the maker's own.
    #[must_use]
    pub fn operator(&self) -> Option<Address> {
        Some(self.chain.address()).filter(|key| *key != self.maker)
    }

    /// Whose account it is.
    #[must_use]
    pub fn maker(&self) -> Address {
        self.maker
    }

    /// What there is.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn holdings(&self) -> Result<Holdings, EngineError> {
        let maker = self.chain.balances(self.maker).await?;
        let Some(key) = self.operator() else {
            return Ok(Holdings { gas: maker.eth, maker, approved: None });
        };
        let gas = self.chain.balances(key).await?.eth;
        Ok(Holdings { maker, gas, approved: Some(self.chain.is_operator(self.maker, key).await?) })
    }

    /// Moves tokens from the wallet into the Market; approves that before, if need be.
    ///
    /// # Errors
    /// The wallet has less, the key is an operator's, or the chain refuses.
    pub async fn deposit(&self, amount: u128) -> Result<Vec<TxReport>, EngineError> {
        self.require_own_key("deposit")?;
        if amount == 0 {
            return Err(EngineError::Invalid("nothing to deposit: give an amount, for example 10".into()));
        }
        let there = self.chain.balances(self.maker).await?.wallet;
        if there < amount {
            return Err(EngineError::Funds(format!(
                "the wallet {} holds {}, not {}: get more CTK first",
                self.maker,
                format_amount(there),
                format_amount(amount)
            )));
        }
        let mut done = Vec::new();
        if self.chain.allowance(self.maker).await? < amount {
            done.push(self.execute(Call::Approve { amount }).await?);
        }
        done.push(self.execute(Call::Deposit { amount }).await?);
        Ok(done)
    }

    /// Moves free tokens from the Market to the wallet.
    ///
    /// # Errors
    /// Less is free, the key is an operator's, or the chain refuses.
    pub async fn withdraw(&self, amount: u128) -> Result<Vec<TxReport>, EngineError> {
        self.require_own_key("withdraw")?;
        let free = self.chain.balances(self.maker).await?.free;
        if free < amount || amount == 0 {
            return Err(EngineError::Funds(format!(
                "{} is free in the Market, not {}: wait until running leases end, which frees their escrow \
                 and bonds",
                format_amount(free),
                format_amount(amount)
            )));
        }
        Ok(vec![self.execute(Call::Withdraw { amount }).await?])
    }

    /// Lets a key sign orders and drive leases in the maker's name, or forbids it.
    ///
    /// # Errors
    /// The key is the maker's own, ours is an operator's, or the chain refuses.
    pub async fn set_operator(&self, key: Address, approved: bool) -> Result<Vec<TxReport>, EngineError> {
        self.require_own_key("operator approve|revoke")?;
        if key == self.maker || key == Address::ZERO {
            return Err(EngineError::Invalid(format!(
                "{key} cannot be an operator: give the address that `sublet wallet address` prints in the \
                 operator's home"
            )));
        }
        if self.chain.is_operator(self.maker, key).await? == approved {
            return Ok(Vec::new());
        }
        Ok(vec![self.execute(Call::SetOperator { key, approved }).await?])
    }

    /// Whether a key may act for the maker.
    ///
    /// # Errors
    /// The chain does not answer.
    pub async fn is_operator(&self, key: Address) -> Result<bool, EngineError> {
        Ok(self.chain.is_operator(self.maker, key).await?)
    }

    fn require_own_key(&self, command: &str) -> Result<(), EngineError> {
        let Some(key) = self.operator() else { return Ok(()) };
        Err(EngineError::Invalid(format!(
            "this node signs with the operator key {key}, which may not move the tokens of its maker {}: run \
             `sublet wallet {command}` in the home that has the maker's key",
            self.maker
        )))
    }

    /// Sends, and counts how that ended.
    pub(super) async fn execute(&self, call: Call) -> Result<TxReport, ChainError> {
        let name = call.name();
        let sent = self.chain.execute(call).await;
        if let Some(counters) = &self.counters {
            counters.transaction(name, &sent);
        }
        sent
    }
}
