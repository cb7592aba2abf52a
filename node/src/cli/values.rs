//! Values on the command line: amounts, prices, sizes, durations, ids.

use std::path::Path;

use alloy_primitives::B256;
use anyhow::Context as _;
use sublet_market::{
    Resources,
    amount::{format_gib, format_mib, parse_amount, parse_duration, parse_gib, parse_mib, parse_rate},
};

/// An amount: `2.5 CTK`, or `2.5` for short.
pub(super) fn amount(text: &str) -> Result<u128, String> {
    let bare = text.trim().bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let text = if bare { format!("{} CTK", text.trim()) } else { text.to_owned() };
    parse_amount(&text).map_err(|e| e.to_string())
}

/// A price: `0.0025 CTK/s`, `9 CTK/h`.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    parse_rate(text).map_err(|e| e.to_string())
}

/// A duration in seconds: `90s`, `2h`.
pub(super) fn duration(text: &str) -> Result<u32, String> {
    parse_duration(text).map_err(|e| e.to_string())
}

/// Memory in MiB: `512MiB`.
pub(super) fn memory(text: &str) -> Result<u32, String> {
    parse_mib(text).map_err(|e| e.to_string())
}

/// Disk in GiB: `10GiB`.
pub(super) fn disk(text: &str) -> Result<u32, String> {
    parse_gib(text).map_err(|e| e.to_string())
}

/// A lease or bid id, with or without `0x`.
pub(super) fn id(text: &str) -> Result<B256, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is not an id: expected 64 hexadecimal digits, as the lists show them"))
}

/// The size of one unit, as flags.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct UnitArgs {
    /// Virtual CPUs of one unit.
    #[arg(long, default_value_t = 1)]
    vcpus: u32,
    /// Memory of one unit.
    #[arg(long, default_value = "512MiB", value_parser = memory)]
    memory: u32,
    /// Disk of one unit.
    #[arg(long, default_value = "1GiB", value_parser = disk)]
    disk: u32,
}

impl UnitArgs {
    pub(super) fn resources(self) -> Resources {
        Resources { vcpus: self.vcpus, memory_mib: self.memory, disk_gib: self.disk, ..Resources::default() }
    }
}

/// `1 vCPU, 512MiB, 1GiB disk`
pub(super) fn describe(unit: &Resources) -> String {
    format!("{} vCPU, {}, {} disk", unit.vcpus, format_mib(unit.memory_mib), format_gib(unit.disk_gib))
}

/// Writes seconds of chain time as time of day, UTC.
pub(super) fn time(seconds: u64) -> String {
    let since_epoch = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds));
    since_epoch.map_or_else(|| seconds.to_string(), |at| humantime::format_rfc3339_seconds(at).to_string())
}

/// The public keys of a file, one a line.
pub(super) fn public_keys(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("cannot read the ssh public key {}: give one with --ssh-key", path.display())
    })?;
    let keys: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(ToOwned::to_owned)
        .collect();
    for key in &keys {
        ssh_key::PublicKey::from_openssh(key).with_context(|| {
            format!(
                "{} holds something else than OpenSSH public keys (did you give the private key?)",
                path.display()
            )
        })?;
    }
    anyhow::ensure!(!keys.is_empty(), "{} holds no key", path.display());
    Ok(keys)
}
