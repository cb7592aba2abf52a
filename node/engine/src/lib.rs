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
pub mod chain_view;
pub mod counters;
pub mod dispatch;
mod ending;
pub mod follower;
pub mod jobs;
pub mod market_view;
pub mod provider;
mod reservations;
#[cfg(test)]
pub(crate) mod samples;

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, B256};
use ring::rand::{SecureRandom as _, SystemRandom};
use sublet_adapter::AdapterError;
use sublet_chain::{Chain, ChainError};
use sublet_keys::WalletSigner;
use sublet_market::Maker;
use sublet_p2p::{P2p, SharedBook};
use sublet_store::{Store, StoreError};
use tokio::sync::Notify;

use self::{
    account::Account, chain_view::ChainView, counters::Counters, market_view::MarketView, reservations::Turns,
};

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
    /// Who we are on chain: what signs, sends and pays.
    pub account: Account,
    /// How far the chain was followed, and what it said of others.
    pub seen: ChainView,
    /// The orders of all.
    pub market: MarketView,
    /// Who may reserve of the balance now.
    pub(crate) turns: Turns,
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
        let account = Account::new(chain.clone(), maker, wallet, Some(Arc::clone(&counters)));
        Arc::new(Self {
            chain,
            p2p,
            store,
            node,
            wake: Wake::default(),
            counters,
            account,
            seen: ChainView::default(),
            market: MarketView::new(shared),
            turns: Turns::default(),
        })
    }

    /// Chain time now, seconds.
    pub fn now(&self) -> u64 {
        self.chain.now()
    }

    /// Reads a maker's account from the chain and tells the book.
    pub async fn refresh_maker(&self, maker: Address) -> Result<Maker, ChainError> {
        let seen = self.chain.maker(maker).await?;
        self.market.book().set_maker(maker, seen);
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
