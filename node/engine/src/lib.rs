//! The engines: what a node does on its own.
//!
//! ```text
//!  peers ──▶ dispatch ──▶ admit ──▶ the order book                                     ┌──▶ chain: settle, activate, claim, …
//!               │ asks, quotes, access                                                 │
//!               ▼                                                                      │
//!           provider, buyer ◀── passes: store + lease + machine ──▶ decide ──▶ a step ─┼──▶ adapter: provision, stop, remove
//!               ▲                                                                      │
//!               │ wake                                                                 └──▶ peers: offers, bids, accepts
//!  chain ──▶ follower ──▶ the store (leases, events)
//! ```
//!
//! Inputs: peers' orders and requests ([`dispatch`]), the chain's events ([`follower`]), the local API's
//! calls. Outputs: transactions ([`account`]), machines (the adapter), signed orders. In between stand two
//! reconcilers, [`provider`] and [`buyer`]. Each pass compares what the store, the chain and the adapter say,
//! asks a pure function (`decide`) for the next step of each trade, and starts it as a job of its own
//! ([`jobs`]). Events only wake a pass early: a pass that runs on time alone comes to the same end, and so
//! does one after a crash between any two steps.
//!
//! What is reserved of the balance is counted in one place (`reservations`); what happened is counted in [`counters`].

pub mod account;
pub mod admit;
pub mod buyer;
pub mod counters;
pub mod dispatch;
mod ending;
pub mod follower;
pub mod jobs;
pub mod provider;
mod reservations;
#[cfg(test)]
pub(crate) mod samples;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{Address, B256};
use ring::rand::{SecureRandom as _, SystemRandom};
use sublet_adapter::AdapterError;
use sublet_chain::{Call, Chain, ChainError, TxReport};
use sublet_keys::WalletSigner;
use sublet_market::{Book, Maker, Order, Signed};
use sublet_p2p::{P2p, SharedBook};
use sublet_store::{Store, StoreError};
use tokio::sync::Notify;

use self::{account::Account, counters::Counters};

/// How often an engine looks at everything without being woken.
pub const PASS_INTERVAL: Duration = Duration::from_millis(500);

/// What can stop a step of an engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The chain said no or did not answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The adapter failed.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The request makes no sense as it stands; the text says what would.
    #[error("{0}")]
    Invalid(String),
    /// Not enough money for what was asked; the text names what is needed and what is there.
    #[error("{0}")]
    Funds(String),
    /// No native currency to pay gas with; the text says where to send it.
    #[error("{0}")]
    Gas(String),
    /// There is no such thing here.
    #[error("{0}")]
    NotFound(String),
    /// The other side could not be asked, or did not say.
    #[error("{0}")]
    Unavailable(String),
}

impl EngineError {
    /// Whether the same may succeed in a moment without anybody's doing.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Chain(error) => error.is_retryable() || error.is_unclear(),
            Self::Store(_) | Self::Unavailable(_) => true,
            _ => false,
        }
    }

    /// The stable code that docs/api.md lists.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Funds(_) => "funds",
            Self::NotFound(_) => "not_found",
            Self::Unavailable(_) => "unavailable",
            Self::Gas(_) | Self::Chain(ChainError::GasMoney { .. }) => "gas",
            Self::Chain(error) if error.revert_name().is_some() => "refused",
            Self::Chain(_) => "chain",
            Self::Store(_) | Self::Adapter(_) => "internal",
        }
    }
}

/// What both engines and the API share.
pub struct Core {
    /// The settlement chain.
    pub chain: Chain,
    /// The peers.
    pub p2p: P2p,
    /// What must not be forgotten.
    pub store: Store,
    /// This node's libp2p identity, as orders name it.
    pub node: B256,
    /// Wakes the engines for an early pass.
    pub wake: Wake,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// One promise at a time counts the free balance and the capacity.
    reserving: tokio::sync::Mutex<()>,
    /// How many trades this process has put away.
    archived: AtomicU64,
    shared: Arc<SharedBook>,
    wallet: WalletSigner,
    maker: Address,
    watched_until: AtomicU64,
    caught_up_at: AtomicU64,
    parties: Mutex<Parties>,
}

/// Who buys and who provides, of the leases opened lately: a bounded number, the oldest go first.
#[derive(Default)]
pub struct Parties {
    by_lease: HashMap<B256, (Address, Address)>,
    order: VecDeque<B256>,
}

impl Parties {
    /// 100 bytes each: a few MB.
    const MOST: usize = 50_000;

