//! A newcomer's first machine: no funds, the faucet, one command, a login, the end.

use std::path::Path;

use serde_json::Value;
use sublet::{
    devnet::DEVNET_PARAMS, devnet::Devnet, devnet::DevnetOptions, devnet::NodeProcess,
    devnet::market::SELLERS, devnet::market::add_seller,
};
use sublet_tests::{
    command::{Outcome, sublet, until},
    images, sublet_binary,
};

const RENT: [&str; 6] = ["rent", "--memory", "256MiB", "--for", "10m", "--yes"];

async fn run(home: &Path, args: &[&str]) -> Outcome {
    sublet(&sublet_binary().unwrap(), home, args).await.unwrap()
}

async fn json(home: &Path, args: &[&str]) -> Value {
    let args: Vec<_> = ["--output", "json"].iter().chain(args).copied().collect();
    let outcome = run(home, &args).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

async fn hear_offer(buyer: &NodeProcess) {
    // What gossip lost comes with the next comparison of books, within a minute.
    until("the offer did not reach the buyer", std::time::Duration::from_secs(100), || async {
        let offers = json(buyer.home().path(), &["offer", "list"]).await;
        Ok((!offers.as_array().unwrap().is_empty()).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn from_an_empty_wallet_to_a_login() {
    let dir = tempfile::tempdir().unwrap();
    let options = DevnetOptions {
        dir: dir.path().join("net"),
        binary: sublet_binary().unwrap(),
        params: DEVNET_PARAMS,
    };
    let mut net = Devnet::start(options).await.unwrap();
    // The dearest of the demo's sellers is the one that takes the bid.
    add_seller(&mut net, &SELLERS[2], &images().unwrap()).await.unwrap();
    let buyer = net.add_node("buyer", 0, None).await.unwrap();
    let home = buyer.home().path();
    hear_offer(&buyer).await;

    let poor = run(home, &RENT).await;
    assert_eq!(poor.code, Some(4), "{poor:?}");
    assert!(poor.stderr.contains("1.5 CTK") && poor.stderr.contains("sublet faucet"), "{poor:?}");

    let gift = json(home, &["faucet", "--amount", "5"]).await;
    assert_eq!(gift["ctk"], "5000000000000000000");
    let unasked = run(home, &RENT[..5]).await;
    assert_eq!(unasked.code, Some(4), "{unasked:?}");
    assert!(unasked.stderr.contains("estimate: 1.5 CTK") && unasked.stderr.contains("--yes"), "{unasked:?}");
    assert_eq!(json(home, &["bid", "list"]).await, serde_json::json!([]));

    let rented = json(home, &RENT).await;
    let id = rented["id"].as_str().unwrap();
    let login = run(home, &["lease", "ssh", id, "--", "uname"]).await;
    assert_eq!(login.stdout.trim(), "Linux", "{login:?}");
    let booted = json(home, &["lease", "logs", id]).await;
    assert!(!booted["lines"].as_array().unwrap().is_empty(), "{booted}");
    assert_eq!(run(home, &["lease", "close", id]).await.code, Some(0));
    // The buyer keeps them, whatever becomes of the provider.
    until("the last lines are kept", std::time::Duration::from_secs(30), || async {
        let lease = json(home, &["lease", "show", id]).await;
        Ok((!lease["console"].as_array().unwrap().is_empty()).then_some(()))
    })
    .await
    .unwrap();
    // Only what was missing went into the Market.
    let wallet = json(home, &["wallet", "balance"]).await;
    assert_eq!(wallet["wallet"], "3500000000000000000");

    let too_dear = run(home, &["rent", "--memory", "256MiB", "--max-rate", "0.001 CTK/s", "--yes"]).await;
    assert_eq!(too_dear.code, Some(4), "{too_dear:?}");
    net.down().await.unwrap();
}
