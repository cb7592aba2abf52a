//! A provider and a buyer of one network, one of which is killed at a place and started again.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use sublet::{
    api::types::{BidInfo, LeaseInfo, OfferInfo},
    chain::{LeaseState, LeaseView, LoggedEvent, MarketEvent},
    devnet::{
        Anvil, AnvilConfig, Devnet, NodeProcess,
        market::{BUYER_FUNDS, SELLERS, add_seller, deposit},
    },
    store::{BuyerPhase, ProviderPhase},
};
use sublet_adapter::InstanceState;
use sublet_contracts::Market;

use super::cases::Who;
use crate::command::{json, sublet, succeed};

/// The most blocks that are ever taken back at once.
const DEEPEST: u64 = 32;
const POLL: Duration = Duration::from_millis(200);

/// The two nodes, and what was done to them.
pub(super) struct Stage<'a> {
    pub(super) net: &'a mut Devnet,
    provider: NodeProcess,
    buyer: NodeProcess,
    /// Armed nodes and the places where they are to end.
    armed: Vec<(Who, &'static str)>,
    /// Ended nodes that stay down for now.
    away: Vec<Who>,
    /// Accounts beside the two nodes' that have tokens in the Market.
    pub(super) others: Vec<Address>,
}

impl<'a> Stage<'a> {
    /// Brings both nodes up, funded, with one machine for sale.
    pub(super) async fn set(net: &'a mut Devnet, images: &std::path::Path) -> anyhow::Result<Self> {
        // The others meet through it: it stays up, and their ports change.
        net.add_node("hub", 0, None).await?;
        let (provider, _) = add_seller(net, &SELLERS[2], images).await?;
        let buyer = net.add_node("buyer", BUYER_FUNDS, None).await?;
        deposit(&buyer, BUYER_FUNDS).await?;
        Ok(Self { net, provider, buyer, armed: Vec::new(), away: Vec::new(), others: Vec::new() })
    }

    /// A node.
    pub(super) fn node(&self, who: Who) -> &NodeProcess {
        match who {
            Who::Provider => &self.provider,
            Who::Buyer => &self.buyer,
        }
    }

    fn restart(&mut self, who: Who, failpoint: Option<&str>) -> anyhow::Result<()> {
        let name = self.node(who).name().to_owned();
        let node = self.net.restart(&name, failpoint)?;
        match who {
            Who::Provider => self.provider = node,
            Who::Buyer => self.buyer = node,
        }
        Ok(())
    }

    /// Starts a node anew so that it ends at `place`.
    pub(super) async fn arm(&mut self, who: Who, place: &'static str) -> anyhow::Result<()> {
        self.restart(who, Some(place))?;
        self.armed.push((who, place));
        // It may end on its way up.
        let _ = self.node(who).wait_until_up().await;
        Ok(())
    }

    /// When this node ends it stays down until [`Stage::bring_back`].
    pub(super) fn keep_away(&mut self, who: Who) {
        self.away.push(who);
    }

    /// Starts a node again that was kept away.
    pub(super) fn bring_back(&mut self, who: Who) -> anyhow::Result<()> {
        self.away.retain(|away| *away != who);
        self.heal()
    }

    /// Whether nobody is armed any more.
    pub(super) fn all_reached(&self) -> bool {
        self.armed.is_empty()
    }

    /// Whether a node has ended.
    pub(super) fn is_down(&self, who: Who) -> bool {
        self.node(who).exited().is_some()
    }

    /// Starts again who has ended where it was to end. One that ended elsewhere is a failure.
    fn heal(&mut self) -> anyhow::Result<()> {
        for who in [Who::Provider, Who::Buyer] {
            if !self.is_down(who) || self.away.contains(&who) {
                continue;
            }
            let tail = self.node(who).log_tail();
            let Some(at) = self.armed.iter().position(|(armed, _)| *armed == who) else {
                bail!("the {who:?} ended by itself: {tail}");
            };
            let (_, place) = self.armed.remove(at);
            ensure!(
                tail.contains(&format!("failpoint {place} reached")),
                "the {who:?} ended elsewhere: {tail}"
            );
            self.restart(who, None)?;
        }
        Ok(())
    }

