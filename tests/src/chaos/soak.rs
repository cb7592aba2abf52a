//! Many leases at random: providers with one machine each, buyers who compete for them, and every way in which a
//! lease can end. Each ends for the reason that it was ended for. In the end every token is accounted for, no machine
//! is left, and no node has grown.

mod wish;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use anyhow::{Context as _, bail, ensure};
use futures::future::try_join_all;
use sublet::devnet::{
    Devnet, NodeProcess,
    market::{BUYER_FUNDS, IMAGE, SELLERS, Seller, add_seller, deposit},
};
use sublet_api::{
    client::ApiClient,
    types::{Amount, BidInfo, LeaseInfo, PostBid, TopUp},
};
use sublet_base::phase::{BuyerPhase, OnFailure, ProviderPhase};
use sublet_contracts::Market;
use sublet_market::{BidTerms, Resources, Traits};

use self::wish::{End, RAN_OUT, Wish, dice, wish};
use super::Row;
use crate::story::say;

const PROVIDERS: [&str; 5] = ["p1", "p2", "p3", "p4", "p5"];
/// There are more buyers than machines, and whoever asks first has one: a buyer may be out of luck for so long.
const LONGEST_WAIT: Duration = Duration::from_secs(1_800);
/// One lease may take so long under load, from its machine to its end.
const LONGEST: Duration = Duration::from_secs(600);
/// How long everything may take to come to rest in the end.
const REST: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(500);
/// What chain time runs ahead by now and then, seconds.
const LEAP: u64 = 20;
/// The most that a node may grow after the first quarter: a leak of some
/// megabytes a lease would show.
const MOST_GROWTH_MIB: u64 = 40;

/// How much of it there is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// At most five.
    pub providers: usize,
    /// Several for each provider.
    pub buyers: usize,
    /// Of all buyers together.
    pub leases: usize,
    /// How often chain time runs ahead by some seconds, so that leases run out.
    pub leap_every: Duration,
}

impl Size {
    /// Half an hour of it.
    pub const FULL: Self =
        Self { providers: PROVIDERS.len(), buyers: 20, leases: 200, leap_every: Duration::from_secs(12) };
    /// As few as there can be with every end among them.
    pub const SHORT: Self = Self { providers: 2, buyers: 4, leases: 8, leap_every: Duration::from_secs(6) };
}

struct Soak {
    providers: Vec<NodeProcess>,
    buyers: Vec<NodeProcess>,
    wanted: usize,
    /// Leases that were begun, so that no buyer begins one too many.
    begun: AtomicUsize,
    /// By what was wished and what the chain says.
    ended: Mutex<BTreeMap<(End, String), usize>>,
    /// Bids that nobody took in time.
    expired: AtomicUsize,
}

/// Runs that many leases to their ends.
pub async fn run(net: &mut Devnet, images: &Path, size: Size) -> anyhow::Result<Vec<Row>> {
    let started = Instant::now();
    let soak = set(net, images, size).await?;
    let what = format!("{} leases by {} providers and {} buyers", size.leases, size.providers, size.buyers);
    say(&format!("{what}…"))?;
    let seen = tokio::select! {
        seen = trade_and_check(&soak, net) => seen,
        stuck = leap(net, size.leap_every) => stuck.map(|()| String::new()),
    };
    let expected = "each ends for its reason; every token accounted for, no machine left, memory flat";
    let row = Row::tell("soak", format!("{what} at random"), expected, started, seen, || soak.logs())?;
    Ok(vec![row])
}

async fn set(net: &mut Devnet, images: &Path, size: Size) -> anyhow::Result<Soak> {
    net.add_node("hub", 0, None).await?;
    let mut providers = Vec::new();
    for (name, dearer) in PROVIDERS.iter().zip(0..).take(size.providers) {
        let price_per_second = SELLERS[2].price_per_second + dearer * 10_000_000_000_000;
        let seller = Seller { name, memory_mib: 128, price_per_second, only_image: None };
        providers.push(add_seller(net, &seller, images).await?.0);
    }
    let mut buyers = Vec::new();
    for number in 0..size.buyers {
        let buyer = net.add_node(&format!("b{number}"), BUYER_FUNDS, None).await?;
        deposit(&buyer, BUYER_FUNDS).await?;
        buyers.push(buyer);
    }
    Ok(Soak {
        providers,
        buyers,
        wanted: size.leases,
        begun: AtomicUsize::new(0),
        ended: Mutex::default(),
        expired: AtomicUsize::new(0),
    })
}

