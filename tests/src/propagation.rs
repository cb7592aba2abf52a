//! How fast orders reach everybody: real nodes over real sockets, each behind a link of its own; alone, or with hostile
//! peers among them.
//!
//! All nodes are in this process, apart from each other but for the sockets. A node tells others of the link
//! in front of it and not of itself, so that nothing takes a shorter way. Alone, everybody is connected with
//! everybody. With hostile peers the honest nodes have few connections, so that orders depend on being
//! forwarded.

use std::{
    collections::{HashMap, HashSet},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use anyhow::{Context as _, ensure};
use libp2p::{Multiaddr, PeerId, identity::Keypair, multiaddr::Protocol};
use sublet_market::{Known, OrderMessage, OrderSignature, Shard, codec};
use sublet_p2p as p2p;
use sublet_p2p::{Inbound, Orders, P2p, P2pConfig, Verdict};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    hostile::{Hostile, Role},
    samples::{domain, is_funded, is_honest, offer},
    shaper::{Relay, Shape},
};

/// How long everybody may take to meet everybody.
const MEET: Duration = Duration::from_secs(180);
/// The mesh is grafted at heart beats of a second.
const SETTLE: Duration = Duration::from_secs(5);
/// The pause between two orders.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the last order may take to reach the last node.
const ARRIVE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// How long an offender may stay after the last order.
const LINGER: Duration = Duration::from_secs(60);
/// How many peers a node is told of at its start.
const FIRST_PEERS: usize = 4;
/// How often books are compared, so that a short run sees it.
const COMPARE: Duration = Duration::from_secs(4);
/// In the presence of a flood, all of which every node checks on the same two cores.
const FEW_ORDERS_PER_SECOND: u32 = 10;

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Propagation {
    /// Deliveries that had to be: orders × other nodes.
    pub wanted: usize,
    /// Milliseconds from publishing to each delivery, sorted.
    pub millis: Vec<f64>,
    /// Deliveries that gossip had lost and a comparison of books made good.
    pub by_sync: usize,
}

impl Propagation {
    /// So many of a hundred deliveries took no longer, milliseconds.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> f64 {
        let at = (self.millis.len() * percent).div_ceil(100).saturating_sub(1);
        self.millis.get(at).copied().unwrap_or(f64::INFINITY)
    }
}

/// What was measured with hostile peers about.
#[derive(Debug, Clone, PartialEq)]
pub struct Besieged {
    /// How the orders of honest makers reached the honest nodes.
    pub propagation: Propagation,
    /// Hostile peers, by what they do.
    pub hostile: Vec<Role>,
    /// Those that break the rules and were connected with no honest node at last.
    pub sent_away: Vec<Role>,
    /// How many peers each honest node has sent away: more than there are offenders would be honest ones.
    pub blamed: Vec<u64>,
    /// Hostile gossip that the honest nodes rejected, all together.
    pub rejected: u64,
}

impl Besieged {
    /// How many hostile peers break the rules.
    #[must_use]
    pub fn offenders(&self) -> usize {
        self.hostile.iter().filter(|role| role.breaks_the_rules()).count()
    }
}

pub(crate) struct Peer {
    pub(crate) p2p: P2p,
    pub(crate) relay: Relay,
    shelf: Arc<Shelf>,
    _stop: DropGuard,
}

/// Publishes `orders` orders in a network of `nodes` nodes and waits until everybody has all.
pub async fn measure(nodes: usize, orders: u64, shape: Shape) -> anyhow::Result<Propagation> {
    let peers = network(nodes, shape).await?;
    tokio::time::sleep(SETTLE).await;
    run(&peers, orders).await
}

/// Nodes that are all connected with each other.
pub(crate) async fn network(nodes: usize, shape: Shape) -> anyhow::Result<Vec<Peer>> {
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..nodes {
        let known = peers.iter().map(|peer| multiaddr(peer.relay.address())).collect();
        peers.push(Peer::start(known, shape, |_| {}).await?);
    }
    let links = nodes * (nodes - 1);
    until("all links are up", MEET, async || {
        let mut up = 0;
        for peer in &peers {
            up += peer.p2p.status().await?.peers.len();
        }
        Ok(up >= links)
    })
    .await?;
    Ok(peers)
}

