//! Whether an order fits this host: ever, and now.

use sublet_adapter::support::resources_text as text;
use sublet_adapter::{AdapterError, LeaseOrder};
use sublet_market::{Manifest, Resources, Spec};

use crate::config::HypervisorConfig;
use crate::image::{self, Image};

/// The most processors that QEMU's q35 machine takes.
const MAX_VCPUS: u32 = 255;

/// A machine that has just booted takes some MiB; with less than this it may not come up.
const LEAST_FREE_BYTES: u64 = 32 << 20;

/// What a fitting order comes to.
#[derive(Debug)]
pub(crate) struct Fit {
    pub(crate) total: Resources,
    pub(crate) image: Image,
}

/// Whether an order could run on this host if it were idle.
pub(crate) fn fit(
    config: &HypervisorConfig,
    unit: &Resources,
    units: u32,
    manifest: &Manifest,
) -> Result<Fit, AdapterError> {
    manifest.check().map_err(|error| {
        AdapterError::permanent(format!("the manifest is not well-formed: {error}"), "correct the manifest")
    })?;
    let image = image::load(&config.images_dir, &manifest.image)?;
    if unit.gpus != 0 {
        return Err(AdapterError::permanent("this host passes no gpus to machines", "ask for gpus = 0"));
    }
    let Some(total) = unit.checked_mul(units).filter(|total| config.capacity.covers(total)) else {
        let problem = format!("{units} × ({}) is more than this host leases", text(unit));
        return Err(AdapterError::permanent(problem, format!("ask for at most {}", text(&config.capacity))));
    };
    let least = Resources {
        vcpus: 1,
        memory_mib: image.min_memory_mib,
        disk_gib: image.min_disk_gib,
        ..Resources::default()
    };
    if !total.covers(&least) {
        let problem = format!("{} is too little for image {:?}", text(&total), manifest.image);
        return Err(AdapterError::permanent(problem, format!("ask for at least {}", text(&least))));
    }
    if total.vcpus > MAX_VCPUS {
        let problem = format!("one machine cannot have {} vcpus", total.vcpus);
        return Err(AdapterError::permanent(problem, format!("ask for at most {MAX_VCPUS}")));
    }
    Ok(Fit { total, image })
}

/// [`fit`] for what a bid says, and that its spec speaks of this manifest.
pub(crate) fn fit_spec(
    config: &HypervisorConfig,
    spec: &Spec,
    manifest: &Manifest,
) -> Result<(), AdapterError> {
    fit(config, &spec.unit, spec.units, manifest)?;
    if manifest.hash().ok() == Some(spec.manifest) {
        return Ok(());
    }
    Err(AdapterError::permanent(
        "the manifest is not the one that the spec names",
        "send the manifest whose hash is in the spec",
    ))
}

/// Whether the host's disk has space for one more machine to begin with. Its own disk is promised whole and
/// grows as it is written: what that takes in the end is the operator's to reckon with.
pub(crate) fn check_disk(free_bytes: Option<u64>) -> Result<(), AdapterError> {
    let Some(free) = free_bytes.filter(|free| *free < LEAST_FREE_BYTES) else { return Ok(()) };
    let problem = format!("the disk under state_dir is full: {} MiB are free", free >> 20);
    Err(AdapterError::retryable(problem, "free some space; nothing new is accepted until then"))
}

/// Whether there is room for one more beside what the leases that are here hold.
pub(crate) fn check_room(
    capacity: &Resources,
    held: impl IntoIterator<Item = Resources>,
    order: &LeaseOrder,
    need: &Resources,
) -> Result<(), AdapterError> {
    let held = held.into_iter().try_fold(Resources::default(), |sum, one| sum.checked_add(&one));
    let free = held.and_then(|held| capacity.checked_sub(&held));
    if free.is_some_and(|free| free.covers(need)) {
        return Ok(());
    }
    let problem = match free {
        Some(free) => format!("lease {} needs {}, but only {} is free", order.lease, text(need), text(&free)),
        None => "this host has leased all its capacity".to_owned(),
    };
    Err(AdapterError::quota(problem, "wait until another lease ends, or raise the adapter's capacity"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::write_image;
    use alloy_primitives::{Address, B256};
    use sublet_adapter::ErrorKind;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl a@b";

    fn resources(vcpus: u32, memory_mib: u32, disk_gib: u32) -> Resources {
        Resources { vcpus, memory_mib, disk_gib, ..Resources::default() }
    }

    fn host() -> (tempfile::TempDir, HypervisorConfig) {
        let dir = tempfile::tempdir().unwrap();
        write_image(dir.path(), "debian-guest");
        let config = HypervisorConfig::new("/x".into(), dir.path().to_owned(), resources(4, 1024, 10));
        (dir, config)
    }

    fn manifest() -> Manifest {
        let keys = vec![KEY.to_owned()];
        Manifest {
            salt: B256::ZERO,
            image: "debian-guest".to_owned(),
            ssh_authorized_keys: keys,
            disk_of: None,
        }
    }

    #[test]
    fn units_multiply_and_the_whole_capacity_fits() {
        let (_dir, config) = host();
        let fit = fit(&config, &resources(2, 512, 5), 2, &manifest()).unwrap();
        assert_eq!(fit.total, config.capacity);
    }

    #[test]
    fn misfits_say_what_would_fit() {
        let (_dir, config) = host();
        let cases = [
            (resources(4, 1025, 10), 1, "at most 4 vcpus, 1024 MiB, 10 GiB"),
            (resources(1, 95, 1), 1, "at least 1 vcpus, 96 MiB, 1 GiB"),
            (resources(0, 96, 1), 1, "at least 1 vcpus"),
            (resources(1, 96, 1), 0, "at least 1 vcpus"),
            (Resources { gpus: 1, ..resources(1, 96, 1) }, 1, "gpus = 0"),
        ];
        for (unit, units, remedy) in cases {
            let error = fit(&config, &unit, units, &manifest()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Permanent);
            assert!(error.remedy().contains(remedy), "{error}");
        }
    }

    #[test]
    fn a_spec_of_another_manifest_is_refused() {
        let (_dir, config) = host();
        let unit = resources(1, 96, 1);
        let mut spec =
            Spec { unit, units: 1, traits: Default::default(), manifest: manifest().hash().unwrap() };
        fit_spec(&config, &spec, &manifest()).unwrap();
        spec.manifest = B256::ZERO;
        assert_eq!(fit_spec(&config, &spec, &manifest()).unwrap_err().kind(), ErrorKind::Permanent);
    }

    #[test]
    fn a_full_disk_takes_no_order() {
        check_disk(None).unwrap();
        check_disk(Some(LEAST_FREE_BYTES)).unwrap();
        let error = check_disk(Some(LEAST_FREE_BYTES - 1)).unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("31 MiB are free"), "{error}");
    }

    #[test]
    fn room_ends_exactly_at_the_capacity() {
        let (_dir, config) = host();
        let order = LeaseOrder {
            lease: B256::ZERO,
            unit: resources(1, 512, 1),
            units: 1,
            manifest: manifest(),
            cost: 0,
            provider: Address::ZERO,
        };
        let check =
            |held: &[Resources]| check_room(&config.capacity, held.iter().copied(), &order, &order.unit);
        check(&[]).unwrap();
        check(&[resources(3, 512, 9)]).unwrap();
        assert_eq!(check(&[resources(3, 513, 9)]).unwrap_err().kind(), ErrorKind::Quota);
        assert_eq!(
            check(&[resources(4, 1024, 10), resources(4, 1024, 10)]).unwrap_err().kind(),
            ErrorKind::Quota
        );
    }
}
