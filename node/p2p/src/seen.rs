//! The digests of recently seen orders, so that no signature is recovered twice for the same
//! order under another envelope. Two generations of a map: bounded in memory, old entries expire.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use alloy_primitives::B256;

/// How long a digest is remembered at least. An order that is announced again later is judged anew, so that it
/// also reaches peers who joined in between.
pub(super) const GENERATION: Duration = Duration::from_secs(60);

/// Digests in one generation; two generations of 40 bytes for each stay under 12 MB.
const GENERATION_LEN: usize = 65_536;

/// A bounded, forgetful set of digests, each with a mark that tells the copy that was good from others.
#[derive(Debug)]
pub(super) struct Seen {
    young: HashMap<B256, u64>,
    old: HashMap<B256, u64>,
    born: Instant,
}

impl Seen {
    pub(super) fn new(now: Instant) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), born: now }
    }

    /// Remembers `digest`; false if it was there already, and then it keeps its mark.
    pub(super) fn insert(&mut self, digest: B256, mark: u64, now: Instant) -> bool {
        self.age(now);
        if self.old.contains_key(&digest) || self.young.contains_key(&digest) {
            return false;
        }
        self.young.insert(digest, mark);
        true
    }

    /// The mark of `digest` if it is remembered.
    pub(super) fn get(&mut self, digest: &B256, now: Instant) -> Option<u64> {
        self.age(now);
        self.young.get(digest).or_else(|| self.old.get(digest)).copied()
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
        assert!(seen.insert(digest(1), 7, start));
        assert!(!seen.insert(digest(1), 8, start));
        assert_eq!(seen.get(&digest(1), start + GENERATION), Some(7));
        assert_eq!(seen.get(&digest(1), start + 2 * GENERATION), None);
    }

    #[test]
    fn is_forgotten_on_demand() {
        let now = Instant::now();
        let mut seen = Seen::new(now);
        seen.insert(digest(1), 7, now);
        seen.forget(&digest(1));
        assert!(seen.insert(digest(1), 7, now));
    }

    #[test]
    fn never_holds_more_than_two_generations() {
        let now = Instant::now();
        let mut seen = Seen::new(now);
        for n in 0..4 * GENERATION_LEN as u64 {
            seen.insert(digest(n), 7, now);
        }
        assert!(seen.young.len() + seen.old.len() <= 2 * GENERATION_LEN);
    }
}