/// The same in a network of `honest` nodes that have at most `connections` each, and a hostile peer for each
/// of `roles`.
pub async fn measure_besieged(
    honest: usize,
    roles: &[Role],
    orders: u64,
    connections: u32,
    shape: Shape,
) -> anyhow::Result<Besieged> {
    let peers = sparse_network(honest, connections, shape).await?;
    let links: Vec<Multiaddr> = peers.iter().map(|peer| multiaddr(peer.relay.address())).collect();
    let hostile: Vec<Hostile> =
        roles.iter().map(|role| Hostile::start(*role, &links)).collect::<Result<_, _>>()?;
    until("every hostile peer is let in by somebody", MEET, async || {
        Ok(hostile.iter().all(|hostile| hostile.was_let_in()))
    })
    .await?;
    tokio::time::sleep(SETTLE).await;
    let propagation = run(&peers, orders).await?;
    let gone = async || {
        let mut there = HashSet::new();
        for peer in &peers {
            there.extend(peer.p2p.status().await?.peers.into_iter().map(|info| info.peer_id));
        }
        let away = |one: &&Hostile| one.role().breaks_the_rules() && !there.contains(&one.peer_id());
        anyhow::Ok(hostile.iter().filter(away).map(Hostile::role).collect::<Vec<_>>())
    };
    let offenders = roles.iter().filter(|role| role.breaks_the_rules()).count();
    // A forger shows itself only while there is something to forge: orders go on. Who is not sent away is
    // told by the report.
    let deadline = Instant::now() + LINGER;
    let mut sent_away = gone().await?;
    for series in orders.. {
        if sent_away.len() == offenders || Instant::now() > deadline {
            break;
        }
        let order = offer(series);
        let peer = &peers[usize::try_from(series)? % peers.len()];
        peer.shelf.put(&order);
        // What cannot be published now is no matter here.
        let _ = peer.p2p.publish(order).await;
        tokio::time::sleep(PAUSE).await;
        // They try to come back: what counts is that all were away at one time.
        sent_away = gone().await?;
    }
    let (mut blamed, mut rejected) = (Vec::new(), 0);
    for peer in &peers {
        let status = peer.p2p.status().await?;
        blamed.push(status.sync.blamed);
        rejected += status.counters.rejected;
    }
    Ok(Besieged { propagation, hostile: roles.to_vec(), sent_away, blamed, rejected })
}

async fn run(peers: &[Peer], orders: u64) -> anyhow::Result<Propagation> {
    let mut published = HashMap::new();
    for series in 0..orders {
        let peer = &peers[usize::try_from(series)? % peers.len()];
        published.insert(series, Instant::now());
        let order = offer(series);
        peer.shelf.put(&order);
        peer.p2p.publish(order).await.with_context(|| format!("order {series}"))?;
        tokio::time::sleep(PAUSE).await;
    }
    let wanted = usize::try_from(orders)? * (peers.len() - 1);
    let deadline = Instant::now() + ARRIVE;
    while Instant::now() < deadline && peers.iter().map(Peer::taken).sum::<usize>() < wanted {
        tokio::time::sleep(POLL).await;
    }
    let (mut millis, mut by_sync) = (Vec::new(), 0);
    for peer in peers {
        for (series, taken) in peer.shelf.taken().iter() {
            let sent = published.get(series).context("an order that nobody published")?;
            millis.push(taken.at.saturating_duration_since(*sent).as_secs_f64() * 1_000.0);
            by_sync += usize::from(taken.by_sync);
        }
    }
    millis.sort_by(f64::total_cmp);
    Ok(Propagation { wanted, millis, by_sync })
}

/// Nodes that are told of a few others and find the rest by themselves, as far as their connections go.
async fn sparse_network(nodes: usize, connections: u32, shape: Shape) -> anyhow::Result<Vec<Peer>> {
    let mut peers: Vec<Peer> = Vec::new();
    for n in 0..nodes {
        // Spread over those that are there.
        let known = (0..FIRST_PEERS.min(n)).map(|k| multiaddr(peers[(n * 7 + k * 11) % n].relay.address()));
        let change = |config: &mut P2pConfig| {
            config.max_connections = connections;
            config.gossip_orders_per_second = FEW_ORDERS_PER_SECOND;
            config.sync_interval = COMPARE;
        };
        peers.push(Peer::start(known.collect(), shape, change).await?);
    }
    until("the network is connected", MEET, async || hangs_together(&peers).await).await?;
    Ok(peers)
}