/// Chain time runs ahead for ever.
async fn leap(net: &Devnet, every: Duration) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(every).await;
        net.anvil.advance(LEAP).await?;
    }
}

async fn trade_and_check(soak: &Soak, net: &Devnet) -> anyhow::Result<String> {
    let quarter = async {
        while soak.count() < soak.wanted.div_ceil(4) {
            tokio::time::sleep(POLL).await;
        }
        soak.memory()
    };
    let trades = try_join_all((0..soak.buyers.len()).map(|buyer| soak.buy(buyer)));
    let (early, _) = tokio::try_join!(quarter, trades)?;
    soak.come_to_rest().await?;
    let money = soak.account(net).await?;
    let growth = grown(&early, &soak.memory()?)?;
    let ended = soak
        .ended()
        .iter()
        .map(|((wish, reason), count)| format!("{wish:?} {reason} {count}"))
        .collect::<Vec<_>>();
    Ok(format!(
        "{}; {} bids expired; {money}; {growth}",
        ended.join(", ").to_lowercase(),
        soak.expired.load(Ordering::Relaxed)
    ))
}

impl Soak {
    fn ended(&self) -> std::sync::MutexGuard<'_, BTreeMap<(End, String), usize>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> usize {
        self.ended().values().sum()
    }

    /// One buyer: lease after lease, until all are begun.
    async fn buy(&self, buyer: usize) -> anyhow::Result<()> {
        let node = &self.buyers[buyer];
        let client = node.client()?;
        loop {
            let turn = self.begun.fetch_add(1, Ordering::Relaxed);
            if turn >= self.wanted {
                return Ok(());
            }
            let end = End::by_dice(dice(turn));
            let what = || format!("lease {turn} of {}, {end:?}", node.name());
            let rented = within(LONGEST_WAIT, self.rent_somewhere(&client, node)).await;
            let id = rented.with_context(what)?;
            let reason = within(LONGEST, self.end(&client, id, end)).await.with_context(what)?;
            *self.ended().entry((end, reason)).or_default() += 1;
            let done = self.count();
            if done.is_multiple_of(20) {
                say(&format!("  {done} of {} leases have ended", self.wanted))?;
            }
        }
    }

    async fn rent_somewhere(&self, client: &ApiClient, node: &NodeProcess) -> anyhow::Result<B256> {
        loop {
            if let Some(id) = self.rent(client, node).await? {
                return Ok(id);
            }
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Brings a lease to its end, and gives the reason that the chain says it has.
    async fn end(&self, client: &ApiClient, id: B256, end: End) -> anyhow::Result<String> {
        let path = format!("/v1/leases/{id}");
        let wish = match end {
            End::Close => wish(client, &path, "close", &()).await?,
            End::CloseLater => {
                tokio::time::sleep(Duration::from_secs(5)).await;
                wish(client, &path, "close", &()).await?
            }
            End::TopUpAndClose => {
                wish(client, &path, "top-up", &TopUp { seconds: 60 }).await?;
                wish(client, &path, "close", &()).await?
            }
            End::Reject => wish(client, &path, "reject", &()).await?,
            End::ProviderCloses => {
                let lease: LeaseInfo = client.get(&path).await?;
                let provider = self.provider_of(&lease)?;
                wish(&provider.client()?, &path, "close", &()).await?
            }
            End::RunsOut => Wish::Done,
        };
        let bid = until_done(client, id).await?;
        ensure!(bid.failure.is_none(), "its buyer's node gave it up: {:?}", bid.failure);
        let lease: LeaseInfo = client.get(&path).await?;
        let reason = lease.ended.context("no end is known")?.reason.to_string();
        let expected = reason == end.reason() || (wish == Wish::TooLate && reason == RAN_OUT);
        ensure!(expected, "it ended as {reason}, and the wish was {wish:?}");
        Ok(reason)
    }

    /// A bid and its machine; nothing if nobody took the bid in time.
    async fn rent(&self, client: &ApiClient, node: &NodeProcess) -> anyhow::Result<Option<B256>> {
        let key = std::fs::read_to_string(node.home().ssh_public_key())?;
        let terms = BidTerms {
            unit: Resources { vcpus: 1, memory_mib: 128, disk_gib: 1, ..Resources::default() },
            units: 1,
            traits: Traits::default(),
            max_rate: 3_000_000_000_000_000,
            min_bond_seconds: 0,
            min_points: 0,
            duration: 300,
            valid_for: 600,
            image: IMAGE.into(),
            ssh_authorized_keys: vec![key.trim().to_owned()],
        };
        let body = PostBid { terms, top_up_budget: Amount(0), on_failure: OnFailure::End };
        let bid: BidInfo = client.post("/v1/bids", &body).await?;
        loop {
            let bid: BidInfo = client.get(&format!("/v1/bids/{}", bid.id)).await?;
            match bid.phase {
                BuyerPhase::Leased if bid.access.is_some() => return Ok(Some(bid.id)),
                // A leap of the chain's time may have passed its end before we looked; any other end is found out then.
                BuyerPhase::Done => return Ok(Some(bid.id)),
                BuyerPhase::Expired => return Ok(None),
                BuyerPhase::Cancelled => bail!("the bid was cancelled"),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }

    fn provider_of(&self, lease: &LeaseInfo) -> anyhow::Result<&NodeProcess> {
        for provider in &self.providers {
            if provider.address()? == lease.provider {
                return Ok(provider);
            }
        }
        bail!("nobody here is {}", lease.provider)
    }

    /// Waits until no machine is left and every provider has closed its files.
    async fn come_to_rest(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + REST;
        loop {
            let mut open = 0;
            for provider in &self.providers {
                open += provider.machines().await?.len();
                let leases: Vec<LeaseInfo> = provider.client()?.get("/v1/leases").await?;
                let unfinished = |lease: &&LeaseInfo| {
                    !matches!(lease.provider_phase, Some(ProviderPhase::Done | ProviderPhase::Lapsed))
                };
                open += leases.iter().filter(unfinished).count();
            }
            if open == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{open} machines and files of providers are still open");
            tokio::time::sleep(POLL).await;
        }
    }

    /// The Market has what it owes, and all that ever was is somewhere.
    async fn account(&self, net: &Devnet) -> anyhow::Result<String> {
        let market = net.deployment.market;
        let mut owed = 0;
        let mut outside = net.bank.balances(net.bank.address()).await?.wallet;
        for node in net.nodes() {
            let balances = net.bank.balances(node.address()?).await?;
            owed += balances.free;
            outside += balances.wallet;
        }
        let bucket = Market::new(market, net.anvil.provider()).burnBucket().call().await?;
        let there = net.bank.balances(market).await?.wallet;
        owed += bucket.payouts + bucket.fees;
        ensure!(there == owed, "the Market has {there} base units and owes {owed}");
        let supply = 1_000_000_000_000_000_000_000_000_u128;
        ensure!(there + outside == supply, "{} of {supply} base units are somewhere", there + outside);
        Ok(format!(
            "all {supply} base units accounted for, {} of them to be burned",
            bucket.payouts + bucket.fees
        ))
    }

    /// The resident memory of every node, MiB.
    fn memory(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let nodes = self.providers.iter().chain(&self.buyers);
        nodes.map(|node| Ok((node.name().to_owned(), resident_mib(node.pid())?))).collect()
    }

    fn logs(&self) -> String {
        let mut logs = String::new();
        for node in self.providers.iter().chain(&self.buyers) {
            logs += &format!("--- {}\n{}\n", node.name(), node.log_tail());
        }
        logs
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let timed = tokio::time::timeout(limit, work).await;
    timed.unwrap_or_else(|_| bail!("nothing came of it within {} s", limit.as_secs()))
}

async fn until_done(client: &ApiClient, id: B256) -> anyhow::Result<BidInfo> {
    loop {
        let bid: BidInfo = client.get(&format!("/v1/bids/{id}")).await?;
        if bid.phase == BuyerPhase::Done {
            return Ok(bid);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn resident_mib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024)
}

fn grown(early: &BTreeMap<String, u64>, late: &BTreeMap<String, u64>) -> anyhow::Result<String> {
    let mut most = (0, "nobody");
    for (name, before) in early {
        let growth = late.get(name).copied().unwrap_or(0).saturating_sub(*before);
        if growth >= most.0 {
            most = (growth, name);
        }
    }
    let largest = late.values().max().copied().unwrap_or(0);
    ensure!(most.0 <= MOST_GROWTH_MIB, "{} grew by {} MiB after the first quarter", most.1, most.0);
    Ok(format!("the largest node has {largest} MiB, the most growth after a quarter was {} MiB", most.0))
}
