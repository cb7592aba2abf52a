//! What the engines count as it happens, for the metrics page. Names and units are listed in `docs/metrics.md`.
//!
//! Everything that can be counted starts at 0, counters end in `_total`, nothing is a rate, and every label
//! has values from a list of ours.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use sublet_chain::{ChainError, TxReport};
use sublet_market::{Decline, DeclineCode};

use crate::jobs::JobEnd;

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

/// The engines' counters.
pub struct Counters {
    asks: IntCounterVec,
    quotes_sent: IntCounterVec,
    quotes_received: IntCounterVec,
    transactions: IntCounterVec,
    gas: IntCounterVec,
    steps: IntCounterVec,
    reorgs: IntCounter,
    chain_healthy: IntGauge,
    leases_ending: IntGauge,
}

impl Counters {
    /// All at 0, in `registry`.
    ///
    /// # Errors
    /// Two metrics have the same name, which is a bug.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let new = Register(registry);
        let counters = Self {
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
        };
        counters.start_at_zero();
        Ok(counters)
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

/// Makes metrics and registers them.
#[derive(Clone, Copy)]
pub struct Register<'a>(pub &'a Registry);

impl Register<'_> {
    /// Registers a metric.
    ///
    /// # Errors
    /// Another one has its name, which is a bug; so for all below.
    pub fn register<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: C,
    ) -> prometheus::Result<C> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A counter.
    ///
    /// # Errors
    /// See [`Register::register`].
    pub fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    /// A family of counters.
    ///
    /// # Errors
    /// See [`Register::register`].
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A gauge of whole numbers.
    ///
    /// # Errors
    /// See [`Register::register`].
    pub fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    /// A family of gauges of whole numbers.
    ///
    /// # Errors
    /// See [`Register::register`].
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_a_transaction_may_end_has_its_name() {
        let gas = ChainError::FeeTooHigh { base_fee: 2, cap: 1 };
        let signing = ChainError::Signing("no".into());
        for error in [gas, signing] {
            assert!(TRANSACTION_RESULTS.contains(&transaction_result(&Err(error))));
        }
    }
}
