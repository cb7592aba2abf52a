//! How fast orders reach everybody: real nodes over real sockets, each behind a link of its own.
//!
//! All nodes are in this process, apart from each other but for the sockets. Everybody is connected with everybody through
//! the link in front of whoever was there first, so that nothing takes a shorter way.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256};
use anyhow::{Context as _, ensure};
use libp2p::{Multiaddr, identity::Keypair, multiaddr::Protocol};
use sublet::p2p::{self, Inbound, P2p, P2pConfig, Verdict};
use sublet_market::{Domain, Offer, OrderKey, OrderMessage, Resources, Traits};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::shaper::{Relay, Shape};

/// How long everybody may take to meet everybody.
const MEET: Duration = Duration::from_secs(180);
/// The mesh is grafted at heart beats of a second.
const SETTLE: Duration = Duration::from_secs(5);
/// The pause between two orders.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the last order may take to reach the last node.
const ARRIVE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Propagation {
    /// Deliveries that had to be: orders × other nodes.
    pub wanted: usize,
    /// Milliseconds from publishing to each delivery, sorted.
    pub millis: Vec<f64>,
}

impl Propagation {
    /// So many of a hundred deliveries took no longer, milliseconds.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> f64 {
        let at = (self.millis.len() * percent).div_ceil(100).saturating_sub(1);
        self.millis.get(at).copied().unwrap_or(f64::INFINITY)
    }
}

pub(crate) struct Peer {
    pub(crate) p2p: P2p,
    pub(crate) relay: Relay,
    /// When each order was taken in, by its series.
    taken: Arc<Mutex<HashMap<u64, Instant>>>,
    _stop: DropGuard,
}

/// Publishes `orders` orders in a network of `nodes` nodes and waits until everybody has all.
pub async fn measure(nodes: usize, orders: u64, shape: Shape) -> anyhow::Result<Propagation> {
    let peers = network(nodes, shape).await?;
    tokio::time::sleep(SETTLE).await;
    let mut published = HashMap::new();
    for series in 0..orders {
        let peer = &peers[usize::try_from(series)? % nodes];
        published.insert(series, Instant::now());
        peer.p2p.publish(offer(series)).await.with_context(|| format!("order {series}"))?;
        tokio::time::sleep(PAUSE).await;
    }
    let wanted = usize::try_from(orders)? * (nodes - 1);
    let deadline = Instant::now() + ARRIVE;
    while Instant::now() < deadline && peers.iter().map(|peer| peer.lock().len()).sum::<usize>() < wanted {
        tokio::time::sleep(POLL).await;
    }
    let mut millis = Vec::new();
    for peer in &peers {
        for (series, taken) in peer.lock().iter() {
            let sent = published.get(series).context("an order that nobody published")?;
            millis.push(taken.saturating_duration_since(*sent).as_secs_f64() * 1_000.0);
        }
    }
    millis.sort_by(f64::total_cmp);
    Ok(Propagation { wanted, millis })
}

/// Nodes that are all connected with each other.
pub(crate) async fn network(nodes: usize, shape: Shape) -> anyhow::Result<Vec<Peer>> {
    let mut peers: Vec<Peer> = Vec::new();
    for _ in 0..nodes {
        let known = peers.iter().map(|peer| multiaddr(peer.relay.address())).collect();
        peers.push(Peer::start(known, shape).await?);
    }
    let deadline = Instant::now() + MEET;
    loop {
        let mut links = 0;
        for peer in &peers {
            links += peer.p2p.status().await?.peers.len();
        }
        if links == nodes * (nodes - 1) {
            break;
        }
        ensure!(Instant::now() < deadline, "only {links} of {} links are up", nodes * (nodes - 1));
        tokio::time::sleep(POLL * 10).await;
    }
    Ok(peers)
}

impl Peer {
    async fn start(bootstrap: Vec<Multiaddr>, shape: Shape) -> anyhow::Result<Self> {
        let mut config = P2pConfig::new(Keypair::generate_ed25519(), domain());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
        config.bootstrap = bootstrap;
        let stop = CancellationToken::new();
        let (p2p, inbound) = p2p::spawn(config, stop.clone()).await?;
        let listen = p2p.status().await?.listen;
        let address = listen.first().and_then(socket_address).context("it listens nowhere")?;
        let relay = Relay::start(address, shape).await?;
        let taken = Arc::new(Mutex::new(HashMap::new()));
        tokio::spawn(take_in(inbound, Arc::clone(&taken)));
        Ok(Self { p2p, relay, taken, _stop: stop.drop_guard() })
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Instant>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An engine that takes every order.
async fn take_in(mut inbound: mpsc::Receiver<Inbound>, taken: Arc<Mutex<HashMap<u64, Instant>>>) {
    while let Some(item) = inbound.recv().await {
        let Inbound::Order(order) = item else { continue };
        if let OrderMessage::Offer(offer) = &order.message {
            let series = offer.order.series;
            taken.lock().unwrap_or_else(PoisonError::into_inner).entry(series).or_insert_with(Instant::now);
        }
        // The network may have given up on the verdict.
        let _ = order.verdict.send(Verdict::Accept);
    }
}

fn domain() -> Domain {
    Domain { chain_id: 31_337, market: Address::repeat_byte(1), salt: B256::repeat_byte(2) }
}

/// The offer that is published under this number.
pub(crate) fn offer(series: u64) -> OrderMessage {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&series.to_be_bytes());
    secret[31] = 1;
    let key = OrderKey::from_bytes(&secret).unwrap_or_else(|_| unreachable!("below the order of the curve"));
    let offer = Offer {
        provider: key.address(),
        node: B256::repeat_byte(3),
        unit: Resources { vcpus: 1, memory_mib: 256, disk_gib: 1, ..Resources::default() },
        units: 4,
        price_per_second: 1_000_000,
        bond_seconds: 600,
        min_duration: 300,
        max_duration: 86_400,
        activate_within: 300,
        burn: false,
        traits: Traits::new(["arch=x86_64"]).unwrap_or_default(),
        series,
        seq: 1,
        valid_until: 2_000_000_000,
    };
    key.sign(offer, &domain()).into()
}

fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    match (parts.next()?, parts.next()?) {
        (Protocol::Ip4(ip), Protocol::Tcp(port)) => Some((ip, port).into()),
        _ => None,
    }
}