    /// Disarms both nodes and starts them anew: after a case that failed.
    pub(super) async fn reset(&mut self) -> anyhow::Result<()> {
        self.armed.clear();
        self.away.clear();
        for who in [Who::Provider, Who::Buyer] {
            self.restart(who, None)?;
            self.node(who).wait_until_up().await?;
        }
        Ok(())
    }

    /// Asks until `look` says yes, while nodes end and are started again. An error of `look` is one more no: a node
    /// may be down right now.
    pub(super) async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        look: impl AsyncFn(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            self.heal()?;
            let seen = look(self).await;
            if matches!(seen, Ok(true)) {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                let why = seen.err().map_or_else(String::new, |e| format!(": {e:#}"));
                bail!("{what}: not within {} s{why}", limit.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Gives the provider another `max_blind`.
    pub(super) async fn set_max_blind(&mut self, max_blind: Duration) -> anyhow::Result<()> {
        let line = format!("max_blind = \"{}s\"", max_blind.as_secs());
        self.configure(Who::Provider, "[provider]", &line).await
    }

    /// Adds lines to a section of a node's configuration, which may be new, and starts the node anew.
    pub(super) async fn configure(&mut self, who: Who, section: &str, lines: &str) -> anyhow::Result<()> {
        let path = self.node(who).home().path().join("node.toml");
        let text = std::fs::read_to_string(&path)?;
        let header = format!("{section}\n");
        let text = if text.contains(&header) { text } else { format!("{text}\n{header}") };
        std::fs::write(&path, text.replacen(&header, &format!("{header}{lines}\n"), 1))?;
        self.restart(who, None)?;
        Ok(self.node(who).wait_until_up().await?)
    }

    /// Ends a node as a power cut would, lets `meanwhile` change its home, and starts it again.
    pub(super) async fn down_and_up(
        &mut self,
        who: Who,
        meanwhile: impl AsyncFnOnce(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.node(who).kill();
        meanwhile(self).await?;
        self.restart(who, None)?;
        Ok(self.node(who).wait_until_up().await?)
    }

    /// The RPC hangs for so long. Tells whether a machine was stopped meanwhile.
    pub(super) async fn go_dark(&self, dark_for: Duration) -> anyhow::Result<bool> {
        self.net.anvil.pause();
        let stopped = self.look_for(dark_for).await;
        self.net.anvil.resume();
        stopped
    }

    /// Looks for so long whether a machine is stopped.
    pub(super) async fn look_for(&self, time: Duration) -> anyhow::Result<bool> {
        let until = tokio::time::Instant::now() + time;
        let mut stopped = false;
        while tokio::time::Instant::now() < until {
            let machines = self.provider.machines().await;
            stopped |= machines?.iter().any(|machine| machine.state == InstanceState::Stopped);
            tokio::time::sleep(POLL).await;
        }
        Ok(stopped)
    }

    /// How many machines the provider has.
    pub(super) async fn machines(&self) -> anyhow::Result<usize> {
        Ok(self.provider.machines().await?.len())
    }

    /// Mines so many blocks that no reorganisation reaches what happened up to now.
    pub(super) async fn bury(&self) -> anyhow::Result<()> {
        Ok(self.net.anvil.mine(DEEPEST).await?)
    }

    /// Takes the newest blocks back: so many, or more if the transaction that was just seen lies deeper. In words.
    pub(super) async fn reorg(&self, depth: u64, seen: &LeaseView, id: B256) -> anyhow::Result<String> {
        let before = self.net.bank.head().await?.number;
        let mut depth = depth;
        loop {
            self.net.anvil.reorg(depth).await?;
            if self.net.bank.lease(id).await? != *seen {
                return Ok(format!("blocks {} to {before} were replaced", before + 1 - depth));
            }
            ensure!(depth < DEEPEST, "the transaction was not taken back");
            depth += 1;
        }
    }

    /// A chain of its own with the same id, further on than this one.
    pub(super) async fn another_chain(&self) -> anyhow::Result<Anvil> {
        let other = Anvil::start(AnvilConfig::default()).await?;
        other.mine(self.net.bank.head().await?.number + 1_000).await?;
        Ok(other)
    }

    /// Buys a minute more, as a user does.
    pub(super) async fn top_up(&self, id: B256) -> anyhow::Result<()> {
        let args = ["lease", "top-up", &id.to_string(), "--for", "60s"];
        succeed(self.buyer.binary(), self.buyer.home().path(), &args).await.map(drop)
    }

    /// What the chain says of a lease.
    pub(super) async fn chain_lease(&self, id: B256) -> anyhow::Result<LeaseView> {
        Ok(self.net.bank.lease(id).await?)
    }

    /// Every event of a lease, read anew.
    pub(super) async fn events(&self, id: B256) -> anyhow::Result<Vec<LoggedEvent>> {
        super::reorgs::replay(self.net, id).await
    }

    /// Moves chain time.
    pub(super) async fn advance(&self, seconds: u64) -> anyhow::Result<()> {
        Ok(self.net.anvil.advance(seconds).await?)
    }

    /// Posts a bid as a user does: when the node went away meanwhile, looks whether it has the bid, and posts again if
    /// not.
    pub(super) async fn post_bid(&mut self, max_rate: &str) -> anyhow::Result<B256> {
        let known = self.open_bids().await?;
        let args = ["bid", "post", "--memory", "256MiB", "--max-rate", max_rate, "--for", "10m"];
        for _ in 0..5 {
            let posted: anyhow::Result<BidInfo> =
                json(self.buyer.binary(), self.buyer.home().path(), &args).await;
            if let Ok(bid) = posted {
                return Ok(bid.id);
            }
            self.until("the buyer's node is back", Duration::from_secs(30), async |stage| {
                Ok(stage.buyer.status().await.is_ok())
            })
            .await?;
            if let Some(id) = self.open_bids().await?.into_iter().find(|id| !known.contains(id)) {
                return Ok(id);
            }
        }
        bail!("the bid could not be posted")
    }

    async fn open_bids(&self) -> anyhow::Result<Vec<B256>> {
        let bids: Vec<BidInfo> =
            json(self.buyer.binary(), self.buyer.home().path(), &["bid", "list"]).await.unwrap_or_default();
        let over = [BuyerPhase::Done, BuyerPhase::Expired, BuyerPhase::Cancelled];
        Ok(bids.into_iter().filter(|bid| !over.contains(&bid.phase)).map(|bid| bid.id).collect())
    }

    /// The buyer's view of its bid.
    pub(super) async fn bid(&self, id: B256) -> anyhow::Result<BidInfo> {
        json(self.buyer.binary(), self.buyer.home().path(), &["bid", "show", &id.to_string()]).await
    }

    /// A node's view of a lease.
    pub(super) async fn lease(&self, who: Who, id: B256) -> anyhow::Result<LeaseInfo> {
        let node = self.node(who);
        json(node.binary(), node.home().path(), &["lease", "show", &id.to_string()]).await
    }

    /// The chain's own view of a lease.
    pub(super) async fn state(&self, id: B256) -> anyhow::Result<LeaseState> {
        Ok(self.net.bank.lease(id).await?.state)
    }

    /// A command in the machine.
    pub(super) async fn log_in(&self, id: B256) -> anyhow::Result<()> {
        let args = ["lease", "ssh", &id.to_string(), "--", "true"];
        succeed(self.buyer.binary(), self.buyer.home().path(), &args).await.map(drop)
    }

    /// Closes the lease as a user does: again, until the chain says that it is over.
    pub(super) async fn close(&mut self, id: B256) -> anyhow::Result<()> {
        self.until("the lease can be closed", Duration::from_secs(60), async |stage| {
            if stage.state(id).await? == LeaseState::Ended {
                return Ok(true);
            }
            let (binary, home) = (stage.buyer.binary(), stage.buyer.home().path());
            sublet(binary, home, &["lease", "close", &id.to_string()]).await?;
            Ok(stage.state(id).await? == LeaseState::Ended)
        })
        .await
    }

    /// Waits until both nodes have closed their files, the machine is gone and the capacity is for sale again.
    pub(super) async fn until_concluded(&mut self, id: B256) -> anyhow::Result<()> {
        self.until_closed(id).await?;
        self.until_free().await
    }

    /// Waits until both nodes have closed their files.
    pub(super) async fn until_closed(&mut self, id: B256) -> anyhow::Result<()> {
        self.until("the buyer concludes", Duration::from_secs(60), async |stage| {
            Ok(stage.bid(id).await?.phase == BuyerPhase::Done)
        })
        .await?;
        self.until("the provider concludes", Duration::from_secs(60), async |stage| {
            Ok(stage.lease(Who::Provider, id).await?.provider_phase == Some(ProviderPhase::Done))
        })
        .await
    }

    /// Waits until no machine is left and the capacity is for sale again.
    pub(super) async fn until_free(&mut self) -> anyhow::Result<()> {
        self.until("the capacity is free again", Duration::from_secs(60), async |stage| {
            let machines = stage.provider.machines().await?;
            let (binary, home) = (stage.provider.binary(), stage.provider.home().path());
            let offers: Vec<OfferInfo> = json(binary, home, &["offer", "list", "--mine"]).await?;
            Ok(machines.is_empty() && offers.iter().any(|offer| offer.digest.is_some()))
        })
        .await
    }

    /// Every token in the Market is free for somebody or waits to be burned: for when all leases have ended.
    pub(super) async fn check_money(&self) -> anyhow::Result<()> {
        let market = self.net.deployment.market;
        let mut owed = 0;
        let ours = [&self.provider, &self.buyer].map(|node| node.home().wallet().map(|key| key.address()));
        for address in ours.into_iter().chain(self.others.iter().copied().map(Ok)) {
            let address = address?;
            owed += self.net.bank.maker(address).await?.free;
        }
        let bucket = Market::new(market, self.net.anvil.provider()).burnBucket().call().await?;
        owed += bucket.payouts + bucket.fees;
        let there = self.net.bank.balances(market).await?.wallet;
        ensure!(there == owed, "the Market has {there} base units and owes {owed}");
        Ok(())
    }

    /// What the chain's events say of an ended lease: opened once, ended once, for `reason`.
    pub(super) async fn check_end(&self, id: B256, reason: &str) -> anyhow::Result<String> {
        let lease = self.lease(Who::Buyer, id).await?;
        let count =
            |wanted: fn(&MarketEvent) -> bool| lease.events.iter().filter(|e| wanted(&e.event)).count();
        let opened = count(|e| matches!(e, MarketEvent::LeaseOpened { .. }));
        let ended = count(|e| matches!(e, MarketEvent::LeaseEnded { .. }));
        ensure!((opened, ended) == (1, 1), "opened {opened} times and ended {ended} times");
        let end = lease.ended.context("no end is known")?;
        ensure!(end.reason == reason, "it ended as {}", end.reason);
        let (paid, fee) = (end.paid.0, end.fee.0);
        ensure!(reason != "closed" && reason != "finished" || paid > 0, "nothing was paid");
        Ok(format!("{reason}; {} CTK paid, {} CTK burned as fee", crate::ctk(paid), crate::ctk(fee)))
    }

    /// The last lines of both logs, for a case that failed.
    pub(super) fn logs(&self) -> Value {
        serde_json::json!({ "provider": self.provider.log_tail(), "buyer": self.buyer.log_tail() })
    }
}
