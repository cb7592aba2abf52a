//! What the rest of the node holds: a cheap handle to the task that owns the swarm. Every call is a command with
//! its own reply channel over one bounded queue, and every call ends in bounded time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use alloy_primitives::B256;
use libp2p::{Multiaddr, PeerId, metrics::Registry};
use prometheus_client::encoding::text;
use sublet_market::{OrderMessage, Shard, TradeRequest, TradeResponse, codec};
use tokio::sync::{mpsc, oneshot};

use super::{
    GossipCounters, HandleError, PublishError, RequestError, SyncCounters, TradeCounters, node_key, peer_id,
    sync, validation::OrderChecker,
};

/// The task answers in microseconds; after this long something is very wrong.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// What the handle asks of the task.
#[derive(Debug)]
pub(super) enum Command {
    Publish {
        shard: Shard,
        data: Vec<u8>,
        reply: oneshot::Sender<Result<(), PublishError>>,
    },
    Request(Box<Request>),
    Sync(Box<sync::Call>),
    Blame {
        peer: PeerId,
        why: String,
    },
    /// The shards that a peer follows as we do.
    Shards {
        peer: PeerId,
        reply: oneshot::Sender<Vec<Shard>>,
    },
    Status {
        reply: oneshot::Sender<P2pStatus>,
    },
}

/// A request of ours to a peer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) node: B256,
    pub(super) peer: PeerId,
    pub(super) addresses: Vec<Multiaddr>,
    pub(super) body: TradeRequest,
    pub(super) reply: oneshot::Sender<Result<TradeResponse, RequestError>>,
}

/// A view of the network at one moment.
#[derive(Debug, Clone)]
pub struct P2pStatus {
    /// This node's ed25519 key, as orders carry it.
    pub node: B256,
    /// The same key as a libp2p peer id.
    pub peer_id: PeerId,
    /// Addresses that this node listens on.
    pub listen: Vec<Multiaddr>,
    /// Addresses that others are told instead, if any.
    pub external: Vec<Multiaddr>,
    /// Connected peers.
    pub peers: Vec<PeerInfo>,
    /// How many of them follow our market: the topic of its main shard.
    pub subscribers: usize,
    /// What became of gossip.
    pub counters: GossipCounters,
    /// The longest time from the wire to the verdict on an order since the start.
    pub longest_validation: Duration,
    /// What became of trade requests.
    pub trade: TradeCounters,
    /// What became of comparing books.
    pub sync: SyncCounters,
}

impl P2pStatus {
    /// Where peers reach this node, with the peer id.
    pub fn reached_at(&self) -> Vec<String> {
        let told = if self.external.is_empty() { &self.listen } else { &self.external };
        told.iter().map(|address| format!("{address}/p2p/{}", self.peer_id)).collect()
    }
}

/// A connected peer.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Its peer id.
    pub peer_id: PeerId,
    /// Its ed25519 key, if it has one.
    pub node: Option<B256>,
    /// The address of its first connection.
    pub address: Multiaddr,
    /// What it calls itself; empty until it has said so. Cleaned of control characters.
    pub agent: String,
    /// Its gossip score: below -40 it gets no gossip from us, below -150 we hear nothing of it.
    pub score: f64,
}

/// A handle to the network. Clones share one task.
#[derive(Debug, Clone)]
pub struct P2p {
    own: PeerId,
    node: B256,
    commands: mpsc::Sender<Command>,
    validator: OrderChecker,
    request_limit: Duration,
    registry: Arc<Registry>,
    shards: Arc<BTreeSet<Shard>>,
}

impl P2p {
    pub(super) fn new(
        own: PeerId,
        node: B256,
        commands: mpsc::Sender<Command>,
        validator: OrderChecker,
        request_limit: Duration,
        registry: Arc<Registry>,
        shards: BTreeSet<Shard>,
    ) -> Self {
        Self { own, node, commands, validator, request_limit, registry, shards: Arc::new(shards) }
    }

    /// This node's ed25519 key, as orders carry it.
    pub fn node(&self) -> B256 {
        self.node
    }

    /// Whether this node hears the orders of a shard.
    pub fn follows(&self, shard: Shard) -> bool {
        self.shards.contains(&shard)
    }

    /// This node's peer id.
    pub fn peer_id(&self) -> PeerId {
        self.own
    }

    /// Announces an order to whoever follows its shard, whether we do or not. It does not come back as
    /// [`Inbound`](super::Inbound): put it into the own book as well.
    ///
    /// # Errors
    /// See [`PublishError`]; that nobody listens yet is one of them, and harmless.
    pub async fn publish(&self, message: OrderMessage) -> Result<(), PublishError> {
        let (shard, data) = (Shard::of(&message), codec::encode_order(&message));
        self.validator.remember(&message);
        self.call(COMMAND_LIMIT, |reply| Command::Publish { shard, data, reply }).await?
    }

    /// Asks a peer and waits for its answer, at most [`P2pConfig::request_limit`](super::P2pConfig::request_limit).
    /// If the peer is not connected it is dialled at `addresses` and wherever the routing table knows it, and looked
    /// up if that fails.
    ///
    /// # Errors
    /// See [`RequestError`]. Unless it says so, the peer may have seen the request.
    pub async fn request(
        &self,
        node: B256,
        addresses: Vec<Multiaddr>,
        request: TradeRequest,
    ) -> Result<TradeResponse, RequestError> {
        let peer = peer_id(node)?;
        if peer == self.own {
            return Err(RequestError::OwnNode(node));
        }
        codec::encode_trade_request(&request)?;
        // The task keeps the limit itself; this one only guards against the task.
        self.call(self.request_limit + COMMAND_LIMIT, |reply| {
            Command::Request(Box::new(Request { node, peer, addresses, body: request, reply }))
        })
        .await?
    }

    /// Who is connected and what came by.
    ///
    /// # Errors
    /// The task has ended or is not keeping up.
    pub async fn status(&self) -> Result<P2pStatus, HandleError> {
        self.call(COMMAND_LIMIT, |reply| Command::Status { reply }).await
    }

    /// libp2p's own metrics, in the OpenMetrics text format.
    pub fn openmetrics(&self) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }

    /// Resolves when the network task has ended, for whatever reason.
    pub async fn closed(&self) {
        self.commands.closed().await;
    }

    async fn call<R>(
        &self,
        limit: Duration,
        command: impl FnOnce(oneshot::Sender<R>) -> Command,
    ) -> Result<R, HandleError> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.commands.send(command(reply)).await.map_err(|_| HandleError::Stopped)?;
            answer.await.map_err(|_| HandleError::Stopped)
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or(Err(HandleError::Unresponsive(limit)))
    }
}

impl PeerInfo {
    pub(super) fn new(peer_id: PeerId, address: Multiaddr) -> Self {
        Self { peer_id, node: node_key(&peer_id), address, agent: String::new(), score: 0.0 }
    }
}
