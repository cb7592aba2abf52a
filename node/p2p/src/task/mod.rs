//! The one task that owns the swarm. It never waits for anything but the next thing to do: what is slow happens in
//! the validation workers, the engines and the connections' own tasks, behind bounded queues.

mod peers;
mod trade;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    Multiaddr, PeerId, Swarm, core::transport::ListenerId, gossipsub, identify, kad, mdns, ping,
    request_response::ResponseChannel, swarm::SwarmEvent,
};
use sublet_market::{Shard, TradeResponse};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Inbound, P2pError, P2pStatus, PeerInfo, TradeCounters,
    bans::Bans,
    behaviour::{Behaviour, BehaviourEvent},
    bootstrap::Bootstrap,
    counters::SharedCounter,
    gossip::GossipFlow,
    handle::Command,
    lan::Lan,
    listen,
    metrics::EventMetrics,
    names::Names,
    peer_store::PeerStore,
    rate::Buckets,
    requests::Requests,
    sync::{PeerEvent, SyncFlow},
    validation::StopOnPanic,
};

/// How often deadlines and dials are looked at.
const TICK: Duration = Duration::from_millis(250);

/// How often the known peers are written down, if they have changed.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// Requests of peers that wait for the engine's answer at a time.
const MAX_REPLIES: usize = 256;

type Reply = (ResponseChannel<TradeResponse>, Option<TradeResponse>);

/// Everything the task owns.
pub(super) struct Task {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) metrics: EventMetrics,
    pub(super) names: Names,
    pub(super) node: B256,
    /// Those that we follow.
    pub(super) shards: BTreeSet<Shard>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) inbound: mpsc::Sender<Inbound>,
    pub(super) gossip: GossipFlow,
    pub(super) requests: Requests,
    pub(super) sync: SyncFlow,
    pub(super) peer_events: mpsc::Sender<PeerEvent>,
    pub(super) bootstrap: Bootstrap,
    pub(super) lan: Lan,
    /// Where others are told that we are reached, if not where we listen.
    pub(super) external: Vec<Multiaddr>,
    /// Whether peers of peers are met.
    pub(super) discover: bool,
    /// Peers that may come from one address.
    pub(super) max_peers_per_address: usize,
    pub(super) store: PeerStore,
    /// Where the store is kept, if it is.
    pub(super) store_path: Option<PathBuf>,
    pub(super) malformed: SharedCounter,
    pub(super) state: State,
}

/// What changes while the task runs.
pub(super) struct State {
    /// Bounded by the limit of connections.
    peers: HashMap<PeerId, Peer>,
    replies: FuturesUnordered<BoxFuture<'static, Reply>>,
    reply_limit: Duration,
    /// A newcomer that the engine could not be told of yet.
    joined: Option<PeerId>,
    trade: TradeCounters,
    trade_rate: Buckets,
    bans: Bans,
    save_at: Instant,
}

struct Peer {
    info: PeerInfo,
    /// The engine knows of it. Once a connection: who leaves the topic and joins again has missed nothing worth
    /// announcing everything for.
    announced: bool,
    /// We dialled it. Of those that came to us, all may be one stranger's.
    reached: bool,
}

impl State {
    pub(super) fn new(reply_limit: Duration, trade_requests_per_second: u32) -> Self {
        Self {
            peers: HashMap::new(),
            replies: FuturesUnordered::new(),
            reply_limit,
            joined: None,
            trade: TradeCounters::default(),
            trade_rate: Buckets::new(trade_requests_per_second),
            bans: Bans::default(),
            save_at: Instant::now() + SAVE_EVERY,
        }
    }
}

impl Task {
    /// Waits until all listeners are up.
    pub(super) async fn listen(&mut self, addresses: &[Multiaddr], limit: Duration) -> Result<(), P2pError> {
        let mut waiting: HashSet<ListenerId> = listen::open(&mut self.swarm, addresses)?;
        let up = async {
            while !waiting.is_empty() {
                let event = self.swarm.select_next_some().await;
                listen::note(&mut waiting, &event)?;
                self.on_event(event);
            }
            Ok(())
        };
        tokio::time::timeout(limit, up).await.unwrap_or(Err(P2pError::ListenTimeout(limit)))
    }

    /// Runs until `stop`.
    pub(super) async fn run(mut self: Box<Self>, stop: CancellationToken) {
        let _guard = StopOnPanic::new(&stop, "network");
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // In this order, so that what we have taken in is finished before the network may bring more.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = tick.tick() => self.on_tick(Instant::now()),
                Some(command) = self.commands.recv() => self.on_command(command),
                step = self.gossip.next() => {
                    let blame = self.gossip.apply(&mut self.swarm, step);
                    self.blame(blame);
                }
                Some((channel, response)) = self.state.replies.next(), if !self.state.replies.is_empty() => {
                    self.on_reply(channel, response);
                }
                ready = self.sync.next() => {
                    let blame = self.sync.send(&mut self.swarm, ready);
                    self.blame(blame);
                }
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
        self.save_peers();
        tracing::debug!("the network task has stopped");
    }