/// Whether there is a way from the first node to every other.
async fn hangs_together(peers: &[Peer]) -> anyhow::Result<bool> {
    let mut links = HashMap::new();
    for peer in peers {
        let met: Vec<PeerId> = peer.p2p.status().await?.peers.into_iter().map(|info| info.peer_id).collect();
        links.insert(peer.p2p.peer_id(), met);
    }
    let mut reached = HashSet::new();
    let mut next: Vec<PeerId> = peers.first().map(|peer| peer.p2p.peer_id()).into_iter().collect();
    while let Some(peer) = next.pop() {
        if reached.insert(peer) {
            next.extend(links.get(&peer).into_iter().flatten());
        }
    }
    Ok(reached.len() == peers.len())
}

async fn until(
    what: &str,
    limit: Duration,
    holds: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    while !holds().await? {
        ensure!(Instant::now() < deadline, "after {} s not true: {what}", limit.as_secs());
        tokio::time::sleep(POLL * 10).await;
    }
    Ok(())
}

impl Peer {
    async fn start(
        bootstrap: Vec<Multiaddr>,
        shape: Shape,
        change: impl FnOnce(&mut P2pConfig),
    ) -> anyhow::Result<Self> {
        // A port that was free a moment ago: the link comes first, for the node tells others of it.
        let listen = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let relay = Relay::start(listen, shape).await?;
        let mut config = P2pConfig::new(Keypair::generate_ed25519(), domain());
        config.listen = vec![multiaddr(listen)];
        config.external = vec![multiaddr(relay.address())];
        config.bootstrap = bootstrap;
        let shelf = Arc::new(Shelf::default());
        config.orders = Arc::<Shelf>::clone(&shelf);
        change(&mut config);
        let stop = CancellationToken::new();
        let (p2p, inbound) = p2p::spawn(config, stop.clone()).await?;
        tokio::spawn(take_in(inbound, Arc::clone(&shelf)));
        Ok(Self { p2p, relay, shelf, _stop: stop.drop_guard() })
    }
}

impl Peer {
    /// How many honest orders have come.
    pub(crate) fn taken(&self) -> usize {
        self.shelf.taken().len()
    }
}

/// When an honest order came, and how.
#[derive(Debug, Clone, Copy)]
struct Taken {
    at: Instant,
    by_sync: bool,
}

/// A book without rules but that makers must have money.
#[derive(Default)]
struct Shelf {
    orders: Mutex<HashMap<B256, (u64, Vec<u8>)>>,
    /// By series.
    taken: Mutex<HashMap<u64, Taken>>,
}

impl Shelf {
    fn orders(&self) -> MutexGuard<'_, HashMap<B256, (u64, Vec<u8>)>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<u64, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, message: &OrderMessage) {
        let order = (message.valid_until(), codec::encode_order(message));
        self.orders().insert(message.digest(&domain()), order);
    }

    fn take(&self, message: &OrderMessage, by_sync: bool) -> Verdict {
        let OrderMessage::Offer(offer) = message else { return Verdict::Ignore("a bid") };
        let series = offer.order.series;
        if !is_funded(series) {
            return Verdict::Ignore("not funded");
        }
        if is_honest(series) {
            self.taken().entry(series).or_insert(Taken { at: Instant::now(), by_sync });
        }
        self.put(message);
        Verdict::Accept
    }
}

impl Orders for Shelf {
    fn items(&self) -> Vec<(Shard, u64, B256)> {
        // The samples name no region.
        self.orders().iter().map(|(digest, (until, _))| (Shard::MAIN, *until, *digest)).collect()
    }

    fn envelopes(&self, digests: &[B256]) -> Vec<Option<Vec<u8>>> {
        let orders = self.orders();
        digests.iter().map(|digest| orders.get(digest).map(|(_, envelope)| envelope.clone())).collect()
    }

    fn unknown(&self, mut digests: Vec<B256>) -> Vec<B256> {
        let orders = self.orders();
        digests.retain(|digest| !orders.contains_key(digest));
        digests
    }

    fn knows(&self, _: &B256, _: &OrderSignature) -> Known {
        // Its signatures are not kept: every copy is checked.
        Known::No
    }
}

/// An engine that takes every order whose maker has money.
async fn take_in(mut inbound: mpsc::Receiver<Inbound>, shelf: Arc<Shelf>) {
    while let Some(item) = inbound.recv().await {
        // The network may have given up on the verdict.
        match item {
            Inbound::Order(order) => drop(order.verdict.send(shelf.take(&order.message, false))),
            Inbound::Synced(batch) => {
                let verdicts = batch.orders.iter().map(|order| shelf.take(&order.message, true)).collect();
                let _ = batch.verdicts.send(verdicts);
            }
            _ => {}
        }
    }
}

pub(crate) fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}
