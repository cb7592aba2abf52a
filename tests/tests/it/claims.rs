//! A provider collects its pay when that is worth the gas, for all its leases at once, and does not run against a wall.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use alloy::providers::Provider as _;
use alloy_primitives::{Address, B256};
use sublet::{
    devnet::{
        DEVNET_PARAMS, Devnet, NodeProcess,
        market::{BUYER_FUNDS, SELLER_FUNDS, SELLERS, deposit, offer_of},
    },
    setup::ProviderSetup,
};
use sublet_api::types::{BidInfo, LeaseInfo};
use sublet_market::{LeaseState, MarketEvent};
use sublet_tests::command::{json, until};

use crate::support::{devnet, host, metrics_page, post_offer, reconfigured, unit};

const SOON: Duration = Duration::from_secs(60);
/// Claims are made of 60 s and more, and of no less than 120 s of one lease at the seller's price.
const CLAIM_EVERY: &str = "60s";
const CLAIM_AT_LEAST: &str = "claim_at_least = \"0.3 CTK\"";
/// For so long is looked how often a claim is tried that cannot succeed.
const STUCK_FOR: Duration = Duration::from_secs(9);
/// Tries come after 0, 0.5, 1.5, 3.5 and 7.5 s, for each of the two leases; without a pause they would be dozens.
const MOST_TRIES: f64 = 12.0;

/// A provider of two machines in one offer.
async fn seller(net: &mut Devnet) -> NodeProcess {
    let setup = ProviderSetup { claim_every: CLAIM_EVERY.into(), ..host(2, 512, 8) };
    let node = net.add_node("seller", SELLER_FUNDS, Some(setup)).await.unwrap();
    deposit(&node, SELLER_FUNDS).await.unwrap();
    let node = reconfigured(net, "seller", |text| {
        text.replacen("[provider]\n", &format!("[provider]\n{CLAIM_AT_LEAST}\n"), 1)
    })
    .await;
    let mut offer = offer_of(unit(256), SELLERS[2].price_per_second, false);
    offer.terms.units = 2;
    post_offer(&node, &offer).await;
    node
}

async fn rent(buyer: &NodeProcess) -> B256 {
    let args = ["bid", "post", "--memory", "256MiB", "--max-rate", "0.003 CTK/s", "--for", "1h", "--wait"];
    let bid: BidInfo = json(buyer.binary(), buyer.home().path(), &args).await.unwrap();
    bid.id
}

async fn lease(node: &NodeProcess, id: B256) -> LeaseInfo {
    json(node.binary(), node.home().path(), &["lease", "show", &id.to_string()]).await.unwrap()
}

/// How often a claim ended like this, or in any way but `mined`.
async fn claims(home: &Path, mined: bool) -> f64 {
    let page = metrics_page(home).await;
    let claims = page.lines().filter(|line| line.starts_with("sublet_transactions_total{call=\"claim\""));
    let wanted = claims.filter(|line| line.contains("result=\"mined\"") == mined);
    wanted.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// How many claims the node counts as mined, once it counts so many: its event and its receipt come by two ways.
async fn claims_mined(home: &Path, at_least: f64) -> f64 {
    until("the claims are counted", SOON, async || {
        let mined = claims(home, true).await;
        Ok((mined >= at_least).then_some(mined))
    })
    .await
    .unwrap()
}

/// The transactions in which a lease's pay was collected.
async fn claimed_in(node: &NodeProcess, id: B256) -> BTreeSet<B256> {
    let events = lease(node, id).await.events;
    let claims = events.iter().filter(|e| matches!(e.event, MarketEvent::LeaseClaimed { .. }));
    claims.map(|event| event.tx).collect()
}

/// How many transactions a key has sent.
async fn nonce(net: &Devnet, key: Address) -> u64 {
    net.anvil.provider().get_transaction_count(key).await.unwrap()
}

/// Waits until the node's clock says that a lease has run for so long.
async fn until_metered(node: &NodeProcess, id: B256, seconds: u64) {
    until("the node sees the time pass", SOON, async || {
        Ok((lease(node, id).await.metered_seconds >= seconds).then_some(()))
    })
    .await
    .unwrap();
}

/// Moves the chain's time to where a lease has run for so long.
async fn run_to(net: &Devnet, node: &NodeProcess, id: B256, seconds: u64) {
    let now = lease(node, id).await.metered_seconds;
    net.anvil.advance(seconds.saturating_sub(now)).await.unwrap();
    until_metered(node, id, seconds).await;
}

#[tokio::test]
async fn claims_are_worth_their_gas_made_together_and_not_tried_without_end() {
    let (_dir, mut net) = devnet().await;
    let seller = seller(&mut net).await;
    let buyer = net.add_node("buyer", BUYER_FUNDS, None).await.unwrap();
    deposit(&buyer, BUYER_FUNDS).await.unwrap();
    let (first, second) = (rent(&buyer).await, rent(&buyer).await);
    let home = seller.home().path();
    let hold = u64::from(DEVNET_PARAMS.hold);

    // Longer than `claim_every`, and less than `claim_at_least`.
    run_to(&net, &seller, first, hold + 90).await;
    until_metered(&seller, first, hold + 95).await;
    assert_eq!((claims(home, true).await, claims(home, false).await), (0.0, 0.0), "not worth it yet");

    run_to(&net, &seller, first, hold + 125).await;
    until("the pay is collected", SOON, async || {
        Ok((!claimed_in(&seller, first).await.is_empty()).then_some(()))
    })
    .await
    .unwrap();
    until("of the other lease too", SOON, async || {
        Ok((claimed_in(&seller, second).await == claimed_in(&seller, first).await).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(claims_mined(home, 1.0).await, 1.0, "one transaction for both");

    // It has no gas money: it cannot claim, and tries less and less often.
    let wallet = seller.address().unwrap();
    let sent = nonce(&net, wallet).await;
    net.anvil.set_balance(wallet, 0).await.unwrap();
    run_to(&net, &seller, first, hold + 400).await;
    let began = Instant::now();
    until("it has tried", SOON, async || Ok((claims(home, false).await > 0.0).then_some(()))).await.unwrap();
    tokio::time::sleep(STUCK_FOR.saturating_sub(began.elapsed())).await;
    let tries = claims(home, false).await;
    assert!(tries <= MOST_TRIES, "{tries} tries in {} s", STUCK_FOR.as_secs());
    assert_eq!(nonce(&net, wallet).await, sent, "what cannot succeed is not sent");
    assert_eq!(lease(&seller, first).await.state, LeaseState::Active);

    net.fund(wallet, 0).await.unwrap();
    until("the rest is collected", SOON, async || {
        let (one, other) = (claimed_in(&seller, first).await, claimed_in(&seller, second).await);
        Ok((one.len() == 2 && one == other).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(claims_mined(home, 2.0).await, 2.0, "one transaction for both again");
    net.down().await.unwrap();
}
