//! The story of one trade, told while it really happens.
//!
//! Three providers, a buyer, a chain: each node is a process with a home, keys and peer id of its own. What is
//! printed comes from the commands that a user would type and from the chain.

use std::{path::Path, time::Duration};

use alloy::providers::Provider as _;
use alloy_primitives::{Address, B256};
use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};
use sublet::devnet::{
    DEVNET_PARAMS, Devnet, NodeProcess,
    market::{BUYER_FUNDS, SELLERS, Seller, add_seller, deposit},
};
use sublet_api::types::{Amount, BidInfo, LeaseInfo, OfferInfo, Transaction, Wallet};
use sublet_base::phase::ProviderPhase;
use sublet_chain::TxReport;
use sublet_market::amount::{format_amount, format_rate};
use sublet_market::{LeaseState, MarketEvent};

use crate::{
    command::{json as sublet_json, succeed, until},
    ctk,
    story::{Story, say},
};

/// What the demo's buyer types.
const BID: [&str; 9] =
    ["bid", "post", "--memory", "256MiB", "--max-rate", "0.003 CTK/s", "--for", "10m", "--wait"];
/// How long the reader watches the meter run.
const METERED: Duration = Duration::from_secs(4);
const SOON: Duration = Duration::from_secs(20);

/// A node's money at one moment: base units as decimal strings, and beside them the same in CTK.
#[derive(Debug, Clone, Serialize)]
pub struct Balance {
    node: String,
    address: Address,
    wallet: Amount,
    wallet_ctk: String,
    free: Amount,
    free_ctk: String,
    points: u64,
}

/// Everything that the report says beside the steps.
#[derive(Default)]
pub struct Facts {
    transactions: Vec<Value>,
    before: Vec<Balance>,
    after: Vec<Balance>,
    lease: Option<B256>,
}

impl Facts {
    fn note(&mut self, who: &str, call: &str, tx: B256, gas: u64, block: u64) {
        self.transactions.push(json!({ "by": who, "call": call, "tx": tx, "gas": gas, "block": block }));
    }

    fn note_reports(&mut self, who: &str, reports: &[TxReport]) {
        for report in reports {
            self.note(who, &report.call, report.hash, report.gas_used, report.block);
        }
    }

    fn note_transactions(&mut self, who: &str, done: &[Transaction]) {
        for tx in done {
            self.note(who, &tx.call, tx.tx, tx.gas, tx.block);
        }
    }

    /// The report's JSON.
    pub fn report(&self, story: &Story, net: &Devnet, verdict: &str) -> Value {
        json!({
            "verdict": verdict,
            "duration_ms": story.elapsed_ms(),
            "chain_id": net.deployment.chain_id,
            "params": net.deployment.params,
            "addresses": {
                "token": net.deployment.token,
                "market": net.deployment.market,
                "nodes": self.before.iter().map(|b| json!({ "node": b.node, "address": b.address })).collect::<Vec<_>>(),
            },
            "lease": self.lease,
            "steps": story.steps(),
            "transactions": self.transactions,
            "balances_before": self.before,
            "balances_after": self.after,
        })
    }
}

