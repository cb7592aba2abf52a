//! The reference experiments of token-gated allocation: payment first, then a machine, and exactly the price.
//!
//! A published prototype ran three: a buyer with 50 CTK gets a machine for 10, a buyer without is refused, the
//! same buyer with 100 CTK succeeds. The offer burns its earnings, so that the price leaves circulation. The
//! lease is 4,000 s at 0.0025 CTK/s on a chain whose time is moved. A balance is wallet + free in the Market.

mod site;

use std::time::Duration;

use alloy::providers::Provider as _;
use alloy_primitives::{Address, B256, U256, address};
use anyhow::{Context as _, ensure};
use serde::Serialize;
use sublet::devnet::{
    DEVNET_PARAMS, Devnet, NodeProcess,
    market::{SELLER_FUNDS, deposit, offer_of},
};
use sublet_api::types::{BidInfo, LeaseInfo, OfferInfo, PostOffer, Wallet};
use sublet_base::phase::ProviderPhase;
use sublet_chain::Call;
use sublet_contracts::CloudToken;
use sublet_market::LeaseState;
use sublet_market::amount::BASE_UNITS_PER_CTK;

pub use self::site::Site;
use crate::{
    command::{json as sublet_json, sublet, until},
    ctk,
};

/// Where burned payouts go.
const DEAD: Address = address!("000000000000000000000000000000000000dEaD");
/// 0.0025 CTK, base units a second.
const RATE: u64 = 2_500_000_000_000_000;
/// 10 CTK at that rate.
const DURATION: u64 = 4_000;
const PRICE_CTK: u128 = 10;
const SOON: Duration = Duration::from_secs(30);

/// One row of `reports/experiments.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// 1, 2 or 3.
    pub experiment: u8,
    /// Wallet + free balance before, in CTK.
    pub balance_before_ctk: String,
    /// Wallet + free balance after, in CTK.
    pub balance_after_ctk: String,
    /// The hashes of all transactions about the lease.
    pub transactions: Vec<B256>,
    /// The machine, as the provider's adapter names it.
    pub instance: Option<String>,
    /// `pass`; a failed experiment is an error and has no row.
    pub verdict: String,
    /// What was seen.
    pub seen: String,
}

/// A lease that has run to its end.
struct Ended {
    lease: LeaseInfo,
    instance: String,
    /// What was seen of its machine.
    seen: String,
}

/// Runs all three on a fresh network.
pub async fn run(net: &mut Devnet, site: &Site) -> anyhow::Result<Vec<Row>> {
    let provider = open_shop(net, site).await?;
    let first = first(net, site, &provider).await.context("experiment 1")?;
    let poor = net.add_node("buyer2", 0, None).await?;
    hear_offer(&poor).await?;
    let second = second(net, site, &provider, &poor).await.context("experiment 2")?;
    let third = third(net, site, &provider, &poor).await.context("experiment 3")?;
    ensure!(first.instance != third.instance, "experiment 3 got the machine of experiment 1");
    Ok(vec![first, second, third])
}

async fn open_shop(net: &mut Devnet, site: &Site) -> anyhow::Result<NodeProcess> {
    let setup = site.provider(net.dir())?;
    let provider = net.add_node("provider", SELLER_FUNDS, Some(setup)).await?;
    deposit(&provider, SELLER_FUNDS).await?;
    let offer: PostOffer = offer_of(site.unit(), RATE, true);
    let _: OfferInfo = provider.client()?.post("/v1/offers", &offer).await?;
    Ok(provider)
}

