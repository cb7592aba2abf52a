//! `/sublet/sync/1`: a peer that was away, or has just come, gets the orders that gossip has already carried past it.
//!
//! ```text
//!  agenda: whom to ask, and when            peer
//!     │                                      │
//!  session ── what do you have that I lack? ─▶ answer    (set reconciliation; keeps nothing between two requests)
//!     │  ◀──────────── digests ──────────────┘
//!  fetch ──── these, by digest ──────────────▶ answer
//!     │  ◀──────────── envelopes ────────────┘
//!  workers: is each what was promised, and good? ──▶ engine, as [`Inbound::Synced`](super::Inbound::Synced)
//! ```
//!
//! Each shard is a book of its own, and only those are compared that both sides follow.
//!
//! Only the asking side receives anything, so no peer can push orders; both sides ask. A set is the
//! (`valid_until`, digest) of all live orders, compared by `negentropy` (range-based set reconciliation, Meyer 2022):
//! equal sets take one short request, and what is sent otherwise grows with the difference.
//!
//! A hostile peer that asks is bounded by the size of requests and answers, requests a second and at a time; all peers
//! together by the bytes and the time that their answers may take, and by the answers under way. None of these can a
//! few peers use up alone. One that answers is bounded by rounds, bytes and digests of a session, orders of no use, the
//! time of a session, and sessions at a time. An answer that breaks the protocol costs the peer its connection.

mod agenda;
mod answer;
mod books;
mod budget;
mod client;
mod driver;
mod flow;
pub(super) mod fuzzing;
mod session;
mod snapshot;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use sublet_market::{Known, OrderSignature, Shard};

pub(super) use self::{
    books::Books,
    client::{Call, Client},
    driver::{Driver, PeerEvent},
    flow::{Blame, SyncFlow},
    snapshot::Snapshots,
    wire::SyncCodec,
};

/// A request takes at most this long, or the peer is too slow for us.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Streams at a time on one connection, both ways.
pub(super) const MAX_STREAMS: usize = 8;

/// The orders that a node shares: its book.
pub trait Orders: Send + Sync + 'static {
    /// Shard, last second of life and digest of every live order.
    fn items(&self) -> Vec<(Shard, u64, B256)>;

    /// The envelopes of orders, in the order of `digests`; nothing for one that is not live any more.
    fn envelopes(&self, digests: &[B256]) -> Vec<Option<Vec<u8>>>;

    /// Those of `digests` that the book neither has nor remembers.
    fn unknown(&self, digests: Vec<B256>) -> Vec<B256>;

    /// Whether the book has or remembers an order, and under this very signature: another copy of it is of no use and
    /// needs no check.
    fn knows(&self, digest: &B256, signature: &OrderSignature) -> Known;
}

/// A node that has no orders and wants all: for tests and probes.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOrders;

impl Orders for NoOrders {
    fn items(&self) -> Vec<(Shard, u64, B256)> {
        Vec::new()
    }

    fn envelopes(&self, digests: &[B256]) -> Vec<Option<Vec<u8>>> {
        vec![None; digests.len()]
    }

    fn unknown(&self, digests: Vec<B256>) -> Vec<B256> {
        digests
    }

    fn knows(&self, _: &B256, _: &OrderSignature) -> Known {
        Known::No
    }
}

/// The sync protocol since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncCounters {
    /// Sessions of ours that went to their end.
    pub completed: u64,
    /// Sessions of ours that did not.
    pub failed: u64,
    /// Orders that came in and were good.
    pub fetched: u64,
    /// Of those, taken in by the book.
    pub accepted: u64,
    /// Bytes of our requests.
    pub sent_bytes: u64,
    /// Bytes of the answers to them.
    pub received_bytes: u64,
    /// Requests of peers that were answered.
    pub served: u64,
    /// Requests of peers that were refused: too many, or for another book.
    pub refused: u64,
    /// Peers that were banned because they broke the protocol.
    pub blamed: u64,
}
