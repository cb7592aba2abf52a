//! A bid draws competing quotes: the provider who goes lowest gets it, and the others are free for the next
//! bid at once.

use std::time::Duration;

use alloy_primitives::B256;
use libp2p::{Multiaddr, identity::Keypair};
use sublet::devnet::{
    Devnet, NodeProcess,
    market::{BUYER_FUNDS, IMAGE, SELLER_FUNDS, Seller, add_seller, deposit, offer_of},
};
use sublet_api::types::{BidInfo, OfferInfo};
use sublet_chain::{Call, Chain};
use sublet_market::{Accept, Bid, Manifest, OrderKey, Signed, Spec, TradeRequest, TradeResponse, Traits};
use sublet_p2p as p2p;
use sublet_p2p::{P2p, P2pConfig};
use sublet_tests::{
    command::{json, until},
    images,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{devnet, host, metrics_page, post_offer, reconfigured, unit};

const SOON: Duration = Duration::from_secs(60);
/// A busy machine may take longer than the second that quotes are collected for by default.
const PATIENT: &str = "\n[buyer]\ncollect_for = \"8s\"\n";
const LIST: Seller =
    Seller { name: "firm", memory_mib: 256, price_per_second: 2_000_000_000_000_000, only_image: None };
/// Dearer in every book.
const BOLD: Seller = Seller { name: "bold", price_per_second: 2_500_000_000_000_000, ..LIST };

/// A provider in a region.
async fn add_regional(net: &mut Devnet, name: &str, region: &str, price: u64) -> NodeProcess {
    let node = net.add_node(name, SELLER_FUNDS, Some(host(1, 512, 4))).await.unwrap();
    deposit(&node, SELLER_FUNDS).await.unwrap();
    let mut offer = offer_of(unit(256), price, false);
    offer.terms.traits = Traits::new([format!("region={region}")]).unwrap();
    post_offer(&node, &offer).await;
    node
}

async fn offers(node: &NodeProcess) -> Vec<OfferInfo> {
    json(node.binary(), node.home().path(), &["offer", "list"]).await.unwrap()
}

async fn hears(node: &NodeProcess, count: usize) {
    until("the offers are heard", SOON, async || Ok((offers(node).await.len() == count).then_some(())))
        .await
        .unwrap();
}

async fn post(buyer: &NodeProcess) -> BidInfo {
    let args = ["bid", "post", "--memory", "256MiB", "--max-rate", "0.003 CTK/s", "--for", "10m"];
    json(buyer.binary(), buyer.home().path(), &args).await.unwrap()
}

/// The bid once somebody has accepted it.
async fn taken(buyer: &NodeProcess, bid: &BidInfo) -> BidInfo {
    until("somebody accepts", SOON, async || {
        let now: BidInfo =
            json(buyer.binary(), buyer.home().path(), &["bid", "show", &bid.id.to_string()]).await?;
        Ok(now.provider.is_some().then_some(now))
    })
    .await
    .unwrap()
}

/// One sample of a node's metrics.
async fn sample(node: &NodeProcess, name: &str) -> f64 {
    let page = metrics_page(node.home().path()).await;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in:\n{page}")).parse().unwrap()
}

fn address(node: &NodeProcess) -> Option<alloy_primitives::Address> {
    Some(node.address().unwrap())
}

#[tokio::test]
async fn the_lowest_quote_wins_and_the_losers_hold_nothing() {
    let (_dir, mut net) = devnet().await;
    let (firm, _) = add_seller(&mut net, &LIST, &images().unwrap()).await.unwrap();
    add_seller(&mut net, &BOLD, &images().unwrap()).await.unwrap();
    let bold = reconfigured(&mut net, "bold", |text| {
        text.replace("[provider]\n", "[provider]\ndiscount_percent = 30\n")
    })
    .await;
    net.add_node("buyer", BUYER_FUNDS, None).await.unwrap();
    let buyer = reconfigured(&mut net, "buyer", |text| text + PATIENT).await;
    deposit(&buyer, BUYER_FUNDS).await.unwrap();
    hears(&bold, 2).await;
    hears(&buyer, 2).await;

    let first = taken(&buyer, &post(&buyer).await).await;
    assert_eq!(first.provider, address(&bold), "dearer in the book, cheaper for this bid");
    assert_eq!(first.rate, Some(LIST.price_per_second - 1), "just below the best other offer");
    assert!(sample(&buyer, "sublet_quotes_received_total{result=\"noted\"}").await >= 1.0);
    for phase in ["held", "lapsed", "leased"] {
        let name = format!("sublet_promises{{phase=\"{phase}\"}}");
        assert_eq!(sample(&firm, &name).await, 0.0, "{phase}: nothing was ever held there");
    }

    // At once, while the winner's accept is not even settled.
    let second = taken(&buyer, &post(&buyer).await).await;
    assert_eq!((second.provider, second.rate), (address(&firm), Some(LIST.price_per_second)));
    assert!(second.declines.is_empty(), "{:?}", second.declines);
    net.down().await.unwrap();
}

#[tokio::test]
async fn a_provider_whose_offer_the_buyer_has_never_heard_wins_by_its_quote() {
    let (_dir, mut net) = devnet().await;
    add_seller(&mut net, &BOLD, &images().unwrap()).await.unwrap();
    let far = add_regional(&mut net, "far", "us-east-1", LIST.price_per_second).await;
    net.add_node("buyer", BUYER_FUNDS, None).await.unwrap();
    let buyer = reconfigured(&mut net, "buyer", |text| {
        text.replace("[p2p]\n", "[p2p]\nshards = [\"eu-north-1\"]\n") + PATIENT
    })
    .await;
    deposit(&buyer, BUYER_FUNDS).await.unwrap();
    hears(&far, 2).await;
    hears(&buyer, 1).await;

    let bid = taken(&buyer, &post(&buyer).await).await;
    assert_eq!((bid.provider, bid.rate), (address(&far), Some(LIST.price_per_second)));
    assert!(bid.declines.is_empty(), "{:?}", bid.declines);
    let offers = offers(&buyer).await;
    assert!(offers.iter().all(|offer| Some(offer.provider) != address(&far)), "its book still lacks it");
    net.down().await.unwrap();
}

/// A buyer that asks whom it likes: not our node.
struct Shopper {
    chain: Chain,
    key: OrderKey,
    p2p: P2p,
    _stop: DropGuard,
}

impl Shopper {
    async fn new(net: &Devnet) -> Self {
        let wallet = net.wallet().await.unwrap();
        net.fund(wallet.address(), BUYER_FUNDS).await.unwrap();
        let key = OrderKey::from_bytes(&wallet.to_bytes().0).unwrap();
        let chain = Chain::connect(net.anvil.url(), net.deployment.clone(), wallet).await.unwrap();
        for call in [Call::Approve { amount: BUYER_FUNDS }, Call::Deposit { amount: BUYER_FUNDS }] {
            chain.execute(call).await.unwrap();
        }
        let stop = CancellationToken::new();
        let config = P2pConfig::new(Keypair::generate_ed25519(), chain.domain());
        let (p2p, _) = p2p::spawn(config, stop.clone()).await.unwrap();
        Self { chain, key, p2p, _stop: stop.drop_guard() }
    }

    fn bid(&self, salt: u64) -> (Signed<Bid>, Spec, Manifest) {
        let ssh_authorized_keys = vec!["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA".into()];
        let manifest =
            Manifest { salt: B256::repeat_byte(1), image: IMAGE.into(), ssh_authorized_keys, disk_of: None };
        let spec =
            Spec { unit: unit(256), units: 1, traits: Traits::default(), manifest: manifest.hash().unwrap() };
        let bid = Bid {
            buyer: self.key.address(),
            settler: self.key.address(),
            spec: spec.hash_struct(),
            node: self.p2p.node(),
            max_rate: BOLD.price_per_second,
            min_bond_seconds: 0,
            min_points: 0,
            duration: 600,
            valid_until: self.chain.now() + 300,
            epoch: 0,
            salt,
        };
        (self.key.sign(bid, &self.chain.domain()), spec, manifest)
    }

    /// Asks a provider for its one offer.
    async fn ask(&self, seller: &NodeProcess, bid: &(Signed<Bid>, Spec, Manifest)) -> Signed<Accept> {
        let status = seller.status().await.unwrap();
        let addresses: Vec<Multiaddr> = status.listen.iter().map(|text| text.parse().unwrap()).collect();
        let own = until("the offer is announced", SOON, async || {
            let own = offers(seller).await.into_iter().find(|offer| offer.mine && offer.terms.units > 0);
            Ok(own.and_then(|offer| offer.digest))
        });
        let request = TradeRequest::Ask {
            bid: bid.0.clone(),
            spec: bid.1.clone(),
            offer: own.await.unwrap(),
            manifest: bid.2.canonical_bytes().unwrap(),
        };
        match self.p2p.request(status.node, addresses, request).await.unwrap() {
            TradeResponse::Accept(accept) => accept,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn who_accepted_and_was_not_taken_is_free_when_the_bid_is_settled() {
    let (_dir, mut net) = devnet().await;
    let (firm, _) = add_seller(&mut net, &LIST, &images().unwrap()).await.unwrap();
    let (bold, _) = add_seller(&mut net, &BOLD, &images().unwrap()).await.unwrap();
    let shopper = Shopper::new(&net).await;

    let bid = shopper.bid(1);
    let accept = shopper.ask(&firm, &bid).await;
    shopper.ask(&bold, &bid).await;
    let held = "sublet_promises{phase=\"held\"}";
    until("both hold", SOON, async || {
        Ok((sample(&firm, held).await + sample(&bold, held).await == 2.0).then_some(()))
    })
    .await
    .unwrap();

    shopper.chain.execute(Call::Settle { bid: bid.0.clone(), accept }).await.unwrap();
    // The accept itself would stand for two minutes more.
    let lapsed = "sublet_promises{phase=\"lapsed\"}";
    until("the other is free, and holds nothing against the buyer", Duration::from_secs(20), async || {
        Ok((sample(&bold, held).await + sample(&bold, lapsed).await == 0.0).then_some(()))
    })
    .await
    .unwrap();
    let second = shopper.ask(&bold, &shopper.bid(2)).await;
    assert_eq!(Some(second.order.provider), address(&bold));
    net.down().await.unwrap();
}