/// Tells the story on a fresh network. The network stays up; whoever started it takes it down.
pub async fn tell(
    net: &mut Devnet,
    images: &Path,
    story: &mut Story,
    facts: &mut Facts,
) -> anyhow::Result<NodeProcess> {
    facts.note_reports("deployer", &net.deploy_reports);
    let mut sellers = Vec::new();
    for seller in &SELLERS {
        let node = story
            .step(
                &format!("provider {} comes up and offers", seller.name),
                open_shop(net, seller, images, facts),
            )
            .await?;
        sellers.push(node);
    }
    let buyer =
        story.step("the buyer comes up with 50 CTK and deposits them", bring_buyer(net, facts)).await?;
    facts.before = balances(net).await?;
    story.step("the buyer's node has heard every offer", hear_offers(&buyer)).await?;
    let bid = story.step("a bid is gossiped; accept, escrow and boot follow", trade(&buyer)).await?;
    facts.lease = Some(bid.id);
    let winner = winner(&bid, facts, &sellers)?;
    story.step("what the chain says of it", settlement(net, &buyer, &winner, &bid, facts)).await?;
    story.step("a command in the guest, over ssh with a verified host key", log_in(&buyer, &bid)).await?;
    story.step("seconds are metered", watch_meter(&buyer, &bid)).await?;
    story.step("the buyer closes the lease", close(&buyer, &winner, &bid, facts)).await?;
    facts.after = balances(net).await?;
    story.step("who was paid what", async { Ok(((), settle_up(facts))) }).await?;
    Ok(buyer)
}

async fn open_shop(
    net: &mut Devnet,
    seller: &Seller,
    images: &Path,
    facts: &mut Facts,
) -> anyhow::Result<(NodeProcess, Vec<String>)> {
    let (node, deposited) = add_seller(net, seller, images).await?;
    facts.note_transactions(seller.name, &deposited);
    let status = node.status().await?;
    let image =
        seller.only_image.map_or(String::new(), |image| format!("; its host has only the image {image}"));
    let said = vec![
        format!("pid {}, address {}, peer {}", node.pid(), status.address, status.peer_id),
        format!("1 vCPU, {} MiB at {}{image}", seller.memory_mib, format_rate(seller.price_per_second)),
    ];
    Ok((node, said))
}

async fn bring_buyer(net: &mut Devnet, facts: &mut Facts) -> anyhow::Result<(NodeProcess, Vec<String>)> {
    let buyer = net.add_node("buyer", BUYER_FUNDS, None).await?;
    let done = deposit(&buyer, BUYER_FUNDS).await?;
    facts.note_transactions("buyer", &done);
    let status = buyer.status().await?;
    let mut said = vec![format!("pid {}, address {}, peer {}", buyer.pid(), status.address, status.peer_id)];
    said.extend(done.iter().map(|tx| format!("{} in {} (gas {})", tx.call, tx.tx, tx.gas)));
    Ok((buyer, said))
}

async fn hear_offers(buyer: &NodeProcess) -> anyhow::Result<((), Vec<String>)> {
    let home = buyer.home().path();
    until("the offers did not reach the buyer", SOON, || async {
        let offers: Vec<OfferInfo> = sublet_json(buyer.binary(), home, &["offer", "list"]).await?;
        Ok((offers.len() == SELLERS.len()).then_some(()))
    })
    .await?;
    let table = succeed(buyer.binary(), home, &["offer", "list"]).await?;
    Ok(((), said("sublet offer list", &table)))
}

async fn trade(buyer: &NodeProcess) -> anyhow::Result<(BidInfo, Vec<String>)> {
    let mut lines = vec![format!("$ sublet {}", shell(&BID))];
    say(&format!("          {}", lines[0]))?;
    let bid: BidInfo = sublet_json(buyer.binary(), buyer.home().path(), &BID).await?;
    lines.clear();
    let bid_now: BidInfo =
        sublet_json(buyer.binary(), buyer.home().path(), &["bid", "show", &bid.id.to_string()]).await?;
    for line in fit_table(buyer, &bid_now).await? {
        lines.push(line);
    }
    lines.push(format!("lease {}", bid_now.id));
    Ok((bid_now, lines))
}

