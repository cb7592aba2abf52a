//! Numbers for an operator: what this node does, for a Prometheus server to collect.
//!
//! The parts of the node count events in [`Metrics`] as they happen; whatever can be read off the node's state is read
//! when somebody asks for the [`page`], on which libp2p's own metrics stand as well. [`http`] serves it, and says
//! whether the node is up ([`readiness`]).
//!
//! Names and units are listed in `docs/metrics.md`. Base units only, counters end in `_total`, nothing is a rate,
//! everything that can be counted starts at 0, and every label has values from a list of ours.

pub mod http;
mod openmetrics;
pub mod page;
pub mod readiness;
mod state;
mod sync;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use sublet_market::{Decline, DeclineCode};

use self::state::State;
use crate::{
    chain::{ChainError, TxReport},
    engine::jobs::JobEnd,
};

/// The calls that a node sends by itself or on its operator's word, by their names in the contract.
const CALLS: [&str; 11] = [
    "approve",
    "deposit",
    "withdraw",
    "settle",
    "activate",
    "abort",
    "claim",
    "close",
    "reject",
    "providerClose",
    "finish",
];
/// What [`transaction_result`] may say.
const TRANSACTION_RESULTS: [&str; 8] =
    ["mined", "refused", "failed", "unconfirmed", "superseded", "gas_money", "gas_price", "error"];
/// What [`step_result`] may say.
const STEP_RESULTS: [&str; 3] = ["done", "later", "failed"];
/// How an ask ends that is not declined.
const ACCEPTED: &str = "accepted";

/// How a quote of ours ends.
const QUOTE_RESULTS: [&str; 3] = ["noted", "declined", "unreachable"];
/// A quote of somebody else that is not declined.
const NOTED: &str = "noted";

/// All metrics of the node but libp2p's own.
pub struct Metrics {
    registry: Registry,
    asks: IntCounterVec,
    quotes_sent: IntCounterVec,
    quotes_received: IntCounterVec,
    transactions: IntCounterVec,
    gas: IntCounterVec,
    steps: IntCounterVec,
    reorgs: IntCounter,
    chain_healthy: IntGauge,
    leases_ending: IntGauge,
    state: State,
}

