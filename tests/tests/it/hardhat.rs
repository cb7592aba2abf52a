//! The same market on another EVM: Hardhat's node in place of anvil, at the lowest level that the bytecode needs.

use std::path::Path;

use alloy::providers::Provider as _;
use sublet::devnet::{
    DEVNET_PARAMS, Devnet, DevnetOptions,
    market::{SELLERS, add_seller},
};
use sublet_chain::anvil::AnvilConfig;
use sublet_tests::{images, sublet_binary};

use crate::support::{ask, told, until_offers};

/// Hardhat's node behind anvil's options.
fn hardhat() -> AnvilConfig {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hardhat/as-anvil");
    assert!(
        script.with_file_name("node_modules").is_dir(),
        "Hardhat is not installed: run `scripts/install-tools`"
    );
    AnvilConfig { binary: Some(script), ..AnvilConfig::default() }
}

#[tokio::test]
async fn a_deployment_and_a_trade_on_hardhats_node() {
    let dir = tempfile::tempdir().unwrap();
    let options = DevnetOptions {
        dir: dir.path().join("net"),
        binary: sublet_binary().unwrap(),
        params: DEVNET_PARAMS,
    };
    let mut net = Devnet::start_on(hardhat(), options).await.unwrap();
    let version = net.anvil.provider().get_client_version().await.unwrap();
    assert!(version.starts_with("HardhatNetwork/"), "{version}");

    add_seller(&mut net, &SELLERS[2], &images().unwrap()).await.unwrap();
    let buyer = net.add_node("buyer", 0, None).await.unwrap();
    let deployment = net.dir().join("deployment.json");
    let rpc = net.anvil.url();
    let verify = ["chain", "verify", "--rpc-url", rpc, "--deployment", deployment.to_str().unwrap()];
    let verified = ask(&buyer, &verify).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");

    until_offers(&buyer, 1).await;
    told(&buyer, &["faucet", "--amount", "5"]).await;
    let rented = told(&buyer, &["rent", "--memory", "256MiB", "--for", "10m", "--yes"]).await;
    let id = rented["id"].as_str().unwrap();
    let login = ask(&buyer, &["lease", "ssh", id, "--", "uname"]).await;
    assert_eq!(login.stdout.trim(), "Linux", "{login:?}");
    told(&buyer, &["lease", "close", id]).await;
    let lease = told(&buyer, &["lease", "show", id]).await;
    assert_eq!(lease["state"], "ended", "{lease}");
    net.down().await.unwrap();
}
