//! What happens in the network: it comes up, machines are traded on QEMU and on EC2, a node is restarted.

use std::{collections::BTreeSet, time::Duration};

use alloy_primitives::{Address, B256};
use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;
use sublet_api::types::{BidInfo, LeaseEnded, LeaseInfo, OfferInfo, Status, Transaction, Wallet};
use sublet_market::amount::{BASE_UNITS_PER_CTK, format_amount as ctk, format_rate};

use super::Compose;
use crate::{
    command::until,
    story::{Step, Story},
};

/// The services with a node, and how many tokens each has deposited.
const NODES: [(&str, u32); 5] =
    [("bootstrap", 0), ("provider-one", 20), ("provider-two", 20), ("provider-aws", 20), ("buyer", 50)];
const PROVIDERS: usize = 3;
/// The cheapest of those that sell QEMU machines.
const QEMU_PROVIDER: &str = "provider-one";
const EC2_PROVIDER: &str = "provider-aws";
const RESTARTED: &str = "provider-two";

const QEMU_BID: &[&str] =
    &["bid", "post", "--memory", "256MiB", "--max-rate", "0.003 CTK/s", "--for", "10m", "--wait"];
const EC2_BID: &[&str] = &[
    "bid",
    "post",
    "--memory",
    "1GiB",
    "--max-rate",
    "0.003 CTK/s",
    "--for",
    "10m",
    "--trait",
    "adapter=aws",
    "--image",
    "amazon-linux",
    // Nothing boots on this EC2: there is nobody to greet.
    "--on-failure",
    "keep",
    "--wait",
];

/// Gossip and a few blocks, on a machine with other things to do.
const SOON: Duration = Duration::from_secs(60);
/// How long a machine runs until its lease is closed, so that there is something to pay.
const METERED: Duration = Duration::from_secs(3);

/// One scenario of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub scenario: &'static str,
    /// `ok` or `failed`.
    pub verdict: &'static str,
    /// The lease that was traded.
    pub lease: Option<B256>,
    /// The machine, as the adapter names it.
    pub instance: Option<String>,
    /// What was seen in the end, or what went wrong.
    pub seen: String,
    /// The steps that were done.
    pub steps: Vec<Step>,
}

/// What a scenario is about, as far as it came.
#[derive(Debug, Default)]
struct Found {
    lease: Option<B256>,
    instance: Option<String>,
}

/// The scenarios, in the order in which they run.
#[derive(Debug, Clone, Copy)]
enum Scenario {
    Up,
    Qemu,
    Ec2,
    Restart,
}

impl Scenario {
    const ALL: [Self; 4] = [Self::Up, Self::Qemu, Self::Ec2, Self::Restart];

    fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Qemu => "qemu",
            Self::Ec2 => "ec2",
            Self::Restart => "restart",
        }
    }

    async fn run(self, net: &Compose, story: &mut Story, found: &mut Found) -> anyhow::Result<String> {
        match self {
            Self::Up => come_up(net, story).await,
            Self::Qemu => trade_qemu(net, story, found).await,
            Self::Ec2 => trade_ec2(net, story, found).await,
            Self::Restart => restart(net, story).await,
        }
    }
}

/// Runs all scenarios on a network that is not up yet; the first that fails is the last. Each leaves a row.
pub async fn run(net: &Compose, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    for scenario in Scenario::ALL {
        let (mut story, mut found) = (Story::default(), Found::default());
        let ended = scenario.run(net, &mut story, &mut found).await;
        rows.push(Row {
            scenario: scenario.name(),
            verdict: if ended.is_ok() { "ok" } else { "failed" },
            lease: found.lease,
            instance: found.instance,
            seen: match &ended {
                Ok(seen) => seen.clone(),
                Err(error) => format!("{error:#}"),
            },
            steps: story.steps().to_vec(),
        });
        ended.with_context(|| format!("scenario {}", scenario.name()))?;
    }
    Ok(())
}

async fn come_up(net: &Compose, story: &mut Story) -> anyhow::Result<String> {
    story
        .step("docker compose up --wait: chain, contracts, nodes, funds and offers, in order", async {
            net.up().await?;
            Ok(((), net.services().await?))
        })
        .await?;
    story.step("every node has keys of its own, peers, and its deposit", meet(net)).await?;
    story
        .step("the buyer's node hears every offer", async {
            until("the offers did not reach the buyer", SOON, || async {
                let offers: Vec<OfferInfo> = net.sublet("buyer", &["offer", "list"]).await?;
                Ok((offers.len() == PROVIDERS).then_some(()))
            })
            .await?;
            let table = net.exec("buyer", &["sublet", "offer", "list"]).await?;
            Ok(((), table.lines().map(ToOwned::to_owned).collect()))
        })
        .await?;
    Ok(format!("{} nodes, {PROVIDERS} offers in the buyer's book", NODES.len()))
}

