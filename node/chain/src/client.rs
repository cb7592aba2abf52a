//! The chain client of the node: verified once, reads with time-outs, writes one call at a time.

use std::{sync::Arc, time::Duration};

use alloy::rpc::types::TransactionReceipt;
use alloy_primitives::{Address, B256, TxKind, U256};
use sublet_contracts::{CloudToken, Market};
use sublet_keys::WalletSigner;
use sublet_market::{Domain, Maker, lease::Params};
use tokio::sync::watch;

use super::{
    call::{Call, TxReport},
    deployment::Deployment,
    error::ChainError,
    event,
    lease::{Balances, LeaseView},
    rpc::{Head, Rpc},
    sender::{Journal, SendOptions, Sender, TxRequest, Unwritten},
    time::{ChainTime, HeadClock, SeenHead},
    verify::verify,
};

/// How the chain is talked to.
#[derive(Debug, Clone)]
pub struct ChainOptions {
    /// How long one question to the RPC may take.
    pub request_timeout: Duration,
    /// How transactions are sent.
    pub send: SendOptions,
    /// Where they are written down before.
    pub journal: Arc<dyn Journal>,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            send: SendOptions::default(),
            journal: Arc::new(Unwritten::default()),
        }
    }
}

/// A verified connection to one deployment, with one key; clones share it.
#[derive(Debug, Clone)]
pub struct Chain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rpc: Rpc,
    deployment: Deployment,
    sender: Sender,
    clock: HeadClock,
}

impl Chain {
    /// Connects and verifies that the RPC serves the deployment's chain and contracts.
    ///
    /// # Errors
    /// Everything that differs has an error of its own that names the remedy.
    pub async fn connect(
        rpc_url: &str,
        deployment: Deployment,
        signer: impl Into<WalletSigner>,
    ) -> Result<Self, ChainError> {
        Self::connect_with(&[rpc_url], deployment, signer, ChainOptions::default()).await
    }

    /// [`Chain::connect`] with several RPCs, the preferred one first, and other time-outs and fees.
    pub async fn connect_with<S: AsRef<str>>(
        rpc_urls: &[S],
        deployment: Deployment,
        signer: impl Into<WalletSigner>,
        options: ChainOptions,
    ) -> Result<Self, ChainError> {
        let rpc = Rpc::several(rpc_urls, options.request_timeout)?;
        if rpc.has_fallbacks() {
            rpc.elect(&deployment).await;
        }
        verify(&rpc, &deployment).await?;
        let clock = HeadClock::new(rpc.head().await?);
        let sender =
            Sender::new(rpc.clone(), signer.into(), deployment.chain_id, options.send, options.journal);
        Ok(Self(Arc::new(Inner { rpc, deployment, sender, clock })))
    }

    /// The contracts.
    #[must_use]
    pub fn deployment(&self) -> &Deployment {
        &self.0.deployment
    }

