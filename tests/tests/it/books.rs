//! The books of real nodes find each other again: after the network was cut in two, and after a provider's
//! process died.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use sublet::devnet::{
    Devnet, NodeProcess,
    market::{BUYER_FUNDS, IMAGE, SELLER_FUNDS, deposit, offer_of},
};
use sublet_api::types::{BookDigest, OfferInfo, PostBid};
use sublet_base::port::free_port;
use sublet_market::{BidTerms, Traits};
use sublet_tests::{
    command::until,
    shaper::{Relay, Shape},
};

use crate::support::{devnet, host, post_offer, unit};

const SOON: Duration = Duration::from_secs(60);
/// An offer is renewed when half of it is over.
const OFFER_LIFETIME: Duration = Duration::from_secs(30);

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

fn multiaddr(address: SocketAddr) -> String {
    format!("/ip4/{}/tcp/{}", address.ip(), address.port())
}

/// A node that listens at `listen`, meets those at `bootstrap` and whoever dials it, and nobody else.
async fn add_node(net: &mut Devnet, name: &str, sells: bool, listen: SocketAddr, bootstrap: &[SocketAddr]) {
    let node = net.add_node(name, BUYER_FUNDS, sells.then(|| host(4, 1024, 8))).await.unwrap();
    deposit(&node, SELLER_FUNDS).await.unwrap();
    let path = node.home().config();
    let kept = std::fs::read_to_string(&path).unwrap();
    let kept: Vec<&str> = kept
        .lines()
        .filter(|line| !line.starts_with("listen = ") && !line.starts_with("bootstrap = "))
        .collect();
    let bootstrap: Vec<String> =
        bootstrap.iter().map(|address| format!("\"{}\"", multiaddr(*address))).collect();
    let p2p = format!(
        "[p2p]\nlisten = [\"{}\"]\nbootstrap = [{}]\ndiscover = false\nsync_interval = \"2s\"\nstored_peers = 0",
        multiaddr(listen),
        bootstrap.join(", ")
    );
    let text = kept.join("\n").replace("[p2p]", &p2p);
    let market = format!("\n[market]\noffer_lifetime = \"{}s\"\n", OFFER_LIFETIME.as_secs());
    std::fs::write(&path, text + &market).unwrap();
    node.kill();
    let _ = std::fs::remove_file(node.home().peers());
}

async fn restarted(net: &mut Devnet, name: &str) -> NodeProcess {
    let node = net.restart(name, None).unwrap();
    node.wait_until_up().await.unwrap();
    node
}

async fn post_offer_at(node: &NodeProcess, price: u64) {
    post_offer(node, &offer_of(unit(128), price, false)).await;
}

/// Takes the offer of this price back.
async fn cancel_offer(node: &NodeProcess, price: u64) {
    let offers = offers(node).await;
    let series =
        &offers.iter().find(|offer| offer.terms.price_per_second == price && offer.mine).unwrap().series;
    let _: serde_json::Value = node.client().unwrap().delete(&format!("/v1/offers/{series}")).await.unwrap();
}

/// A bid that nobody takes.
async fn post_bid(node: &NodeProcess) {
    let terms = BidTerms {
        unit: unit(128),
        units: 1,
        traits: Traits::default(),
        max_rate: 1,
        min_bond_seconds: 0,
        min_points: 0,
        duration: 600,
        valid_for: 500,
        image: IMAGE.into(),
        ssh_authorized_keys: vec!["ssh-ed25519 AAAA".into()],
    };
    let bid = PostBid { terms, top_up_budget: Default::default(), on_failure: Default::default() };
    let _: serde_json::Value = node.client().unwrap().post("/v1/bids", &bid).await.unwrap();
}

async fn offers(node: &NodeProcess) -> Vec<OfferInfo> {
    node.client().unwrap().get("/v1/offers").await.unwrap()
}

async fn digest(node: &NodeProcess) -> BookDigest {
    node.client().unwrap().get("/v1/book/digest").await.unwrap()
}

/// The prices that are offered, as this node sees it.
async fn prices(node: &NodeProcess) -> BTreeSet<u64> {
    offers(node)
        .await
        .iter()
        .filter(|offer| offer.digest.is_some())
        .map(|offer| offer.terms.price_per_second)
        .collect()
}

