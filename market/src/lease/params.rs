//! The Market's constructor parameters.

use serde::{Deserialize, Serialize};

/// What is fixed when a Market is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Fee on what is paid, in hundredths of a percent.
    pub fee_bps: u16,
    /// Seconds for which pay is held back, so that a rejected lease has something to burn.
    pub hold: u32,
    /// Seconds that a buyer's close is billed ahead, so that a close seen late is still paid.
    pub notice: u32,
    /// Days after which points are worth half.
    pub half_life_days: u16,
}

/// A parameter outside its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} = {value} is outside {min}..={max}: choose a value within")]
pub struct ParamsError {
    /// Which parameter.
    pub name: &'static str,
    /// Its value.
    pub value: u32,
    /// Least value.
    pub min: u32,
    /// Greatest value.
    pub max: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { fee_bps: 100, hold: 600, notice: 60, half_life_days: 90 }
    }
}

impl Params {
    /// Checks the bounds of the constructor.
    ///
    /// # Errors
    /// The first parameter outside its bounds.
    pub fn check(&self) -> Result<(), ParamsError> {
        let bounds = [
            ("fee_bps", u32::from(self.fee_bps), 10, 500),
            ("hold", self.hold, 60, 3_600),
            ("notice", self.notice, 0, self.hold.min(600)),
            ("half_life_days", u32::from(self.half_life_days), 7, 365),
        ];
        match bounds.into_iter().find(|(_, value, min, max)| !(min..=max).contains(&value)) {
            Some((name, value, min, max)) => Err(ParamsError { name, value, min, max }),
            None => Ok(()),
        }
    }

    /// Fee for one second of a rate, in base units, rounded up.
    pub fn fee_per_second(&self, rate: u64) -> u64 {
        let fee = u128::from(rate).saturating_mul(u128::from(self.fee_bps)).div_ceil(10_000);
        // Fits: fee_bps ≤ 10^4 in any deployed Market; a nonsensical fee takes all.
        u64::try_from(fee).unwrap_or(rate).min(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_bounds_and_others_named() {
        assert_eq!(Params::default().check(), Ok(()));
        let high_notice = Params { notice: 61, hold: 60, ..Params::default() };
        assert_eq!(high_notice.check(), Err(ParamsError { name: "notice", value: 61, min: 0, max: 60 }));
        assert_eq!(Params { fee_bps: 9, ..Params::default() }.check().map_err(|e| e.name), Err("fee_bps"));
        assert_eq!(
            Params { half_life_days: 366, ..Params::default() }.check().map_err(|e| e.name),
            Err("half_life_days")
        );
    }

    #[test]
    fn fees_round_up() {
        let params = Params::default();
        assert_eq!(params.fee_per_second(1), 1);
        assert_eq!(params.fee_per_second(100), 1);
        assert_eq!(params.fee_per_second(101), 2);
        assert_eq!(params.fee_per_second(u64::MAX), u64::MAX / 100 + 1);
    }
}
