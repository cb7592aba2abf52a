//! A provider and a buyer of one network, one of which is killed at a place and started again.

mod trade;

use std::{path::PathBuf, time::Duration};

use alloy_primitives::{Address, B256};
use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use sublet::devnet::{
    Devnet, NodeProcess,
    market::{BUYER_FUNDS, SELLER_FUNDS, SELLERS, add_seller, deposit},
};
use sublet_adapter::InstanceState;
use sublet_base::phase::ProviderPhase;
use sublet_chain::LeaseView;
use sublet_chain::anvil::{Anvil, AnvilConfig};
use sublet_store::{ChainLease, Promise, Purchase, Store};
pub(super) use trade::bid_args;

use super::cases::Who;

/// The most blocks that are ever taken back at once.
const DEEPEST: u64 = 64;
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
    /// The configurations that the two nodes began with.
    began_with: Vec<(Who, String)>,
}

impl<'a> Stage<'a> {
    /// Brings both nodes up, funded, with one machine for sale.
    pub(super) async fn set(net: &'a mut Devnet, images: &std::path::Path) -> anyhow::Result<Self> {
        // The others meet through it: it stays up, and their ports change.
        net.add_node("hub", 0, None).await?;
        let (provider, _) = add_seller(net, &SELLERS[2], images).await?;
        let buyer = net.add_node("buyer", BUYER_FUNDS, None).await?;
        deposit(&buyer, BUYER_FUNDS).await?;
        let mut began_with = Vec::new();
        for (who, node) in [(Who::Provider, &provider), (Who::Buyer, &buyer)] {
            began_with.push((who, std::fs::read_to_string(node.home().config())?));
        }
        let (armed, away, others) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { net, provider, buyer, armed, away, others, began_with })
    }

    /// As much again for the provider's bonds.
    pub(super) async fn endow_provider(&self) -> anyhow::Result<()> {
        self.net.fund(self.provider.address()?, SELLER_FUNDS).await?;
        deposit(&self.provider, SELLER_FUNDS).await?;
        Ok(())
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

    /// When this node is started the next time, it is to end at `place`.
    pub(super) fn arm_later(&mut self, who: Who, place: &'static str) {
        self.armed.push((who, place));
    }

    /// Ends a node as a power cut would; it stays down until [`Stage::bring_up`].
    pub(super) fn take_down(&mut self, who: Who) {
        self.node(who).kill();
        self.away.push(who);
    }

    /// Starts a node again that was taken down.
    pub(super) async fn bring_up(&mut self, who: Who) -> anyhow::Result<()> {
        self.away.retain(|away| *away != who);
        self.restart(who, None)?;
        Ok(self.node(who).wait_until_up().await?)
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
            let next = self.armed.iter().find(|(armed, _)| *armed == who).map(|(_, place)| *place);
            self.restart(who, next)?;
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

    /// Gives the provider another `max_offline`, unless it has it.
    pub(super) async fn set_max_offline(&mut self, max_offline: Duration) -> anyhow::Result<()> {
        let line = format!("max_offline = \"{}s\"", max_offline.as_secs());
        self.configure_once(Who::Provider, "[provider]", &line).await
    }

    /// [`Stage::configure`], unless the line is there.
    pub(super) async fn configure_once(&mut self, who: Who, section: &str, line: &str) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(self.node(who).home().config())?;
        if text.lines().any(|there| there == line) {
            return Ok(());
        }
        self.configure(who, section, line).await
    }

    /// Adds lines to a section of a node's configuration, which may be new, and starts the node anew.
    pub(super) async fn configure(&mut self, who: Who, section: &str, lines: &str) -> anyhow::Result<()> {
        let path = self.node(who).home().config();
        let text = std::fs::read_to_string(&path)?;
        let header = format!("{section}\n");
        let text = if text.contains(&header) { text } else { format!("{text}\n{header}") };
        std::fs::write(&path, text.replacen(&header, &format!("{header}{lines}\n"), 1))?;
        self.restart(who, None)?;
        Ok(self.node(who).wait_until_up().await?)
    }

    /// Puts other words into a node's configuration, and starts the node anew.
    pub(super) async fn reconfigure(&mut self, who: Who, old: &str, new: &str) -> anyhow::Result<()> {
        let path = self.node(who).home().config();
        let text = std::fs::read_to_string(&path)?;
        ensure!(text.contains(old), "{} does not have {old}", path.display());
        std::fs::write(&path, text.replace(old, new))?;
        self.restart(who, None)?;
        Ok(self.node(who).wait_until_up().await?)
    }

    /// Gives nodes back the configurations that they began with, and starts those anew that have others.
    pub(super) async fn configure_as_before(&mut self) -> anyhow::Result<()> {
        for (who, text) in self.began_with.clone() {
            let path = self.node(who).home().config();
            if std::fs::read_to_string(&path)? != text {
                std::fs::write(&path, text)?;
                self.restart(who, None)?;
                self.node(who).wait_until_up().await?;
            }
        }
        Ok(())
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

    /// The time of the newest block.
    pub(super) async fn chain_time(&self) -> anyhow::Result<u64> {
        Ok(self.net.bank.head().await?.timestamp)
    }

    /// Whether the provider has a machine that is not stopped.
    pub(super) async fn is_running(&self) -> anyhow::Result<bool> {
        let machines = self.provider.machines().await?;
        Ok(machines.iter().any(|machine| machine.state != InstanceState::Stopped))
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

    /// What the adapter keeps of a machine.
    pub(super) fn folder(&self, id: B256) -> PathBuf {
        self.provider.home().path().join("machines").join(alloy_primitives::hex::encode(id))
    }

    /// The number of a machine's QEMU.
    pub(super) fn pid(&self, id: B256) -> anyhow::Result<i32> {
        let path = self.folder(id).join("pid");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text.trim().parse()?)
    }

    /// Mines so many blocks that no reorganisation reaches what happened up to now.
    pub(super) async fn bury(&self) -> anyhow::Result<()> {
        Ok(self.net.anvil.mine(DEEPEST).await?)
    }

    /// Takes the newest blocks back: so many, or more if the transaction that was just seen lies deeper. In words.
    pub(super) async fn reorg(&self, depth: u64, seen: &LeaseView, id: B256) -> anyhow::Result<String> {
        self.reorg_until(depth, async |stage| Ok(stage.net.bank.lease(id).await? != *seen)).await
    }

    /// Takes the newest blocks back: so many, or more until `is_gone`. In words.
    pub(super) async fn reorg_until(
        &self,
        depth: u64,
        is_gone: impl AsyncFn(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<String> {
        let before = self.net.bank.head().await?.number;
        let mut depth = depth;
        loop {
            self.net.anvil.reorg(depth).await?;
            if is_gone(self).await? {
                return Ok(format!("blocks {} to {before} were replaced", before + 1 - depth));
            }
            ensure!(depth < DEEPEST, "the transaction was not reverted");
            depth += 1;
        }
    }

    /// A chain of its own with the same id, further on than this one.
    pub(super) async fn another_chain(&self) -> anyhow::Result<Anvil> {
        let other = Anvil::start(AnvilConfig::default()).await?;
        other.mine(self.net.bank.head().await?.number + 1_000).await?;
        Ok(other)
    }

    /// Moves chain time.
    pub(super) async fn advance(&self, seconds: u64) -> anyhow::Result<()> {
        Ok(self.net.anvil.advance(seconds).await?)
    }

    /// Ends both nodes, and says which of their files are open although all leases are over; starts them again.
    pub(super) async fn open_files(&mut self) -> anyhow::Result<Vec<String>> {
        let mut open = Vec::new();
        for who in [Who::Provider, Who::Buyer] {
            self.down_and_up(who, async |stage| {
                let store = Store::open(&stage.node(who).home().store())?;
                open.extend(store.all::<ChainLease>()?.iter().map(|l| format!("{who:?}: lease {}", l.id)));
                open.extend(store.all::<Purchase>()?.iter().map(|p| format!("{who:?}: bid {}", p.id)));
                // One that lapsed keeps its buyer waiting for a while.
                let promises =
                    store.all::<Promise>()?.into_iter().filter(|p| p.phase != ProviderPhase::Lapsed);
                open.extend(promises.map(|p| format!("{who:?}: promise {}", p.id)));
                Ok(())
            })
            .await?;
        }
        Ok(open)
    }

    /// The last lines of both logs, for a case that failed.
    pub(super) fn logs(&self) -> Value {
        serde_json::json!({ "provider": self.provider.log_tail(), "buyer": self.buyer.log_tail() })
    }
}