    fn on_tick(&mut self, now: Instant) {
        self.requests.expire(now);
        for dial in self.bootstrap.due(now) {
            let connection = dial.connection_id();
            if let Err(error) = self.swarm.dial(dial) {
                self.on_dial_failure(connection, &error);
            }
        }
        self.dial_lan();
        self.dial_stored(now);
        self.send_offenders_away(now);
        self.lift_bans(now);
        if now >= self.state.save_at {
            self.state.save_at = now + SAVE_EVERY;
            self.save_peers();
        }
        if let Some(peer) = self.state.joined.take() {
            self.on_joined(peer);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { shard, data, reply } => {
                let topic = self.names.topics.of(shard);
                let _ = reply.send(self.gossip.publish(&mut self.swarm, topic, data));
            }
            Command::Request(request) => self.requests.start(&mut self.swarm, *request, Instant::now()),
            Command::Sync(call) => self.sync.call(&mut self.swarm, *call),
            Command::Blame { peer, why } => self.blame(Some((peer, why))),
            Command::Shards { peer, reply } => {
                let _ = reply.send(self.shards_with(&peer));
            }
            Command::Status { reply } => {
                let _ = reply.send(self.status());
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let address = endpoint.get_remote_address().clone();
                tracing::debug!(peer = %peer_id, %address, "connected");
                if endpoint.is_listener() && self.is_crowded(&address) {
                    tracing::debug!(
                        peer = %peer_id, %address,
                        "too many peers from one address; closing the new connection"
                    );
                    self.swarm.close_connection(connection_id);
                }
                let peer =
                    || Peer { info: PeerInfo::new(peer_id, address), announced: false, reached: false };
                self.state.peers.entry(peer_id).or_insert_with(peer).reached |= endpoint.is_dialer();
                self.bootstrap.established(connection_id, peer_id);
                self.store.connected(&peer_id);
                self.requests.connected(&mut self.swarm, peer_id);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                tracing::debug!(peer = %peer_id, cause = cause.map(tracing::field::display), "disconnected");
                self.state.peers.remove(&peer_id);
                self.tell(PeerEvent::Left(peer_id));
                self.bootstrap.lost(peer_id, Instant::now());
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                if let Some(peer) = peer_id {
                    self.store.failed(&peer, Instant::now());
                }
                self.on_dial_failure(connection_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => tracing::info!(%address, "listening"),
            SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
                tracing::error!(?addresses, %error, "a listener closed; peers cannot reach the node there");
            }
            other => tracing::trace!(event = ?other, "network event"),
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                // Only what we follow comes here.
                let Some(shard) = self.names.topics.shard(&message.topic) else { return };
                let data = message.data;
                let blame =
                    self.gossip.received(&mut self.swarm, propagation_source, message_id, shard, data);
                self.blame(blame);
            }
            BehaviourEvent::Gossip(gossipsub::Event::Subscribed { peer_id, topic })
                if topic == self.names.topics.of(Shard::MAIN) =>
            {
                let Some(peer) = self.state.peers.get_mut(&peer_id) else { return };
                if !std::mem::replace(&mut peer.announced, true) {
                    self.on_joined(peer_id);
                    self.tell(PeerEvent::Joined(peer_id));
                }
            }
            BehaviourEvent::Ping(ping::Event { peer, connection, result: Err(error) })
                if !matches!(error, ping::Failure::Unsupported) =>
            {
                // A host that lost its power closes nothing by itself.
                tracing::debug!(%peer, %error, "a peer does not answer pings; closing the connection");
                self.swarm.close_connection(connection);
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, info);
            }
            BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed { id, result, step, .. })
                if step.last =>
            {
                self.on_query(id, result);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                found.into_iter().for_each(|(peer, address)| self.lan.found(peer, address));
            }
            BehaviourEvent::Trade(event) => self.on_trade(event),
            BehaviourEvent::Sync(event) => {
                let blame = self.sync.on_event(&mut self.swarm, event, Instant::now());
                self.blame(blame);
            }
            _ => {}
        }
    }

    fn on_query(&mut self, id: kad::QueryId, result: kad::QueryResult) {
        let kad::QueryResult::GetClosestPeers(result) = result else { return };
        let peers = match result {
            Ok(ok) => ok.peers,
            Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
        };
        self.requests.looked_up(&mut self.swarm, id, |wanted| {
            peers.iter().filter(|peer| peer.peer_id == *wanted).flat_map(|peer| peer.addrs.clone()).collect()
        });
    }

    fn shards_with(&self, peer: &PeerId) -> Vec<Shard> {
        let mut peers = self.swarm.behaviour().gossip.all_peers();
        let topics = peers.find(|(id, _)| *id == peer).map(|(_, topics)| topics).unwrap_or_default();
        let theirs = topics.into_iter().filter_map(|topic| self.names.topics.shard(topic));
        theirs.filter(|shard| self.shards.contains(shard)).collect()
    }

    fn status(&self) -> P2pStatus {
        let gossip = &self.swarm.behaviour().gossip;
        let main = self.names.topics.of(Shard::MAIN);
        P2pStatus {
            node: self.node,
            peer_id: *self.swarm.local_peer_id(),
            listen: self.swarm.listeners().cloned().collect(),
            external: self.external.clone(),
            peers: self
                .state
                .peers
                .iter()
                .map(|(id, peer)| PeerInfo {
                    score: gossip.peer_score(id).unwrap_or_default(),
                    ..peer.info.clone()
                })
                .collect(),
            subscribers: gossip.all_peers().filter(|(_, topics)| topics.contains(&&main)).count(),
            counters: self.gossip.counters,
            longest_validation: self.gossip.longest,
            trade: TradeCounters {
                malformed: self.malformed.get(),
                sent: self.requests.sent,
                failed: self.requests.failed,
                ..self.state.trade
            },
            sync: self.sync.counted(),
        }
    }
}
