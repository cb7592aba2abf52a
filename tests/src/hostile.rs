//! Hostile peers: plain libp2p nodes that speak gossip and keep none of its rules.
//!
//! Each dials every honest node, grafts itself into every mesh, forwards nothing unless its role says so, and
//! reconnects when it is banned.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use alloy_primitives::keccak256;
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    gossipsub::{self, IdentTopic, MessageAcceptance, MessageAuthenticity},
    identity::Keypair,
    noise,
    swarm::{ConnectionId, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use sublet_market::{OrderMessage, Shard, codec};
use sublet_p2p::topic_name;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::samples::{POOR, RICH_FLOOD, domain, offer};

/// How often it acts.
const TICK: Duration = Duration::from_millis(50);
/// How often it dials those that it is not connected with, in ticks.
const REDIAL: u64 = 40;
/// Messages of a flood in a second.
const FLOOD: u64 = 80;
/// Every so many of a flood are of a maker that has money: honest nodes must not be blamed for what they carry on.
const RICH: u64 = 8;
/// The mesh of a greedy peer.
const MESH: usize = 200;

/// What a hostile peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends a copy with a broken signature of every order it hears, before the order itself can be there.
    Forger,
    /// Sends well-signed orders, most of makers without money, far beyond the rate that all keep.
    Flooder,
    /// Sends bytes that are no orders, of all sizes.
    Junk,
    /// Sends what it has heard again and again, and forwards every other order.
    Replayer,
    /// Takes everything and passes nothing on.
    BlackHole,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Forger, Self::Flooder, Self::Junk, Self::Replayer, Self::BlackHole];

    /// Whether it does what no honest peer does. The others only do less, or what costs next to nothing.
    #[must_use]
    pub fn breaks_the_rules(self) -> bool {
        matches!(self, Self::Forger | Self::Flooder | Self::Junk)
    }
}

/// A running hostile peer; it ends when dropped.
pub struct Hostile {
    peer: PeerId,
    role: Role,
    let_in: Arc<AtomicBool>,
    _stop: DropGuard,
}

impl Hostile {
    /// Starts a peer that besets the nodes at `victims`.
    pub fn start(role: Role, victims: &[Multiaddr]) -> anyhow::Result<Self> {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let topic = IdentTopic::new(topic_name(&domain(), Shard::MAIN));
        let let_in = Arc::new(AtomicBool::new(false));
        let stop = CancellationToken::new();
        let actor = Actor {
            swarm: swarm(keypair, &topic, role)?,
            role,
            topic,
            victims: victims.to_vec(),
            dialled: HashMap::new(),
            heard: Vec::new(),
            known: HashSet::new(),
            started: Instant::now(),
            ticks: 0,
            sent: 0,
            let_in: Arc::clone(&let_in),
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(actor.run()));
        Ok(Self { peer, role, let_in, _stop: stop.drop_guard() })
    }

    /// Its identity.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// What it does.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether some node has shown it its topics.
    #[must_use]
    pub fn was_let_in(&self) -> bool {
        self.let_in.load(Ordering::Relaxed)
    }
}

fn swarm(keypair: Keypair, topic: &IdentTopic, role: Role) -> anyhow::Result<Swarm<gossipsub::Behaviour>> {
    let mut config = gossipsub::ConfigBuilder::default();
    config
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| {
            let topic = keccak256(message.topic.as_str());
            keccak256([topic.as_slice(), &message.data].concat()).to_vec().into()
        })
        .mesh_n(MESH)
        .mesh_n_low(MESH / 2)
        .mesh_n_high(MESH * 2)
        .max_transmit_size(1 << 20);
    if role == Role::Replayer {
        // It forgets what it has sent.
        config.duplicate_cache_time(Duration::from_millis(1));
    }
    let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config.build()?)
        .map_err(|error| anyhow::anyhow!(error))?;
    gossip.subscribe(topic)?;
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| gossip)?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(300)))
        .build();
    Ok(swarm)
}

