//! Nodes and misbehaving peers for the network tests.

mod stranger;

use std::time::Duration;

use libp2p::{Multiaddr, identity::Keypair};
pub(crate) use stranger::Stranger;
pub(crate) use sublet_market::samples::{domain, key as maker, offer_of};
use sublet_market::{Bid, OrderMessage, Shard, Spec, Traits, samples};
use sublet_p2p as p2p;
use sublet_p2p::{GossipCounters, Inbound, InboundOrder, InboundTrade, P2p, P2pConfig};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Nothing on loopback takes this long; a test that gets here hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// How often a condition is looked at that has no event.
pub(crate) const POLL: Duration = Duration::from_millis(10);

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.expect("this takes too long")
}

/// An honest offer; `series` tells offers apart.
pub(crate) fn offer(series: u64) -> OrderMessage {
    samples::offer(&maker(1), series)
}

/// An honest offer in a region.
pub(crate) fn regional(series: u64, region: &str) -> OrderMessage {
    let mut order = offer_of(&maker(1), series);
    order.traits = Traits::new([format!("region={region}")]).unwrap();
    maker(1).sign(order, &domain()).into()
}

/// An honest bid for capacity in a region, or anywhere.
pub(crate) fn bid_for(salt: u64, region: Option<&str>, valid_until: u64) -> OrderMessage {
    let key = maker(2);
    let traits = Traits::new(region.map(|region| format!("region={region}"))).unwrap();
    let spec = Spec { traits, ..samples::spec() };
    let bid = Bid { valid_until, ..samples::bid_of(&key, &spec, salt) };
    OrderMessage::Bid { bid: key.sign(bid, &domain()), spec }
}

/// What a node is told that follows some regions only.
pub(crate) fn follow(config: &mut P2pConfig, regions: &[&str]) {
    config.shards = regions.iter().map(|region| Shard::of_region(region)).collect();
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    sublet_base::port::free_port().unwrap()
}

pub(crate) fn token() -> CancellationToken {
    CancellationToken::new()
}

pub(crate) fn config(bootstrap: &[Multiaddr]) -> P2pConfig {
    let mut config = P2pConfig::new(Keypair::generate_ed25519(), domain());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.bootstrap = bootstrap.to_vec();
    config
}

/// A node with its queue; it stops when dropped.
pub(crate) struct Node {
    pub(crate) p2p: P2p,
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    pub(crate) stop: CancellationToken,
    listen: Vec<Multiaddr>,
}

impl Node {
    pub(crate) async fn start(bootstrap: &[Multiaddr]) -> Self {
        Self::start_with(bootstrap, |_| {}).await
    }

    pub(crate) async fn start_with(bootstrap: &[Multiaddr], change: impl FnOnce(&mut P2pConfig)) -> Self {
        let mut config = config(bootstrap);
        change(&mut config);
        let stop = token();
        let (p2p, inbound) = within(p2p::spawn(config, stop.clone())).await.unwrap();
        let listen = p2p.status().await.unwrap().listen;
        Self { p2p, inbound, stop, listen }
    }

    pub(crate) fn address(&self) -> Multiaddr {
        self.listen[0].clone()
    }

    pub(crate) async fn order(&mut self) -> InboundOrder {
        loop {
            if let Inbound::Order(order) = self.next().await {
                return *order;
            }
        }
    }

    pub(crate) async fn trade(&mut self) -> InboundTrade {
        loop {
            if let Inbound::Trade(trade) = self.next().await {
                return *trade;
            }
        }
    }

    pub(crate) async fn joined(&mut self) {
        while !matches!(self.next().await, Inbound::PeerJoined(_)) {}
    }

    async fn next(&mut self) -> Inbound {
        within(self.inbound.recv()).await.expect("the node has stopped")
    }

    pub(crate) async fn counters(&self) -> GossipCounters {
        self.p2p.status().await.unwrap().counters
    }

    pub(crate) async fn until(&self, condition: impl Fn(&GossipCounters) -> bool) {
        let mut last = GossipCounters::default();
        let holds = async {
            loop {
                last = self.counters().await;
                if condition(&last) {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let result = tokio::time::timeout(LIMIT, holds).await;
        assert!(result.is_ok(), "the counters never got there: {last:?}");
    }

    pub(crate) async fn shut_down(self) {
        self.stop.cancel();
        within(self.p2p.closed()).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
