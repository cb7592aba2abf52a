//! Peers: gossip of orders, and requests between the two sides of a trade, over libp2p.
//!
//! ```text
//!            ┌────────── P2p (handle, cloneable) ── publish, request, status ──┐
//!  engines ──┤                                                                 ├── task (owns the swarm) ── peers
//!            └────────── Inbound ◀── checked orders, trade requests, joiners ──┘        │
//!                                                                       validation (blocking workers)
//! ```
//!
//! What gossip has carried past a peer it gets by comparing books ([`Orders`]): protocol `/sublet/sync/1`.
//!
//! An order from gossip passes a size limit and a bounded queue into the workers, which decode it and check its
//! structure and signature. What fails there could not come from an honest peer: it is rejected and its sender
//! scored. The rest goes to the engine as [`Inbound::Order`]; its verdict decides whether the order is forwarded.
//! Everything that is full drops work and counts it in [`P2pStatus`].
//!
//! An order names who signed it: its maker, or an operator. Another's signature is a forgery by the message
//! alone; whether the maker approves the operator depends on the chain, so that the engine judges it and no
//! forwarder is blamed.

mod address;
mod bans;
mod behaviour;
mod bootstrap;
mod counters;
mod error;
mod fair_share;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod gossip;
mod handle;
mod identity;
mod inbound;
mod lan;
mod listen;
#[doc(hidden)]
pub mod measuring;
mod metrics;
mod names;
mod peer_limits;
mod peer_store;
mod rate;
mod request_codec;
mod requests;
mod seen;
mod shared_book;
mod sync;
mod task;
mod trade;
mod validation;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, SwarmBuilder, identity::Keypair, metrics::Registry, noise, tcp, yamux};
use sublet_market::{Domain, Shard};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use address::MAX_ADDRESSES;
pub use behaviour::{GOSSIP_HISTORY, REPUBLISH_AFTER, VERDICT_LIMIT};
pub use counters::{GossipCounters, TradeCounters};
pub use error::{HandleError, P2pError, PublishError, RequestError};
pub use handle::{P2p, P2pStatus, PeerInfo};
pub use identity::{NodeKeyError, node_key, peer_id};
pub use inbound::{Inbound, InboundOrder, InboundTrade, SyncedOrder, SyncedOrders, Verdict};
pub use names::topic_name;
pub use shared_book::SharedBook;
pub use sync::{NoOrders, Orders, SyncCounters};

use self::{
    behaviour::Behaviour,
    bootstrap::Bootstrap,
    gossip::GossipFlow,
    lan::Lan,
    metrics::EventMetrics,
    names::Names,
    peer_store::PeerStore,
    requests::Requests,
    seen::Seen,
    sync::{Books, Client, Driver, Snapshots, SyncFlow},
    task::Task,
    trade::TradeCodec,
    validation::{OrderChecker, Pool, Workers},
};

/// Commands that wait for the task; each is done in microseconds.
const COMMAND_QUEUE_LEN: usize = 256;

/// Arrivals and departures of peers that the sync driver has not heard of yet.
const PEER_QUEUE_LEN: usize = 256;

/// A listener on this host is up at once; one that takes longer never comes.
const LISTEN_LIMIT: Duration = Duration::from_secs(10);

/// Streams on one connection: 32 of trade, 8 of sync, a handful of the rest, both ways, and room for those that are
/// being negotiated. Each may hold 256 KiB that nobody has read yet, so this is 32 MiB instead of the 128 of the
/// default.
const MAX_STREAMS: usize = 128;

/// A connection that nothing uses is kept this long: gossip outside the mesh lives on idle connections.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// What the network needs to know.
#[derive(Clone)]
pub struct P2pConfig {
    /// This node's identity: an ed25519 key.
    pub keypair: Keypair,
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach us, if they are not those that we listen on (NAT, load balancer).
    pub external: Vec<Multiaddr>,
    /// Peers to meet first, with or without `/p2p/` and their id.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether peers on the same local network are met by mDNS.
    pub mdns: bool,
    /// Whether peers of peers are met, by the routing table, and this node tells others of its peers.
    pub discover: bool,
    /// The market whose orders travel.
    pub domain: Domain,
    /// The shards of its order book that this node follows; the main one always is among them.
    pub shards: BTreeSet<Shard>,
    /// Connections at most, both ways; a quarter is kept for those that we open.
    pub max_connections: u32,
    /// Peers that may come to us from one IPv4 address, or one IPv6 network of 64 bits: several nodes of one office,
    /// and not all the room that there is.
    pub max_peers_per_address: usize,
    /// How long a request to a peer, or a peer's request to us, may take from start to end.
    pub request_limit: Duration,
    /// The orders that other peers may fetch from us.
    pub orders: Arc<dyn Orders>,
    /// How often books are compared with a peer; with a newcomer at once.
    pub sync_interval: Duration,
    /// Requests a second that one peer may make on the trade protocol over time, and eight times as many at once.
    pub trade_requests_per_second: u32,
    /// Requests a second that one peer may make on the sync protocol over time. A newcomer may make 512 at once: two
    /// full transfers of a large book.
    pub sync_requests_per_second: u32,
    /// Orders a second that every node of the market forwards at most over time; a peer that sends far more is sent
    /// away. The same on all of them, or honest nodes will send each other away.
    pub gossip_orders_per_second: u32,
    /// Where to write down the peers that were met, to find them again after a restart; nowhere by default.
    pub peer_store: Option<PathBuf>,
    /// Peers that are written down at most.
    pub stored_peers: usize,
    /// How many [`Inbound`] items wait for the engine before new ones are dropped.
    pub inbound_capacity: usize,
}

