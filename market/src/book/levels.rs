//! Numbers as a few levels: what the index keeps one row of bits for.
//!
//! A level is half an octave: 0, 1, 2, 3, 4, 6, 8, 12, 16, … times the scale's lowest value; of processors,
//! memory and disk, which every bid names, an eighth of one: …, 8, 9, 10, 11, … 16, 18, 20, …. Levels never
//! fall as numbers rise, so that "have ≥ need" implies "level of have ≥ level of need": rows of levels keep
//! out nothing that fits, and the few that are let in without fitting are tested one by one.

use crate::fit::Terms;
use crate::orders::{Bid, Spec};
use crate::resources::Resources;

/// How many numbers the index looks at.
pub(super) const DIMS: usize = 12;

/// One level for each number; 0 asks for nothing.
pub(super) type Levels = [u8; DIMS];

/// Values at or below `low` have level 0 (1 if `low` is 0 and they are not), values at or above `high` the top one.
struct Scale {
    low: u64,
    high: u64,
    /// An octave has 2^bits levels.
    bits: u32,
}

const VCPUS: Scale = Scale { low: 0, high: 1 << 10, bits: VCPU_BITS };
const MEMORY_MIB: Scale = Scale { low: 256, high: 1 << 22, bits: 3 };
const DISK_GIB: Scale = Scale { low: 4, high: 1 << 18, bits: 3 };
const GPUS: Scale = Scale { low: 0, high: 1 << 6, bits: 1 };
const DISK_IOPS: Scale = Scale { low: 64, high: 1 << 20, bits: 1 };
const NET_MBPS: Scale = Scale { low: 8, high: 1 << 18, bits: 1 };
const UNITS: Scale = Scale { low: 1, high: 1 << 12, bits: 1 };
const BOND_SECONDS: Scale = Scale { low: 16, high: 1 << 17, bits: 1 };
const DURATION_SECONDS: Scale = Scale { low: 256, high: 1 << 25, bits: 1 };
const POINTS: Scale = Scale { low: 0, high: 1 << 40, bits: 1 };
/// Base units per second: 2^32 is 0.37 CTK in ten years.
const RATE: Scale = Scale { low: 1 << 32, high: u64::MAX, bits: 1 };

/// Octaves of processors have 8 levels each.
const VCPU_BITS: u32 = 3;

impl Scale {
    fn up(&self, value: u64) -> u8 {
        self.level(value) - self.level(self.low)
    }

    /// The same, falling.
    fn down(&self, value: u64) -> u8 {
        self.level(self.high) - self.level(value)
    }

    /// 0 for 0, 1 for 1, and so many more for each octave. Levels between small whole numbers are nobody's.
    fn level(&self, value: u64) -> u8 {
        let value = value.clamp(self.low, self.high);
        let Some(octave) = value.checked_ilog2() else { return 0 };
        // The bits below the highest one.
        let part = match octave.checked_sub(self.bits) {
            Some(surplus) => value >> surplus,
            None => value << (self.bits - octave),
        } & ((1 << self.bits) - 1);
        // At most 178, of 2^22 with 8 levels an octave; 128 of 2^64 with two.
        u8::try_from(u64::from(octave << self.bits) + part + 1).unwrap_or(u8::MAX)
    }
}

/// What an order has, or what is wanted of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measure {
    pub(super) levels: Levels,
    /// What the first level stands for, exactly: many bids want a little more than the largest machine that there is.
    pub(super) size: u32,
}

impl Measure {
    fn new(size: u32, resources: [u8; 6], terms: [u8; 6]) -> Self {
        Self { levels: std::array::from_fn(|i| if i < 6 { resources[i] } else { terms[i - 6] }), size }
    }

    /// Whether an order may have this where none has more than `top`. Without a branch for each level, so
    /// that it is a comparison of vectors.
    pub(super) fn is_within(&self, top: &Self) -> bool {
        let levels = self.levels.iter().zip(&top.levels);
        self.size <= top.size && levels.fold(true, |all, (level, top)| all & (level <= top))
    }

    /// The octave of the first level: 0 for none.
    pub(super) fn octave(&self) -> usize {
        usize::from(self.levels[0]).div_ceil(1 << VCPU_BITS)
    }

    /// Whether there are graphics processors.
    pub(super) fn has_gpus(&self) -> bool {
        self.levels[3] > 0
    }
}

fn resources(unit: &Resources, level: impl Fn(&Scale, u64) -> u8) -> [u8; 6] {
    let scales = [VCPUS, MEMORY_MIB, DISK_GIB, GPUS, DISK_IOPS, NET_MBPS];
    let values = unit.fields().map(|(_, value)| u64::from(value));
    std::array::from_fn(|i| level(&scales[i], values[i]))
}

