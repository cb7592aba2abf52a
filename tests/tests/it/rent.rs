//! A newcomer's first machine: no funds, the faucet, one command, a login, the end.

use std::time::Duration;

use sublet::devnet::market::{SELLERS, add_seller};
use sublet_tests::{command::until, images};

use crate::support::{ask, devnet, told, until_offers};

const RENT: [&str; 6] = ["rent", "--memory", "256MiB", "--for", "10m", "--yes"];

#[tokio::test]
async fn from_an_empty_wallet_to_a_login() {
    let (_dir, mut net) = devnet().await;
    // The dearest of the demo's sellers is the one that takes the bid.
    add_seller(&mut net, &SELLERS[2], &images().unwrap()).await.unwrap();
    let buyer = net.add_node("buyer", 0, None).await.unwrap();
    until_offers(&buyer, 1).await;

    let poor = ask(&buyer, &RENT).await;
    assert_eq!(poor.code, Some(4), "{poor:?}");
    assert!(poor.stderr.contains("1.5 CTK") && poor.stderr.contains("sublet faucet"), "{poor:?}");

    let gift = told(&buyer, &["faucet", "--amount", "5"]).await;
    assert_eq!(gift["ctk"], "5000000000000000000");
    let unasked = ask(&buyer, &RENT[..5]).await;
    assert_eq!(unasked.code, Some(4), "{unasked:?}");
    assert!(unasked.stderr.contains("estimate: 1.5 CTK") && unasked.stderr.contains("--yes"), "{unasked:?}");
    assert_eq!(told(&buyer, &["bid", "list"]).await, serde_json::json!([]));

    let rented = told(&buyer, &RENT).await;
    let id = rented["id"].as_str().unwrap();
    let login = ask(&buyer, &["lease", "ssh", id, "--", "uname"]).await;
    assert_eq!(login.stdout.trim(), "Linux", "{login:?}");
    let booted = told(&buyer, &["lease", "logs", id]).await;
    assert!(!booted["lines"].as_array().unwrap().is_empty(), "{booted}");
    assert_eq!(ask(&buyer, &["lease", "close", id]).await.code, Some(0));
    // The buyer keeps them, whatever becomes of the provider.
    until("the last lines are kept", Duration::from_secs(30), || async {
        let lease = told(&buyer, &["lease", "show", id]).await;
        Ok((!lease["console"].as_array().unwrap().is_empty()).then_some(()))
    })
    .await
    .unwrap();
    // Only what was missing went into the Market.
    let wallet = told(&buyer, &["wallet", "balance"]).await;
    assert_eq!(wallet["wallet"], "3500000000000000000");

    let too_dear = ask(&buyer, &["rent", "--memory", "256MiB", "--max-rate", "0.001 CTK/s", "--yes"]).await;
    assert_eq!(too_dear.code, Some(4), "{too_dear:?}");
    net.down().await.unwrap();
}
