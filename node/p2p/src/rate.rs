//! Rate limits of requests: a token bucket for each peer, over an injected clock. Bounded, and it outlives
//! the connection, so that reconnecting fills no bucket.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use libp2p::PeerId;

/// Peers that are remembered; at 64 bytes each a quarter of a megabyte.
const MAX_PEERS: usize = 4_096;

/// A bucket holds what flows in within this time: so much may come at once.
const BURST: Duration = Duration::from_secs(8);

impl Level {
    fn now(&self, per_second: f64, size: f64, now: Instant) -> f64 {
        let flown = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        (self.tokens + flown).min(size)
    }
}

/// Requests of all peers on one protocol; or whatever else is counted for each of many.
#[derive(Debug)]
pub(super) struct Buckets<K = PeerId> {
    per_second: f64,
    size: f64,
    lenient: bool,
    levels: HashMap<K, Level>,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    at: Instant,
}

impl<K: Copy + Eq + Hash> Buckets<K> {
    /// `per_second` requests of each peer over time, and eight seconds' worth of them at once.
    pub(super) fn new(per_second: u32) -> Self {
        Self::with_size(f64::from(per_second), f64::from(per_second) * BURST.as_secs_f64())
    }

    /// `per_second` over time and `size` at once.
    pub(super) fn with_size(per_second: f64, size: f64) -> Self {
        Self { per_second, size, lenient: false, levels: HashMap::new() }
    }

    /// A newcomer that there is no room to remember is granted everything: for where a refusal would be an accusation.
    pub(super) fn lenient(self) -> Self {
        Self { lenient: true, ..self }
    }

    /// Whether the peer may ask once more now.
    pub(super) fn take(&mut self, peer: K, now: Instant) -> bool {
        if !self.levels.contains_key(&peer) && self.levels.len() >= MAX_PEERS {
            self.forget_full(now);
            // Thousands of peers that all have asked a moment ago: a newcomer waits.
            if self.levels.len() >= MAX_PEERS {
                return self.lenient;
            }
        }
        let full = Level { tokens: self.size, at: now };
        let level = self.levels.get(&peer).copied().unwrap_or(full);
        let tokens = level.now(self.per_second, self.size, now);
        let granted = tokens >= 1.0;
        let left = if granted { tokens - 1.0 } else { tokens };
        self.levels.insert(peer, Level { tokens: left, at: now });
        granted
    }

    /// Whether anything was taken that has not flown in again.
    pub(super) fn is_drawn_on(&self, peer: &K, now: Instant) -> bool {
        self.levels.get(peer).is_some_and(|level| level.now(self.per_second, self.size, now) < self.size)
    }

    /// A full bucket is as good as none.
    fn forget_full(&mut self, now: Instant) {
        let (per_second, size) = (self.per_second, self.size);
        self.levels.retain(|_, level| level.now(per_second, size, now) < size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_granted_and_then_so_many_a_second() {
        let (now, peer, other) = (Instant::now(), PeerId::random(), PeerId::random());
        let mut buckets = Buckets::new(2);
        let at_once = (0..100).filter(|_| buckets.take(peer, now)).count();
        assert_eq!(at_once, 16);
        assert!(buckets.take(other, now), "each peer has its own");
        let later = now + Duration::from_secs(3);
        assert_eq!((0..100).filter(|_| buckets.take(peer, later)).count(), 6);
    }

    #[test]
    fn peers_are_forgotten_only_when_that_gives_them_nothing() {
        let now = Instant::now();
        let mut buckets = Buckets::with_size(1.0, 1.0);
        let greedy = PeerId::random();
        assert!(buckets.take(greedy, now));
        for _ in 1..MAX_PEERS {
            assert!(buckets.take(PeerId::random(), now));
        }
        assert!(!buckets.take(PeerId::random(), now), "no room for a newcomer yet");
        assert!(!buckets.take(greedy, now));
        let later = now + Duration::from_secs(2);
        assert!(buckets.take(PeerId::random(), later));
        assert!(buckets.levels.len() < MAX_PEERS);
    }

    #[test]
    fn who_cannot_be_remembered_is_not_accused() {
        let now = Instant::now();
        let mut buckets = Buckets::with_size(1.0, 1.0).lenient();
        for _ in 0..MAX_PEERS {
            assert!(buckets.take(PeerId::random(), now));
        }
        let newcomer = PeerId::random();
        assert!(buckets.take(newcomer, now) && buckets.take(newcomer, now));
        assert_eq!(buckets.levels.len(), MAX_PEERS);
    }
}
