//! Metrics that are read off the node's state when a page is made.

use std::time::Duration;

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use sublet_base::phase::{BuyerPhase, ProviderPhase};
use sublet_base::wall;
use sublet_engine::{Core, EngineError, provider::Provider};
use sublet_market::{Counters as BookCounters, Resources, amount::BASE_UNITS_PER_CTK};
use sublet_p2p::{GOSSIP_HISTORY, GossipCounters, P2pStatus, TradeCounters};
use sublet_store::{Promise, Purchase};

use super::{Register, sync::SyncMetrics};

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;
/// The network task answers within microseconds; a page must not wait for one that hangs.
const P2P_LIMIT: Duration = Duration::from_secs(2);

const PROVIDER_PHASES: [(ProviderPhase, &str); 4] = [
    (ProviderPhase::Held, "held"),
    (ProviderPhase::Lapsed, "lapsed"),
    (ProviderPhase::Leased, "leased"),
    (ProviderPhase::Done, "done"),
];
const BUYER_PHASES: [(BuyerPhase, &str); 7] = [
    (BuyerPhase::Seeking, "seeking"),
    (BuyerPhase::Accepted, "accepted"),
    (BuyerPhase::Settled, "settled"),
    (BuyerPhase::Leased, "leased"),
    (BuyerPhase::Done, "done"),
    (BuyerPhase::Expired, "expired"),
    (BuyerPhase::Cancelled, "cancelled"),
];

/// The metrics.
pub(super) struct State {
    book: IntGaugeVec,
    evicted: IntCounterVec,
    refused_full: IntCounter,
    forgotten: IntCounter,
    makers: IntGauge,
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
    head: IntGauge,
    head_seen: IntGauge,
    watched: IntGauge,
    free: Gauge,
    promises: IntGaugeVec,
    purchases: IntGaugeVec,
    capacity: ResourceGauges,
    held: ResourceGauges,
}

/// Amounts of what machines are made of.
struct ResourceGauges {
    vcpus: IntGauge,
    memory: IntGauge,
    disk: IntGauge,
    gpus: IntGauge,
}

impl State {
    pub(super) fn new(new: Register<'_>) -> prometheus::Result<Self> {
        let state = Self {
            book: new.gauges("sublet_book_orders", "Orders in the book.", &["kind"])?,
            evicted: new.counters(
                "sublet_book_evicted_total",
                "Orders evicted in favour of a maker with fewer orders for its balance.",
                &["kind"],
            )?,
            refused_full: new
                .counter("sublet_book_refused_full_total", "Orders refused because the book is full.")?,
            forgotten: new.counter(
                "sublet_book_forgotten_total",
                "Series that had ended and were forgotten before their older versions had expired, for lack \
                 of space.",
            )?,
            makers: new.gauge("sublet_book_makers", "Makers whose accounts the book follows.")?,
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
            head: new.gauge(
                "sublet_chain_head_timestamp_seconds",
                "Time of the newest block that was seen, in chain time.",
            )?,
            head_seen: new.gauge(
                "sublet_chain_head_seen_timestamp_seconds",
                "When the newest block was first seen, by this host's clock.",
            )?,
            watched: new.gauge(
                "sublet_chain_watched_timestamp_seconds",
                "Events of blocks up to this chain time have been applied; 0 before the first, and after a \
                 reorganisation until the new blocks are read.",
            )?,
            free: float(
                new,
                "sublet_wallet_free_ctk",
                "What the node's account has free in the Market, in CTK (10^18 base units).",
            )?,
            promises: new.gauges("sublet_promises", "Promises to buyers that are not closed.", &["phase"])?,
            purchases: new.gauges("sublet_purchases", "Bids of ours that are not closed.", &["phase"])?,
            capacity: ResourceGauges::new(
                new,
                "capacity",
                "that leases may use together; 0 on a node that sells nothing.",
            )?,
            held: ResourceGauges::new(new, "held", "that promises and leases hold.")?,
        };
        state.show_network(&GossipCounters::default(), &TradeCounters::default());
        state.show_phases(&[], &[]);
        state.show_book(0, 0);
        state.show_room(&BookCounters::default());
        state.gossip_history.set(GOSSIP_HISTORY.as_secs_f64());
        Ok(state)
    }

    /// Reads everything anew. What cannot be read keeps its value, and the log says why.
    pub(super) async fn refresh(&self, core: &Core, provider: Option<&Provider>) {
        let us = core.address();
        {
            let book = core.book();
            self.show_book(book.offer_count(), book.bid_count());
            self.show_room(&book.counters());
            self.makers.set(whole(book.makers().count()));
            // Our own account is followed from the first moment.
            if let Some(account) = book.maker(&us) {
                self.free.set(to_ctk(account.free));
            }
        }
        let newest = core.chain.newest();
        self.head.set(whole(newest.head.timestamp));
        self.head_seen.set(whole(wall::unix_seconds()).saturating_sub(whole(newest.age().as_secs())));
        self.watched.set(whole(core.watched_until()));
        if let Err(error) = self.refresh_trades(core, provider).await {
            tracing::warn!(%error, "some metrics could not be read and keep their last values");
        }
        match tokio::time::timeout(P2P_LIMIT, core.p2p.status()).await {
            Ok(Ok(status)) => {
                self.show_peers(&status);
                self.show_network(&status.counters, &status.trade);
                self.sync.show(&status.sync);
            }
            Ok(Err(error)) => tracing::warn!(%error, "the network's metrics keep their last values"),
            Err(_) => tracing::warn!("the network task does not answer; its metrics keep their last values"),
        }
    }