/// Waits until all books hold these offers and so many bids, and are the same to the last bit.
async fn until_equal(nodes: &[&NodeProcess], offered: &[u64], bids: usize) -> Duration {
    let started = Instant::now();
    let offered: BTreeSet<u64> = offered.iter().copied().collect();
    loop {
        let mut seen = Vec::new();
        for node in nodes {
            let found = digest(node).await;
            seen.push((node.name(), node.status().await.unwrap().peers.len(), prices(node).await, found));
        }
        let same = |(_, _, prices, found): &(&str, usize, BTreeSet<u64>, BookDigest)| {
            *prices == offered && found.bids == bids && found.digest == seen[0].3.digest
        };
        if seen.iter().all(same) {
            return started.elapsed();
        }
        assert!(started.elapsed() < SOON, "not {offered:?} and {bids} bids everywhere: {seen:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn until_peers(node: &NodeProcess, count: usize) {
    until(&format!("{} has {count} peers", node.name()), SOON, async || {
        Ok((node.status().await?.peers.len() == count).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn two_halves_that_traded_apart_have_one_book_when_the_link_heals() {
    let link =
        Shape { delay: Duration::from_millis(50), jitter: Duration::from_millis(20), ..Shape::default() };
    let (_dir, mut net) = devnet().await;
    let [ada, bea, cyd, dee] = [(); 4].map(|()| free_address());
    let to_ada = Relay::start(ada, link).await.unwrap();
    let to_bea = Relay::start(bea, link).await.unwrap();
    add_node(&mut net, "ada", true, ada, &[]).await;
    let up = restarted(&mut net, "ada").await;
    add_node(&mut net, "bea", false, bea, &[ada]).await;
    add_node(&mut net, "cyd", true, cyd, &[to_ada.address()]).await;
    add_node(&mut net, "dee", false, dee, &[cyd, to_bea.address()]).await;
    let (ada, bea) = (up, restarted(&mut net, "bea").await);
    let (cyd, dee) = (restarted(&mut net, "cyd").await, restarted(&mut net, "dee").await);
    let all = [&ada, &bea, &cyd, &dee];
    for node in all {
        until_peers(node, 2).await;
    }
    for (node, price) in [(&ada, 1_000), (&ada, 1_001), (&cyd, 2_000), (&cyd, 2_001)] {
        post_offer_at(node, price).await;
    }
    post_bid(&bea).await;
    until_equal(&all, &[1_000, 1_001, 2_000, 2_001], 1).await;

    for relay in [&to_ada, &to_bea] {
        relay.set(Shape { closed: true, ..link });
        relay.cut();
    }
    for node in all {
        until_peers(node, 1).await;
    }
    let before: BTreeMap<_, _> =
        offers(&ada).await.into_iter().map(|offer| (offer.series, offer.digest)).collect();
    cancel_offer(&ada, 1_001).await;
    cancel_offer(&cyd, 2_001).await;
    post_offer_at(&ada, 1_002).await;
    post_offer_at(&cyd, 2_002).await;
    post_bid(&bea).await;
    post_bid(&dee).await;
    // What was out is replaced by newer versions, on each side without the other.
    tokio::time::sleep(OFFER_LIFETIME / 2 + Duration::from_secs(2)).await;
    assert_ne!(digest(&ada).await.digest, digest(&cyd).await.digest);
    assert!(!prices(&cyd).await.contains(&1_002) && !prices(&ada).await.contains(&2_002));
    assert!(prices(&bea).await.contains(&1_002) && prices(&dee).await.contains(&2_002));

    for relay in [&to_ada, &to_bea] {
        relay.set(link);
    }
    let taken = until_equal(&all, &[1_000, 1_002, 2_000, 2_002], 3).await;
    eprintln!("one book {} ms after the link was there again", taken.as_millis());
    let after = offers(&dee).await;
    let renewed = |offer: &&OfferInfo| before.get(&offer.series).is_some_and(|old| *old != offer.digest);
    assert_eq!(after.iter().filter(renewed).count(), 2, "the two old offers that stand were replaced");
    net.down().await.unwrap();
}

/// One offer of a series, never two, whatever is renewed meanwhile.
async fn assert_counted_once(node: &NodeProcess, most: usize) {
    let offers = offers(node).await;
    let series: BTreeSet<_> = offers.iter().map(|offer| &offer.series).collect();
    assert!(series.len() == offers.len() && offers.len() <= most, "{offers:?}");
    assert!(digest(node).await.offers <= most);
}

#[tokio::test]
async fn a_provider_that_died_is_back_in_all_books_and_counts_once() {
    let (_dir, mut net) = devnet().await;
    let [hub, seller, buyer] = [(); 3].map(|()| free_address());
    add_node(&mut net, "hub", false, hub, &[]).await;
    let hub_node = restarted(&mut net, "hub").await;
    add_node(&mut net, "seller", true, seller, &[hub]).await;
    add_node(&mut net, "buyer", false, buyer, &[hub]).await;
    let mut seller = restarted(&mut net, "seller").await;
    let others = [hub_node, restarted(&mut net, "buyer").await];
    post_offer_at(&seller, 1_000).await;
    post_offer_at(&seller, 1_001).await;
    until_equal(&[&seller, &others[0], &others[1]], &[1_000, 1_001], 0).await;

    // It comes back at once, while its old offers stand; and when they have ended.
    for wait in [false, true, false] {
        let old: BTreeSet<_> = offers(&others[1]).await.iter().map(|offer| offer.digest).collect();
        seller.kill();
        if wait {
            until("the offers have ended", SOON * 2, async || {
                Ok((prices(&others[0]).await.is_empty() && prices(&others[1]).await.is_empty()).then_some(()))
            })
            .await
            .unwrap();
        }
        let started = Instant::now();
        seller = net.restart("seller", None).unwrap();
        until("both offers are back in the books of others, newly signed", SOON, async || {
            for node in &others {
                assert_counted_once(node, 2).await;
                let found = offers(node).await;
                let fresh = found.iter().filter(|offer| !old.contains(&offer.digest)).count();
                if fresh < 2 {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
        .unwrap();
        eprintln!("back {} ms after the start (old offers ended: {wait})", started.elapsed().as_millis());
        seller.wait_until_up().await.unwrap();
        assert_counted_once(&seller, 2).await;
    }
    net.down().await.unwrap();
}
