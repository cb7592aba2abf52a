//! Points: a provider's reputation. Earned by fees paid, halved every half-life, cut when a lease is broken.

use serde::{Deserialize, Serialize};

use super::Params;

/// Base units of fee that earn one point.
pub const POINT_BASE_UNITS: u128 = 1_000_000_000;

/// 1 in the contract's fixed point.
const ONE: u128 = 1_000_000_000_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;

/// A provider's points and the day of their last write, as the contract stores them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Points {
    /// Points as of that day.
    pub value: u64,
    /// Day of the last write: Unix seconds / 86,400.
    pub day: u32,
}

impl Points {
    /// The points decayed to `now`: what the contract's `account()` returns.
    pub fn at(&self, now: u64, params: &Params) -> u64 {
        let days = (now / SECONDS_PER_DAY).saturating_sub(u64::from(self.day));
        if days == 0 {
            return self.value;
        }
        let left = u128::from(self.value).saturating_mul(power(params.daily_decay(), days)) / ONE;
        // Fits: the factor is at most ONE, so that nothing grows.
        u64::try_from(left).unwrap_or(self.value)
    }

    /// The points after a write: decayed to `now`, then raised, then cut, never below 0.
    pub fn write(&self, now: u64, earned: u64, cut: u64, params: &Params) -> Points {
        let value = self.at(now, params).saturating_add(earned).saturating_sub(cut);
        let day = u32::try_from(now / SECONDS_PER_DAY).unwrap_or(u32::MAX);
        Points { value, day }
    }
}

impl Params {
    /// What is left of one point after a day, in 10^-18: the largest number whose power of the half-life is
    /// at most a half.
    pub fn daily_decay(&self) -> u128 {
        let (mut low, mut high) = (0, ONE);
        while low < high {
            let middle = low.midpoint(high.saturating_add(1));
            if power(middle, u64::from(self.half_life_days)) <= ONE / 2 {
                low = middle;
            } else {
                high = middle.saturating_sub(1);
            }
        }
        low
    }
}

/// `base^exponent` by squaring in 10^-18 fixed point, rounded down at each step. `base` is at most 1.
fn power(mut base: u128, mut exponent: u64) -> u128 {
    let mut result = ONE;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result.saturating_mul(base) / ONE;
        }
        base = base.saturating_mul(base) / ONE;
        exponent >>= 1;
    }
    result
}

/// Whole points that a number of base units is worth.
pub(super) fn points_of(base_units: u128) -> u64 {
    u64::try_from(base_units / POINT_BASE_UNITS).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = SECONDS_PER_DAY;

    #[test]
    fn points_halve_in_a_half_life() {
        for half_life_days in [7, 30, 90, 365] {
            let params = Params { half_life_days, ..Params::default() };
            let points = Points { value: 1_000_000_000_000, day: 100 };
            let later = (100 + u64::from(half_life_days)) * DAY;
            let left = points.at(later, &params);
            assert!((499_999_999_990..=500_000_000_000).contains(&left), "{half_life_days} d: {left}");
            assert_eq!(points.at(100 * DAY + DAY - 1, &params), points.value);
        }
    }

    #[test]
    fn very_old_points_are_gone_and_time_never_runs_back() {
        let params = Params::default();
        let points = Points { value: u64::MAX, day: 10 };
        assert_eq!(points.at(u64::MAX, &params), 0);
        assert_eq!(points.at(0, &params), u64::MAX);
    }

    #[test]
    fn writes_decay_then_add_then_cut() {
        let params = Params::default();
        let points = Points { value: 1_000, day: 0 };
        let written = points.write(90 * DAY, 10, 4, &params);
        assert_eq!(written.day, 90);
        assert!((505..=506).contains(&written.value));
        assert_eq!(points.write(0, 5, 2_000, &params).value, 0);
        assert_eq!(Points { value: u64::MAX, day: 0 }.write(0, 5, 0, &params).value, u64::MAX);
    }

    #[test]
    fn the_daily_decay_of_the_default_half_life() {
        assert_eq!(Params::default().daily_decay(), 992_327_946_262_943_481);
    }
}
