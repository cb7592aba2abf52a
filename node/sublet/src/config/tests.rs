//! What a configuration may say, and what is said of one that may not.

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("node.toml"), text)
}

const LEAST: &str = "[chain]\nrpc_url = \"http://127.0.0.1:8545\"\n";

#[test]
fn the_least_configuration_has_sane_defaults() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.p2p.listen.len(), 2);
    assert_eq!(config.chain.confirmations, 2);
    assert!(config.provider.is_none());
}

#[test]
fn errors_name_the_file_the_key_and_an_example() {
    for (extra, expected) in [
        ("[api]\nlisten = \"0.0.0.0:80\"\n", "api.listen must be a loopback address"),
        ("[wallet]\nkms_key = \"alias/a\"\n", "set region = \"eu-north-1\""),
        ("[wallet.aws]\nregion = \"eu-north-1\"\n", "needs wallet.kms_key"),
        ("[wallet]\nmaker = \"0x0000000000000000000000000000000000000000\"\n", "wallet.maker is zero"),
        ("[wallet]\npassphrase = \"secret\"\n", "unknown field"),
        ("[buyer]\ngive_up_after = \"1s\"\n", "buyer.give_up_after must be at least 10s"),
        ("[buyer]\ncollect_for = \"1m\"\n", "buyer.collect_for must be at most 30s"),
        ("[market]\nflor = 1\n", "flor"),
        ("[metrics]\nlisten = \"0.0.0.0:0\"\n", "metrics.listen must name a port"),
        ("[metrics]\n", "missing field `listen`"),
        ("[market]\noffer_lifetime = \"2h\"\n", "between 10s and 1h"),
        ("[market]\nmax_orders = 999\n", "market.max_orders must lie between 1000 and 1000000"),
        ("[market]\norders_per_maker = 0\n", "at least 1, for example 16"),
        ("[market]\nmax_orders_per_maker = 15\n", "market.orders_per_maker and market.max_orders"),
        ("[market]\nmax_orders = 1000\n", "market.orders_per_maker and market.max_orders"),
        ("[p2p]\nmax_peers_per_address = 0\n", "at least 1, for example 16"),
        ("[market]\noffer_lifetime = \"soon\"\n", "for example \"90s\""),
        (
            "[p2p]\nannounce = [\"/ip4/0.0.0.0/tcp/4001\"]\n",
            "p2p.announce must list at most 16 addresses where other peers reach",
        ),
        (
            "[p2p]\nannounce = [\"/ip4/192.0.2.1/tcp/1/p2p/12D3KooWGtkEdZpKjL22X7whouCCzKJAZEWauST4cvhbGAjWJFv2\"]\n",
            "without /p2p/ and its id",
        ),
        ("[p2p]\nannounce = [\"/ip4/192.0.2.1\"]\n", "/dns4/node.example.org/tcp/4001"),
        ("[p2p]\nannounce = [\"/dns4/example.org/udp/4001\"]\n", "p2p.announce"),
        ("[p2p]\nshards = [\"Main Street\"]\n", "p2p.shards must name regions"),
        ("[p2p]\nshard = \"main\"\n", "unknown field `shard`"),
    ] {
        let said = parse(&format!("{LEAST}{extra}")).unwrap_err().to_string();
        assert!(said.contains("node.toml") && said.contains(expected), "{said}");
    }
}

#[test]
fn all_shards_are_followed_or_those_of_the_regions_named() {
    assert_eq!(parse(LEAST).unwrap().p2p.followed().len(), Shard::COUNT);
    let some = parse(&format!("{LEAST}[p2p]\nshards = [\"eu-north-1\"]\n")).unwrap().p2p.followed();
    assert_eq!(some, [Shard::MAIN, Shard::of_region("eu-north-1")].into());
}

#[test]
fn fallbacks_are_urls_too() {
    let config = parse(&format!("{LEAST}fallback_rpc_urls = [\"https://rpc.example.org\"]\n")).unwrap();
    assert_eq!(config.chain.rpc_urls(), ["http://127.0.0.1:8545", "https://rpc.example.org"]);
    let said = parse(&format!("{LEAST}fallback_rpc_urls = [\"ws://a\"]\n")).unwrap_err().to_string();
    assert!(said.contains("chain.fallback_rpc_urls must be HTTP URLs"), "{said}");
}

#[test]
fn a_parse_error_is_one_line_with_place_key_and_expectation() {
    for (text, expected) in [
        (format!("{LEAST}poll = 5\n"), "node.toml line 3 (chain.poll): invalid type: integer `5`"),
        (
            format!("{LEAST}depth = 5\n"),
            "node.toml line 3 (chain.depth): unknown field `depth`, expected one of",
        ),
        ("[chain]\npoll = \"1s\"\n".into(), "node.toml line 1 (chain): missing field `rpc_url`"),
        (format!("{LEAST}\n[api\n"), "node.toml line 4"),
        (format!("{LEAST}[p2p]\nlisten = [\"here\"]\n"), "node.toml line 4 (p2p.listen): "),
    ] {
        let said = parse(&text).unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
