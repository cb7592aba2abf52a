//! Chain time: the newest head's timestamp plus what has passed here since, by the monotonic clock.
//!
//! Every deadline of a trade is in chain time. The wall clock of this host plays no part, so a wrong one does no
//! harm. Between two heads time runs on by itself, also while the RPC is away. A new head sets it, which can
//! move it back by the jitter of block production.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::rpc::Head;

/// Whoever knows the chain's time.
pub trait ChainTime: Send + Sync + 'static {
    /// Chain time in Unix seconds.
    fn now(&self) -> u64;
}

/// A clock that tests move by hand.
#[derive(Debug, Default)]
pub struct ManualTime(AtomicU64);

impl ManualTime {
    /// A clock that stands at `now` (Unix seconds).
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self(AtomicU64::new(now))
    }

    /// Moves it to `now` (Unix seconds), forth or back.
    pub fn set(&self, now: u64) {
        self.0.store(now, Ordering::SeqCst);
    }

    /// Moves it forth by `seconds`.
    pub fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl ChainTime for ManualTime {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A head and when this node first saw it.
#[derive(Debug, Clone, Copy)]
pub struct SeenHead {
    /// The head.
    pub head: Head,
    /// When it was first seen, by the monotonic clock.
    pub seen: Instant,
}

impl SeenHead {
    /// How long ago it was first seen: how long the node has been offline, when no newer one comes.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.seen.elapsed()
    }
}

/// The clock that heads set.
#[derive(Debug)]
pub(crate) struct HeadClock(watch::Sender<SeenHead>);

impl HeadClock {
    pub(crate) fn new(head: Head) -> Self {
        Self(watch::Sender::new(SeenHead { head, seen: Instant::now() }))
    }

    /// Sets the clock, unless this head is the one that has set it.
    pub(crate) fn set(&self, head: Head) {
        self.0.send_if_modified(|newest| {
            let changed = newest.head.hash != head.hash;
            if changed {
                *newest = SeenHead { head, seen: Instant::now() };
            }
            changed
        });
    }

    pub(crate) fn newest(&self) -> SeenHead {
        *self.0.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<SeenHead> {
        self.0.subscribe()
    }

    pub(crate) fn now(&self) -> u64 {
        let newest = self.newest();
        newest.head.timestamp.saturating_add(newest.age().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;

    #[test]
    fn the_clock_follows_new_heads_only() {
        let head =
            |n: u8| Head { number: n.into(), hash: B256::repeat_byte(n), timestamp: 1000 + u64::from(n) };
        let clock = HeadClock::new(head(1));
        let first = clock.newest().seen;
        clock.set(head(1));
        assert_eq!(clock.newest().seen, first, "the same head must not stop the clock");
        clock.set(head(9));
        assert!(clock.now() >= 1009);
        assert_eq!(clock.newest().head.number, 9);
    }

    #[test]
    fn manual_time_moves_by_hand() {
        let time = ManualTime::new(10);
        time.advance(5);
        assert_eq!(time.now(), 15);
        time.set(3);
        assert_eq!(time.now(), 3);
    }
}