impl P2pConfig {
    /// A configuration with the defaults: all shards, no listeners, no bootstrap peers, no mDNS, 256 connections, 16 of
    /// them from one address, 20 s a request, 1024 inbound items, no orders to share, a comparison a minute, 64 trade
    /// and 4 sync requests a second, 500 orders a second, no file of peers.
    pub fn new(keypair: Keypair, domain: Domain) -> Self {
        Self {
            keypair,
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            mdns: false,
            discover: true,
            domain,
            shards: Shard::all().collect(),
            max_connections: 256,
            max_peers_per_address: 16,
            request_limit: Duration::from_secs(20),
            orders: Arc::new(NoOrders),
            sync_interval: Duration::from_secs(60),
            trade_requests_per_second: 64,
            sync_requests_per_second: 4,
            gossip_orders_per_second: 500,
            peer_store: None,
            stored_peers: 256,
            inbound_capacity: 1024,
        }
    }

    fn followed(&self) -> BTreeSet<Shard> {
        self.shards.iter().copied().chain([Shard::MAIN]).collect()
    }
}

/// Starts the network. Returns once it listens; runs until `stop` is cancelled, which it also does itself should it
/// panic. The receiver ends when the task has ended.
///
/// # Errors
/// See [`P2pError`].
pub async fn spawn(
    config: P2pConfig,
    stop: CancellationToken,
) -> Result<(P2p, mpsc::Receiver<Inbound>), P2pError> {
    let own = config.keypair.public().to_peer_id();
    let node = node_key(&own).ok_or(P2pError::KeyType)?;
    let names = Names::new(&config.domain)?;
    let codec = TradeCodec::default();
    let malformed = codec.malformed.clone();
    let mut registry = Registry::default();
    let behaviour = Behaviour::new(&config, &names, codec, &mut registry)?;

    let stored = config.peer_store.as_deref().map(peer_store::load).unwrap_or_default();
    let validator = OrderChecker::new(config.domain, Arc::clone(&config.orders));
    let workers = Workers::new(validator.clone(), stop.clone());
    let pool = Pool::start(workers.clone());
    let (inbound, receiver) = mpsc::channel(config.inbound_capacity.max(1));
    let (commands, queue) = mpsc::channel(COMMAND_QUEUE_LEN);
    let (peers, peer_events) = mpsc::channel(PEER_QUEUE_LEN);
    let snapshots = Arc::new(Snapshots::new(Arc::clone(&config.orders)));
    let client = Client {
        books: Books::new(&names.topics),
        commands: commands.clone(),
        inbound: inbound.clone(),
        snapshots: Arc::clone(&snapshots),
        validator: validator.clone(),
        workers,
        unwanted: Mutex::new(Seen::new(Instant::now())),
        counters: Arc::default(),
    };
    let followed = config.followed().into_iter().map(|shard| (client.books.of(shard), shard)).collect();
    let sync =
        SyncFlow::new(followed, snapshots, config.sync_requests_per_second, Arc::clone(&client.counters));
    // Boxed: the swarm alone takes 15 kB, which every future that awaits this one would carry.
    let mut task = Box::new(Task {
        metrics: EventMetrics::new(&mut registry),
        swarm: swarm(&config, behaviour, &mut registry)?,
        node,
        shards: config.followed(),
        names,
        commands: queue,
        gossip: GossipFlow::new(pool, validator.clone(), inbound.clone(), config.gossip_orders_per_second),
        inbound,
        requests: Requests::new(config.request_limit),
        sync,
        peer_events: peers,
        bootstrap: Bootstrap::new(own, &config.bootstrap, Instant::now()),
        lan: Lan::default(),
        external: config.external.clone(),
        discover: config.discover,
        max_peers_per_address: config.max_peers_per_address,
        store: PeerStore::new(stored, config.stored_peers, Instant::now()),
        store_path: config.peer_store.clone(),
        malformed,
        state: task::State::new(config.request_limit, config.trade_requests_per_second),
    });
    task.listen(&config.listen, LISTEN_LIMIT).await?;
    tokio::spawn(task.run(stop.clone()));
    tokio::spawn(Driver::new(client, peer_events, config.sync_interval).run(stop));
    let (limit, registry) = (config.request_limit, Arc::new(registry));
    let handle = P2p::new(own, node, commands, validator, limit, registry, config.followed());
    Ok((handle, receiver))
}

fn swarm(
    config: &P2pConfig,
    behaviour: Behaviour,
    registry: &mut Registry,
) -> Result<libp2p::Swarm<Behaviour>, P2pError> {
    let part = |part: &'static str| move |detail: String| P2pError::Setup { part, detail };
    let muxer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(MAX_STREAMS);
        config
    };
    let mut swarm = SwarmBuilder::with_existing_identity(config.keypair.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, muxer)
        .map_err(|error| part("noise")(error.to_string()))?
        .with_quic()
        .with_dns()
        .map_err(|error| part("DNS")(format!("{error}; check /etc/resolv.conf")))?
        .with_bandwidth_metrics(registry)
        .with_behaviour(|_| behaviour)
        .map_err(|never| match never {})?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_LIMIT))
        .build();
    for address in &config.external {
        swarm.add_external_address(address.clone());
    }
    Ok(swarm)
}
