//! The node's configuration: `node.toml` in its home.
//!
//! Every key has a default but the RPC URL's; an unknown key is an error that names it. Relative paths are
//! relative to the home directory. Environment variables override the file, `--set` flags override both: see
//! [`Override`].

mod check;
mod human;
mod overrides;
mod provider;
mod settings;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use sublet_base::home::{Home, HomeError};
use sublet_keys::WalletConfig;
use sublet_market::{BookLimits, Shard, amount::ctk};

pub use self::{overrides::Override, provider::ProviderConfig};

/// What can be wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The file is there and cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} line {line}{}: {reason}", key_in_brackets(.key))]
    Parse {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key with its section, as far as the line has them.
        key: String,
        /// What is wrong and what was expected.
        reason: String,
    },
    /// An environment variable or a flag does not fit.
    #[error("{key}: {problem}; the keys are explained in docs/configuration.md")]
    Override {
        /// The variable or flag.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A value is of the right type and still senseless.
    #[error("{path}: {key} {problem}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, with its section.
        key: &'static str,
        /// What is wrong and a valid example.
        problem: String,
    },
}

/// All of `node.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The chain that settles trades.
    pub chain: ChainConfig,
    /// The peers.
    #[serde(default)]
    pub p2p: P2pSection,
    /// The local API that the command line talks to.
    #[serde(default)]
    pub api: ApiConfig,
    /// The key that signs.
    #[serde(default)]
    pub wallet: WalletConfig,
    /// What this node asks of orders.
    #[serde(default)]
    pub market: MarketConfig,
    /// What the node does for the leases that it pays for.
    #[serde(default)]
    pub buyer: BuyerConfig,
    /// Where the metrics are served, beside the local API.
    #[serde(default)]
    pub metrics: Option<MetricsConfig>,
    /// Present on nodes that sell.
    #[serde(default)]
    pub provider: Option<ProviderConfig>,
}

/// `[chain]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainConfig {
    /// The JSON-RPC endpoint of any EVM chain that has the contracts.
    pub rpc_url: String,
    /// Further endpoints of the same chain, asked while that one fails, serves another chain or lags behind;
    /// best first.
    #[serde(default)]
    pub fallback_rpc_urls: Vec<String>,
    /// The deployment file that `sublet chain deploy` wrote.
    #[serde(default = "default_deployment")]
    pub deployment: PathBuf,
    /// How often the head is asked for.
    #[serde(default = "default_poll", with = "human")]
    pub poll: Duration,
    /// How many blocks must lie on top of an event before the node acts on it.
    #[serde(default = "default_confirmations")]
    pub confirmations: u64,
    /// The most to pay per gas, in gwei (10^9 wei).
    #[serde(default = "default_max_fee_gwei")]
    pub max_fee_gwei: u64,
}

impl ChainConfig {
    /// All endpoints, the preferred one first.
    pub fn rpc_urls(&self) -> Vec<&str> {
        std::iter::once(&self.rpc_url).chain(&self.fallback_rpc_urls).map(String::as_str).collect()
    }
}

/// `[p2p]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct P2pSection {
    /// Where this node listens for peers.
    pub listen: Vec<Multiaddr>,
    /// Where others are told to reach it, in place of the addresses that it listens on.
    pub announce: Vec<Multiaddr>,
    /// Peers to meet first.
    pub bootstrap: Vec<Multiaddr>,
    /// Whether peers on the same local network are met by mDNS.
    pub mdns: bool,
    /// Whether peers of peers are met, by the routing table.
    pub discover: bool,
    /// The regions whose shards of the order book this node follows, beside the main one; all if none is named.
    pub shards: Vec<String>,
    /// Connections at most; a quarter is kept for those that this node opens.
    pub max_connections: u32,
    /// Peers that may come to this node from one IPv4 address, or one IPv6 network of 64 bits.
    pub max_peers_per_address: usize,
    /// Trade requests a second that one peer may make over time; eight times as many at once.
    pub trade_requests_per_second: u32,
    /// Sync requests a second that one peer may make over time; 512 at once.
    pub sync_requests_per_second: u32,
    /// How often the book is compared with a peer's.
    #[serde(with = "human")]
    pub sync_interval: Duration,
    /// Peers that are written down at most, to find them again after a restart; 0 for none.
    pub stored_peers: usize,
}

/// `[api]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Loopback address; port 0 takes a free one, the command line finds it by the file `api.address`.
    pub listen: SocketAddr,
}

/// `[market]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarketConfig {
    /// The least free balance that a maker's orders need to count, written as `1 CTK`; base units here.
    #[serde(with = "ctk")]
    pub floor: u128,
    /// Offers in the book at most, and bids.
    pub max_orders: usize,
    /// Offers that every funded maker may have in the book, and bids; one more for each floor of free balance.
    pub orders_per_maker: usize,
    /// Offers of one maker at most, and bids.
    pub max_orders_per_maker: usize,
    /// How long an offer of ours lives before it must be renewed (at most one hour).
    #[serde(with = "human")]
    pub offer_lifetime: Duration,
}

