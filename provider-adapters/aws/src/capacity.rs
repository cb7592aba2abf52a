//! Whether an order fits this account's settings: ever, and now.

use sublet_adapter::support::resources_text as text;
use sublet_adapter::{AdapterError, LeaseOrder};
use sublet_market::{Manifest, Resources, Spec};

use crate::config::{AwsConfig, AwsImage};
use crate::userdata;

/// What a fitting order comes to.
#[derive(Debug)]
pub(crate) struct Fit<'a> {
    pub(crate) total: Resources,
    pub(crate) image: &'a AwsImage,
    pub(crate) instance_type: &'a str,
}

/// Whether an order could run if no other lease did.
pub(crate) fn fit<'a>(
    config: &'a AwsConfig,
    unit: &Resources,
    units: u32,
    manifest: &Manifest,
) -> Result<Fit<'a>, AdapterError> {
    manifest.check().map_err(|error| {
        AdapterError::permanent(format!("the manifest is not well-formed: {error}"), "correct the manifest")
    })?;
    userdata::check_size(&manifest.ssh_authorized_keys)?;
    let image = config.images.get(&manifest.image).ok_or_else(|| {
        let names: Vec<_> = config.images.keys().map(String::as_str).collect();
        let problem = format!("there is no image {:?} here", manifest.image);
        AdapterError::permanent(problem, format!("choose one of: {}", names.join(", ")))
    })?;
    if unit.vcpus == 0 || unit.memory_mib == 0 || unit.disk_gib == 0 || units == 0 {
        return Err(AdapterError::permanent(
            "the order has no vcpus, no memory, no disk or no units",
            "ask for at least one of each",
        ));
    }
    let most = capacity(config);
    let Some(total) = unit.checked_mul(units).filter(|total| most.covers(total)) else {
        let problem = format!("{units} × ({}) is more than is leased here", text(unit));
        return Err(AdapterError::permanent(problem, format!("ask for at most {}", text(&most))));
    };
    let fitting = config.types().filter(|(_, resources)| resources.covers(&total));
    let size = |r: &Resources| (r.gpus, r.vcpus, r.memory_mib, r.net_mbps, r.disk_iops, r.disk_gib);
    let Some((instance_type, _)) = fitting.min_by_key(|(name, resources)| (size(resources), *name)) else {
        let types: Vec<_> = config.types().map(|(name, r)| format!("{name} ({})", text(r))).collect();
        let problem = format!("no single machine here has {}", text(&total));
        return Err(AdapterError::permanent(problem, format!("ask for what fits {}", types.join(" or "))));
    };
    Ok(Fit { total, image, instance_type })
}

/// [`fit`] for what a bid says, and that its spec speaks of this manifest.
pub(crate) fn fit_spec(config: &AwsConfig, spec: &Spec, manifest: &Manifest) -> Result<(), AdapterError> {
    fit(config, &spec.unit, spec.units, manifest)?;
    if manifest.hash().ok() == Some(spec.manifest) {
        return Ok(());
    }
    Err(AdapterError::permanent(
        "the manifest is not the one that the spec names",
        "send the manifest whose hash is in the spec",
    ))
}

/// All that leases may use together: `capacity`, or `max_instances` of the largest type.
pub(crate) fn capacity(config: &AwsConfig) -> Resources {
    if let Some(capacity) = config.capacity {
        return capacity;
    }
    let number = config.max_instances.unwrap_or(0);
    let most = |field: fn(&Resources) -> u32| {
        config.types().map(|(_, resources)| field(resources)).max().unwrap_or(0).saturating_mul(number)
    };
    Resources {
        vcpus: most(|r| r.vcpus),
        memory_mib: most(|r| r.memory_mib),
        disk_gib: most(|r| r.disk_gib),
        gpus: most(|r| r.gpus),
        disk_iops: most(|r| r.disk_iops),
        net_mbps: most(|r| r.net_mbps),
    }
}

