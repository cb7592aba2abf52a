//! The `sublet` command as a user runs it: arguments in, text or JSON out, exit code checked.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use tokio::process::Command;

/// No command of these tests waits longer than a boot and a few blocks.
const LIMIT: Duration = Duration::from_secs(150);

/// What a command came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Logs, progress, the error.
    pub stderr: String,
}

/// Runs `sublet ARGS` on a home.
pub async fn sublet(binary: &Path, home: &Path, args: &[&str]) -> anyhow::Result<Outcome> {
    let mut command = Command::new(binary);
    command.arg("--home").arg(home).args(args);
    run(command).await.with_context(|| format!("sublet {}", args.join(" ")))
}

/// Runs `sublet ARGS` on a home; anything but exit code 0 is an error with what the command said.
pub async fn succeed(binary: &Path, home: &Path, args: &[&str]) -> anyhow::Result<String> {
    let outcome = sublet(binary, home, args).await?;
    anyhow::ensure!(
        outcome.code == Some(0),
        "`sublet {}` ended with {:?}: {}",
        args.join(" "),
        outcome.code,
        outcome.stderr.trim()
    );
    Ok(outcome.stdout)
}

/// Runs `sublet --output json ARGS` on a home and parses what it prints.
pub async fn json<T: DeserializeOwned>(binary: &Path, home: &Path, args: &[&str]) -> anyhow::Result<T> {
    let args: Vec<_> = ["--output", "json"].iter().chain(args).copied().collect();
    let text = succeed(binary, home, &args).await?;
    serde_json::from_str(&text)
        .with_context(|| format!("`sublet {}` printed something else: {text}", args.join(" ")))
}

/// Runs any command within the time limit.
pub async fn run(mut command: Command) -> anyhow::Result<Outcome> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output())
        .await
        .with_context(|| format!("no end within {} s", LIMIT.as_secs()))??;
    Ok(Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Asks until `look` finds something; says what was missing when `limit` is over.
pub async fn until<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "{what}: not within {} s", limit.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
