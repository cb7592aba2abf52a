//! The wall clocks of both nodes jump by an hour. (The file that their test builds read the offset from
//! stands for the clock of the host, which is everybody's.)

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::ensure;
use sublet_market::LeaseState;

use super::Scene;
use crate::chaos::{SOON, Who, stage::Stage};

/// Passes and looks of both engines.
const LASTS: Duration = Duration::from_secs(6);

impl Scene<'_> {
    pub(super) async fn clock_jumps(&mut self, seconds: i64, side: &str) -> anyhow::Result<String> {
        let right = self.right_offset().await?;
        self.set_clocks(right)?;
        self.hold(LASTS).await?;
        let running = self.rent().await?;
        let warned = warnings(&self.stage, side)?;
        self.set_clocks(right + seconds)?;
        self.hold(LASTS).await?;
        self.stage.log_in(running).await?;
        ensure!(self.stage.state(running).await? == LeaseState::Active, "the lease was closed");
        self.stage
            .until("both warn of the skew", SOON, async |stage| {
                Ok(warnings(stage, side)?.iter().zip(&warned).all(|(now, before)| now > before))
            })
            .await?;
        // A whole trade by wrong clocks, up to the end of its funds.
        let second = self.rent().await?;
        self.close(running).await?;
        self.stage.advance(700).await?;
        self.stage
            .until(
                "no machine runs beyond what is paid",
                SOON,
                async |stage| Ok(stage.machines().await? == 0),
            )
            .await?;
        self.stage.until_closed(second).await?;
        let end = self.stage.check_end(second, "finished").await?;
        self.set_clocks(self.right_offset().await?)?;
        Ok(format!("both warned; the running lease went on; a whole trade meanwhile {end}"))
    }

    /// Seconds by which the chain of these tests, which leaps, is ahead of this host: a right clock is as far ahead.
    async fn right_offset(&self) -> anyhow::Result<i64> {
        let chain = i64::try_from(self.stage.net.bank.head().await?.timestamp)?;
        let wall = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        Ok(chain - wall)
    }

    fn set_clocks(&self, seconds: i64) -> anyhow::Result<()> {
        for who in [Who::Provider, Who::Buyer] {
            fs::write(home_of(&self.stage, who).join("clock-offset"), seconds.to_string())?;
        }
        Ok(())
    }
}

/// How often each node has warned that its clock is off to this side.
fn warnings(stage: &Stage<'_>, side: &str) -> anyhow::Result<[usize; 2]> {
    let mut counts = [0; 2];
    for (count, who) in counts.iter_mut().zip([Who::Provider, Who::Buyer]) {
        let log = fs::read_to_string(home_of(stage, who).join("node.log"))?;
        *count = log.matches(&format!("s {side} the chain's time: leases follow the chain's time")).count();
    }
    Ok(counts)
}

fn home_of(stage: &Stage<'_>, who: Who) -> PathBuf {
    stage.node(who).home().path().to_owned()
}
