//! Metrics: what this node does, for a Prometheus server to collect.
//!
//! The parts of the node count events as they happen, beside what they count ([`Counters`] in the engines);
//! whatever can be read off the node's state is read when somebody asks for the [`page`], on which libp2p's
//! own metrics stand as well. [`http`] serves it, and says whether the node is up ([`readiness`]).
//!
//! Names and units are listed in `docs/metrics.md`. Base units only, counters end in `_total`, nothing is a rate,
//! everything that can be counted starts at 0, and every label has values from a list of ours.

mod book;
pub mod http;
mod network;
mod openmetrics;
pub mod page;
pub mod readiness;
mod resources;
mod state;
mod sync;
mod values;

use std::sync::Arc;

use prometheus::Registry;
use sublet_engine::counters::{Counters, Register};

use self::state::State;

/// All metrics of the node but libp2p's own.
pub struct Metrics {
    registry: Registry,
    /// What the engines count.
    counters: Arc<Counters>,
    state: State,
}

impl Metrics {
    /// All at 0.
    ///
    /// # Errors
    /// Two metrics have the same name, which is a bug.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let new = Register(&registry);
        let build =
            new.gauges("sublet_build_info", "The version that runs, as a label; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let (counters, state) = (Arc::new(Counters::new(&registry)?), State::new(new)?);
        Ok(Self { registry, counters, state })
    }

    /// Where the engines count.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;
    use sublet_engine::jobs::JobEnd;
    use sublet_market::{Decline, DeclineCode};

    use super::*;

    fn page(metrics: &Metrics) -> String {
        TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap()
    }

    #[test]
    fn everything_starts_at_zero_and_is_counted() {
        let metrics = Metrics::new().unwrap();
        metrics.counters.expect_steps("buyer", ["seek"]);
        let before = page(&metrics);
        for line in [
            "sublet_asks_total{result=\"accepted\"} 0",
            "sublet_asks_total{result=\"backoff\"} 0",
            "sublet_transactions_total{call=\"settle\",result=\"gas_money\"} 0",
            "sublet_engine_steps_total{engine=\"buyer\",result=\"failed\",step=\"seek\"} 0",
            "sublet_gossip_orders_total{result=\"rejected\"} 0",
            "sublet_promises{phase=\"leased\"} 0",
        ] {
            assert!(before.lines().any(|found| found == line), "{line} is missing in:\n{before}");
        }
        metrics.counters.ask::<()>(&Err(Decline::new(DeclineCode::Backoff, "")));
        metrics.counters.step("buyer", "seek", JobEnd::Failed);
        let after = page(&metrics);
        assert!(after.contains("sublet_asks_total{result=\"backoff\"} 1\n"));
        assert!(after.contains("engine=\"buyer\",result=\"failed\",step=\"seek\"} 1\n"));
        assert_eq!(before.lines().count(), after.lines().count(), "no series may come up later");
    }
}