/// Why each provider got the trade or not, as the buyer's node knows it.
async fn fit_table(buyer: &NodeProcess, bid: &BidInfo) -> anyhow::Result<Vec<String>> {
    let offers: Vec<OfferInfo> = sublet_json(buyer.binary(), buyer.home().path(), &["offer", "list"]).await?;
    let mut lines = Vec::new();
    for offer in &offers {
        if offer.terms.unit.memory_mib < bid.unit.memory_mib && Some(offer.provider) != bid.provider {
            lines.push(format!(
                "{} at {}: does not fit, {} MiB of the {} MiB wanted",
                offer.provider,
                format_rate(offer.terms.price_per_second),
                offer.terms.unit.memory_mib,
                bid.unit.memory_mib
            ));
        }
    }
    for no in &bid.declines {
        lines.push(format!(
            "{} at {}: declined, {} ({})",
            no.provider,
            format_rate(no.rate),
            no.detail,
            no.code
        ));
    }
    let provider = bid.provider.context("the bid has no provider")?;
    lines.push(format!("{} at {}: accepted", provider, format_rate(bid.rate.unwrap_or_default())));
    Ok(lines)
}

fn winner(bid: &BidInfo, facts: &Facts, sellers: &[NodeProcess]) -> anyhow::Result<NodeProcess> {
    let name = facts.before.iter().find(|b| Some(b.address) == bid.provider).map(|b| b.node.clone());
    let found = sellers.iter().find(|node| Some(node.name()) == name.as_deref());
    found.cloned().context("the accepted provider is none of ours")
}

async fn settlement(
    net: &Devnet,
    buyer: &NodeProcess,
    winner: &NodeProcess,
    bid: &BidInfo,
    facts: &mut Facts,
) -> anyhow::Result<((), Vec<String>)> {
    let id = bid.id.to_string();
    let lease: LeaseInfo = until("the machine was not activated", SOON, || async {
        let lease: LeaseInfo =
            sublet_json(buyer.binary(), buyer.home().path(), &["lease", "show", &id]).await?;
        Ok((lease.state == LeaseState::Active && lease.started_at > 0).then_some(lease))
    })
    .await?;
    let provided: LeaseInfo =
        sublet_json(winner.binary(), winner.home().path(), &["lease", "show", &id]).await?;
    let mut lines = Vec::new();
    for logged in &lease.events {
        let (who, call) = match logged.event {
            MarketEvent::LeaseOpened { .. } => ("buyer", "settle"),
            MarketEvent::LeaseActivated { .. } => (winner.name(), "activate"),
            _ => (winner.name(), logged.event.name()),
        };
        let gas = gas_used(net, logged.tx).await?;
        facts.note(who, call, logged.tx, gas, logged.block);
        lines.push(format!(
            "block {:>3}  {:<14} {}  (gas {gas})",
            logged.block,
            logged.event.name(),
            logged.tx
        ));
    }
    lines.push(format!(
        "escrow {} locked, bond {} locked",
        format_amount(u128::from(lease.rate) * u128::from(bid.duration)),
        lease.bond
    ));
    lines.push(format!("machine {}", provided.instance.context("the provider names no machine")?));
    Ok(((), lines))
}

/// What a transaction cost, as the chain has it.
async fn gas_used(net: &Devnet, tx: B256) -> anyhow::Result<u64> {
    let receipt = net.anvil.provider().get_transaction_receipt(tx).await?;
    Ok(receipt.with_context(|| format!("the chain has no receipt of {tx}"))?.gas_used)
}

async fn log_in(buyer: &NodeProcess, bid: &BidInfo) -> anyhow::Result<((), Vec<String>)> {
    let command = "uname -sr; echo memory $(grep MemTotal /proc/meminfo); df -h /data | tail -1";
    let id = bid.id.to_string();
    let text = succeed(buyer.binary(), buyer.home().path(), &["lease", "ssh", &id, "--", command]).await?;
    anyhow::ensure!(text.contains("Linux"), "the guest answered: {text}");
    Ok(((), said(&format!("sublet lease ssh {id} -- '{command}'"), &text)))
}