/// A buyer with 50 CTK gets the machine, only after the payment is on chain, and has 40 left.
async fn first(net: &mut Devnet, site: &Site, provider: &NodeProcess) -> anyhow::Result<Row> {
    let buyer = net.add_node("buyer1", 50 * BASE_UNITS_PER_CTK, None).await?;
    deposit(&buyer, 50 * BASE_UNITS_PER_CTK).await?;
    hear_offer(&buyer).await?;
    let before = balance(&buyer).await?;
    ensure!(before == 50 * BASE_UNITS_PER_CTK, "the buyer starts with {before}");
    let burned_before = burned(net).await?;

    // No blocks: the settlement is sent and cannot be confirmed, so nothing may start.
    mining(net, false).await?;
    let bid: BidInfo = sublet_json(buyer.binary(), buyer.home().path(), &bid_args(site, false)).await?;
    until("the settlement was not sent", SOON, || async {
        let pending: serde_json::Value = net.anvil.provider().client().request("txpool_status", ()).await?;
        let count = pending["pending"].as_str().unwrap_or("0x0").to_owned();
        Ok((count != "0x0").then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(
        site.machines(provider).await?.is_empty(),
        "a machine was started before the payment was confirmed"
    );
    mining(net, true).await?;

    let Ended { lease, instance, seen } = run_to_the_end(net, site, provider, &buyer, bid.id).await?;
    let after = balance(&buyer).await?;
    ensure!(after == 40 * BASE_UNITS_PER_CTK, "the buyer has {after} left, not 40 CTK");
    let flush = net.bank.execute(Call::FlushBurn).await?;
    let burned = burned(net).await? - burned_before;
    ensure!(burned == PRICE_CTK * BASE_UNITS_PER_CTK, "{burned} base units were burned, not 10 CTK");
    let mut transactions: Vec<_> = lease.events.iter().map(|event| event.tx).collect();
    transactions.push(flush.hash);
    transactions.dedup();
    Ok(Row {
        experiment: 1,
        balance_before_ctk: ctk(before),
        balance_after_ctk: ctk(after),
        transactions,
        instance: Some(instance),
        verdict: "pass".into(),
        seen: format!(
            "no machine while the settlement was unconfirmed; {seen}; exactly 10 CTK burned in the end"
        ),
    })
}

/// A buyer with nothing is refused with words, and nothing else happens.
async fn second(
    net: &Devnet,
    site: &Site,
    provider: &NodeProcess,
    buyer: &NodeProcess,
) -> anyhow::Result<Row> {
    let before = balance(buyer).await?;
    let calls_before = adapter_calls(provider)?;
    let args = bid_args(site, true);
    let outcome = sublet(buyer.binary(), buyer.home().path(), &args).await?;
    ensure!(outcome.code == Some(4), "exit code {:?}, not 4: {}", outcome.code, outcome.stderr);
    for needed in ["10 CTK", "0 CTK"] {
        ensure!(outcome.stderr.contains(needed), "the refusal does not name {needed}: {}", outcome.stderr);
    }
    // Long enough for two passes of both engines and two blocks.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let address = buyer.status().await?.address;
    let sent = net.anvil.provider().get_transaction_count(address).await?;
    ensure!(sent == 0, "{sent} transactions were sent");
    ensure!(
        site.machines(provider).await?.is_empty() && adapter_calls(provider)? == calls_before,
        "the adapter was called"
    );
    Ok(Row {
        experiment: 2,
        balance_before_ctk: ctk(before),
        balance_after_ctk: ctk(balance(buyer).await?),
        transactions: Vec::new(),
        instance: None,
        verdict: "pass".into(),
        seen: outcome.stderr.trim().to_owned(),
    })
}

/// The same buyer with 100 CTK succeeds at once.
async fn third(
    net: &mut Devnet,
    site: &Site,
    provider: &NodeProcess,
    buyer: &NodeProcess,
) -> anyhow::Result<Row> {
    let address = buyer.status().await?.address;
    net.fund(address, 100 * BASE_UNITS_PER_CTK).await?;
    deposit(buyer, 100 * BASE_UNITS_PER_CTK).await?;
    let before = balance(buyer).await?;
    let bid: BidInfo = sublet_json(buyer.binary(), buyer.home().path(), &bid_args(site, true)).await?;
    ensure!(bid.declines.is_empty(), "not at once: {:?}", bid.declines);
    let Ended { lease, instance, seen } = run_to_the_end(net, site, provider, buyer, bid.id).await?;
    let after = balance(buyer).await?;
    ensure!(after == 90 * BASE_UNITS_PER_CTK, "the buyer has {after} left, not 90 CTK");
    Ok(Row {
        experiment: 3,
        balance_before_ctk: ctk(before),
        balance_after_ctk: ctk(after),
        transactions: lease.events.iter().map(|event| event.tx).collect(),
        instance: Some(instance),
        verdict: "pass".into(),
        seen: format!("accepted by the first provider asked; {seen}"),
    })
}

/// Logs in, moves the chain's time past the end of the funds, and waits until everything is settled.
async fn run_to_the_end(
    net: &Devnet,
    site: &Site,
    provider: &NodeProcess,
    buyer: &NodeProcess,
    id: B256,
) -> anyhow::Result<Ended> {
    let name = id.to_string();
    until("the machine was not reachable", Duration::from_secs(90), || async {
        let lease = lease(buyer, &name).await?;
        Ok(lease.filter(|lease| lease.state == LeaseState::Active && lease.access.is_some()))
    })
    .await?;
    let provided = lease(provider, &name).await?.context("the provider does not know the lease")?;
    let instance = provided.instance.context("the provider names no machine")?;
    let seen = site.inspect(buyer, id, &instance, PRICE_CTK).await?;

    net.anvil.advance(DURATION).await?;
    until("the machine was not removed at the end of the funds", SOON, || async {
        Ok(site.machines(provider).await?.is_empty().then_some(()))
    })
    .await?;
    net.anvil.advance(u64::from(DEVNET_PARAMS.hold)).await?;
    let ended = until("the lease was not finished", SOON, || async {
        let done =
            lease(provider, &name).await?.is_some_and(|l| l.provider_phase == Some(ProviderPhase::Done));
        let ended = lease(buyer, &name).await?.filter(|lease| lease.ended.is_some());
        Ok(if done { ended } else { None })
    })
    .await?;
    let reason = ended.ended.as_ref().map(|end| end.reason.to_string()).unwrap_or_default();
    ensure!(reason == "finished", "the lease ended by '{reason}', not by running to its end");
    Ok(Ended { lease: ended, instance, seen })
}

fn bid_args(site: &Site, wait: bool) -> Vec<&'static str> {
    let mut args = vec!["bid", "post", "--max-rate", "0.0025 CTK/s", "--for", "4000s"];
    args.extend(site.wanted());
    if wait {
        args.push("--wait");
    }
    args
}

async fn hear_offer(buyer: &NodeProcess) -> anyhow::Result<()> {
    until("the offer did not reach the buyer", SOON, || async {
        let offers: Vec<OfferInfo> =
            sublet_json(buyer.binary(), buyer.home().path(), &["offer", "list"]).await?;
        Ok((!offers.is_empty()).then_some(()))
    })
    .await
}

async fn lease(node: &NodeProcess, id: &str) -> anyhow::Result<Option<LeaseInfo>> {
    let leases: Vec<LeaseInfo> = sublet_json(node.binary(), node.home().path(), &["lease", "list"]).await?;
    Ok(leases.into_iter().find(|lease| lease.id.to_string() == id))
}

async fn balance(node: &NodeProcess) -> anyhow::Result<u128> {
    let wallet: Wallet = sublet_json(node.binary(), node.home().path(), &["wallet", "balance"]).await?;
    Ok(wallet.wallet.0 + wallet.free.0)
}

/// What has left circulation: the dead address's balance and what the token's burn has destroyed.
async fn burned(net: &Devnet) -> anyhow::Result<u128> {
    let token = CloudToken::new(net.deployment.token, net.anvil.provider());
    let dead: U256 = token.balanceOf(DEAD).call().await?;
    let supply: U256 = token.totalSupply().call().await?;
    let minted = U256::from(1_000_000 * BASE_UNITS_PER_CTK);
    Ok(u128::try_from(dead + minted - supply)?)
}

async fn mining(net: &Devnet, on: bool) -> anyhow::Result<()> {
    let seconds = u64::from(on);
    let _: serde_json::Value =
        net.anvil.provider().client().request("evm_setIntervalMining", (seconds,)).await?;
    Ok(())
}

/// How often the provider's engine has started a machine, by its log.
fn adapter_calls(provider: &NodeProcess) -> anyhow::Result<usize> {
    let log = std::fs::read_to_string(provider.home().path().join("node.log"))?;
    Ok(log
        .lines()
        .filter(|line| line.contains("the machine runs") || line.contains("accepted a bid"))
        .count())
}