    /// The EIP-712 domain that orders are signed for.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.0.deployment.domain()
    }

    /// The Market's constants.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.0.deployment.params
    }

    /// The address that sends the transactions.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.sender.address()
    }

    /// The RPC's scheme, host and port, without what may be a secret.
    #[must_use]
    pub fn rpc_label(&self) -> &str {
        self.0.rpc.label()
    }

    pub(crate) fn rpc(&self) -> &Rpc {
        &self.0.rpc
    }

    pub(crate) fn clock(&self) -> &HeadClock {
        &self.0.clock
    }

    /// Chain time in Unix seconds: the newest head's timestamp plus what has passed here since. The watcher keeps it
    /// fresh, and so does [`Chain::head`].
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.clock.now()
    }

    /// The newest head that was seen, and when.
    #[must_use]
    pub fn newest(&self) -> SeenHead {
        self.0.clock.newest()
    }

    /// Follows the newest head; a slow reader sees the newest one only.
    #[must_use]
    pub fn heads(&self) -> watch::Receiver<SeenHead> {
        self.0.clock.subscribe()
    }

    /// Asks for the newest head, and sets the clock by it.
    pub async fn head(&self) -> Result<Head, ChainError> {
        let head = self.0.rpc.head().await?;
        self.0.clock.set(head);
        Ok(head)
    }

    /// The time of a block in Unix seconds, if the chain has the block.
    pub async fn block_timestamp(&self, number: u64) -> Result<Option<u64>, ChainError> {
        Ok(self.0.rpc.block(number).await?.map(|b| b.timestamp))
    }

    /// What the Market says of a maker; points are decayed to now.
    pub async fn maker(&self, maker: Address) -> Result<Maker, ChainError> {
        let call = Market::accountCall { maker };
        let account = self.0.rpc.view("Market.account", self.0.deployment.market, call).await?;
        Ok(Maker { free: account.free.to(), points: account.points, epoch: account.epoch })
    }

    /// One lease; state `None` if there is none with this id. Never older than the newest head that was seen: machines
    /// live and die by it, and an RPC may have fallen behind, or be several behind one address.
    pub async fn lease(&self, id: B256) -> Result<LeaseView, ChainError> {
        Ok(self.lease_at_head(id).await?.0)
    }

    /// The same, with the height of the block that it was read at.
    pub async fn lease_at_head(&self, id: B256) -> Result<(LeaseView, u64), ChainError> {
        let (rpc, market) = (&self.0.rpc, self.0.deployment.market);
        let seen = self.newest().head.number;
        let head = rpc.block_number().await?;
        if head < seen {
            let url = rpc.label().to_owned();
            return Err(ChainError::Behind { url, head, read: seen });
        }
        let view = rpc.view_at("Market.lease", market, Market::leaseCall { id }, head).await?;
        Ok((view.try_into()?, head))
    }

    /// Several leases at once, in the order of their ids.
    pub async fn leases(&self, ids: Vec<B256>) -> Result<Vec<LeaseView>, ChainError> {
        let call = Market::leasesCall { ids };
        let views = self.0.rpc.view("Market.leases", self.0.deployment.market, call).await?;
        views.into_iter().map(LeaseView::try_from).collect()
    }

    /// What an address has, in the wallet and in the Market.
    pub async fn balances(&self, address: Address) -> Result<Balances, ChainError> {
        let balance_of = CloudToken::balanceOfCall { account: address };
        let (eth, wallet, maker) = tokio::try_join!(
            self.0.rpc.balance(address),
            self.0.rpc.view("CloudToken.balanceOf", self.0.deployment.token, balance_of),
            self.maker(address),
        )?;
        Ok(Balances { eth, wallet: wallet.saturating_to(), free: maker.free, points: maker.points })
    }

    /// How much the Market may take from the wallet of `owner`, in base units.
    pub async fn allowance(&self, owner: Address) -> Result<u128, ChainError> {
        let call = CloudToken::allowanceCall { owner, spender: self.0.deployment.market };
        let allowance: U256 = self.0.rpc.view("CloudToken.allowance", self.0.deployment.token, call).await?;
        Ok(allowance.saturating_to())
    }

    /// Whether `key` may act for `maker`.
    pub async fn is_operator(&self, maker: Address, key: Address) -> Result<bool, ChainError> {
        self.0
            .rpc
            .view("Market.isOperator", self.0.deployment.market, Market::isOperatorCall { maker, key })
            .await
    }

    /// Whether what `signer` signed counts as the maker's: it is its own key or an operator's.
    pub async fn signs_for(&self, maker: Address, signer: Address) -> Result<bool, ChainError> {
        Ok(signer == maker || self.is_operator(maker, signer).await?)
    }

    /// What so much gas costs at most now, in wei.
    ///
    /// # Errors
    /// The RPC does not answer, or gas costs more than this node may pay.
    pub async fn price_of(&self, gas: u64) -> Result<u128, ChainError> {
        self.0.sender.price(gas).await
    }

    /// Carries out one call: simulates it, sends it, and waits until it is mined. Calls queue; each is sent
    /// once the one before is mined or given up.
    ///
    /// A dropped future does not recall a transaction that was sent.
    ///
    /// # Errors
    /// [`ChainError::Reverted`] before anything was sent, [`ChainError::Failed`] for a transaction that was mined and
    /// failed, [`ChainError::Unconfirmed`] when it is unclear whether the call was carried out.
    pub async fn execute(&self, call: Call) -> Result<TxReport, ChainError> {
        let (to, input) = call.encode(&self.0.deployment);
        let order = TxRequest { call: call.name(), to: TxKind::Call(to), input };
        let receipt = self.0.sender.send(&order).await?;
        report(order.call, &receipt, self.0.deployment.market)
    }
}

impl ChainTime for Chain {
    fn now(&self) -> u64 {
        Self::now(self)
    }
}

/// What a receipt says, with the Market's events.
pub(crate) fn report(
    call: &str,
    receipt: &TransactionReceipt,
    market: Address,
) -> Result<TxReport, ChainError> {
    let logs = receipt.inner.logs().iter().filter(|log| log.address() == market);
    let events: Vec<_> = logs.map(event::decode).collect::<Result<_, _>>()?;
    Ok(TxReport {
        call: call.to_owned(),
        hash: receipt.transaction_hash,
        block: receipt.block_number.unwrap_or_default(),
        gas_used: receipt.gas_used,
        fee_wei: receipt.effective_gas_price.saturating_mul(u128::from(receipt.gas_used)),
        events: events.into_iter().flatten().collect(),
    })
}
