//! Addresses and names that peers claim, made safe to dial and to show.

use std::net::IpAddr;

use libp2p::{Multiaddr, multiaddr::Protocol};

/// Addresses taken from one peer's identify message; a host has a handful.
pub const MAX_ADDRESSES: usize = 16;

/// Characters of a peer's agent string that are kept.
const MAX_AGENT_CHARS: usize = 64;

/// The addresses that are worth dialling from here, for a peer that we see at `seen_at`. Loopback addresses mean
/// another host on every host, so they count only for peers on this one, as on a development network.
pub(super) fn dialable(addresses: Vec<Multiaddr>, seen_at: &Multiaddr) -> impl Iterator<Item = Multiaddr> {
    let same_host = is_loopback(seen_at);
    let usable = move |address: &Multiaddr| match address.iter().next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified() && (same_host || !ip.is_loopback()),
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified() && (same_host || !ip.is_loopback()),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)) => true,
        _ => false,
    };
    addresses.into_iter().filter(usable).take(MAX_ADDRESSES)
}

/// Where an address is, as far as one host holds it: an IPv4 address, or the 64 bits of an IPv6 network.
/// Nothing for loopback: all of a test network may be there.
pub(super) fn host(address: &Multiaddr) -> Option<u64> {
    let ip = match address.iter().next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip).to_canonical(),
        _ => return None,
    };
    match ip {
        ip if ip.is_loopback() => None,
        IpAddr::V4(ip) => Some(u64::from(u32::from(ip))),
        IpAddr::V6(ip) => u64::try_from(u128::from(ip) >> 64).ok(),
    }
}

fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

/// A stranger's text, fit for a terminal.
pub(super) fn clean_agent(agent: &str) -> String {
    agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn loopback_addresses_count_only_on_the_same_host() {
        let said = parse(&["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.2/tcp/1", "/ip4/0.0.0.0/tcp/1"]);
        let near: Vec<_> = dialable(said.clone(), &"/ip4/127.0.0.1/tcp/9".parse().unwrap()).collect();
        let far: Vec<_> = dialable(said, &"/ip4/203.0.113.5/tcp/9".parse().unwrap()).collect();
        assert_eq!(near, parse(&["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.2/tcp/1"]));
        assert_eq!(far, parse(&["/ip4/192.168.1.2/tcp/1"]));
    }

    #[test]
    fn one_host_is_told_from_another() {
        let host = |text: &str| host(&text.parse().unwrap());
        assert_eq!(host("/ip4/192.0.2.1/tcp/1"), host("/ip6/::ffff:192.0.2.1/udp/2/quic-v1"));
        assert_ne!(host("/ip4/192.0.2.1/tcp/1"), host("/ip4/192.0.2.2/tcp/1"));
        assert_eq!(host("/ip6/2001:db8::1/tcp/1"), host("/ip6/2001:db8::ffff:1/tcp/1"));
        assert_ne!(host("/ip6/2001:db8::1/tcp/1"), host("/ip6/2001:db8:0:1::1/tcp/1"));
        for nobody in
            ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip6/::ffff:127.0.0.1/tcp/1", "/dns/a.example/tcp/1"]
        {
            assert_eq!(host(nobody), None);
        }
    }

    #[test]
    fn an_agent_cannot_write_to_the_terminal() {
        assert_eq!(clean_agent("sublet/0.1\u{1b}[31m\n"), "sublet/0.1[31m");
        assert_eq!(clean_agent(&"x".repeat(1000)).len(), MAX_AGENT_CHARS);
    }
}
