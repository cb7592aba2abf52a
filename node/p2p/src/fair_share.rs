//! One budget for many: what all of them may use over time, with a part kept for those that have used little.
//! Pure, over an injected clock.
//!
//! What was spent is forgotten by and by (exponentially), which bounds all of it over time. The more is gone, the less
//! one of them may have (dynamic thresholds, Choudhury and Hahne 1998); and the last part is only for those who had
//! next to nothing, so that no few greedy ones can empty it.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// One may have had so many times what is left: four fifths of all that is not kept while it is alone, the same as each
/// of the others if they are greedy too.
const SHARE: f64 = 4.0;

/// This part is kept for those who had little.
const KEPT: f64 = 0.25;

/// Little is this part of everything: there is some for 256 of them, whatever the others do.
const LITTLE: f64 = KEPT / 256.0;

/// How often the past is forgotten a bit more.
const STEP: Duration = Duration::from_millis(100);

/// This part of everything is too little to remember.
const NOTHING: f64 = 1.0 / 400_000.0;

/// What was spent lately, and by whom. It remembers only those who had something.
#[derive(Debug)]
pub(super) struct FairShare<K> {
    full: f64,
    forget_seconds: f64,
    spent: HashMap<K, f64>,
    total: f64,
    at: Instant,
}

impl<K: Copy + Eq + Hash> FairShare<K> {
    /// `full` at once after a quiet time, and `full / forget_seconds` a second over time.
    pub(super) fn new(full: f64, forget_seconds: f64, now: Instant) -> Self {
        Self { full, forget_seconds, spent: HashMap::new(), total: 0.0, at: now }
    }

    /// Whether this one may spend a little more now.
    pub(super) fn allows(&mut self, one: &K, now: Instant) -> bool {
        self.forget(now);
        let spent = self.spent.get(one).copied().unwrap_or_default();
        let left = self.full - self.total;
        spent < (left - self.full * KEPT) * SHARE || (spent < self.full * LITTLE && left > 0.0)
    }

    /// This one has spent so much.
    pub(super) fn spend(&mut self, one: K, cost: f64, now: Instant) {
        self.forget(now);
        *self.spent.entry(one).or_default() += cost;
        self.total += cost;
    }

    fn forget(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        if passed < STEP {
            return;
        }
        self.at = now;
        let (kept, least) = ((-passed.as_secs_f64() / self.forget_seconds).exp(), self.full * NOTHING);
        self.spent.retain(|_, spent| {
            *spent *= kept;
            *spent >= least
        });
        // Summed anew, so that no rounding adds up.
        self.total = self.spent.values().sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `one` gets that takes all it may have at this moment.
    fn drain(shares: &mut FairShare<u32>, one: u32, now: Instant) -> u32 {
        let mut got = 0;
        while shares.allows(&one, now) {
            shares.spend(one, 1.0, now);
            got += 1;
        }
        got
    }

    #[test]
    fn one_alone_gets_most_of_it_at_once() {
        let now = Instant::now();
        assert_eq!(drain(&mut FairShare::new(1_000.0, 10.0, now), 1, now), 600);
    }

    #[test]
    fn however_many_take_all_they_get_no_more_than_there_is() {
        let start = Instant::now();
        let (mut shares, mut got) = (FairShare::new(10_000.0, 10.0, start), 0);
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            got += (0..64).map(|one| drain(&mut shares, one, now)).sum::<u32>();
        }
        // 10,000 at once, and at most 1,000 in each of the 600 seconds; the part that is kept does not flow.
        assert!((400_000..=610_064).contains(&got), "{got}");
    }

    #[test]
    fn greedy_ones_leave_something_for_whoever_comes_after_them() {
        let start = Instant::now();
        let mut shares = FairShare::new(10_000.0, 10.0, start);
        let greedy =
            |shares: &mut FairShare<u32>, now| (0..64).map(|one| drain(shares, one, now)).sum::<u32>();
        assert!(greedy(&mut shares, start) > 7_000);
        assert!((1_000..1_150).all(|one| drain(&mut shares, one, start) > 0));
        // One that takes a little now and then is never refused, whatever the others do.
        for time in 1..60 {
            let now = start + Duration::from_secs(2) * time;
            assert!(greedy(&mut shares, now) > 0);
            assert!(shares.allows(&999, now), "{time}");
            shares.spend(999, 1.0, now);
        }
    }

    #[test]
    fn what_was_spent_long_ago_is_forgotten() {
        let start = Instant::now();
        let mut shares = FairShare::new(1_000.0, 10.0, start);
        drain(&mut shares, 1, start);
        assert!(!shares.allows(&1, start));
        let later = start + Duration::from_secs(600);
        assert!(shares.allows(&1, later));
        assert!(shares.spent.is_empty());
    }
}
