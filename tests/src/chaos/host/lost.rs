//! The provider's database is gone: what the chain and the adapter say must be enough.

use std::fs;

use anyhow::ensure;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Scene, store::store_of};
use crate::chaos::{BOOTED, SOON, Who};

impl Scene<'_> {
    pub(super) async fn store_lost(&mut self) -> anyhow::Result<String> {
        let id = self.rent().await?;
        let before = self.pid(id)?;
        self.lose_store(None).await?;
        ensure!(
            self.lease(Who::Provider, id).await.map_or(true, |lease| lease.instance.is_none()),
            "nothing is lost"
        );
        self.until_login(id).await?;
        ensure!(self.pid(id)? == before, "it is another machine");
        // Two machines are offered anew; one of them is leased, and nobody knows of that but chain and adapter.
        self.post_offer().await?;
        self.post_offer().await?;
        self.stage
            .until("the capacity of one machine is for sale", SOON, async |stage| {
                let offers = super::own_offers(stage, &self.series).await?;
                // Each of the two may be sold, whichever is asked for first.
                Ok(offers.len() == 2 && offers.iter().all(|offer| offer.terms.units == 1))
            })
            .await?;
        // One is free, each offer may name it; the second machine takes it, and then there is none.
        let second = self.rent().await?;
        self.stage
            .until("all is sold", SOON, async |stage| {
                Ok(super::own_offers(stage, &self.series).await?.is_empty())
            })
            .await?;
        kill(Pid::from_raw(before), Signal::SIGKILL)?;
        self.stage
            .until("it is started again", BOOTED, async |stage| {
                Ok(stage.pid(id).is_ok_and(|pid| pid != before))
            })
            .await?;
        self.until_login(id).await?;
        self.stage.advance(120).await?;
        self.stage
            .until("its pay is claimed", SOON, async |stage| {
                let lease = stage.chain_lease(id).await?;
                let started = stage.lease(Who::Buyer, id).await?.started_at;
                Ok(u64::from(lease.paid_until) > started)
            })
            .await?;
        self.close(second).await?;
        let end = self.close_found(id).await?;
        Ok(format!("the same machine, reached by its buyer, started again, paid; {end}"))
    }

    pub(super) async fn store_lost_and_closed(&mut self) -> anyhow::Result<String> {
        let id = self.rent().await?;
        let pid = self.pid(id)?;
        self.lose_store(Some(id)).await?;
        self.stage
            .until("the machine is removed", SOON, async |stage| Ok(stage.machines().await? == 0))
            .await?;
        ensure!(!super::runs(pid), "QEMU is still there");
        self.post_offer().await?;
        self.post_offer().await?;
        self.close_found(id).await
    }

    /// Ends the provider, closes a lease if one is named, removes the database, starts it again.
    async fn lose_store(&mut self, close: Option<alloy_primitives::B256>) -> anyhow::Result<()> {
        self.series.clear();
        self.stage.node(Who::Provider).kill();
        if let Some(id) = close {
            let (binary, home) = (self.stage.node(Who::Buyer).binary(), self.stage.node(Who::Buyer).home());
            crate::command::succeed(binary, home.path(), &["lease", "close", &id.to_string()]).await?;
        }
        let file = store_of(&self.stage);
        self.stage.down_and_up(Who::Provider, async |_| Ok(fs::remove_file(&file)?)).await
    }

    /// Ends a lease of which the provider has no promise any more.
    async fn close_found(&mut self, id: alloy_primitives::B256) -> anyhow::Result<String> {
        self.stage.close(id).await?;
        self.stage
            .until("the end is known to both", SOON, async |stage| {
                Ok(stage.lease(Who::Provider, id).await?.ended.is_some()
                    && stage.bid(id).await?.phase == sublet_base::phase::BuyerPhase::Done)
            })
            .await?;
        self.stage.check_end(id, "closed").await
    }
}