    /// Notes a lease.
    pub fn insert(&mut self, lease: B256, parties: (Address, Address)) {
        if self.by_lease.insert(lease, parties).is_none() {
            self.order.push_back(lease);
        }
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_lease.remove(&oldest);
        }
    }

    /// Buyer and provider of a lease.
    pub fn get(&self, lease: B256) -> Option<(Address, Address)> {
        self.by_lease.get(&lease).copied()
    }
}

/// One bell for each loop of the engines.
#[derive(Default)]
pub struct Wake {
    /// The provider engine's.
    pub provider: Notify,
    /// The buyer engine's.
    pub buyer: Notify,
    /// That of the provider's answers to bids: it does not ring with the others.
    pub quotes: Notify,
}

impl Wake {
    /// Rings those of both engines.
    pub fn all(&self) {
        self.provider.notify_one();
        self.buyer.notify_one();
    }
}

impl Core {
    /// Puts the parts together.
    pub fn new(
        chain: Chain,
        p2p: P2p,
        store: Store,
        shared: Arc<SharedBook>,
        wallet: WalletSigner,
        maker: Option<Address>,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        let maker = maker.unwrap_or(chain.address());
        let node = p2p.node();
        Arc::new(Self {
            chain,
            p2p,
            store,
            node,
            wake: Wake::default(),
            counters,
            reserving: tokio::sync::Mutex::default(),
            archived: AtomicU64::new(0),
            shared,
            wallet,
            maker,
            watched_until: AtomicU64::new(0),
            caught_up_at: AtomicU64::new(0),
            parties: Mutex::default(),
        })
    }

    /// The order book. Hold it briefly, never across an await.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.lock()
    }

    /// The book as other peers see it.
    pub fn shared_book(&self) -> &Arc<SharedBook> {
        &self.shared
    }

    /// The parties of recent leases. Hold it briefly.
    pub fn parties(&self) -> MutexGuard<'_, Parties> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose account this node trades with: the maker's.
    pub fn address(&self) -> Address {
        self.maker
    }

    /// The address of the key that signs and sends: the maker's own, or that of its operator.
    pub fn key(&self) -> Address {
        self.chain.address()
    }

    /// The account and what moves it.
    pub fn account(&self) -> Account {
        Account::new(self.chain.clone(), self.maker, Some(Arc::clone(&self.counters)))
    }

    /// Signs an order with the wallet. A key that is not on this machine is asked over the network.
    pub async fn sign<T: Order>(&self, order: T) -> Result<Signed<T>, ChainError> {
        let signed = self.wallet.sign_order(order, &self.chain.domain()).await;
        signed.map_err(|error| ChainError::Signing(error.to_string()))
    }

    /// Chain time now, seconds.
    pub fn now(&self) -> u64 {
        self.chain.now()
    }

    /// The timestamp of the newest block whose events have all been taken in. What should have happened on
    /// chain before this time and is not in the store did not happen.
    pub fn watched_until(&self) -> u64 {
        self.watched_until.load(Ordering::Acquire)
    }

    /// Notes that all events up to the block with this timestamp are in the store. A reorganisation moves it back.
    pub fn set_watched_until(&self, timestamp: u64) {
        self.watched_until.store(timestamp, Ordering::Release);
    }

    /// The time of the last head below which every confirmed block had been taken in. With deep
    /// confirmations, the confirmed ones themselves are always old.
    pub fn caught_up_at(&self) -> u64 {
        self.caught_up_at.load(Ordering::Acquire)
    }

    /// Notes that all that the head with this timestamp confirms is in the store.
    pub fn set_caught_up_at(&self, timestamp: u64) {
        self.caught_up_at.store(timestamp, Ordering::Release);
    }

    /// Carries out one call on chain, as [`Chain::execute`] does, and counts how it ended.
    pub async fn execute(&self, call: Call) -> Result<TxReport, ChainError> {
        self.account().execute(call).await
    }

    /// Fails when the wallet has no native currency: without gas a promise could not be kept.
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

    /// Reads a maker's account from the chain and tells the book.
    pub async fn refresh_maker(&self, maker: Address) -> Result<Maker, ChainError> {
        let seen = self.chain.maker(maker).await?;
        self.book().set_maker(maker, seen);
        Ok(seen)
    }
}

/// Bytes of the system's random number generator.
fn random<const N: usize>() -> Result<[u8; N], EngineError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| EngineError::Invalid("the system's random number generator failed".into()))?;
    Ok(bytes)
}
