//! The budget for answering all peers together. Pure, over an injected clock.
//!
//! Two things are bounded: bytes and time, which are spent and flow in again ([`Budget`]), and answers that are being
//! made or are on their way ([`Open`]). Neither is one queue for all: the more of it is gone, the less of it one peer
//! may have, so that something is left for peers that have had little.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use libp2p::{PeerId, swarm::ConnectionId};

use crate::fair_share::FairShare;

/// What all peers may be given at once after a quiet time; one alone 160 MB, which is four full books of 100,000 orders
/// with the time that they take, and each of 256 at least 256 kB: so a few newcomers do not wait for each other.
const FULL: f64 = 256.0 * 1_048_576.0;

/// What was given is forgotten by half in 89 s. So the most over time is 2 MB a second: less than two home connections
/// of 10 Mbit/s, and a quarter of a core.
const FORGET_SECONDS: f64 = 128.0;

/// What a second of a worker costs, in bytes.
const BYTES_PER_SECOND: f64 = 8.0 * 1_048_576.0;

/// Answers that are being made or sent; at half a megabyte each that is 32 MB.
pub(super) const MAX_OPEN: usize = 64;

/// The same of one peer, while less than half of the room is taken; beyond that, one.
pub(super) const MAX_OPEN_PER_PEER: usize = 4;

/// When all the room is taken, who has had its answer under way for longer than this makes way: 100 kB a second is the
/// least.
const SLOW: Duration = Duration::from_secs(5);

/// Bytes and time of answers that were made lately.
#[derive(Debug)]
pub(super) struct Budget(FairShare<PeerId>);

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self(FairShare::new(FULL, FORGET_SECONDS, now))
    }

    /// Whether the peer may be given one more answer.
    pub(super) fn allows(&mut self, peer: &PeerId, now: Instant) -> bool {
        self.0.allows(peer, now)
    }

    /// An answer of so many bytes was made for the peer and took so long.
    pub(super) fn charge(&mut self, peer: PeerId, bytes: u64, took: Duration, now: Instant) {
        // Answers have less than 2^20 bytes.
        #[allow(clippy::cast_precision_loss)]
        let cost = bytes as f64 + took.as_secs_f64() * BYTES_PER_SECOND;
        self.0.spend(peer, cost, now);
    }
}

/// An answer that is being made or sent.
#[derive(Debug)]
struct Answer {
    peer: PeerId,
    connection: ConnectionId,
    /// Since when it is on its way.
    sent: Option<Instant>,
}

/// The answers that are being made or sent, by the ids of their requests.
#[derive(Debug)]
pub(super) struct Open<Id>(HashMap<Id, Answer>);

impl<Id: Copy + Eq + Hash> Open<Id> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Takes a place for an answer; false if there is none for this peer.
    pub(super) fn begin(&mut self, id: Id, peer: PeerId, connection: ConnectionId) -> bool {
        let of_peer = self.0.values().filter(|answer| answer.peer == peer).count();
        let most = if self.0.len() < MAX_OPEN / 2 { MAX_OPEN_PER_PEER } else { 1 };
        let room = self.0.len() < MAX_OPEN && of_peer < most;
        if room {
            self.0.insert(id, Answer { peer, connection, sent: None });
        }
        room
    }

    /// The answer is handed to the connection.
    pub(super) fn sent(&mut self, id: &Id, now: Instant) {
        if let Some(answer) = self.0.get_mut(id) {
            answer.sent = Some(now);
        }
    }

    /// The answer has arrived, or never will. Gives whether it was on its way.
    pub(super) fn end(&mut self, id: &Id) -> bool {
        self.0.remove(id).is_some_and(|answer| answer.sent.is_some())
    }

    /// If all the room is taken, the connection that has to make way: the one that takes longest to read its answer.
    pub(super) fn slowest(&self, now: Instant) -> Option<ConnectionId> {
        let slow = |since: &Instant| now.saturating_duration_since(*since) > SLOW;
        let full = self.0.len() >= MAX_OPEN;
        let under_way = self.0.values().filter_map(|answer| Some((answer.sent?, answer.connection)));
        let slowest = under_way.min_by_key(|(since, _)| *since);
        slowest.filter(|(since, _)| full && slow(since)).map(|(_, connection)| connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: u64 = 150_000;

    /// Gives the peer all it may have at this moment; the bytes.
    fn drain(budget: &mut Budget, peer: PeerId, now: Instant) -> u64 {
        let mut bytes = 0;
        while budget.allows(&peer, now) {
            budget.charge(peer, ANSWER, Duration::ZERO, now);
            bytes += ANSWER;
        }
        bytes
    }

    #[test]
    fn a_newcomer_gets_a_full_book_at_once() {
        let (mut budget, now) = (Budget::new(Instant::now()), Instant::now());
        let bytes = drain(&mut budget, PeerId::random(), now);
        assert!(bytes > 4 * 37_000_000, "{bytes}");
        assert!(bytes < 192 << 20);
    }

    #[test]
    fn three_newcomers_get_a_full_book_each_without_waiting() {
        let (mut budget, now) = (Budget::new(Instant::now()), Instant::now());
        for peer in [(); 3].map(|()| PeerId::random()) {
            for _ in 0..37_000_000 / ANSWER {
                assert!(budget.allows(&peer, now));
                budget.charge(peer, ANSWER, Duration::ZERO, now);
            }
        }
    }

    #[test]
    fn time_is_bounded_as_bytes_are() {
        let start = Instant::now();
        let (mut budget, peer) = (Budget::new(start), PeerId::random());
        let mut took = Duration::ZERO;
        for tenth in 0..6_000_u32 {
            let now = start + Duration::from_millis(100) * tenth;
            while budget.allows(&peer, now) {
                budget.charge(peer, 0, Duration::from_millis(10), now);
                took += Duration::from_millis(10);
            }
        }
        assert!((80..=32 + 150 + 1).contains(&took.as_secs()), "{took:?} of ten minutes");
    }

    fn connection(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    #[test]
    fn a_few_peers_cannot_take_all_the_room() {
        let mut open = Open::new();
        let (mut id, greedy) = (0, [(); 20].map(|()| PeerId::random()));
        for peer in greedy.iter().cycle().take(200) {
            id += 1;
            open.begin(id, *peer, connection(1));
        }
        assert_eq!(open.0.len(), MAX_OPEN / 2);
        assert!((0..MAX_OPEN / 2).all(|n| open.begin(1_000 + n, PeerId::random(), connection(1))));
        assert!(!open.begin(2_000, PeerId::random(), connection(1)), "full");
        assert!(!open.end(&1_000));
        assert!(open.begin(2_000, PeerId::random(), connection(1)));
    }

    #[test]
    fn who_does_not_read_its_answer_makes_way_when_there_is_no_room() {
        let (mut open, start) = (Open::new(), Instant::now());
        for n in 0..MAX_OPEN {
            assert!(open.begin(n, PeerId::random(), connection(n)));
            open.sent(&n, start + Duration::from_millis(n as u64));
        }
        assert_eq!(open.slowest(start + SLOW), None, "it may still be reading");
        assert_eq!(open.slowest(start + 2 * SLOW), Some(connection(0)));
        assert!(open.end(&0));
        assert_eq!(open.slowest(start + 2 * SLOW), None, "there is room");
    }
}