async fn meet(net: &Compose) -> anyhow::Result<((), Vec<String>)> {
    let (mut identities, mut lines) = (BTreeSet::new(), Vec::new());
    for (service, tokens) in NODES {
        let status = until(&format!("{service} has no peers"), SOON, || async {
            let status: Status = net.sublet(service, &["node", "status"]).await?;
            Ok((!status.peers.is_empty()).then_some(status))
        })
        .await?;
        let wallet: Wallet = net.sublet(service, &["wallet", "balance"]).await?;
        let deposited = u128::from(tokens) * BASE_UNITS_PER_CTK;
        anyhow::ensure!(wallet.free.0 == deposited, "{service} has {} free, not {tokens} CTK", wallet.free);
        lines.push(format!(
            "{service:<13} {} {} peers {}",
            status.address,
            status.peer_id,
            status.peers.len()
        ));
        identities.extend([status.address.to_string(), status.peer_id]);
    }
    anyhow::ensure!(identities.len() == 2 * NODES.len(), "two nodes share a key: {}", lines.join("; "));
    Ok(((), lines))
}

async fn trade_qemu(net: &Compose, story: &mut Story, found: &mut Found) -> anyhow::Result<String> {
    let trade = open(net, story, found, QEMU_PROVIDER, QEMU_BID).await?;
    let id = trade.bid.id.to_string();
    let seen = story
        .step("a command in the guest, by ssh from the buyer's container", async {
            let said =
                net.exec("buyer", &["sublet", "lease", "ssh", &id, "--", "uname -sr; hostname"]).await?;
            let guest = format!("sublet-{}", &id[2..10]);
            anyhow::ensure!(
                said.contains("Linux") && said.contains(&guest),
                "the machine said {said}, and is not {guest}"
            );
            let seen = said.trim().replace('\n', " on ");
            Ok((seen.clone(), vec![seen]))
        })
        .await?;
    let end = close(net, story, &trade).await?;
    story
        .step("the machine is gone from the provider's container", async {
            until("QEMU still runs", SOON, || async {
                Ok((!net.processes(QEMU_PROVIDER).await?.contains("qemu-system")).then_some(()))
            })
            .await?;
            Ok(((), Vec::new()))
        })
        .await?;
    Ok(format!("{seen}; {end}"))
}

async fn trade_ec2(net: &Compose, story: &mut Story, found: &mut Found) -> anyhow::Result<String> {
    let trade = open(net, story, found, EC2_PROVIDER, EC2_BID).await?;
    let seen = story.step("the aws command line sees the instance", see_instance(net, &trade)).await?;
    let end = close(net, story, &trade).await?;
    story
        .step("EC2 says that it is terminated", async {
            let state = until("the instance still runs", SOON, || async {
                let instance = instance_of(net, &trade).await?;
                let state = instance["State"]["Name"].as_str().unwrap_or_default().to_owned();
                Ok(matches!(state.as_str(), "shutting-down" | "terminated").then_some(state))
            })
            .await?;
            Ok(((), vec![state]))
        })
        .await?;
    Ok(format!("{seen}; {end}"))
}

/// What EC2 says of a lease's one machine, asked by Amazon's own client.
async fn instance_of(net: &Compose, trade: &Trade) -> anyhow::Result<Value> {
    let filter = format!("Name=tag:sublet:lease,Values={:#x}", trade.bid.id);
    let text = net.exec("moto", &["aws", "ec2", "describe-instances", "--filters", &filter]).await?;
    let answer: Value = serde_json::from_str(&text).context("the aws command line")?;
    let found: Vec<_> = answer["Reservations"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|reservation| reservation["Instances"].as_array())
        .flatten()
        .cloned()
        .collect();
    anyhow::ensure!(found.len() == 1, "{} instances have the lease's tag", found.len());
    found.into_iter().next().context("no instance")
}

async fn see_instance(net: &Compose, trade: &Trade) -> anyhow::Result<(String, Vec<String>)> {
    let instance = instance_of(net, trade).await?;
    let id = instance["InstanceId"].as_str().unwrap_or_default();
    let kind = instance["InstanceType"].as_str().unwrap_or_default();
    let state = instance["State"]["Name"].as_str().unwrap_or_default();
    anyhow::ensure!(id == trade.instance, "EC2 has {id}, the provider's node says {}", trade.instance);
    anyhow::ensure!(state == "running", "{id} is {state}");
    let tag = |key: &str| {
        let tags = instance["Tags"].as_array().into_iter().flatten();
        let found = tags.filter(|tag| tag["Key"] == key).find_map(|tag| tag["Value"].as_str());
        found.map(ToOwned::to_owned).with_context(|| format!("{id} has no tag {key}"))
    };
    let (allocated_by, cost) = (tag("AllocatedBy")?, tag("TokenCost")?);
    anyhow::ensure!(allocated_by == "TokenSystem", "AllocatedBy is {allocated_by}");
    let seen = format!("{id} ({kind}) {state}, AllocatedBy={allocated_by}, TokenCost={cost}");
    Ok((seen.clone(), vec![seen]))
}

/// A lease whose machine runs.
struct Trade {
    bid: BidInfo,
    provider: &'static str,
    instance: String,
    /// What was free in the Market before: the buyer's and the provider's, base units.
    before: (u128, u128),
}

