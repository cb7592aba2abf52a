//! Counters of messages and their outcomes. Every drop is counted; nothing is a rate, everything starts at 0.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

/// Gossip messages since the start. Every received one ends in exactly one of the other columns but `published`
/// and `expired`, or is still being judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipCounters {
    /// Messages that reached us under an id that was new.
    pub received: u64,
    /// Judged good by the engine and forwarded.
    pub accepted: u64,
    /// Wrong in themselves (size, codec, structure, signature): not forwarded, the sender is scored.
    pub rejected: u64,
    /// Not wanted by the engine for now: not forwarded, nobody is scored.
    pub ignored: u64,
    /// The same order under another envelope, or once more within a minute or two.
    pub duplicates: u64,
    /// Dropped because a queue was full.
    pub shed: u64,
    /// Dropped because the check came too late to be of use.
    #[serde(default)]
    pub late: u64,
    /// The engine gave no verdict in time.
    pub unanswered: u64,
    /// Accepted too late to be forwarded (also counted as accepted).
    pub expired: u64,
    /// Orders of ours that went out.
    pub published: u64,
}

/// Trade requests since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradeCounters {
    /// Requests that came in whole.
    pub received: u64,
    /// Of those, answered by the engine.
    pub answered: u64,
    /// Of those, declined because a queue was full, or because the engine had no answer in time.
    pub shed: u64,
    /// Requests that broke the codec or a size limit; their stream was closed.
    pub malformed: u64,
    /// Requests of ours.
    pub sent: u64,
    /// Requests of ours that got no proper answer.
    pub failed: u64,
}

/// A counter that the tasks of connections share with the network task.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedCounter(Arc<AtomicU64>);

impl SharedCounter {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