impl Metrics {
    /// All at 0.
    ///
    /// # Errors
    /// Two metrics have the same name, which is a bug.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let new = New(&registry);
        let build =
            new.gauges("sublet_build_info", "The version that runs, as a label; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            asks: new.counters(
                "sublet_asks_total",
                "Asks of buyers, by what was answered: accepted, or the code of the decline.",
                &["result"],
            )?,
            quotes_sent: new.counters(
                "sublet_quotes_sent_total",
                "Quotes to the nodes of bids that this node saw in its book, by what became of them.",
                &["result"],
            )?,
            quotes_received: new.counters(
                "sublet_quotes_received_total",
                "Quotes of providers for bids of this node: noted, or the code of the decline.",
                &["result"],
            )?,
            transactions: new.counters(
                "sublet_transactions_total",
                "Transactions that were to be sent, by the contract's function and how they ended.",
                &["call", "result"],
            )?,
            gas: new.counters(
                "sublet_transactions_gas_total",
                "Gas used by transactions that succeeded, by the contract's function.",
                &["call"],
            )?,
            steps: new.counters(
                "sublet_engine_steps_total",
                "Steps of the engines, by how they ended.",
                &["engine", "step", "result"],
            )?,
            reorgs: new
                .counter("sublet_chain_reorgs_total", "Reorganisations of the chain that reverted events.")?,
            chain_healthy: new
                .gauge("sublet_chain_healthy", "1 while the RPC answers, 0 while it does not.")?,
            leases_ending: new
                .gauge("sublet_leases_ending", "Leases that this node pays for and whose funds end soon.")?,
            state: State::new(&new)?,
            registry,
        };
        metrics.start_at_zero();
        Ok(metrics)
    }

    fn start_at_zero(&self) {
        // The node does not start before the RPC has answered.
        self.chain_healthy.set(1);
        self.asks.with_label_values(&[ACCEPTED]);
        self.quotes_received.with_label_values(&[NOTED]);
        for code in DeclineCode::all() {
            self.asks.with_label_values(&[code.as_str()]);
            self.quotes_received.with_label_values(&[code.as_str()]);
        }
        for result in QUOTE_RESULTS {
            self.quotes_sent.with_label_values(&[result]);
        }
        for call in CALLS {
            self.gas.with_label_values(&[call]);
            for result in TRANSACTION_RESULTS {
                self.transactions.with_label_values(&[call, result]);
            }
        }
    }

    /// Names the steps that an engine may take.
    pub fn expect_steps(&self, engine: &str, steps: impl IntoIterator<Item = &'static str>) {
        for step in steps {
            for result in STEP_RESULTS {
                self.steps.with_label_values(&[engine, step, result]);
            }
        }
    }

    /// Counts a step of an engine that has ended.
    pub fn step(&self, engine: &str, step: &'static str, end: JobEnd) {
        self.steps.with_label_values(&[engine, step, step_result(end)]).inc();
    }

    /// Counts the answer to an ask.
    pub fn ask<T>(&self, answer: &Result<T, Decline>) {
        let result = answer.as_ref().map_or_else(|decline| decline.code.as_str(), |_| ACCEPTED);
        self.asks.with_label_values(&[result]).inc();
    }

    /// Counts a quote of ours by one of `noted`, `declined` and `unreachable`.
    pub fn quote_sent(&self, result: &'static str) {
        self.quotes_sent.with_label_values(&[result]).inc();
    }

    /// Counts what a provider that quotes was told.
    pub fn quote_received(&self, taken: &Result<(), Decline>) {
        let result = taken.as_ref().map_or_else(|decline| decline.code.as_str(), |()| NOTED);
        self.quotes_received.with_label_values(&[result]).inc();
    }

    /// Counts a transaction and its gas.
    pub fn transaction(&self, call: &'static str, sent: &Result<TxReport, ChainError>) {
        self.transactions.with_label_values(&[call, transaction_result(sent)]).inc();
        if let Ok(report) = sent {
            self.gas.with_label_values(&[call]).inc_by(report.gas_used);
        }
    }

    /// Notes whether the RPC answers.
    pub fn chain_health(&self, answers: bool) {
        self.chain_healthy.set(answers.into());
    }

    /// Notes how many leases that this node pays for run out of funds soon.
    pub fn leases_ending(&self, count: usize) {
        self.leases_ending.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts a reorganisation.
    pub fn reorg(&self) {
        self.reorgs.inc();
    }
}

fn step_result(end: JobEnd) -> &'static str {
    match end {
        JobEnd::Done => "done",
        JobEnd::Later(_) => "later",
        JobEnd::Failed => "failed",
    }
}

fn transaction_result(sent: &Result<TxReport, ChainError>) -> &'static str {
    match sent {
        Ok(_) => "mined",
        Err(ChainError::Reverted { .. }) => "refused",
        Err(ChainError::Failed { .. }) => "failed",
        Err(ChainError::Unconfirmed { .. }) => "unconfirmed",
        Err(ChainError::Superseded { .. }) => "superseded",
        Err(ChainError::GasMoney { .. }) => "gas_money",
        Err(ChainError::FeeTooHigh { .. }) => "gas_price",
        Err(_) => "error",
    }
}

/// Makes metrics of a registry.
struct New<'a>(&'a Registry);

impl New<'_> {
    fn register<C: prometheus::core::Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    fn page(metrics: &Metrics) -> String {
        TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap()
    }

    #[test]
    fn everything_starts_at_zero_and_is_counted() {
        let metrics = Metrics::new().unwrap();
        metrics.expect_steps("buyer", ["seek"]);
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
        metrics.ask::<()>(&Err(Decline::new(DeclineCode::Backoff, "")));
        metrics.step("buyer", "seek", JobEnd::Failed);
        let after = page(&metrics);
        assert!(after.contains("sublet_asks_total{result=\"backoff\"} 1\n"));
        assert!(after.contains("engine=\"buyer\",result=\"failed\",step=\"seek\"} 1\n"));
        assert_eq!(before.lines().count(), after.lines().count(), "no series may come up later");
    }

    #[test]
    fn every_way_a_transaction_may_end_has_its_name() {
        let gas = ChainError::FeeTooHigh { base_fee: 2, cap: 1 };
        let signing = ChainError::Signing("no".into());
        for error in [gas, signing] {
            assert!(TRANSACTION_RESULTS.contains(&transaction_result(&Err(error))));
        }
    }
}
