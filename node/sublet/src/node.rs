//! A running node: opens the home, connects to the chain and the peers, starts the engines and the API, and
//! stops all of it in order.

use std::{sync::Arc, time::Duration};

use alloy_primitives::Address;
use sublet_adapter::{Adapter, AdapterError};
use sublet_base::home::{Home, HomeError};
use sublet_chain as chain;
use sublet_chain::{Chain, ChainError, ChainOptions, Cursor, Deployment, Journal, SendOptions, WatchConfig};
use sublet_engine::{
    Core, EngineError,
    buyer::Buyer,
    counters::Counters,
    dispatch, follower,
    provider::{OfflineGuard, Provider},
};
use sublet_keys::WalletSigner;
use sublet_market::Book;
use sublet_p2p as p2p;
use sublet_p2p::{Inbound, P2p, P2pConfig, P2pError, SharedBook};
use sublet_store::{Store, StoreError};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    backend,
    config::{Config, ConfigError},
    http as api,
    http::ServeError,
    metrics::{self, Metrics},
};

/// How long the tasks of a stopping node may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long a node whose machines run waits before it asks a chain again that did not answer.
const RECONNECT_PAUSE: Duration = Duration::from_secs(5);
const WEI_PER_GWEI: u128 = 1_000_000_000;

/// What can keep a node from running.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // Each variant is the error of the part it names.
pub enum NodeError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    P2p(#[from] P2pError),
    #[error(transparent)]
    P2pTask(#[from] p2p::HandleError),
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Api(#[from] ServeError),
    #[error(transparent)]
    MetricsListener(#[from] metrics::http::BindError),
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// A task ended that should not have: the reason is in the log.
    #[error("the node stopped because a part of it failed: the reason is in the log above")]
    Failed,
}

/// What a started node says of itself.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Started {
    /// The wallet's address.
    pub address: alloy_primitives::Address,
    /// Where peers reach this node, with the peer id.
    pub listen: Vec<String>,
    /// Where the local API answers.
    pub api: std::net::SocketAddr,
}

/// Runs the node of `home`, which signs with `wallet`, until `stop`. `started` is called once, when everything is up.
pub async fn run(
    home: &Home,
    config: Config,
    wallet: WalletSigner,
    stop: CancellationToken,
    started: impl FnOnce(&Started),
) -> Result<(), NodeError> {
    // A failing part cancels `inner`; the outside's `stop` cancels it too. Telling them apart gives the exit code.
    let inner = stop.child_token();
    // Taken first and refused first: what fails leaves nothing running. The store before all: it is what a
    // second node on the same home is told by.
    let store = Store::open(&home.store())?;
    let listener = api::bind(config.api.listen).await?;
    let metrics_listener = match &config.metrics {
        Some(section) => Some(metrics::http::bind(section.listen).await?),
        None => None,
    };
    // Before the chain: what a node before this one has left running is looked after while the chain does not answer.
    let adapter = make_adapter(&config, config.wallet.maker.unwrap_or(wallet.address())).await?;
    let chain = match reach_chain(&config, wallet.clone(), &store, adapter.as_ref(), &stop).await {
        Err(_) if stop.is_cancelled() => return Ok(()),
        reached => reached?,
    };
    let metrics = Arc::new(Metrics::new()?);
    let (core, inbound) = connect(home, &config, chain, wallet, store, metrics.counters(), &inner).await?;
    let engines = Engines::new(&core, home, &config, adapter, &inner);
    let mut tasks = engines.spawn(&core, &config, inbound, &inner)?;
    let network = core.p2p.status().await?;
    let address = core.account.maker();
    let open = metrics::http::routes(metrics, Arc::clone(&core), engines.provider.clone(), config.chain.poll);
    if let Some(listener) = metrics_listener {
        tasks.spawn(metrics::http::serve(listener, open.clone(), inner.clone()));
    }
    let (api, server) =
        api::serve(home, listener, core, engines.buyer, engines.provider, open, inner.clone()).await?;
    started(&Started { address, listen: network.reached_at(), api });

    tokio::select! {
        biased;
        () = inner.cancelled() => {}
        ended = tasks.join_next() => match ended {
            Some(Err(panic)) => tracing::error!(%panic, "a task of the node panicked"),
            _ => tracing::error!("a task of the node ended unexpectedly"),
        }
    }
    inner.cancel();
    let all_down = async {
        while tasks.join_next().await.is_some() {}
        let _ = server.await;
    };
    if tokio::time::timeout(STOP_LIMIT, all_down).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    // The next command must see at once that no node is running.
    let _ = std::fs::remove_file(home.api_address());
    if stop.is_cancelled() { Ok(()) } else { Err(NodeError::Failed) }
}

/// The chain as the configuration names it; what is sent to it is in `journal` first.
///
/// # Errors
/// What keeps the deployment file from being read, and [`Chain::connect_with`].
pub async fn connect_chain(
    config: &Config,
    wallet: WalletSigner,
    journal: Arc<dyn Journal>,
) -> Result<Chain, ChainError> {
    let deployment = Deployment::read(&config.chain.deployment)?;
    let send = SendOptions {
        max_fee_per_gas: u128::from(config.chain.max_fee_gwei) * WEI_PER_GWEI,
        ..SendOptions::default()
    };
    let options = ChainOptions { send, journal, ..ChainOptions::default() };
    Chain::connect_with(&config.chain.rpc_urls(), deployment, wallet, options).await
}

/// The chain. A provider whose machines run waits for one that does not answer, and stops what is not paid
/// for any more.
async fn reach_chain(
    config: &Config,
    wallet: WalletSigner,
    store: &Store,
    adapter: Option<&Arc<dyn Adapter>>,
    stop: &CancellationToken,
) -> Result<Chain, NodeError> {
    let connect = || connect_chain(config, wallet.clone(), Arc::new(store.clone()));
    let error = match connect().await {
        Err(error) if error.is_retryable() => error,
        connected => return Ok(connected?),
    };
    let Some((section, adapter)) = config.provider.as_ref().zip(adapter) else { return Err(error.into()) };
    let guard = OfflineGuard::new(store.clone(), Arc::clone(adapter), section.max_offline);
    if !guard.is_needed().await? {
        return Err(error.into());
    }
    tracing::warn!(
        %error,
        "the chain does not answer while machines run: waiting for it, and stopping machines that are no \
         longer paid for"
    );
    let answered = async {
        loop {
            tokio::time::sleep(RECONNECT_PAUSE).await;
            match connect().await {
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "the chain still does not answer")
                }
                connected => return connected,
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(error.into()),
        connected = answered => Ok(connected?),
        () = guard.keep() => Err(error.into()),
    }
}

/// Store, chain and peers.
async fn connect(
    home: &Home,
    config: &Config,
    chain: Chain,
    wallet: WalletSigner,
    store: Store,
    counters: Arc<Counters>,
    stop: &CancellationToken,
) -> Result<(Arc<Core>, mpsc::Receiver<Inbound>), NodeError> {
    store.bind_market(chain.domain().separator())?;
    let mut book = Book::new(chain.domain(), config.market.book_limits());
    // When the book is full, others give way first.
    book.set_own(config.wallet.maker.unwrap_or(chain.address()));
    let shared = Arc::new(SharedBook::new(book, {
        let chain = chain.clone();
        move || chain.now()
    }));
    let peers = p2p_config(home, config, &chain, Arc::clone(&shared))?;
    let (p2p, inbound): (P2p, _) = p2p::spawn(peers, stop.clone()).await?;
    let core = Core::new(chain, p2p, store, shared, wallet, config.wallet.maker, counters);
    core.refresh_maker(core.account.maker()).await?;
    if !core.chain.signs_for(core.account.maker(), core.account.key()).await? {
        tracing::warn!(
            key = %core.account.key(),
            maker = %core.account.maker(),
            "the maker has not approved this node's key: run `sublet wallet operator approve` in the maker's home; until \
             then nothing is bought or sold"
        );
    }
    Ok((core, inbound))
}

/// The two sides of a trade.
struct Engines {
    buyer: Arc<Buyer>,
    provider: Option<Arc<Provider>>,
}

impl Engines {
    fn new(
        core: &Arc<Core>,
        home: &Home,
        config: &Config,
        adapter: Option<Arc<dyn Adapter>>,
        stop: &CancellationToken,
    ) -> Self {
        let provider = config.provider.as_ref().zip(adapter).map(|(section, adapter)| {
            Provider::new(Arc::clone(core), adapter, config.selling(section), stop.clone())
        });
        let buyer = Buyer::new(Arc::clone(core), home.clone(), &config.buying(), stop.clone());
        Self { buyer, provider }
    }

    fn spawn(
        &self,
        core: &Arc<Core>,
        config: &Config,
        inbound: mpsc::Receiver<Inbound>,
        stop: &CancellationToken,
    ) -> Result<JoinSet<()>, NodeError> {
        let cursor: Option<Cursor> = core.store.meta(follower::CURSOR_KEY)?;
        let events = chain::watch(core.chain.clone(), cursor, watch_config(config), stop.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(follower::run(Arc::clone(core), events, stop.clone()));
        let (buyer, provider) = (Arc::clone(&self.buyer), self.provider.clone());
        tasks.spawn(dispatch::run(Arc::clone(core), buyer, provider, inbound, stop.clone()));
        tasks.spawn(Arc::clone(&self.buyer).run(stop.clone()));
        if let Some(provider) = &self.provider {
            tasks.spawn(Arc::clone(provider).run(stop.clone()));
            if config.provider.as_ref().is_some_and(|section| section.answer_bids) {
                tasks.spawn(Arc::clone(provider).run_quotes(stop.clone()));
            }
        }
        Ok(tasks)
    }
}

async fn make_adapter(config: &Config, provider: Address) -> Result<Option<Arc<dyn Adapter>>, NodeError> {
    let Some(section) = &config.provider else { return Ok(None) };
    let adapter = backend::open(section, provider)?;
    adapter.check().await?;
    Ok(Some(adapter))
}

fn p2p_config(
    home: &Home,
    config: &Config,
    chain: &Chain,
    orders: Arc<SharedBook>,
) -> Result<P2pConfig, NodeError> {
    Ok(P2pConfig {
        listen: config.p2p.listen.clone(),
        external: config.p2p.announce.clone(),
        bootstrap: config.p2p.bootstrap.clone(),
        mdns: config.p2p.mdns,
        discover: config.p2p.discover,
        shards: config.p2p.followed(),
        max_connections: config.p2p.max_connections,
        trade_requests_per_second: config.p2p.trade_requests_per_second,
        sync_requests_per_second: config.p2p.sync_requests_per_second,
        sync_interval: config.p2p.sync_interval,
        peer_store: Some(home.peers()),
        stored_peers: config.p2p.stored_peers,
        max_peers_per_address: config.p2p.max_peers_per_address,
        orders,
        ..P2pConfig::new(home.node_identity()?, chain.domain())
    })
}

fn watch_config(config: &Config) -> WatchConfig {
    WatchConfig {
        poll: config.chain.poll,
        confirmations: config.chain.confirmations,
        ..WatchConfig::default()
    }
}
