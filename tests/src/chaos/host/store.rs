//! The database: held by another process, damaged.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::ensure;

use super::Scene;
use crate::{
    chaos::{Who, stage::Stage},
    command::sublet,
};

/// Bytes of a page of the file.
const PAGE: usize = 4_096;

impl Scene<'_> {
    pub(super) async fn store_locked(&mut self) -> anyhow::Result<String> {
        let id = self.rent().await?;
        let before = self.stage.node(Who::Provider).status().await?.listen;
        let said = start_refused(&self.stage).await?;
        ensure!(said.contains("another sublet node is running on this home"), "it said: {said}");
        ensure!(said.contains("stop it, or choose another home"), "no remedy: {said}");
        self.hold(Duration::from_secs(2)).await?;
        let after = self.stage.node(Who::Provider).status().await?.listen;
        ensure!(before == after, "the command line finds another node now");
        self.stage.log_in(id).await?;
        Ok(format!("\"{}\"; {}", last_line(&said), self.close(id).await?))
    }

    pub(super) async fn store_damaged(&mut self) -> anyhow::Result<String> {
        let id = self.rent().await?;
        let mut said = String::new();
        let file = store_of(&self.stage);
        self.stage
            .down_and_up(Who::Provider, async |stage| {
                let whole = fs::read(&file)?;
                let mut bytes = whole.clone();
                // Every other page: whatever is in use, some of it is hit.
                for page in bytes.chunks_mut(PAGE).skip(1).step_by(2) {
                    page.fill(0xa5);
                }
                fs::write(&file, bytes)?;
                said = start_refused(stage).await?;
                Ok(fs::write(&file, whole)?)
            })
            .await?;
        ensure!(said.contains("sublet.redb is damaged"), "it said: {said}");
        ensure!(said.contains("restore a backup"), "no remedy: {said}");
        self.until_login(id).await?;
        Ok(format!("\"{}\"; {}", last_line(&said), self.close(id).await?))
    }
}

/// The provider's database.
pub(super) fn store_of(stage: &Stage<'_>) -> PathBuf {
    stage.node(Who::Provider).home().store()
}

/// Starts one more node on the provider's home, which must not work, and gives what it says.
async fn start_refused(stage: &Stage<'_>) -> anyhow::Result<String> {
    let node = stage.node(Who::Provider);
    let outcome = sublet(node.binary(), node.home().path(), &["node", "run"]).await?;
    ensure!(outcome.code == Some(1), "it ended with {:?}: {}", outcome.code, outcome.stderr);
    ensure!(!outcome.stderr.contains("RUST_BACKTRACE"), "it panicked: {}", outcome.stderr);
    Ok(outcome.stderr)
}

fn last_line(text: &str) -> &str {
    text.trim().lines().last().unwrap_or_default()
}