/// `[buyer]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuyerConfig {
    /// How long a paid machine may be out of reach before its lease is ended.
    #[serde(with = "human")]
    pub give_up_after: Duration,
    /// How long quotes for a new bid are collected before the best provider is asked; 0 to ask at once.
    #[serde(with = "human")]
    pub collect_for: Duration,
}

/// `[metrics]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Any address: who reaches it needs no token.
    pub listen: SocketAddr,
}

impl MarketConfig {
    /// How much the book takes, and from whom.
    pub fn book_limits(&self) -> BookLimits {
        BookLimits {
            floor: self.floor,
            max_orders: self.max_orders,
            base_orders_per_maker: self.orders_per_maker,
            max_orders_per_maker: self.max_orders_per_maker,
        }
    }
}

impl P2pSection {
    /// The shards that this node follows.
    pub fn followed(&self) -> BTreeSet<Shard> {
        if self.shards.is_empty() {
            return Shard::all().collect();
        }
        self.shards.iter().map(|region| Shard::of_region(region)).chain([Shard::MAIN]).collect()
    }
}

impl Default for P2pSection {
    fn default() -> Self {
        Self {
            listen: default_listen(),
            announce: Vec::new(),
            bootstrap: Vec::new(),
            mdns: false,
            discover: true,
            shards: Vec::new(),
            max_connections: 256,
            max_peers_per_address: 16,
            trade_requests_per_second: 64,
            sync_requests_per_second: 4,
            sync_interval: Duration::from_secs(60),
            stored_peers: 256,
        }
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }
}

impl Default for MarketConfig {
    fn default() -> Self {
        let BookLimits { floor, max_orders, base_orders_per_maker, max_orders_per_maker } =
            BookLimits::default();
        Self {
            floor,
            max_orders,
            orders_per_maker: base_orders_per_maker,
            max_orders_per_maker,
            offer_lifetime: Duration::from_secs(600),
        }
    }
}

impl Default for BuyerConfig {
    fn default() -> Self {
        Self { give_up_after: Duration::from_secs(120), collect_for: Duration::from_secs(1) }
    }
}

impl Config {
    /// Reads and checks the file of `home`, with what the environment overrides.
    pub fn load(home: &Home) -> Result<Self, ConfigError> {
        Self::load_with(home, &[])
    }

    /// The same, with flags that override the environment.
    pub fn load_with(home: &Home, flags: &[Override]) -> Result<Self, ConfigError> {
        home.require()?;
        let path = home.config();
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        let mut overrides = Override::from_environment(std::env::vars());
        overrides.extend_from_slice(flags);
        let mut config = Self::parse_with(&path, &text, &overrides)?;
        config.chain.deployment = home.path().join(&config.chain.deployment);
        config.wallet.resolve(home.path());
        if let Some(provider) = &mut config.provider {
            provider.resolve(home.path());
        }
        Ok(config)
    }

    /// Parses and checks `text`, which came from `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::parse_with(path, text, &[])
    }

    fn parse_with(path: &Path, text: &str, overrides: &[Override]) -> Result<Self, ConfigError> {
        let config: Self = if overrides.is_empty() {
            toml::from_str(text).map_err(|error| parse_error(path, text, &error))?
        } else {
            let mut table: toml::Table = toml::from_str(text).map_err(|e| parse_error(path, text, &e))?;
            for one in overrides {
                let wrong = |problem| ConfigError::Override { key: one.source.clone(), problem };
                one.apply(&mut table).map_err(wrong)?;
            }
            let names = || overrides.iter().map(|one| one.source.as_str()).collect::<Vec<_>>().join(", ");
            table.try_into().map_err(|error: toml::de::Error| ConfigError::Override {
                key: format!("{} with {}", path.display(), names()),
                problem: error.message().to_owned(),
            })?
        };
        config.check(path)?;
        Ok(config)
    }
}

/// The parser's error, which draws the place over several lines, in one.
fn parse_error(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start);
    let before: Vec<_> = text.get(..at).unwrap_or(text).split('\n').collect();
    let line = before.len();
    let name = |line: &str| line.trim().trim_matches(['[', ']']).trim().to_owned();
    let here = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let section = before.iter().rev().skip(1).find(|line| line.trim_start().starts_with('['));
    let key = match (here.split_once('='), section) {
        (Some((key, _)), Some(section)) => format!("{}.{}", name(section), key.trim()),
        (Some((key, _)), None) => key.trim().to_owned(),
        (None, _) if here.trim_start().starts_with('[') => name(here),
        (None, _) => String::new(),
    };
    let reason = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    ConfigError::Parse { path: path.into(), line, key, reason }
}

fn key_in_brackets(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" ({key})") }
}

fn default_deployment() -> PathBuf {
    "deployment.json".into()
}

/// A head a second is enough for chains with blocks of two seconds and more.
fn default_poll() -> Duration {
    Duration::from_secs(1)
}

/// Two blocks: deep enough for proof-of-stake chains without a reorg, raise it where money is at stake.
fn default_confirmations() -> u64 {
    2
}

/// Several times what the dearest public chains ask in a rush.
fn default_max_fee_gwei() -> u64 {
    500
}

fn default_listen() -> Vec<Multiaddr> {
    // Literal and covered by the test below.
    ["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"].iter().filter_map(|a| a.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
