//! A full disk: the provider's home is a file system of its own, and another program fills it.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use sublet_base::phase::BuyerPhase;
use sublet_market::LeaseState;
use tokio::process::Command;

use super::Scene;
use crate::{
    chaos::{GOOD_RATE, SOON, Who},
    command::{Outcome, run, sublet},
};

/// Room for a home, two machines and the images that they share.
const SIZE: &str = "128m";
/// How long the disk is full before anything else happens: many passes of the engine.
const LASTS: Duration = Duration::from_secs(6);
/// For so long a machine may run on unseen by the chain, and the disk is full for longer: that is no being offline.
const MAX_OFFLINE: Duration = Duration::from_secs(12);
const LASTS_LONGER: Duration = Duration::from_secs(20);
/// Offers that the pages which the database has are enough for, by far.
const MOST_OFFERS: usize = 600;

/// A small file system in memory.
#[derive(Clone)]
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one at a new directory.
    pub(super) async fn mount(at: &Path) -> anyhow::Result<Self> {
        fs::create_dir(at)?;
        let options = format!("size={SIZE},mode=0700");
        privileged(&["mount", "-t", "tmpfs", "-o", &options, "sublet-chaos"], at).await?;
        Ok(Self(at.to_owned()))
    }

    pub(super) async fn unmount(&mut self) -> anyhow::Result<()> {
        // What was just killed may hold it for a moment yet.
        privileged(&["umount", "-l"], &self.0).await
    }

    fn filler(&self) -> PathBuf {
        self.0.join("somebody elses file")
    }

    /// Takes the last byte, again and again.
    fn fill(&self) -> anyhow::Result<()> {
        let mut file = File::options().append(true).create(true).open(self.filler())?;
        for block in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; block]).is_ok() {}
        }
        ensure!(file.write_all(&[0]).is_err(), "the disk is not full");
        Ok(())
    }

    fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }
}

/// Runs a command on a directory, as root.
async fn privileged(command: &[&str], at: &Path) -> anyhow::Result<()> {
    let mut all = if nix::unistd::geteuid().is_root() { Vec::new() } else { vec!["sudo", "-n"] };
    all.extend(command);
    let mut command = Command::new(all[0]);
    command.args(&all[1..]).arg(at);
    let done = run(command).await.with_context(|| all.join(" "))?;
    ensure!(
        done.code == Some(0),
        "`{}` ended with {:?}: {}; a small disk needs root, or sudo without a password, and the right to mount",
        all.join(" "),
        done.code,
        done.stderr.trim()
    );
    Ok(())
}

impl Scene<'_> {
    pub(super) async fn disk_full(&mut self) -> anyhow::Result<String> {
        self.stage.set_max_offline(MAX_OFFLINE).await?;
        let running = self.rent().await?;
        self.disk.fill()?;
        let seen = self.while_full(running).await;
        self.disk.free()?;
        let refused = seen?;
        // The bid still stands: its buyer's node asks again by itself.
        self.until_login(refused).await?;
        self.stage.until_closed(running).await?;
        self.stage.check_end(running, "closed").await?;
        Ok(format!(
            "the machine ran on and was stopped at its end; afterwards {}",
            self.close(refused).await?
        ))
    }

    /// Posts offers until the database has no page left to write to. Gives what was said then.
    async fn fill_the_store(&self) -> anyhow::Result<Outcome> {
        let node = self.stage.node(Who::Provider);
        let traits: Vec<String> =
            (0..20).map(|n| format!("--trait=note-{n:02}={}", "x".repeat(50))).collect();
        let mut args = vec!["offer", "post", "--memory", "256MiB", "--price", "1 CTK/s", "--bond", "1s"];
        args.extend(traits.iter().map(String::as_str));
        for _ in 0..MOST_OFFERS {
            let said = sublet(node.binary(), node.home().path(), &args).await?;
            if said.code != Some(0) {
                return Ok(said);
            }
        }
        anyhow::bail!("{MOST_OFFERS} offers fit on a full disk")
    }

    /// What must hold while there is no space. Gives a bid that was refused for that.
    async fn while_full(
        &mut self,
        running: alloy_primitives::B256,
    ) -> anyhow::Result<alloy_primitives::B256> {
        let refused = self.stage.post_bid(GOOD_RATE).await?;
        self.hold(LASTS).await?;
        // Whatever grew a file has found the end by now; what the fault is about is that nothing more fits.
        self.disk.fill()?;
        self.stage.log_in(running).await.context("the machine that runs")?;
        self.stage
            .until("a new bid is declined", SOON, async |stage| {
                let bid = stage.bid(refused).await?;
                let busy = bid.declines.iter().any(|no| no.code == "busy");
                ensure!(
                    bid.phase == BuyerPhase::Seeking,
                    "nothing may be promised, and it is {:?}",
                    bid.phase
                );
                Ok(busy)
            })
            .await?;
        let said = self.fill_the_store().await?;
        ensure!(
            said.code == Some(1)
                && said.stderr.contains("No space left on device")
                && said.stderr.contains("free space"),
            "an offer that cannot be kept: {said:?}"
        );
        self.hold(LASTS_LONGER).await?;
        self.stage.log_in(running).await.context("the machine, after a time as long as max_offline")?;
        // The file of a lease that ends cannot be written; its machine must end all the same.
        self.stage.close(running).await?;
        self.stage
            .until("what is not paid for is stopped", SOON, async |stage| {
                let machines = stage.node(Who::Provider).machines().await?;
                Ok(machines.iter().all(|machine| !machine.is_running()))
            })
            .await?;
        ensure!(self.stage.state(refused).await? == LeaseState::None, "a lease without a promise on disk");
        Ok(refused)
    }
}
