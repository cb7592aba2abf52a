//! The one task that owns the swarm. It never waits for anything but the next thing to do: what is slow happens in
//! the validation workers, the engines and the connections' own tasks, behind bounded queues.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    gossipsub::{self, TopicHash},
    identify, kad, ping,
    request_response::{self, ResponseChannel},
    swarm::{DialError, SwarmEvent},
};
use sublet_market::{Decline, DeclineCode, TradeRequest, TradeResponse};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Inbound, InboundTrade, P2pError, P2pStatus, PeerInfo, TradeCounters,
    address::{self, clean_agent},
    bans::{Bans, Standing},
    behaviour::{BLAMED, Behaviour, BehaviourEvent},
    bootstrap::Bootstrap,
    counters::SharedCounter,
    gossip::GossipFlow,
    handle::Command,
    listen,
    metrics::EventMetrics,
    names::Names,
    node_key,
    rate::Buckets,
    requests::Requests,
    sync::{Blame, PeerEvent, SyncFlow},
    validation::StopOnPanic,
};

/// How often deadlines and dials are looked at.
const TICK: Duration = Duration::from_millis(250);

/// Requests of peers that wait for the engine's answer at a time.
const MAX_REPLIES: usize = 256;

type Reply = (ResponseChannel<TradeResponse>, Option<TradeResponse>);

/// Everything the task owns.
pub(super) struct Task {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) metrics: EventMetrics,
    pub(super) names: Names,
    pub(super) node: B256,
    pub(super) topic: TopicHash,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) inbound: mpsc::Sender<Inbound>,
    pub(super) gossip: GossipFlow,
    pub(super) requests: Requests,
    pub(super) sync: SyncFlow,
    pub(super) peer_events: mpsc::Sender<PeerEvent>,
    pub(super) bootstrap: Bootstrap,
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
}

