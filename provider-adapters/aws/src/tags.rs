//! The tags of an instance: for the provider's bill, and all that the adapter has to know again.
//!
//! EC2 takes letters, digits, spaces and `+ - = . _ : / @` in tags, 50 of at most 256 characters each.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, keccak256};
use aws_sdk_ec2::types::{Filter, Tag};
use sublet_adapter::{AdapterError, LeaseOrder};
use sublet_market::Resources;
use sublet_market::amount::format_amount;

/// Marks everything that was started for a lease.
const ALLOCATED_BY: (&str, &str) = ("AllocatedBy", "TokenSystem");
/// What the lease was settled for in CTK, a decimal number.
const TOKEN_COST: &str = "TokenCost";
/// The name that AWS's console shows.
const NAME: &str = "Name";
const LEASE: &str = "sublet:lease";
const PROVIDER: &str = "sublet:provider";
/// The hash of what was ordered, by which a repeated order is recognised.
const ORDER: &str = "sublet:order";
/// What the lease takes of the capacity.
const RESOURCES: &str = "sublet:resources";
const USER: &str = "sublet:user";
const SSH_PORT: &str = "sublet:ssh-port";
/// The public half of the host key.
const HOST_KEY: &str = "sublet:host-key";
/// The launch time (Unix seconds) of the start that was seen to be ready; a later start is not ready yet.
const READY: &str = "sublet:ready";

/// What an instance's tags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) lease: B256,
    pub(crate) provider: Address,
    pub(crate) order: B256,
    pub(crate) total: Resources,
    pub(crate) user: String,
    pub(crate) ssh_port: u16,
    pub(crate) host_key: String,
    pub(crate) ready_since: Option<i64>,
}

/// The hash of all that a machine is made from.
pub(crate) fn order_hash(order: &LeaseOrder) -> Result<B256, AdapterError> {
    let Resources { vcpus, memory_mib, disk_gib, gpus, disk_iops, net_mbps } = order.unit;
    let numbers = [vcpus, memory_mib, disk_gib, gpus, disk_iops, net_mbps, order.units];
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    bytes.extend_from_slice(order.manifest_hash()?.as_slice());
    Ok(keccak256(bytes))
}

impl Labels {
    /// The tags of a new instance and its volumes.
    pub(crate) fn tags(&self, cost: u128) -> Vec<Tag> {
        let ctk = format_amount(cost);
        let pairs = [
            (ALLOCATED_BY.0, ALLOCATED_BY.1.to_owned()),
            (TOKEN_COST, ctk.trim_end_matches(" CTK").to_owned()),
            (NAME, format!("sublet-{}", &hex::encode(self.lease)[..8])),
            (LEASE, lease_text(self.lease)),
            (PROVIDER, self.provider.to_string()),
            (ORDER, hex::encode(self.order)),
            (RESOURCES, write_resources(&self.total)),
            (USER, self.user.clone()),
            (SSH_PORT, self.ssh_port.to_string()),
            (HOST_KEY, self.host_key.clone()),
        ];
        pairs.into_iter().map(|(key, value)| tag(key, value)).collect()
    }

    /// Reads them back; the error names the first tag that is missing or senseless.
    pub(crate) fn read(tags: &[Tag]) -> Result<Self, String> {
        let tags: BTreeMap<&str, &str> =
            tags.iter().filter_map(|tag| Some((tag.key()?, tag.value()?))).collect();
        let get = |key: &'static str| tags.get(key).copied().ok_or_else(|| format!("it has no tag {key}"));
        let bad = |key: &'static str| format!("its tag {key} cannot be read");
        Ok(Self {
            lease: get(LEASE)?.parse().map_err(|_| bad(LEASE))?,
            provider: get(PROVIDER)?.parse().map_err(|_| bad(PROVIDER))?,
            order: get(ORDER)?.parse().map_err(|_| bad(ORDER))?,
            total: read_resources(get(RESOURCES)?).ok_or_else(|| bad(RESOURCES))?,
            user: get(USER)?.to_owned(),
            ssh_port: get(SSH_PORT)?.parse().map_err(|_| bad(SSH_PORT))?,
            host_key: get(HOST_KEY)?.to_owned(),
            ready_since: tags.get(READY).and_then(|text| text.parse().ok()),
        })
    }
}