async fn open(
    net: &Compose,
    story: &mut Story,
    found: &mut Found,
    provider: &'static str,
    bid: &[&str],
) -> anyhow::Result<Trade> {
    let before = (free(net, "buyer").await?, free(net, provider).await?);
    let bid = story
        .step(&format!("a bid in the buyer's container, until the machine of {provider} runs"), async {
            let bid: BidInfo = net.sublet("buyer", bid).await?;
            let rate = bid.rate.map(format_rate).unwrap_or_default();
            let lines = vec![format!("lease {} at {rate}", bid.id)];
            Ok((bid, lines))
        })
        .await?;
    found.lease = Some(bid.id);
    let lease: LeaseInfo = net
        .sublet(provider, &["lease", "show", &bid.id.to_string()])
        .await
        .with_context(|| format!("{:?} sold it, and it should have been {provider}", bid.provider))?;
    let instance = lease.instance.context("the provider's node names no machine")?;
    found.instance = Some(instance.clone());
    Ok(Trade { bid, provider, instance, before })
}

/// Ends the lease and checks who was paid what.
async fn close(net: &Compose, story: &mut Story, trade: &Trade) -> anyhow::Result<String> {
    tokio::time::sleep(METERED).await;
    story.step("the buyer closes the lease; the money adds up", settle_up(net, trade)).await
}

async fn settle_up(net: &Compose, trade: &Trade) -> anyhow::Result<(String, Vec<String>)> {
    let id = trade.bid.id.to_string();
    let _: Transaction = net.sublet("buyer", &["lease", "close", &id]).await?;
    let (seconds, end) = ended(net, "buyer", &id).await?;
    // The provider's node has seen it too, and has its bond back.
    ended(net, trade.provider, &id).await?;
    let rate = trade.bid.rate.context("a settled bid has a rate")?;
    let charged = u128::from(seconds) * u128::from(rate);
    anyhow::ensure!(
        end.paid.0 + end.fee.0 == charged,
        "{} and {} are not {seconds} s at {}",
        end.paid,
        end.fee,
        format_rate(rate)
    );
    let escrow = u128::from(trade.bid.duration) * u128::from(rate);
    anyhow::ensure!(end.refunded.0 + charged == escrow, "{} came back of the escrow", end.refunded);
    let (buyer, provider) = (free(net, "buyer").await?, free(net, trade.provider).await?);
    anyhow::ensure!(buyer + charged == trade.before.0, "the buyer has lost something else than {charged}");
    anyhow::ensure!(provider == trade.before.1 + end.paid.0, "the provider has not got {}", end.paid);
    let seen = format!("{seconds} s cost the buyer {} and brought the provider {}", ctk(charged), end.paid);
    Ok((seen.clone(), vec![seen, format!("fee burned {}, back to the buyer {}", end.fee, end.refunded)]))
}

async fn ended(net: &Compose, service: &str, id: &str) -> anyhow::Result<(u64, LeaseEnded)> {
    until(&format!("{service} does not see the end of the lease"), SOON, || async {
        let lease: LeaseInfo = net.sublet(service, &["lease", "show", id]).await?;
        Ok(lease.ended.map(|end| (lease.metered_seconds, end)))
    })
    .await
}

async fn free(net: &Compose, service: &str) -> anyhow::Result<u128> {
    let wallet: Wallet = net.sublet(service, &["wallet", "balance"]).await?;
    Ok(wallet.free.0)
}

async fn restart(net: &Compose, story: &mut Story) -> anyhow::Result<String> {
    let before = identity(net).await?;
    story
        .step(&format!("docker compose restart {RESTARTED}"), async {
            net.restart(RESTARTED).await?;
            Ok(((), Vec::new()))
        })
        .await?;
    story
        .step("it has the same keys, money and offer, and meets the others again", async {
            until("it meets nobody", SOON, || async {
                let status: Status = net.sublet(RESTARTED, &["node", "status"]).await?;
                Ok((!status.peers.is_empty()).then_some(()))
            })
            .await?;
            let after = identity(net).await?;
            anyhow::ensure!(after == before, "it was {before:?} and is {after:?}");
            let seen = format!("{RESTARTED} is still {} with {} free", after.peer_id, ctk(after.free));
            Ok((seen.clone(), vec![seen]))
        })
        .await
}

/// What a restart must not change.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    peer_id: String,
    address: Address,
    free: u128,
    /// The series of its offers.
    offers: Vec<String>,
}

async fn identity(net: &Compose) -> anyhow::Result<Identity> {
    let status: Status = net.sublet(RESTARTED, &["node", "status"]).await?;
    let offers: Vec<OfferInfo> = net.sublet(RESTARTED, &["offer", "list", "--mine"]).await?;
    let offers: Vec<_> = offers.into_iter().map(|offer| offer.series).collect();
    anyhow::ensure!(offers.len() == 1, "{} offers of its own", offers.len());
    let free = free(net, RESTARTED).await?;
    Ok(Identity { peer_id: status.peer_id, address: status.address, free, offers })
}