struct Actor {
    swarm: Swarm<gossipsub::Behaviour>,
    role: Role,
    topic: IdentTopic,
    victims: Vec<Multiaddr>,
    /// Dials and connections, with the victim's place.
    dialled: HashMap<ConnectionId, usize>,
    /// What came by.
    heard: Vec<Vec<u8>>,
    known: HashSet<Vec<u8>>,
    started: Instant,
    ticks: u64,
    sent: u64,
    let_in: Arc<AtomicBool>,
}

impl Actor {
    async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.act(),
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
    }

    fn act(&mut self) {
        if self.ticks.is_multiple_of(REDIAL) {
            self.dial();
        }
        self.ticks += 1;
        match self.role {
            Role::Flooder => {
                // On a busy machine, ticks are late.
                let due = self.started.elapsed().as_millis() * u128::from(FLOOD) / 1_000;
                while u128::from(self.sent) < due {
                    self.flood();
                }
            }
            Role::Junk => self.send_junk(),
            Role::Replayer => {
                let heard = self.heard.len().max(1);
                let place = usize::try_from(self.ticks).unwrap_or(0) % heard;
                if let Some(data) = self.heard.get(place).cloned() {
                    self.send(data);
                }
            }
            Role::Forger | Role::BlackHole => {}
        }
    }

    fn dial(&mut self) {
        let there: HashSet<usize> = self.dialled.values().copied().collect();
        for (place, address) in self.victims.iter().enumerate().filter(|(place, _)| !there.contains(place)) {
            let dial = DialOpts::unknown_peer_id().address(address.clone()).build();
            let id = dial.connection_id();
            if self.swarm.dial(dial).is_ok() {
                self.dialled.insert(id, place);
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<gossipsub::Event>) {
        match event {
            SwarmEvent::OutgoingConnectionError { connection_id, .. }
            | SwarmEvent::ConnectionClosed { connection_id, .. } => {
                self.dialled.remove(&connection_id);
            }
            SwarmEvent::Behaviour(gossipsub::Event::Subscribed { .. }) => {
                self.let_in.store(true, Ordering::Relaxed);
            }
            SwarmEvent::Behaviour(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                if !self.known.insert(message.data.clone()) {
                    return;
                }
                self.heard.push(message.data.clone());
                match self.role {
                    Role::Forger => self.forge(&message.data),
                    Role::Replayer if self.heard.len().is_multiple_of(2) => {
                        self.swarm.behaviour_mut().report_message_validation_result(
                            &message_id,
                            &propagation_source,
                            MessageAcceptance::Accept,
                        );
                    }
                    // Neither accepted nor refused: kept.
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn forge(&mut self, data: &[u8]) {
        let (Ok(OrderMessage::Offer(mut forged)), OrderMessage::Offer(other)) =
            (codec::decode_order(data), offer(POOR))
        else {
            return;
        };
        forged.signature = other.signature;
        self.send(codec::encode_order(&forged.into()));
    }

    fn flood(&mut self) {
        let first = if self.sent.is_multiple_of(RICH) { RICH_FLOOD } else { POOR + 1 };
        let order = offer(first + self.sent);
        self.sent += 1;
        self.send(codec::encode_order(&order));
    }

    /// From a few bytes to more than an order may have.
    fn send_junk(&mut self) {
        self.sent += 1;
        let length = 1 + usize::try_from(self.sent * 997 % 12_000).unwrap_or(0);
        let byte = self.sent.to_be_bytes()[7];
        let mut data = vec![byte; length];
        data.extend_from_slice(&self.sent.to_be_bytes());
        self.send(data);
    }

    /// To everybody; nobody may be there.
    fn send(&mut self, data: Vec<u8>) {
        let _ = self.swarm.behaviour_mut().publish(self.topic.clone(), data);
    }
}