/// The lease that an instance says it belongs to, even if the rest of its tags is damaged.
pub(crate) fn lease_of(tags: &[Tag]) -> Option<B256> {
    tags.iter().find(|tag| tag.key() == Some(LEASE))?.value()?.parse().ok()
}

/// The tag that notes a start as ready.
pub(crate) fn ready_tag(launched: i64) -> Tag {
    tag(READY, launched.to_string())
}

/// Finds the instances of a lease, or of all leases, of a provider or of all.
pub(crate) fn filters(lease: Option<B256>, provider: Option<Address>) -> Vec<Filter> {
    let mut filters = vec![filter(ALLOCATED_BY.0, ALLOCATED_BY.1.to_owned())];
    match lease {
        Some(lease) => filters.push(filter(LEASE, lease_text(lease))),
        None => filters.push(Filter::builder().name("tag-key").values(LEASE).build()),
    }
    filters.extend(provider.map(|provider| filter(PROVIDER, provider.to_string())));
    filters
}

/// As people copy it from the command line: `0x` and 64 digits.
fn lease_text(lease: B256) -> String {
    format!("{lease:#x}")
}

fn tag(key: &str, value: String) -> Tag {
    Tag::builder().key(key).value(value).build()
}

fn filter(key: &str, value: String) -> Filter {
    Filter::builder().name(format!("tag:{key}")).values(value).build()
}

fn write_resources(resources: &Resources) -> String {
    let Resources { vcpus, memory_mib, disk_gib, gpus, disk_iops, net_mbps } = resources;
    format!(
        "vcpus={vcpus} memory_mib={memory_mib} disk_gib={disk_gib} gpus={gpus} disk_iops={disk_iops} net_mbps={net_mbps}"
    )
}

fn read_resources(text: &str) -> Option<Resources> {
    let mut resources = Resources::default();
    for word in text.split(' ') {
        let (name, number) = word.split_once('=')?;
        let field = match name {
            "vcpus" => &mut resources.vcpus,
            "memory_mib" => &mut resources.memory_mib,
            "disk_gib" => &mut resources.disk_gib,
            "gpus" => &mut resources.gpus,
            "disk_iops" => &mut resources.disk_iops,
            "net_mbps" => &mut resources.net_mbps,
            _ => return None,
        };
        *field = number.parse().ok()?;
    }
    Some(resources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels {
            lease: B256::repeat_byte(0xab),
            provider: Address::repeat_byte(0x5b),
            order: B256::repeat_byte(3),
            total: Resources { vcpus: 2, memory_mib: 512, disk_gib: 8, gpus: 1, disk_iops: 9, net_mbps: 7 },
            user: "admin".into(),
            ssh_port: 22,
            host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
                .into(),
            ready_since: None,
        }
    }

    #[test]
    fn tags_round_trip_and_keep_to_what_ec2_takes() {
        let tags = labels().tags(900_000_000_000_000_000);
        assert_eq!(Labels::read(&tags).unwrap(), labels());
        assert_eq!(lease_of(&tags), Some(labels().lease));
        let allowed = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || " +-=._:/@".contains(c));
        for tag in &tags {
            let (key, value) = (tag.key().unwrap(), tag.value().unwrap());
            assert!(
                key.len() <= 128 && value.len() <= 256 && allowed(key) && allowed(value),
                "{key}={value}"
            );
        }
        let value = |key| tags.iter().find(|tag| tag.key() == Some(key)).unwrap().value().unwrap().to_owned();
        assert_eq!(value("AllocatedBy"), "TokenSystem");
        assert_eq!(value("TokenCost"), "0.9");
        assert_eq!(value("sublet:lease"), format!("0x{}", "ab".repeat(32)));
    }

    #[test]
    fn ready_is_read_and_damage_is_named() {
        let mut tags = labels().tags(0);
        tags.push(ready_tag(1_700_000_000));
        assert_eq!(Labels::read(&tags).unwrap().ready_since, Some(1_700_000_000));
        tags.retain(|tag| tag.key() != Some(HOST_KEY));
        assert!(Labels::read(&tags).unwrap_err().contains("sublet:host-key"));
    }
}