struct Peer {
    info: PeerInfo,
    /// The engine knows of it. Once a connection: who leaves the topic and joins again has missed nothing worth
    /// announcing everything for.
    announced: bool,
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
                step = self.gossip.next() => self.gossip.apply(&mut self.swarm, step),
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
        if let Some(peer) = self.state.joined.take() {
            self.on_joined(peer);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { data, reply } => {
                let _ = reply.send(self.gossip.publish(&mut self.swarm, &self.topic, data));
            }
            Command::Request(request) => self.requests.start(&mut self.swarm, *request, Instant::now()),
            Command::Sync(call) => self.sync.call(&mut self.swarm, *call),
            Command::Blame { peer, why } => self.blame(Some((peer, why))),
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
                let peer = || Peer { info: PeerInfo::new(peer_id, address), announced: false };
                self.state.peers.entry(peer_id).or_insert_with(peer);
                self.bootstrap.established(connection_id, peer_id);
                self.requests.connected(&mut self.swarm, peer_id);
                self.admit(peer_id);
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                tracing::debug!(peer = %peer_id, cause = cause.map(tracing::field::display), "disconnected");
                self.state.peers.remove(&peer_id);
                self.tell(PeerEvent::Left(peer_id));
                self.bootstrap.lost(peer_id, Instant::now());
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_failure(connection_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => tracing::info!(%address, "listening"),
            SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
                tracing::error!(?addresses, %error, "a listener closed; peers cannot reach the node there");
            }
            other => tracing::trace!(event = ?other, "network event"),
        }
    }

    fn on_dial_failure(&mut self, connection: libp2p::swarm::ConnectionId, error: &DialError) {
        let obtained = match error {
            DialError::LocalPeerId { .. } => Some(*self.swarm.local_peer_id()),
            DialError::WrongPeerId { obtained, .. } => Some(*obtained),
            _ => None,
        };
        if let Some((address, delay)) = self.bootstrap.failed(connection, obtained, Instant::now()) {
            tracing::warn!(%address, %error, retry_in_s = delay.as_secs(), "a bootstrap peer does not answer");
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                self.gossip.received(&mut self.swarm, propagation_source, message_id, message.data);
            }
            BehaviourEvent::Gossip(gossipsub::Event::Subscribed { peer_id, topic })
                if topic == self.topic =>
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
            BehaviourEvent::Trade(event) => self.on_trade(event),
            BehaviourEvent::Sync(event) => {
                let blame = self.sync.on_event(&mut self.swarm, event, Instant::now());
                self.blame(blame);
            }
            _ => {}
        }
    }

    fn on_joined(&mut self, peer: PeerId) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.inbound.try_send(Inbound::PeerJoined(peer)) {
            self.state.joined = Some(peer);
        }
    }

    /// A peer that was sent away a short while ago is sent away again.
    fn admit(&mut self, peer: PeerId) {
        match self.state.bans.standing(&peer, Instant::now()) {
            Standing::Good => {}
            Standing::Banned => drop(self.swarm.disconnect_peer_id(peer)),
            Standing::Forgiven => {
                self.swarm.behaviour_mut().gossip.set_application_score(&peer, 0.0);
            }
        }
    }

    /// Sends a peer away that broke a protocol in a way that no honest one does.
    fn blame(&mut self, blame: Blame) {
        let Some((peer, why)) = blame else { return };
        tracing::debug!(%peer, why, "a peer broke the protocol and is sent away");
        self.sync.blamed();
        self.state.bans.add(peer, Instant::now());
        self.swarm.behaviour_mut().gossip.set_application_score(&peer, BLAMED);
        // It may be gone already.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    /// The driver hears of peers late rather than not at all, unless hundreds come and go in one moment: then gossip and
    /// the peers' own questions have to do.
    fn tell(&self, event: PeerEvent) {
        if self.peer_events.try_send(event).is_err() {
            tracing::debug!(?event, "the sync driver is busy");
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let Some(Peer { info: known, .. }) = self.state.peers.get_mut(&peer) else { return };
        known.agent = clean_agent(&info.agent_version);
        // A peer of another market, or one that only listens in, is no use for routing.
        if !info.protocols.contains(&self.names.kad) {
            return;
        }
        for address in address::dialable(info.listen_addrs, &known.address) {
            self.swarm.behaviour_mut().kad.add_address(&peer, address);
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

    fn on_trade(&mut self, event: request_response::Event<TradeRequest, TradeResponse>) {
        use request_response::{Event, Message};
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                self.on_request(peer, request, channel);
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                self.requests.answered(request_id, response);
            }
            Event::OutboundFailure { request_id, error, .. } => {
                self.requests.failed(&mut self.swarm, request_id, error);
            }
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "an answer was not delivered")
            }
            Event::ResponseSent { .. } => {}
        }
    }

    fn on_request(&mut self, peer: PeerId, request: TradeRequest, channel: ResponseChannel<TradeResponse>) {
        self.state.trade.received += 1;
        let Some(node) = node_key(&peer) else {
            let text = "only nodes with an ed25519 key can trade";
            return self.on_reply(
                channel,
                Some(TradeResponse::Declined(Decline::new(DeclineCode::Malformed, text))),
            );
        };
        let too_many = !self.state.trade_rate.take(peer, Instant::now());
        let (reply, answer) = oneshot::channel();
        let trade = Inbound::Trade(Box::new(InboundTrade { node, request, reply }));
        if too_many || self.state.replies.len() >= MAX_REPLIES || self.inbound.try_send(trade).is_err() {
            self.state.trade.shed += 1;
            let text = "too many requests are waiting";
            let busy = TradeResponse::Declined(Decline::new(DeclineCode::Busy, text));
            // Not counted as answered: the engine has not seen it.
            let _ = self.swarm.behaviour_mut().trade.send_response(channel, busy);
            return;
        }
        let limit = self.state.reply_limit;
        self.state.replies.push(Box::pin(async move {
            (channel, tokio::time::timeout(limit, answer).await.ok().and_then(Result::ok))
        }));
    }

    /// Without a response the channel is dropped, and the peer sees its stream closed.
    fn on_reply(&mut self, channel: ResponseChannel<TradeResponse>, response: Option<TradeResponse>) {
        if let Some(response) = response {
            self.state.trade.answered += 1;
            let _ = self.swarm.behaviour_mut().trade.send_response(channel, response);
        }
    }

    fn status(&self) -> P2pStatus {
        let gossip = &self.swarm.behaviour().gossip;
        P2pStatus {
            node: self.node,
            peer_id: *self.swarm.local_peer_id(),
            listen: self.swarm.listeners().cloned().collect(),
            peers: self
                .state
                .peers
                .iter()
                .map(|(id, peer)| PeerInfo {
                    score: gossip.peer_score(id).unwrap_or_default(),
                    ..peer.info.clone()
                })
                .collect(),
            subscribers: gossip.all_peers().filter(|(_, topics)| topics.contains(&&self.topic)).count(),
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