async fn watch_meter(buyer: &NodeProcess, bid: &BidInfo) -> anyhow::Result<((), Vec<String>)> {
    let id = bid.id.to_string();
    let mut lines = Vec::new();
    let begun = tokio::time::Instant::now();
    let mut last = 0;
    while begun.elapsed() < METERED {
        let lease: LeaseInfo =
            sublet_json(buyer.binary(), buyer.home().path(), &["lease", "show", &id]).await?;
        if lease.metered_seconds > last {
            last = lease.metered_seconds;
            lines.push(format!("{last:>3} s  {}", lease.metered));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    anyhow::ensure!(lines.len() > 1, "the meter stood still");
    Ok(((), lines))
}

async fn close(
    buyer: &NodeProcess,
    winner: &NodeProcess,
    bid: &BidInfo,
    facts: &mut Facts,
) -> anyhow::Result<((), Vec<String>)> {
    let id = bid.id.to_string();
    let done: Transaction =
        sublet_json(buyer.binary(), buyer.home().path(), &["lease", "close", &id]).await?;
    facts.note_transactions("buyer", std::slice::from_ref(&done));
    // Over for the provider once the machine is gone and its books are closed.
    until("the provider did not remove the machine", SOON, || async {
        let lease: LeaseInfo =
            sublet_json(winner.binary(), winner.home().path(), &["lease", "show", &id]).await?;
        Ok((lease.provider_phase == Some(ProviderPhase::Done)).then_some(()))
    })
    .await?;
    let lease: LeaseInfo = until("the buyer did not see the end", SOON, || async {
        let lease: LeaseInfo =
            sublet_json(buyer.binary(), buyer.home().path(), &["lease", "show", &id]).await?;
        Ok(lease.ended.is_some().then_some(lease))
    })
    .await?;
    let end = lease.ended.context("the lease has not ended")?;
    let charged = lease.metered_seconds;
    let lines = vec![
        format!("$ sublet lease close {id}   {} (gas {})", done.tx, done.gas),
        format!(
            "charged {charged} s, {} s of them for NOTICE, at {}",
            DEVNET_PARAMS.notice,
            format_rate(lease.rate)
        ),
        format!("to the provider {}, fee burned {}, back to the buyer {}", end.paid, end.fee, end.refunded),
        "the machine is gone, the capacity is offered again".to_owned(),
    ];
    anyhow::ensure!(
        end.paid.0 + end.fee.0 == u128::from(charged) * u128::from(lease.rate),
        "{} + {} is not {charged} s at {}",
        end.paid,
        end.fee,
        format_rate(lease.rate)
    );
    Ok(((), lines))
}

async fn balances(net: &Devnet) -> anyhow::Result<Vec<Balance>> {
    let mut all = Vec::new();
    for node in net.nodes() {
        let wallet: Wallet = sublet_json(node.binary(), node.home().path(), &["wallet", "balance"]).await?;
        all.push(Balance {
            node: node.name().to_owned(),
            address: wallet.address,
            wallet: wallet.wallet,
            wallet_ctk: ctk(wallet.wallet.0),
            free: wallet.free,
            free_ctk: ctk(wallet.free.0),
            points: wallet.points,
        });
    }
    Ok(all)
}

fn settle_up(facts: &Facts) -> Vec<String> {
    let total = |b: &Balance| format_amount(b.wallet.0 + b.free.0);
    facts
        .before
        .iter()
        .zip(&facts.after)
        .map(|(before, after)| {
            format!(
                "{:<6} {:>24} -> {:>24}   points {} -> {}",
                before.node,
                total(before),
                total(after),
                before.points,
                after.points
            )
        })
        .collect()
}

fn said(command: &str, output: &str) -> Vec<String> {
    std::iter::once(format!("$ {command}")).chain(output.lines().map(ToOwned::to_owned)).collect()
}

fn shell(args: &[&str]) -> String {
    let quoted =
        args.iter().map(|arg| if arg.contains(' ') { format!("\"{arg}\"") } else { (*arg).to_owned() });
    quoted.collect::<Vec<_>>().join(" ")
}
