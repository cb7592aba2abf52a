//! What one unit of an offer is made of.

use serde::{Deserialize, Serialize};

/// An amount of capacity: the indivisible unit of an offer, a need of a bid, or what a host has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Disk in GiB.
    #[serde(default)]
    pub disk_gib: u32,
    /// Whole graphics processors.
    #[serde(default)]
    pub gpus: u32,
    /// Disk operations per second that are assured; 0 promises nothing.
    #[serde(default)]
    pub disk_iops: u32,
    /// Network throughput in megabits per second that is assured; 0 promises nothing.
    #[serde(default)]
    pub net_mbps: u32,
}

impl Resources {
    /// Whether every field is at least what `need` asks for.
    pub fn covers(&self, need: &Resources) -> bool {
        self.vcpus >= need.vcpus
            && self.memory_mib >= need.memory_mib
            && self.disk_gib >= need.disk_gib
            && self.gpus >= need.gpus
            && self.disk_iops >= need.disk_iops
            && self.net_mbps >= need.net_mbps
    }

    /// `units` times as much; `None` where a field does not fit 32 bits.
    pub fn checked_mul(&self, units: u32) -> Option<Resources> {
        self.combine(&Resources::default(), |have, _| have.checked_mul(units))
    }

    /// The sum, field by field; `None` where a field does not fit 32 bits.
    pub fn checked_add(&self, other: &Resources) -> Option<Resources> {
        self.combine(other, u32::checked_add)
    }

    /// The difference, field by field; `None` where `other` has more of something.
    pub fn checked_sub(&self, other: &Resources) -> Option<Resources> {
        self.combine(other, u32::checked_sub)
    }

    /// How many whole units of `unit` fit in here; `u32::MAX` for an empty unit.
    pub fn units_of(&self, unit: &Resources) -> u32 {
        let fits = self.fields().into_iter().zip(unit.fields());
        fits.filter_map(|((_, have), (_, need))| have.checked_div(need)).min().unwrap_or(u32::MAX)
    }

    /// Whether every field is 0.
    pub fn is_empty(&self) -> bool {
        *self == Resources::default()
    }

    /// Name and value of every field, in the order of the EIP-712 type.
    pub fn fields(&self) -> [(&'static str, u32); 6] {
        [
            ("vcpus", self.vcpus),
            ("memory_mib", self.memory_mib),
            ("disk_gib", self.disk_gib),
            ("gpus", self.gpus),
            ("disk_iops", self.disk_iops),
            ("net_mbps", self.net_mbps),
        ]
    }

    fn combine(&self, other: &Resources, op: impl Fn(u32, u32) -> Option<u32>) -> Option<Resources> {
        Some(Resources {
            vcpus: op(self.vcpus, other.vcpus)?,
            memory_mib: op(self.memory_mib, other.memory_mib)?,
            disk_gib: op(self.disk_gib, other.disk_gib)?,
            gpus: op(self.gpus, other.gpus)?,
            disk_iops: op(self.disk_iops, other.disk_iops)?,
            net_mbps: op(self.net_mbps, other.net_mbps)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Resources =
        Resources { vcpus: 1, memory_mib: 512, disk_gib: 4, gpus: 0, disk_iops: 0, net_mbps: 0 };
    const LARGE: Resources =
        Resources { vcpus: 4, memory_mib: 1024, disk_gib: 40, gpus: 0, disk_iops: 9, net_mbps: 9 };

    #[test]
    fn covers_wants_every_field() {
        assert!(LARGE.covers(&SMALL));
        assert!(!SMALL.covers(&LARGE));
        assert!(!LARGE.covers(&Resources { gpus: 1, ..SMALL }));
    }

    #[test]
    fn arithmetic_refuses_overflow_and_debt() {
        assert_eq!(SMALL.checked_mul(2).map(|r| r.memory_mib), Some(1024));
        assert_eq!(LARGE.checked_mul(u32::MAX), None);
        assert_eq!(SMALL.checked_sub(&LARGE), None);
        assert_eq!(LARGE.checked_sub(&SMALL).and_then(|rest| rest.checked_add(&SMALL)), Some(LARGE));
    }

    #[test]
    fn units_are_limited_by_the_scarcest_field() {
        assert_eq!(LARGE.units_of(&SMALL), 2);
        assert_eq!(SMALL.units_of(&LARGE), 0);
    }
}