/// Whether there is room for one more beside what the leases that are here hold.
pub(crate) fn check_room(
    config: &AwsConfig,
    held: &[Resources],
    order: &LeaseOrder,
    need: &Resources,
) -> Result<(), AdapterError> {
    let full = |problem: String| {
        let remedy = "wait until another lease ends, or raise capacity or max_instances in [provider.aws]";
        Err(AdapterError::quota(problem, remedy))
    };
    if let Some(max) = config.max_instances
        && u32::try_from(held.len()).unwrap_or(u32::MAX) >= max
    {
        return full(format!("lease {} would be one more than max_instances = {max}", order.lease));
    }
    let taken = held.iter().try_fold(Resources::default(), |sum, one| sum.checked_add(one));
    match taken.and_then(|taken| capacity(config).checked_sub(&taken)) {
        Some(free) if free.covers(need) => Ok(()),
        Some(free) => {
            full(format!("lease {} needs {}, but only {} is free", order.lease, text(need), text(&free)))
        }
        None => full("all capacity is leased".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256};
    use std::collections::BTreeMap;
    use sublet_adapter::ErrorKind;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl a@b";

    fn resources(vcpus: u32, memory_mib: u32, disk_gib: u32) -> Resources {
        Resources { vcpus, memory_mib, disk_gib, ..Resources::default() }
    }

    fn config() -> AwsConfig {
        let image = AwsImage { ami: "ami-1".into(), user: "admin".into(), ssh_port: 22 };
        let images = BTreeMap::from([("debian-12".to_owned(), image)]);
        let mut config = AwsConfig::new("eu-north-1".into(), images, "state".into(), 2);
        config.instance_types = BTreeMap::from([
            ("t3.micro".to_owned(), resources(2, 1024, 30)),
            ("t3.small".to_owned(), resources(2, 2048, 30)),
            ("c7i.xlarge".to_owned(), resources(4, 8192, 100)),
        ]);
        config
    }

    fn manifest() -> Manifest {
        let keys = vec![KEY.to_owned()];
        Manifest { salt: B256::ZERO, image: "debian-12".to_owned(), ssh_authorized_keys: keys, disk_of: None }
    }

    #[test]
    fn the_smallest_type_that_covers_the_order_is_taken() {
        let mut config = config();
        let chosen = |config: &AwsConfig, unit, units| {
            fit(config, &unit, units, &manifest()).map(|fit| fit.instance_type.to_owned()).unwrap()
        };
        assert_eq!(chosen(&config, resources(1, 512, 8), 1), "t3.micro");
        assert_eq!(chosen(&config, resources(1, 1024, 8), 2), "t3.small");
        assert_eq!(chosen(&config, resources(3, 512, 8), 1), "c7i.xlarge");
        config.instance_type = Some("c7i.xlarge".into());
        assert_eq!(chosen(&config, resources(1, 512, 8), 1), "c7i.xlarge");
    }

    #[test]
    fn misfits_say_what_would_fit() {
        let config = config();
        let cases = [
            (resources(5, 1024, 8), 1, "c7i.xlarge (4 vcpus"),
            (resources(4, 8192, 100), 3, "at most 8 vcpus"),
            (resources(1, 512, 0), 1, "at least one"),
            (Resources { gpus: 1, ..resources(1, 512, 8) }, 1, "at most"),
        ];
        for (unit, units, remedy) in cases {
            let error = fit(&config, &unit, units, &manifest()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Permanent);
            assert!(error.remedy().contains(remedy), "{error}");
        }
        let many = Manifest { ssh_authorized_keys: vec!["k".repeat(1024); 16], ..manifest() };
        let error = fit(&config, &resources(1, 512, 8), 1, &many).unwrap_err();
        assert!(error.remedy().contains("fewer ssh keys"), "{error}");
    }

    #[test]
    fn room_ends_at_the_number_and_at_the_capacity() {
        let mut config = config();
        let unit = resources(2, 1024, 8);
        let order = LeaseOrder {
            lease: B256::ZERO,
            unit,
            units: 1,
            manifest: manifest(),
            cost: 0,
            provider: Address::ZERO,
        };
        check_room(&config, &[unit], &order, &unit).unwrap();
        let error = check_room(&config, &[unit, unit], &order, &unit).unwrap_err();
        assert!(error.problem().contains("max_instances = 2"), "{error}");
        config.max_instances = None;
        config.capacity = Some(resources(4, 2048, 16));
        check_room(&config, &[unit], &order, &unit).unwrap();
        let error = check_room(&config, &[unit, unit], &order, &unit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Quota);
    }
}
