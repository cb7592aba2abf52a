//! The figures that the model stands on, measured: real nodes over real sockets, everybody connected with
//! everybody, each behind a link that counts the bytes of its TCP streams.

use std::{collections::HashMap, time::Duration};

use anyhow::ensure;
use serde::Serialize;
use sublet_market::codec;
use tokio::time::{Instant, sleep};

use crate::{
    propagation::{Peer, network},
    samples::offer,
    shaper::Shape,
};

/// The links: far enough that copies of an order cross each other, as they do on the Internet.
const LINK: Shape = Shape {
    delay: Duration::from_millis(30),
    jitter: Duration::from_millis(10),
    bytes_per_second: None,
    stalled: false,
    closed: false,
};
/// Until the meshes of all topics stand, and everybody has compared books with everybody.
const SETTLE: Duration = Duration::from_secs(60);
/// How long the idle network is watched: Kademlia refreshes its tables once in this time.
const IDLE: Duration = Duration::from_secs(120);
/// How long the last order may take.
const ARRIVE: Duration = Duration::from_secs(10);
/// Deliveries that may fail: a node that has no time for a check within 2 s drops the order, and here all of
/// them share one machine.
const MOST_LOST: f64 = 0.05;
/// An order is talked of for three heart beats; then it is quiet again.
const TALK: Duration = Duration::from_secs(5);

/// What was measured in one network.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Nodes, all connected with each other.
    pub nodes: usize,
    /// Orders that were published, one node after the other.
    pub orders: u64,
    /// Orders a second.
    pub rate: f64,
    /// The part of all deliveries that came.
    pub delivered: f64,
    /// Bytes of an order's envelope.
    pub envelope: usize,
    /// Mean number of peers in a node's mesh.
    pub mesh: f64,
    /// Copies of an order that a node received, on the mean.
    pub copies: f64,
    /// Bytes of TCP payload that a node received for an order in all, beyond what an idle node receives.
    pub bytes_per_order: f64,
    /// The same in pieces as they came off the socket: segments, about.
    pub pieces_per_order: f64,
    /// Bytes a second that an idle node receives.
    pub idle_per_second: f64,
}

/// Measures a network of `nodes` nodes with `orders` orders, `pause` apart.
///
/// # Errors
/// More than a few orders that did not reach everybody.
pub async fn measure(nodes: usize, orders: u64, pause: Duration) -> anyhow::Result<Measured> {
    let peers = network(nodes, LINK).await?;
    sleep(SETTLE).await;
    let (idle_bytes, idle_pieces) = over(&peers, || sleep(IDLE)).await;
    let per = |count: u64, time: Duration| f64_of(count) / time.as_secs_f64();
    let (idle_bytes, idle_pieces) = (per(idle_bytes, IDLE), per(idle_pieces, IDLE));
    let copies_before = gossip(&peers, "topic_msg_recv_counts_unfiltered_total").await;
    let started = Instant::now();
    let mut published = Ok(0.0);
    let (bytes, pieces) = over(&peers, || async {
        published = publish(&peers, orders, pause).await;
        sleep(TALK).await;
    })
    .await;
    let delivered = published?;
    ensure!(delivered >= 1.0 - MOST_LOST, "only {:.1} % of the deliveries came", delivered * 100.0);
    let took = started.elapsed().as_secs_f64();
    let deliveries = f64_of(orders) * f64_of(nodes as u64) * delivered;
    let copies = gossip(&peers, "topic_msg_recv_counts_unfiltered_total").await - copies_before;
    Ok(Measured {
        nodes,
        orders,
        rate: 1.0 / pause.as_secs_f64(),
        delivered,
        envelope: codec::encode_order(&offer(0)).len(),
        mesh: gossip(&peers, "mesh_peer_counts").await / f64_of(nodes as u64),
        copies: copies / deliveries,
        bytes_per_order: (f64_of(bytes) - idle_bytes * took) / deliveries,
        pieces_per_order: (f64_of(pieces) - idle_pieces * took) / deliveries,
        idle_per_second: idle_bytes / f64_of(nodes as u64),
    })
}

/// Publishes, waits, and says which part of all deliveries came.
async fn publish(peers: &[Peer], orders: u64, pause: Duration) -> anyhow::Result<f64> {
    for series in 0..orders {
        let at = usize::try_from(series)? % peers.len();
        peers[at].p2p.publish(offer(series)).await?;
        sleep(pause).await;
    }
    let wanted = orders * (peers.len() as u64 - 1);
    let deadline = Instant::now() + ARRIVE;
    loop {
        let taken: usize = peers.iter().map(Peer::taken).sum();
        if taken as u64 == wanted || Instant::now() >= deadline {
            return Ok(f64_of(taken as u64) / f64_of(wanted));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What all links carry during `action`: bytes and pieces.
async fn over<F: Future>(peers: &[Peer], action: impl FnOnce() -> F) -> (u64, u64) {
    let sum = || {
        let carried = peers.iter().map(|peer| peer.relay.carried());
        carried.fold((0, 0), |(bytes, pieces), (more, some)| (bytes + more, pieces + some))
    };
    let (bytes, pieces) = sum();
    action().await;
    let (after, pieces_after) = sum();
    (after - bytes, pieces_after - pieces)
}

/// The topic that all orders here go to: they name no region.
const TOPIC: &str = "/orders/main/";

/// The sum of one of gossipsub's metrics over all nodes, for the topic of the orders.
async fn gossip(peers: &[Peer], name: &str) -> f64 {
    let mut sums: HashMap<String, f64> = HashMap::new();
    for peer in peers {
        for line in peer.p2p.openmetrics().lines().filter(|line| line.contains(TOPIC)) {
            let Some((metric, value)) = line.rsplit_once(' ') else { continue };
            let metric = metric.split('{').next().unwrap_or_default();
            if let (Some(metric), Ok(value)) =
                (metric.strip_prefix("libp2p_gossipsub_"), value.parse::<f64>())
            {
                *sums.entry(metric.to_owned()).or_default() += value;
            }
        }
    }
    sums.get(name).copied().unwrap_or_default()
}

/// Counts here stay far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of bytes and orders, far below 2^53")]
fn f64_of(count: u64) -> f64 {
    count as f64
}
