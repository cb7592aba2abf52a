//! Metrics of comparing books with peers, brought to the network's own counters when a page is made.

use prometheus::{IntCounter, IntCounterVec};
use sublet_engine::counters::Register;
use sublet_p2p::SyncCounters;

use super::values::raise_to;

/// The metrics.
pub(super) struct SyncMetrics {
    sessions: IntCounterVec,
    orders: IntCounterVec,
    bytes: IntCounterVec,
    requests: IntCounterVec,
    blamed: IntCounter,
}

impl SyncMetrics {
    pub(super) fn new(new: Register<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            sessions: new.counters(
                "sublet_sync_sessions_total",
                "How comparisons of our book with a peer's ended.",
                &["result"],
            )?,
            orders: new.counters(
                "sublet_sync_orders_total",
                "Good orders out of peers' books: all of them (fetched), and those that our book took (accepted).",
                &["result"],
            )?,
            bytes: new.counters(
                "sublet_sync_bytes_total",
                "Bytes of our comparisons: requests (out) and their answers (in).",
                &["direction"],
            )?,
            requests: new.counters(
                "sublet_sync_requests_total",
                "Requests of peers to compare books or to fetch orders.",
                &["result"],
            )?,
            blamed: new.counter(
                "sublet_peers_blamed_total",
                "Peers banned because they broke a protocol as no honest peer does.",
            )?,
        };
        metrics.show(&SyncCounters::default());
        Ok(metrics)
    }

    pub(super) fn show(&self, counters: &SyncCounters) {
        let &SyncCounters {
            completed,
            failed,
            fetched,
            accepted,
            sent_bytes,
            received_bytes,
            served,
            refused,
            blamed,
        } = counters;
        for (family, label, value) in [
            (&self.sessions, "completed", completed),
            (&self.sessions, "failed", failed),
            (&self.orders, "fetched", fetched),
            (&self.orders, "accepted", accepted),
            (&self.bytes, "out", sent_bytes),
            (&self.bytes, "in", received_bytes),
            (&self.requests, "served", served),
            (&self.requests, "refused", refused),
        ] {
            raise_to(&family.with_label_values(&[label]), value);
        }
        raise_to(&self.blamed, blamed);
    }
}
