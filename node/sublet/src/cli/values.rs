//! Values on the command line: amounts, prices, sizes, durations, ids.

use std::{ops::RangeInclusive, path::Path};

use alloy_primitives::B256;
use anyhow::Context as _;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use libp2p::{Multiaddr, multiaddr::Protocol};
use sublet_base::phase::OnFailure;
use sublet_market::{
    Resources,
    amount::{
        format_duration, format_gib, format_mib, parse_amount, parse_duration, parse_gib, parse_mib,
        parse_rate,
    },
    limits::{
        MAX_ACTIVATE_WITHIN_SECONDS, MAX_BID_LIFE_SECONDS, MAX_BOND_SECONDS, MAX_DURATION_SECONDS,
        MIN_DURATION_SECONDS,
    },
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

/// How long a lease may be: the contract's bounds.
pub(super) fn lease_duration(text: &str) -> Result<u32, String> {
    duration_within(text, "a lease", MIN_DURATION_SECONDS..=MAX_DURATION_SECONDS, "1h")
}

/// More time for a lease.
pub(super) fn top_up(text: &str) -> Result<u32, String> {
    duration_within(text, "a top-up", 1..=MAX_DURATION_SECONDS, "10m")
}

/// A bond in time of the rate: the contract's bound.
pub(super) fn bond(text: &str) -> Result<u32, String> {
    duration_within(text, "a bond", 0..=MAX_BOND_SECONDS, "10m")
}

/// From settlement to the running machine: the contract's bound.
pub(super) fn activate_within(text: &str) -> Result<u32, String> {
    duration_within(text, "the time to activate", 1..=MAX_ACTIVATE_WITHIN_SECONDS, "5m")
}

/// How long a bid may stand: peers ignore longer ones.
pub(super) fn bid_life(text: &str) -> Result<u32, String> {
    let longest = u32::try_from(MAX_BID_LIFE_SECONDS).unwrap_or(u32::MAX);
    duration_within(text, "the life of a bid", 1..=longest, "5m")
}

/// A duration in seconds: `90s`, `2h`.
pub(super) fn duration(text: &str) -> Result<u32, String> {
    parse_duration(text).map_err(|e| e.to_string())
}

/// A duration in seconds (`90s`, `2h`) that lies within bounds; the error names them.
fn duration_within(
    text: &str,
    what: &str,
    bounds: RangeInclusive<u32>,
    example: &str,
) -> Result<u32, String> {
    let seconds = duration(text)?;
    if bounds.contains(&seconds) {
        return Ok(seconds);
    }
    let (least, most) = bounds.into_inner();
    let bound = match least {
        0 => format!("at most {}", format_duration(most.into())),
        _ => format!("from {} to {}", format_duration(least.into()), format_duration(most.into())),
    };
    Err(format!("{what} is {bound}; for example {example}"))
}

/// Where to listen: `/ip4/0.0.0.0/tcp/4001`.
pub(super) fn listen_address(text: &str) -> Result<String, String> {
    let good = |a: &Multiaddr| a.iter().any(|part| matches!(part, Protocol::Tcp(_) | Protocol::Udp(_)));
    match text.parse::<Multiaddr>() {
        Ok(address) if good(&address) => Ok(text.to_owned()),
        Ok(_) => Err("it has no port; for example /ip4/0.0.0.0/tcp/4001".into()),
        Err(e) => Err(format!("it is not a multiaddr ({e}); for example /ip4/0.0.0.0/tcp/4001")),
    }
}

/// A peer to meet: `/ip4/192.0.2.1/tcp/4001/p2p/12D3…`.
pub(super) fn peer_address(text: &str) -> Result<String, String> {
    match text.parse::<Multiaddr>() {
        Ok(address) if !address.is_empty() => Ok(text.to_owned()),
        _ => Err("it is not a multiaddr; expected /ip4/ADDRESS/tcp/PORT/p2p/PEERID, as `sublet node status` of the \
                  peer shows it"
            .into()),
    }
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
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = "Machine")]
    vcpus: u32,
    /// Memory of one unit, for example "512MiB" or "2GiB".
    #[arg(long, default_value = "512MiB", value_parser = memory)]
    #[arg(value_name = "SIZE", help_heading = "Machine")]
    memory: u32,
    /// Disk of one unit, for example "10GiB".
    #[arg(long, default_value = "1GiB", value_parser = disk, value_name = "SIZE", help_heading = "Machine")]
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
            format!("{} is not a file of OpenSSH public keys (did you give the private key?)", path.display())
        })?;
    }
    anyhow::ensure!(!keys.is_empty(), "{} holds no key", path.display());
    Ok(keys)
}

/// The choices of `--on-failure`, each explained in the help.
pub(super) fn on_failure() -> impl TypedValueParser<Value = OnFailure> {
    let choices = OnFailure::ALL.map(|(choice, help)| PossibleValue::new(choice.as_str()).help(help));
    PossibleValuesParser::new(choices).try_map(|text| text.parse::<OnFailure>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_named_when_they_are_broken() {
        for (said, bound) in [
            (bid_life("11m"), "from 1s to 10m"),
            (bid_life("0s"), "from 1s to 10m"),
            (lease_duration("4m"), "from 5m to 366d"),
            (lease_duration("367d"), "from 5m to 366d"),
            (bond("25h"), "at most 1d"),
            (activate_within("31m"), "from 1s to 30m"),
        ] {
            let said = said.unwrap_err();
            assert!(said.contains(bound) && said.contains("for example"), "{said}");
        }
        assert_eq!(bid_life("10m"), Ok(600));
        assert_eq!(bond("0s"), Ok(0));
        assert_eq!(lease_duration("366d"), Ok(MAX_DURATION_SECONDS));
    }

    #[test]
    fn addresses_are_checked_before_they_are_written() {
        for wrong in ["somewhere", "127.0.0.1:4001", "/ip4/127.0.0.1"] {
            assert!(listen_address(wrong).unwrap_err().contains("/ip4/0.0.0.0/tcp/4001"));
        }
        listen_address("/ip4/0.0.0.0/udp/4001/quic-v1").unwrap();
        for wrong in ["", "peer.example.org:4001"] {
            assert!(peer_address(wrong).unwrap_err().contains("/p2p/PEERID"));
        }
    }
}
