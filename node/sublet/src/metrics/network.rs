//! Metrics of peers, gossip and trade requests, brought to the network's own counters when a page is made.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge};
use sublet_engine::counters::Register;
use sublet_p2p::{GOSSIP_HISTORY, GossipCounters, P2pStatus, TradeCounters};

use super::{
    sync::SyncMetrics,
    values::{float, raise_to, whole},
};

/// The metrics.
pub(super) struct NetworkMetrics {
    peers: IntGauge,
    subscribers: IntGauge,
    gossip_received: IntCounter,
    gossip: IntCounterVec,
    gossip_expired: IntCounter,
    gossip_published: IntCounter,
    gossip_longest: Gauge,
    gossip_history: Gauge,
    trade_received: IntCounter,
    trade_sent: IntCounter,
    trade: IntCounterVec,
    sync: SyncMetrics,
}

impl NetworkMetrics {
    pub(super) fn new(new: Register<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            peers: new.gauge("sublet_peers", "Connected peers.")?,
            subscribers: new
                .gauge("sublet_peers_subscribed", "Connected peers that follow our order book.")?,
            gossip_received: new
                .counter("sublet_gossip_received_total", "Gossip messages under an id that was new.")?,
            gossip: new.counters(
                "sublet_gossip_orders_total",
                "What became of the gossip messages received; each has one result.",
                &["result"],
            )?,
            gossip_expired: new.counter(
                "sublet_gossip_expired_total",
                "Orders accepted too late to be forwarded (also counted as accepted).",
            )?,
            gossip_published: new
                .counter("sublet_gossip_published_total", "Orders of ours that went out.")?,
            gossip_longest: float(
                new,
                "sublet_gossip_longest_validation_seconds",
                "The longest time from the wire to the verdict on an order since the start.",
            )?,
            gossip_history: float(
                new,
                "sublet_gossip_history_seconds",
                "For so long after it came an order can still be forwarded.",
            )?,
            trade_received: new.counter(
                "sublet_trade_requests_received_total",
                "Trade requests of peers that came in whole.",
            )?,
            trade_sent: new
                .counter("sublet_trade_requests_sent_total", "Trade requests of ours to peers.")?,
            trade: new.counters(
                "sublet_trade_requests_total",
                "How trade requests ended: of peers (in), and of ours that got no proper answer (out).",
                &["direction", "result"],
            )?,
            sync: SyncMetrics::new(new)?,
        };
        metrics.show_network(&GossipCounters::default(), &TradeCounters::default());
        metrics.gossip_history.set(GOSSIP_HISTORY.as_secs_f64());
        Ok(metrics)
    }

    pub(super) fn show(&self, status: &P2pStatus) {
        self.show_peers(status);
        self.show_network(&status.counters, &status.trade);
        self.sync.show(&status.sync);
    }

    fn show_peers(&self, status: &P2pStatus) {
        self.peers.set(whole(status.peers.len()));
        self.subscribers.set(whole(status.subscribers));
        self.gossip_longest.set(status.longest_validation.as_secs_f64());
    }

    fn show_network(&self, gossip: &GossipCounters, trade: &TradeCounters) {
        let &GossipCounters {
            received,
            accepted,
            rejected,
            ignored,
            duplicates,
            shed,
            late,
            unanswered,
            expired,
            published,
        } = gossip;
        for (result, value) in [
            ("accepted", accepted),
            ("rejected", rejected),
            ("ignored", ignored),
            ("duplicate", duplicates),
            ("shed", shed),
            ("late", late),
            ("unanswered", unanswered),
        ] {
            raise_to(&self.gossip.with_label_values(&[result]), value);
        }
        raise_to(&self.gossip_received, received);
        raise_to(&self.gossip_expired, expired);
        raise_to(&self.gossip_published, published);
        let &TradeCounters { received, answered, shed, malformed, sent, failed } = trade;
        for (direction, result, value) in [
            ("in", "answered", answered),
            ("in", "shed", shed),
            ("in", "malformed", malformed),
            ("out", "failed", failed),
        ] {
            raise_to(&self.trade.with_label_values(&[direction, result]), value);
        }
        raise_to(&self.trade_received, received);
        raise_to(&self.trade_sent, sent);
    }
}
