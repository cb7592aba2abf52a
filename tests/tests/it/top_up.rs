//! More time for a running machine: by hand, and by itself within a budget.

use std::time::Duration;

use sublet::devnet::{
    NodeProcess,
    market::{BUYER_FUNDS, SELLERS, add_seller, deposit},
};
use sublet_api::types::{BidInfo, LeaseInfo};
use sublet_market::LeaseState;
use sublet_market::amount::BASE_UNITS_PER_CTK;
use sublet_tests::{
    command::{json, until},
    images,
};

use crate::support::{ask, devnet};

const SOON: Duration = Duration::from_secs(60);
/// What the seller asks, base units a second.
const RATE: u128 = 2_500_000_000_000_000;

/// Seconds of the lease that are left when a top-up is due.
const LEFT: u64 = 50;

async fn lease(node: &NodeProcess, id: &str) -> LeaseInfo {
    json(node.binary(), node.home().path(), &["lease", "show", id]).await.unwrap()
}

#[tokio::test]
async fn a_lease_gets_more_time_by_hand_and_then_by_itself_until_the_budget_is_spent() {
    let (_dir, mut net) = devnet().await;
    add_seller(&mut net, &SELLERS[2], &images().unwrap()).await.unwrap();
    let buyer = net.add_node("buyer", BUYER_FUNDS, None).await.unwrap();
    deposit(&buyer, BUYER_FUNDS).await.unwrap();

    // Enough for one whole top-up by itself and for a part of another.
    let args = [
        "bid",
        "post",
        "--memory",
        "256MiB",
        "--max-rate",
        "0.003 CTK/s",
        "--for",
        "5m",
        "--auto-top-up",
        "1 CTK",
        "--wait",
    ];
    let bid: BidInfo = json(buyer.binary(), buyer.home().path(), &args).await.unwrap();
    let id = bid.id.to_string();
    let first = lease(&buyer, &id).await;
    assert_eq!((first.state, &first.warning), (LeaseState::Active, &None));

    let by_hand = ask(&buyer, &["lease", "top-up", &id, "--for", "10m"]).await;
    assert_eq!(by_hand.code, Some(0), "{by_hand:?}");
    assert!(by_hand.stdout.contains("funded until"), "{by_hand:?}");
    let second = lease(&buyer, &id).await;
    assert_eq!(second.funded_until, first.funded_until + 600);
    let too_much = ask(&buyer, &["lease", "top-up", &id, "--for", "2d"]).await;
    assert_eq!(too_much.code, Some(4), "{too_much:?}");
    assert!(too_much.stderr.contains("sublet wallet deposit"), "{too_much:?}");

    // Within the minute in which the engine tops up.
    let near_the_end = async || {
        let end = lease(&buyer, &id).await.funded_until;
        let now = buyer.status().await.unwrap().chain_time;
        net.anvil.advance(end - LEFT - now).await.unwrap();
    };
    near_the_end().await;
    let bought = |seconds: u64| {
        let (buyer, id) = (&buyer, &id);
        until("it is topped up", SOON, move || async move {
            let seen = lease(buyer, id).await.funded_until;
            assert!(seen <= second.funded_until + seconds, "too much was bought");
            Ok((seen == second.funded_until + seconds).then_some(()))
        })
    };
    bought(300).await.unwrap();
    near_the_end().await;
    // 1 CTK is 400 s at this rate.
    let all = u64::try_from(BASE_UNITS_PER_CTK / RATE).unwrap();
    bought(all).await.unwrap();

    // Nothing is left to spend: the warning stands.
    near_the_end().await;
    until("the warning stands", SOON, || async {
        let last = lease(&buyer, &id).await;
        assert_eq!(last.funded_until, second.funded_until + all);
        Ok(last.warning.is_some_and(|text| text.contains("sublet lease top-up")).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(ask(&buyer, &["lease", "close", &id]).await.code, Some(0));
    net.down().await.unwrap();
}