/// What an offer has. `units` are those that its provider can lock the bond of.
pub(super) fn of_offer(terms: &Terms, units: u32, points: u64) -> Measure {
    let has = [
        UNITS.up(units.into()),
        BOND_SECONDS.up(terms.bond_seconds.into()),
        DURATION_SECONDS.up(terms.max_duration.into()),
        DURATION_SECONDS.down(terms.min_duration.into()),
        POINTS.up(points),
        0,
    ];
    Measure::new(terms.unit.vcpus, resources(&terms.unit, Scale::up), has)
}

/// What a bid wants of an offer's [`of_offer`].
pub(super) fn wanted_by(bid: &Bid, spec: &Spec) -> Measure {
    let wants = [
        UNITS.up(spec.units.into()),
        BOND_SECONDS.up(bid.min_bond_seconds.into()),
        DURATION_SECONDS.up(bid.duration.into()),
        DURATION_SECONDS.down(bid.duration.into()),
        POINTS.up(bid.min_points),
        0,
    ];
    Measure::new(spec.unit.vcpus, resources(&spec.unit, Scale::up), wants)
}

/// How undemanding a bid is, and what it pays for a unit.
pub(super) fn of_bid(bid: &Bid, spec: &Spec) -> Measure {
    let is = [
        UNITS.down(spec.units.into()),
        BOND_SECONDS.down(bid.min_bond_seconds.into()),
        DURATION_SECONDS.down(bid.duration.into()),
        DURATION_SECONDS.up(bid.duration.into()),
        POINTS.down(bid.min_points),
        RATE.up(bid.max_rate.checked_div(spec.units.into()).unwrap_or(u64::MAX)),
    ];
    Measure::new(u32::MAX - spec.unit.vcpus, resources(&spec.unit, Scale::down), is)
}

/// How undemanding a bid must be, and what it must pay, for an offer to serve it: compare [`of_bid`].
pub(super) fn served_by(terms: &Terms, units: u32, points: u64) -> Measure {
    let serves = [
        UNITS.down(units.into()),
        BOND_SECONDS.down(terms.bond_seconds.into()),
        DURATION_SECONDS.down(terms.max_duration.into()),
        DURATION_SECONDS.up(terms.min_duration.into()),
        POINTS.down(points),
        RATE.up(terms.price),
    ];
    Measure::new(u32::MAX - terms.unit.vcpus, resources(&terms.unit, Scale::down), serves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_never_fall() {
        let edges =
            (0..64).flat_map(|bit| [1_u64 << bit, (1_u64 << bit).saturating_sub(1), 3 << bit.min(61)]);
        let mut values: Vec<u64> = edges.chain(0..600).chain([u64::MAX]).collect();
        values.sort_unstable();
        for scale in [VCPUS, MEMORY_MIB, UNITS, DURATION_SECONDS, POINTS, RATE] {
            assert!(values.is_sorted_by_key(|value| scale.up(*value)));
            assert!(values.iter().rev().is_sorted_by_key(|value| scale.down(*value)));
            assert_eq!((scale.up(0), scale.down(u64::MAX)), (0, 0));
        }
    }

    #[test]
    fn sizes_that_machines_have_get_levels_of_their_own() {
        let sizes = [512, 1_024, 1_536, 2_048, 3_072, 4_096, 6_144, 8_192, 12_288, 16_384, 1 << 20];
        let levels: Vec<u8> = sizes.iter().map(|size| MEMORY_MIB.up(*size)).collect();
        assert!(levels.is_sorted_by(|a, b| a < b), "{levels:?}");
        assert_eq!([0, 1, 2, 3, 4].map(|vcpus| VCPUS.up(vcpus)), [0, 1, 9, 13, 17]);
        let memory = [8_u64, 9, 10, 11, 12, 14, 15, 16, 20, 24, 28].map(|gib| MEMORY_MIB.up(gib * 1_024));
        assert!(memory.is_sorted_by(|a, b| a < b), "{memory:?}");
    }

    #[test]
    fn octaves_of_processors_are_told_by_their_levels() {
        let octave = |vcpus| Measure::new(0, [VCPUS.up(vcpus), 0, 0, 0, 0, 0], [0; 6]).octave();
        assert_eq!([0, 1, 2, 3, 4, 7, 8, 15, 16, 1_023].map(octave), [0, 1, 2, 2, 3, 3, 4, 4, 5, 10]);
    }
}
