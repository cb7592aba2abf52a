//! The wall clock of this host. No deadline of a trade depends on it: those are in chain time, which runs on
//! by the monotonic clock. It numbers offers, and dates what people read; and AWS refuses requests of a host
//! whose clock is wrong. So one that has jumped is worth a warning.
//!
//! Test builds add to it the seconds in the file that `SUBLET_CLOCK_OFFSET_FILE` names, read anew each time: a clock
//! that jumps for one process only. Release builds have none of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Beyond what blocks may come late, and what chains let their time differ from the world's.
const MOST_SKEW: Duration = Duration::from_secs(120);

/// The time of day, as this host has it.
pub fn now() -> SystemTime {
    let now = SystemTime::now();
    #[cfg(debug_assertions)]
    let now = shifted(now, offset().unwrap_or(0));
    now
}

/// Unix seconds of [`now`].
pub fn unix_seconds() -> u64 {
    now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(debug_assertions)]
fn offset() -> Option<i64> {
    let path = std::env::var_os("SUBLET_CLOCK_OFFSET_FILE")?;
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(debug_assertions)]
fn shifted(time: SystemTime, seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 { time.checked_sub(by) } else { time.checked_add(by) };
    moved.unwrap_or(time)
}

/// Watches how far the wall clock and the chain's time are apart, and says so once each time that changes.
#[derive(Debug, Default)]
pub struct Skew {
    warned: bool,
}

impl Skew {
    /// Looks at both clocks (Unix seconds). `Some` when there is something to tell: what is wrong, or `None`
    /// inside when it is well again.
    pub fn look(&mut self, wall: u64, chain: u64) -> Option<Option<String>> {
        let apart = Duration::from_secs(wall.abs_diff(chain));
        let wrong = apart > MOST_SKEW;
        if wrong == self.warned {
            return None;
        }
        self.warned = wrong;
        let side = if wall > chain { "ahead of" } else { "behind" };
        Some(
            wrong.then(|| format!("the clock of this host is {} s {side} the chain's time", apart.as_secs())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skew_is_told_once_and_when_it_is_gone() {
        let mut skew = Skew::default();
        assert_eq!(skew.look(10_000, 10_120), None);
        let said = skew.look(13_600, 10_000).unwrap().unwrap();
        assert!(said.contains("3600 s ahead of the chain's time"), "{said}");
        assert_eq!(skew.look(13_601, 10_001), None, "once");
        assert_eq!(skew.look(10_002, 10_002), Some(None));
        assert!(skew.look(6_400, 10_003).unwrap().unwrap().contains("3603 s behind"));
    }

    #[test]
    fn a_clock_is_shifted_both_ways() {
        let noon = UNIX_EPOCH + Duration::from_secs(100_000);
        assert_eq!(shifted(noon, 3_600), noon + Duration::from_secs(3_600));
        assert_eq!(shifted(noon, -3_600), noon - Duration::from_secs(3_600));
    }
}
