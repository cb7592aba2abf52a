//! What users of the two nodes do and see: bids, leases, logins, ends.

use std::time::Duration;

use alloy_primitives::B256;
use anyhow::{Context as _, bail, ensure};
use sublet_api::types::{BidInfo, LeaseInfo, OfferInfo};
use sublet_base::phase::{BuyerPhase, ProviderPhase};
use sublet_chain::LeaseView;
use sublet_contracts::Market;
use sublet_market::{LeaseState, LoggedEvent, MarketEvent};

use super::Stage;
use crate::{
    chaos::{SOON, cases::Who, reorgs},
    command::{Outcome, json, sublet, succeed},
};

impl Stage<'_> {
    /// Posts a bid as a user does: when the node went away meanwhile, looks whether it has the bid, and posts again if
    /// not.
    pub(in crate::chaos) async fn post_bid(&mut self, max_rate: &str) -> anyhow::Result<B256> {
        self.post_bid_with(max_rate, &[]).await
    }

    /// [`Stage::post_bid`] with further arguments.
    pub(in crate::chaos) async fn post_bid_with(
        &mut self,
        max_rate: &str,
        further: &[&str],
    ) -> anyhow::Result<B256> {
        let known = self.open_bids().await?;
        let args = [&bid_args(max_rate)[..], further].concat();
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

    /// Bids once more for a lease that is over, to have its disk again. The new bid.
    pub(in crate::chaos) async fn revive(&mut self, id: B256) -> anyhow::Result<B256> {
        let args = ["lease", "revive", &id.to_string(), "--for", "10m"];
        let bid: BidInfo = json(self.buyer.binary(), self.buyer.home().path(), &args).await?;
        Ok(bid.id)
    }

    /// The bids that took the place of a failed one.
    pub(in crate::chaos) async fn bids_after(&self, id: B256) -> anyhow::Result<Vec<BidInfo>> {
        let (binary, home) = (self.buyer.binary(), self.buyer.home().path());
        let bids: Vec<BidInfo> = json(binary, home, &["bid", "list"]).await?;
        Ok(bids.into_iter().filter(|bid| bid.continues == Some(id)).collect())
    }

    async fn open_bids(&self) -> anyhow::Result<Vec<B256>> {
        let bids: Vec<BidInfo> =
            json(self.buyer.binary(), self.buyer.home().path(), &["bid", "list"]).await.unwrap_or_default();
        let over = [BuyerPhase::Done, BuyerPhase::Expired, BuyerPhase::Cancelled];
        Ok(bids.into_iter().filter(|bid| !over.contains(&bid.phase)).map(|bid| bid.id).collect())
    }

    /// The buyer's view of its bid.
    pub(in crate::chaos) async fn bid(&self, id: B256) -> anyhow::Result<BidInfo> {
        json(self.buyer.binary(), self.buyer.home().path(), &["bid", "show", &id.to_string()]).await
    }

    /// A node's view of a lease.
    pub(in crate::chaos) async fn lease(&self, who: Who, id: B256) -> anyhow::Result<LeaseInfo> {
        let node = self.node(who);
        json(node.binary(), node.home().path(), &["lease", "show", &id.to_string()]).await
    }

    /// The chain's own view of a lease.
    pub(in crate::chaos) async fn state(&self, id: B256) -> anyhow::Result<LeaseState> {
        Ok(self.net.bank.lease(id).await?.state)
    }

    /// Runs a command in the machine, and gives what it prints.
    pub(in crate::chaos) async fn in_guest(&self, id: B256, command: &str) -> anyhow::Result<String> {
        let args = ["lease", "ssh", &id.to_string(), "--", command];
        succeed(self.buyer.binary(), self.buyer.home().path(), &args).await
    }

    /// A login that is left at once.
    pub(in crate::chaos) async fn log_in(&self, id: B256) -> anyhow::Result<()> {
        self.in_guest(id, "true").await.map(drop)
    }

    /// Closes the lease as a user does: again, until the chain says that it is over.
    pub(in crate::chaos) async fn close(&mut self, id: B256) -> anyhow::Result<()> {
        self.end(Who::Buyer, "close", id).await
    }

    /// Closes or rejects it, as its buyer or as its provider.
    pub(in crate::chaos) async fn end(&mut self, who: Who, how: &str, id: B256) -> anyhow::Result<()> {
        self.until("the lease can be ended", Duration::from_secs(60), async |stage| {
            if stage.state(id).await? == LeaseState::Ended {
                return Ok(true);
            }
            stage.tell_to_end(who, how, id).await?;
            Ok(stage.state(id).await? == LeaseState::Ended)
        })
        .await
    }

    /// Ends it by one command: whatever happens to the node meanwhile, it sees to the rest.
    pub(in crate::chaos) async fn end_once(&mut self, who: Who, how: &str, id: B256) -> anyhow::Result<()> {
        let told = self.tell_to_end(who, how, id).await?;
        let over = self
            .until("the lease ends", SOON, async |stage| Ok(stage.state(id).await? == LeaseState::Ended))
            .await;
        over.with_context(|| format!("`lease {how}` has said: {}", told.stderr.trim()))
    }

    /// The command itself, and what came of it.
    pub(in crate::chaos) async fn tell_to_end(
        &self,
        who: Who,
        how: &str,
        id: B256,
    ) -> anyhow::Result<Outcome> {
        let node = self.node(who);
        sublet(node.binary(), node.home().path(), &["lease", how, &id.to_string()]).await
    }

    /// Waits until both nodes have closed their files, the machine is gone and the capacity is for sale again.
    pub(in crate::chaos) async fn until_concluded(&mut self, id: B256) -> anyhow::Result<()> {
        self.until_closed(id).await?;
        self.until_free().await
    }

    /// Waits until both nodes have closed their files.
    pub(in crate::chaos) async fn until_closed(&mut self, id: B256) -> anyhow::Result<()> {
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
    pub(in crate::chaos) async fn until_free(&mut self) -> anyhow::Result<()> {
        self.until("the capacity is free again", Duration::from_secs(60), async |stage| {
            let machines = stage.provider.machines().await?;
            let (binary, home) = (stage.provider.binary(), stage.provider.home().path());
            let offers: Vec<OfferInfo> = json(binary, home, &["offer", "list", "--mine"]).await?;
            Ok(machines.is_empty() && offers.iter().any(|offer| offer.digest.is_some()))
        })
        .await
    }

    /// Every token in the Market is free for somebody or waits to be burned: for when all leases have ended.
    pub(in crate::chaos) async fn check_money(&self) -> anyhow::Result<()> {
        let market = self.net.deployment.market;
        let mut owed = 0;
        let ours = [&self.provider, &self.buyer].map(|node| node.address());
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
    pub(in crate::chaos) async fn check_end(&self, id: B256, reason: &str) -> anyhow::Result<String> {
        let lease = self.lease(Who::Buyer, id).await?;
        let count =
            |wanted: fn(&MarketEvent) -> bool| lease.events.iter().filter(|e| wanted(&e.event)).count();
        let opened = count(|e| matches!(e, MarketEvent::LeaseOpened { .. }));
        let ended = count(|e| matches!(e, MarketEvent::LeaseEnded { .. }));
        ensure!((opened, ended) == (1, 1), "opened {opened} times and ended {ended} times");
        let end = lease.ended.context("no end is known")?;
        ensure!(end.reason.as_str() == reason, "it ended as {}", end.reason);
        let (paid, fee) = (end.paid.0, end.fee.0);
        ensure!(reason != "closed" && reason != "finished" || paid > 0, "nothing was paid");
        Ok(format!("{reason}; {} CTK paid, {} CTK burned as fee", crate::ctk(paid), crate::ctk(fee)))
    }

    /// Buys a minute more, as a user does.
    pub(in crate::chaos) async fn top_up(&self, id: B256) -> anyhow::Result<()> {
        let args = ["lease", "top-up", &id.to_string(), "--for", "60s"];
        succeed(self.buyer.binary(), self.buyer.home().path(), &args).await.map(drop)
    }

    /// What the chain says of a lease.
    pub(in crate::chaos) async fn chain_lease(&self, id: B256) -> anyhow::Result<LeaseView> {
        Ok(self.net.bank.lease(id).await?)
    }

    /// Every event of a lease, read anew.
    pub(in crate::chaos) async fn events(&self, id: B256) -> anyhow::Result<Vec<LoggedEvent>> {
        reorgs::replay(self.net, id).await
    }
}

/// A bid as the demo's, for ten minutes.
pub(in crate::chaos) fn bid_args(max_rate: &str) -> [&str; 8] {
    ["bid", "post", "--memory", "256MiB", "--max-rate", max_rate, "--for", "10m"]
}
