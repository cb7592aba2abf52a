//! Validation of configured values: each error names the key, its bounds and a valid example.

use std::{path::Path, time::Duration};

use libp2p::{Multiaddr, multiaddr::Protocol};
use sublet_market::Traits;
use sublet_p2p::MAX_ADDRESSES;

use super::{Config, ConfigError, MarketConfig, P2pSection};

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// Whether an address names a host and a port, and nothing beyond.
fn can_be_dialled(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified(),
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified(),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => true,
        _ => false,
    };
    let port = match parts.next() {
        Some(Protocol::Tcp(port)) => port != 0,
        Some(Protocol::Udp(port)) => port != 0 && parts.next() == Some(Protocol::QuicV1),
        _ => false,
    };
    host && port && parts.next().is_none()
}

impl P2pSection {
    /// The first key that makes no sense, and what would.
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        if self.listen.is_empty() {
            return Some(("p2p.listen", "needs an address, for example [\"/ip4/0.0.0.0/tcp/4001\"]"));
        }
        if self.announce.len() > MAX_ADDRESSES || !self.announce.iter().all(can_be_dialled) {
            return Some((
                "p2p.announce",
                "must list at most 16 addresses where other peers reach this node, without /p2p/ and its id, \
                 for example [\"/dns4/node.example.org/tcp/4001\"]",
            ));
        }
        if self.shards.iter().any(|region| Traits::new([format!("region={region}")]).is_err()) {
            return Some(("p2p.shards", "must name regions as offers do, for example [\"eu-north-1\"]"));
        }
        if self.max_connections < 8 {
            return Some(("p2p.max_connections", "must be at least 8, for example 256"));
        }
        if self.max_peers_per_address == 0 {
            return Some(("p2p.max_peers_per_address", "must be at least 1, for example 16"));
        }
        if self.trade_requests_per_second == 0 {
            return Some(("p2p.trade_requests_per_second", "must be at least 1, for example 64"));
        }
        if self.sync_requests_per_second == 0 {
            return Some(("p2p.sync_requests_per_second", "must be at least 1, for example 4"));
        }
        if self.sync_interval < Duration::from_secs(1) {
            return Some(("p2p.sync_interval", "must be at least 1s, for example \"60s\""));
        }
        if self.stored_peers > 10_000 {
            return Some(("p2p.stored_peers", "must be at most 10000, for example 256"));
        }
        None
    }
}

impl MarketConfig {
    /// The first key that makes no sense, and what would.
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        if !(1_000..=1_000_000).contains(&self.max_orders) {
            return Some(("market.max_orders", "must lie between 1000 and 1000000, for example 100000"));
        }
        if self.orders_per_maker == 0 {
            return Some(("market.orders_per_maker", "must be at least 1, for example 16"));
        }
        if !(self.orders_per_maker..=self.max_orders).contains(&self.max_orders_per_maker) {
            let problem = "must lie between market.orders_per_maker and market.max_orders, for example 1024";
            return Some(("market.max_orders_per_maker", problem));
        }
        if !(10..=3600).contains(&self.offer_lifetime.as_secs()) {
            return Some(("market.offer_lifetime", "must lie between 10s and 1h, for example \"10m\""));
        }
        None
    }
}

impl Config {
    pub(super) fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let wrong = |key, problem: &str| {
            Err(ConfigError::Value { path: path.into(), key, problem: problem.to_owned() })
        };
        if !is_http(&self.chain.rpc_url) {
            return wrong("chain.rpc_url", "must be an HTTP URL, for example \"http://127.0.0.1:8545\"");
        }
        if !self.chain.fallback_rpc_urls.iter().all(|url| is_http(url)) {
            let problem = "must be HTTP URLs, for example [\"https://rpc.example.org\"]";
            return wrong("chain.fallback_rpc_urls", problem);
        }
        if self.chain.poll < Duration::from_millis(50) {
            return wrong("chain.poll", "must be at least 50ms, for example \"1s\"");
        }
        if let Some((key, problem)) = self.p2p.problem() {
            return wrong(key, problem);
        }
        if !self.api.listen.ip().is_loopback() {
            return wrong("api.listen", "must be a loopback address, for example \"127.0.0.1:0\"");
        }
        if self.metrics.as_ref().is_some_and(|metrics| metrics.listen.port() == 0) {
            return wrong("metrics.listen", "must name a port, for example \"127.0.0.1:9464\"");
        }
        if let Some((key, problem)) = self.market.problem() {
            return wrong(key, problem);
        }
        if self.buyer.give_up_after < Duration::from_secs(10) {
            return wrong("buyer.give_up_after", "must be at least 10s, for example \"2m\"");
        }
        if self.buyer.collect_for > Duration::from_secs(30) {
            return wrong("buyer.collect_for", "must be at most 30s, for example \"1s\"");
        }
        if let Err((key, problem)) = self.wallet.check() {
            return wrong(key, &problem);
        }
        if let Some(provider) = &self.provider {
            if !(5..=300).contains(&provider.settle_within.as_secs()) {
                return wrong("provider.settle_within", "must lie between 5s and 5m, for example \"2m\"");
            }
            if provider.backends() != 1 {
                return wrong(
                    "provider",
                    "needs one backend: [provider.hypervisor] or [provider.aws], not both",
                );
            }
            if provider.claim_every < Duration::from_secs(1) {
                return wrong("provider.claim_every", "must be at least 1s, for example \"1h\"");
            }
            if provider.discount_percent > 90 {
                return wrong("provider.discount_percent", "must be at most 90, for example 10");
            }
            if provider.max_offline < Duration::from_secs(10) {
                return wrong("provider.max_offline", "must be at least 10s, for example \"30m\"");
            }
        }
        Ok(())
    }
}
