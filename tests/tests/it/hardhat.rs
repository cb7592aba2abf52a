//! The same market on another EVM: Hardhat's node in place of anvil, at the lowest level that the bytecode needs.

use std::path::Path;

use alloy::providers::Provider as _;
use serde_json::Value;
use sublet::devnet::{
    DEVNET_PARAMS, Devnet, DevnetOptions,
    market::{SELLERS, add_seller},
};
use sublet_chain::anvil::AnvilConfig;
use sublet_tests::{
    command::{sublet, until},
    images, sublet_binary,
};

/// Hardhat's node behind anvil's options.
fn hardhat() -> AnvilConfig {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hardhat/as-anvil");
    assert!(
        script.with_file_name("node_modules").is_dir(),
        "Hardhat is not installed: run `tests/install-tools`"
    );
    AnvilConfig { binary: Some(script), ..AnvilConfig::default() }
}

async fn json(home: &Path, args: &[&str]) -> Value {
    let args: Vec<_> = ["--output", "json"].iter().chain(args).copied().collect();
    let outcome = sublet(&sublet_binary().unwrap(), home, &args).await.unwrap();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    serde_json::from_str(&outcome.stdout).unwrap()
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
    let home = buyer.home().path();
    let deployment = net.dir().join("deployment.json");
    let rpc = net.anvil.url();
    let verify = ["chain", "verify", "--rpc-url", rpc, "--deployment", deployment.to_str().unwrap()];
    let verified = sublet(&sublet_binary().unwrap(), home, &verify).await.unwrap();
    assert_eq!(verified.code, Some(0), "{verified:?}");

    until("the offer did not reach the buyer", std::time::Duration::from_secs(60), || async {
        let offers = json(home, &["offer", "list"]).await;
        Ok((!offers.as_array().unwrap().is_empty()).then_some(()))
    })
    .await
    .unwrap();
    json(home, &["faucet", "--amount", "5"]).await;
    let rented = json(home, &["rent", "--memory", "256MiB", "--for", "10m", "--yes"]).await;
    let id = rented["id"].as_str().unwrap();
    let login = sublet(&sublet_binary().unwrap(), home, &["lease", "ssh", id, "--", "uname"]).await.unwrap();
    assert_eq!(login.stdout.trim(), "Linux", "{login:?}");
    json(home, &["lease", "close", id]).await;
    let lease = json(home, &["lease", "show", id]).await;
    assert_eq!(lease["state"], "ended", "{lease}");
    net.down().await.unwrap();
}
