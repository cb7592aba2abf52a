//! Amounts of what machines are made of, in base units.

use prometheus::IntGauge;
use sublet_engine::counters::Register;
use sublet_market::Resources;

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;

/// Amounts of what machines are made of.
pub(super) struct ResourceGauges {
    vcpus: IntGauge,
    memory: IntGauge,
    disk: IntGauge,
    gpus: IntGauge,
}

impl ResourceGauges {
    pub(super) fn new(new: Register<'_>, of: &str, what: &str) -> prometheus::Result<Self> {
        let gauge =
            |unit: &str, name: &str| new.gauge(&format!("sublet_{of}_{unit}"), &format!("{name} {what}"));
        Ok(Self {
            vcpus: gauge("vcpus", "Virtual CPUs")?,
            memory: gauge("memory_bytes", "Memory")?,
            disk: gauge("disk_bytes", "Disk space")?,
            gpus: gauge("gpus", "GPUs")?,
        })
    }

    pub(super) fn show(&self, room: &Resources) {
        self.vcpus.set(room.vcpus.into());
        self.memory.set(i64::from(room.memory_mib) * MIB);
        self.disk.set(i64::from(room.disk_gib) * GIB);
        self.gpus.set(room.gpus.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_in_base_units() {
        let registry = prometheus::Registry::new();
        let gauges = ResourceGauges::new(Register(&registry), "x", "y").unwrap();
        gauges.show(&Resources { vcpus: 2, memory_mib: u32::MAX, disk_gib: 3, ..Resources::default() });
        assert_eq!(gauges.memory.get(), 4_503_599_626_321_920);
        assert_eq!(gauges.disk.get(), 3_221_225_472);
    }
}
