//! Metrics that are read off the node's state when a page is made.

use std::time::Duration;

use prometheus::{Gauge, IntGauge, IntGaugeVec};
use sublet_base::{
    phase::{BuyerPhase, ProviderPhase},
    wall,
};
use sublet_engine::{Core, EngineError, counters::Register, provider::Provider};
use sublet_market::amount::BASE_UNITS_PER_CTK;
use sublet_store::{Promise, Purchase};

use super::{
    book::BookMetrics,
    network::NetworkMetrics,
    resources::ResourceGauges,
    values::{float, whole},
};

/// The network task answers within microseconds; a page must not wait for one that hangs.
const P2P_LIMIT: Duration = Duration::from_secs(2);

/// The metrics.
pub(super) struct State {
    book: BookMetrics,
    network: NetworkMetrics,
    head: IntGauge,
    head_seen: IntGauge,
    watched: IntGauge,
    free: Gauge,
    promises: IntGaugeVec,
    purchases: IntGaugeVec,
    capacity: ResourceGauges,
    held: ResourceGauges,
}

impl State {
    pub(super) fn new(new: Register<'_>) -> prometheus::Result<Self> {
        let state = Self {
            book: BookMetrics::new(new)?,
            network: NetworkMetrics::new(new)?,
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
        state.show_phases(&[], &[]);
        Ok(state)
    }

    /// Reads everything anew. What cannot be read keeps its value, and the log says why.
    pub(super) async fn refresh(&self, core: &Core, provider: Option<&Provider>) {
        let us = core.account.maker();
        {
            let book = core.market.book();
            self.book.show(&book);
            // Our own account is followed from the first moment.
            if let Some(account) = book.maker(&us) {
                self.free.set(to_ctk(account.free));
            }
        }
        let newest = core.chain.newest();
        self.head.set(whole(newest.head.timestamp));
        self.head_seen.set(whole(wall::unix_seconds()).saturating_sub(whole(newest.age().as_secs())));
        self.watched.set(whole(core.seen.watched_until()));
        if let Err(error) = self.refresh_trades(core, provider).await {
            tracing::warn!(%error, "some metrics could not be read and keep their last values");
        }
        match tokio::time::timeout(P2P_LIMIT, core.p2p.status()).await {
            Ok(Ok(status)) => self.network.show(&status),
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

    fn show_phases(&self, promises: &[Promise], purchases: &[Purchase]) {
        for phase in ProviderPhase::ALL {
            let count = promises.iter().filter(|promise| promise.phase == phase).count();
            self.promises.with_label_values(&[phase.as_str()]).set(whole(count));
        }
        for phase in BuyerPhase::ALL {
            let count = purchases.iter().filter(|purchase| purchase.phase == phase).count();
            self.purchases.with_label_values(&[phase.as_str()]).set(whole(count));
        }
    }
}

#[allow(clippy::cast_precision_loss)] // Prometheus knows floats only; 15 digits of an amount are plenty.
fn to_ctk(base_units: u128) -> f64 {
    base_units as f64 / BASE_UNITS_PER_CTK as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_in_base_units() {
        assert!((to_ctk(2_500_000_000_000_000_000) - 2.5).abs() < 1e-12);
    }
}
