//! The digests of orders that came by a short while ago, so that no signature is recovered twice for the same
//! order under another envelope. Two generations of a set: bounded in memory, forgets by itself.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use alloy_primitives::B256;

/// How long a digest is remembered at least. An order that is announced again later is judged anew, so that it
/// also reaches peers who joined in between.
pub(super) const GENERATION: Duration = Duration::from_secs(60);

/// Digests in one generation; two generations of 32-byte digests stay under 10 MB.
const GENERATION_LEN: usize = 65_536;

/// A bounded, forgetful set of digests.
#[derive(Debug)]
pub(super) struct Seen {
    young: HashSet<B256>,
    old: HashSet<B256>,
    born: Instant,
}

impl Seen {
    pub(super) fn new(now: Instant) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), born: now }
    }

    /// Remembers `digest`; false if it was there already.
    pub(super) fn insert(&mut self, digest: B256, now: Instant) -> bool {
        self.age(now);
        !self.old.contains(&digest) && self.young.insert(digest)
    }

    pub(super) fn contains(&mut self, digest: &B256, now: Instant) -> bool {
        self.age(now);
        self.young.contains(digest) || self.old.contains(digest)
    }

    /// The order came to nothing: its next copy is judged anew.
    pub(super) fn forget(&mut self, digest: &B256) {
        self.young.remove(digest);
        self.old.remove(digest);
    }

    fn age(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.born);
        if age >= 2 * GENERATION {
            self.old.clear();
            self.young.clear();
            self.born = now;
        } else if age >= GENERATION || self.young.len() >= GENERATION_LEN {
            self.old = std::mem::take(&mut self.young);
            self.born = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u64) -> B256 {
        B256::left_padding_from(&n.to_be_bytes())
    }

    #[test]
    fn remembers_for_a_generation_and_forgets_after_two() {
        let start = Instant::now();
        let mut seen = Seen::new(start);
        assert!(seen.insert(digest(1), start));
        assert!(!seen.insert(digest(1), start));
        assert!(seen.contains(&digest(1), start + GENERATION));
        assert!(!seen.contains(&digest(1), start + 2 * GENERATION));
    }

    #[test]
    fn is_forgotten_on_demand() {
        let now = Instant::now();
        let mut seen = Seen::new(now);
        seen.insert(digest(1), now);
        seen.forget(&digest(1));
        assert!(seen.insert(digest(1), now));
    }

    #[test]
    fn never_holds_more_than_two_generations() {
        let now = Instant::now();
        let mut seen = Seen::new(now);
        for n in 0..4 * GENERATION_LEN as u64 {
            seen.insert(digest(n), now);
        }
        assert!(seen.young.len() + seen.old.len() <= 2 * GENERATION_LEN);
    }
}