    async fn refresh_trades(&self, core: &Core, provider: Option<&Provider>) -> Result<(), EngineError> {
        self.show_phases(&core.store.all::<Promise>()?, &core.store.all::<Purchase>()?);
        if let Some(provider) = provider {
            let (capacity, held) = provider.capacity().await?;
            self.capacity.show(&capacity);
            self.held.show(&held);
        }
        Ok(())
    }

    fn show_book(&self, offers: usize, bids: usize) {
        self.book.with_label_values(&["offer"]).set(whole(offers));
        self.book.with_label_values(&["bid"]).set(whole(bids));
    }

    fn show_room(&self, counters: &BookCounters) {
        let &BookCounters { evicted_offers, evicted_bids, refused_full, forgotten } = counters;
        raise_to(&self.evicted.with_label_values(&["offer"]), evicted_offers);
        raise_to(&self.evicted.with_label_values(&["bid"]), evicted_bids);
        raise_to(&self.refused_full, refused_full);
        raise_to(&self.forgotten, forgotten);
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

    fn show_phases(&self, promises: &[Promise], purchases: &[Purchase]) {
        for (phase, name) in PROVIDER_PHASES {
            let count = promises.iter().filter(|promise| promise.phase == phase).count();
            self.promises.with_label_values(&[name]).set(whole(count));
        }
        for (phase, name) in BUYER_PHASES {
            let count = purchases.iter().filter(|purchase| purchase.phase == phase).count();
            self.purchases.with_label_values(&[name]).set(whole(count));
        }
    }
}

impl ResourceGauges {
    fn new(new: Register<'_>, of: &str, what: &str) -> prometheus::Result<Self> {
        let gauge =
            |unit: &str, name: &str| new.gauge(&format!("sublet_{of}_{unit}"), &format!("{name} {what}"));
        Ok(Self {
            vcpus: gauge("vcpus", "Virtual CPUs")?,
            memory: gauge("memory_bytes", "Memory")?,
            disk: gauge("disk_bytes", "Disk space")?,
            gpus: gauge("gpus", "GPUs")?,
        })
    }

    fn show(&self, room: &Resources) {
        self.vcpus.set(room.vcpus.into());
        self.memory.set(i64::from(room.memory_mib) * MIB);
        self.disk.set(i64::from(room.disk_gib) * GIB);
        self.gpus.set(room.gpus.into());
    }
}

fn float(new: Register<'_>, name: &str, help: &str) -> prometheus::Result<Gauge> {
    new.register(Gauge::new(name, help)?)
}

/// Brings a counter to the value of one that is kept elsewhere. One page is made at a time, so nobody else does the
/// same at once.
pub(super) fn raise_to(counter: &IntCounter, value: u64) {
    counter.inc_by(value.saturating_sub(counter.get()));
}

fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[allow(clippy::cast_precision_loss)] // Prometheus knows floats only; 15 digits of an amount are plenty.
fn to_ctk(base_units: u128) -> f64 {
    base_units as f64 / BASE_UNITS_PER_CTK as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirrored_counter_follows_and_never_falls() {
        let counter = IntCounter::new("n", "N").unwrap();
        raise_to(&counter, 3);
        raise_to(&counter, 3);
        raise_to(&counter, 2);
        assert_eq!(counter.get(), 3);
    }

    #[test]
    fn what_the_book_has_no_room_for_is_shown() {
        let registry = prometheus::Registry::new();
        let state = State::new(Register(&registry)).unwrap();
        state.show_room(&BookCounters { evicted_offers: 3, evicted_bids: 2, refused_full: 1, forgotten: 4 });
        let evicted = |kind| state.evicted.with_label_values(&[kind]).get();
        assert_eq!((evicted("offer"), evicted("bid"), state.refused_full.get()), (3, 2, 1));
        assert_eq!(state.forgotten.get(), 4);
    }

    #[test]
    fn amounts_are_in_base_units() {
        assert!((to_ctk(2_500_000_000_000_000_000) - 2.5).abs() < 1e-12);
        let registry = prometheus::Registry::new();
        let room = ResourceGauges::new(Register(&registry), "x", "y").unwrap();
        room.show(&Resources { vcpus: 2, memory_mib: u32::MAX, disk_gib: 3, ..Resources::default() });
        assert_eq!(room.memory.get(), 4_503_599_626_321_920);
        assert_eq!(room.disk.get(), 3_221_225_472);
    }
}
