//! What runs the machines fails: the adapter's QEMU is a script that does what a file beside it says.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::ensure;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sublet_market::LeaseState;

use super::Scene;
use crate::chaos::{BOOTED, GOOD_RATE, SOON, Who};

/// A shell's process carries the arguments of its script, so one that hangs looks like a machine of the adapter's.
const SCRIPT: &str = r#"#!/bin/sh
# QEMU for tests: does what the file `mode` says, and notes each start.
here=DIR
[ "$1" = --version ] && exec qemu-system-x86_64 "$@"
echo start >> "$here/starts"
starts=$(wc -l < "$here/starts")
case "$(cat "$here/mode")" in
  hang) [ "$starts" -gt 1 ] || while :; do sleep 1; done ;;
  fail) [ "$starts" -gt 5 ] || { echo "qemu for tests: out of luck" >&2; exit 1; } ;;
  stay) qemu-system-x86_64 "$@"; while :; do sleep 1; done ;;
esac
exec qemu-system-x86_64 "$@"
"#;

/// The script and the files that it reads.
pub(super) struct Wrapper(PathBuf);

impl Wrapper {
    pub(super) fn write(dir: &Path) -> anyhow::Result<Self> {
        let dir = dir.join("qemu");
        fs::create_dir(&dir)?;
        let wrapper = Self(dir);
        fs::write(wrapper.path(), SCRIPT.replace("DIR", &wrapper.0.display().to_string()))?;
        fs::set_permissions(wrapper.path(), fs::Permissions::from_mode(0o755))?;
        wrapper.plays("sound")?;
        Ok(wrapper)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.join("qemu")
    }

    /// From the next start on; starts are counted from here.
    fn plays(&self, mode: &str) -> anyhow::Result<()> {
        fs::write(self.0.join("starts"), "")?;
        Ok(fs::write(self.0.join("mode"), mode)?)
    }

    fn starts(&self) -> anyhow::Result<usize> {
        Ok(fs::read_to_string(self.0.join("starts"))?.lines().count())
    }
}

fn signal(pid: i32, signal: Signal) -> anyhow::Result<()> {
    Ok(kill(Pid::from_raw(pid), signal)?)
}

impl Scene<'_> {
    pub(super) async fn qemu_hangs(&mut self) -> anyhow::Result<String> {
        self.wrapper.plays("hang")?;
        let hanging = self.stage.post_bid(GOOD_RATE).await?;
        self.stage
            .until("QEMU hangs", SOON, async |stage| {
                Ok(stage.machines().await? == 1 && stage.state(hanging).await? == LeaseState::Opened)
            })
            .await?;
        let other = self.rent().await?;
        let meanwhile = self.stage.state(hanging).await?;
        ensure!(
            meanwhile == LeaseState::Opened,
            "the hanging lease was {meanwhile:?} when the other one ran"
        );
        self.until_login(hanging).await?;
        let starts = self.wrapper.starts()?;
        self.wrapper.plays("sound")?;
        self.close(other).await?;
        Ok(format!("another lease ran first; it ran at start {starts}; {}", self.close(hanging).await?))
    }

    pub(super) async fn qemu_fails(&mut self) -> anyhow::Result<String> {
        self.wrapper.plays("fail")?;
        let id = self.stage.post_bid(GOOD_RATE).await?;
        self.stage
            .until("the trouble is named", SOON, async |stage| {
                let trouble = stage.lease(Who::Provider, id).await?.trouble.unwrap_or_default();
                Ok(trouble.contains("out of luck"))
            })
            .await?;
        self.until_login(id).await?;
        let starts = self.wrapper.starts()?;
        self.wrapper.plays("sound")?;
        ensure!(starts == 6, "it was started {starts} times");
        let trouble = self.lease(Who::Provider, id).await?.trouble;
        ensure!(trouble.is_none(), "the trouble is over, and still told: {trouble:?}");
        Ok(format!("it ran at start {starts}; {}", self.close(id).await?))
    }

    pub(super) async fn machine_vanishes(&mut self) -> anyhow::Result<String> {
        let id = self.rent().await?;
        let before = self.lease(Who::Provider, id).await?.instance;
        signal(self.pid(id)?, Signal::SIGKILL)?;
        fs::remove_dir_all(self.stage.folder(id))?;
        self.stage
            .until("another machine is there", BOOTED, async |stage| {
                let now = stage.lease(Who::Provider, id).await?.instance;
                Ok(now.is_some() && now != before)
            })
            .await?;
        self.until_login(id).await?;
        Ok(format!("another machine, reached by its buyer; {}", self.close(id).await?))
    }

    pub(super) async fn machine_lies(&mut self) -> anyhow::Result<String> {
        self.wrapper.plays("stay")?;
        let id = self.rent().await?;
        let before = self.pid(id)?;
        self.wrapper.plays("sound")?;
        signal(before, Signal::SIGKILL)?;
        self.stage.until("it is started again", BOOTED, async |_| Ok(self.wrapper.starts()? == 1)).await?;
        self.until_login(id).await?;
        ensure!(self.pid(id)? != before, "it is the same process");
        Ok(format!("seen to be gone and started again; {}", self.close(id).await?))
    }

    pub(super) async fn machine_frozen(&mut self) -> anyhow::Result<String> {
        let frozen = self.rent().await?;
        let other = self.rent().await?;
        let pid = self.pid(frozen)?;
        signal(pid, Signal::SIGSTOP)?;
        self.stage
            .until("its buyer leaves it", BOOTED, async |stage| {
                // The other one is served while the adapter waits for this one's answers.
                stage.log_in(other).await?;
                Ok(stage.state(frozen).await? == LeaseState::Ended)
            })
            .await?;
        self.stage.until("it is removed", SOON, async |stage| Ok(stage.machines().await? == 1)).await?;
        ensure!(!super::runs(pid), "QEMU is still there");
        self.stage.log_in(other).await?;
        let failure = self.stage.bid(frozen).await?.failure.unwrap_or_default();
        ensure!(failure.starts_with("the machine is gone"), "it was left because: {failure}");
        Ok(format!("left by its buyer and removed; the other one {}", self.close(other).await?))
    }
}
