//! The network of `docker-compose.yml` for as long as a test needs it.
//!
//! Everything goes through `docker compose`, as a user would type it, under a project name of its own; the binary under
//! test is put into the image as it is (`--target prebuilt`). [`scenarios`] says what happens in it.

pub mod scenarios;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::command::Outcome;

/// The images of the test, beside those of a network that somebody plays with.
const IMAGES: [(&str, &str); 3] = [
    ("SUBLET_IMAGE", "sublet:test"),
    ("SUBLET_CHAIN_IMAGE", "sublet-chain:test"),
    ("SUBLET_MOTO_IMAGE", "sublet-moto:test"),
];
/// The Dockerfile's stage that takes the binary instead of compiling it.
const TARGET: (&str, &str) = ("SUBLET_TARGET", "prebuilt");
/// Where the Dockerfile looks for the binary.
const PREBUILT: &str = "build/prebuilt/sublet";
/// Downloads packages of Debian, npm and PyPI the first time.
const BUILD_LIMIT: Duration = Duration::from_secs(1200);
/// Six nodes on two cores need half a minute.
const UP_LIMIT: Duration = Duration::from_secs(300);
/// A boot under software emulation beside other work, and a few blocks.
const COMMAND_LIMIT: Duration = Duration::from_secs(240);
/// Containers that do not end by themselves are killed before.
const DOWN_LIMIT: Duration = Duration::from_secs(120);

/// A network of containers.
#[derive(Debug)]
pub struct Compose {
    root: PathBuf,
    project: String,
}

impl Compose {
    /// A network of the compose file in `root`, with a name that no other process uses. Nothing is started.
    pub fn new(root: PathBuf) -> Self {
        Self { root, project: format!("sublet-test-{}", std::process::id()) }
    }

    /// The name by which docker knows all of it.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Makes the images, with `binary` in them.
    pub async fn build(&self, binary: &Path) -> anyhow::Result<()> {
        self.stage(binary).await?;
        let before = self.image_ids().await?;
        self.compose(&["build", "--quiet"], BUILD_LIMIT).await?;
        let after = self.image_ids().await?;
        // Images of the last run have lost their names; without this, each run would leave some behind.
        for id in before.iter().filter(|id| !after.contains(id)) {
            // Another network may still use it.
            let _ = run(docker(&["image", "rm", id]), COMMAND_LIMIT).await?;
        }
        Ok(())
    }

    /// The binary without debug information, which is half of it and nobody reads in a container.
    async fn stage(&self, binary: &Path) -> anyhow::Result<()> {
        let staged = self.root.join(PREBUILT);
        std::fs::create_dir_all(staged.parent().unwrap_or(&self.root))?;
        let mut strip = Command::new("objcopy");
        strip.arg("--strip-debug").arg(binary).arg(&staged);
        let said = run(strip, COMMAND_LIMIT).await.context("objcopy (of the package binutils)")?;
        anyhow::ensure!(said.code == Some(0), "objcopy: {}", said.stderr.trim());
        Ok(())
    }

    async fn image_ids(&self) -> anyhow::Result<Vec<String>> {
        let tags = IMAGES.iter().map(|(_, tag)| *tag);
        let inspect: Vec<_> = ["image", "inspect", "--format", "{{.Id}}"].into_iter().chain(tags).collect();
        // Says those that are there, and complains about the others.
        let said = run(docker(&inspect), COMMAND_LIMIT).await?;
        Ok(said.stdout.split_whitespace().map(ToOwned::to_owned).collect())
    }

    /// Starts everything and returns once all of it is healthy.
    pub async fn up(&self) -> anyhow::Result<()> {
        let limit = UP_LIMIT.as_secs().to_string();
        let up = ["up", "--detach", "--no-build", "--quiet-pull", "--wait", "--wait-timeout", &limit];
        self.compose(&up, UP_LIMIT + COMMAND_LIMIT).await?;
        Ok(())
    }

    /// Starts a service's container again, and returns once it is healthy.
    pub async fn restart(&self, service: &str) -> anyhow::Result<()> {
        self.compose(&["restart", service], COMMAND_LIMIT).await?;
        self.up().await
    }

    /// The services of the file.
    pub async fn services(&self) -> anyhow::Result<Vec<String>> {
        let said = self.compose(&["config", "--services"], COMMAND_LIMIT).await?;
        Ok(said.lines().map(ToOwned::to_owned).collect())
    }

    /// Runs a command in a service's container.
    pub async fn exec(&self, service: &str, args: &[&str]) -> anyhow::Result<String> {
        let exec: Vec<_> = ["exec", "-T", service].iter().chain(args).copied().collect();
        self.compose(&exec, COMMAND_LIMIT).await
    }

    /// Runs `sublet ARGS` in a service's container and reads the JSON that it prints.
    pub async fn sublet<T: DeserializeOwned>(&self, service: &str, args: &[&str]) -> anyhow::Result<T> {
        let args: Vec<_> = ["sublet", "--output", "json"].iter().chain(args).copied().collect();
        let text = self.exec(service, &args).await?;
        serde_json::from_str(&text).with_context(|| format!("{service}: {} printed {text}", args.join(" ")))
    }

    /// The processes of a service's container, as `ps` shows them.
    pub async fn processes(&self, service: &str) -> anyhow::Result<String> {
        self.compose(&["top", service], COMMAND_LIMIT).await
    }

    /// The last lines that each container has written.
    pub async fn logs(&self) -> anyhow::Result<String> {
        let text = self.compose(&["logs", "--no-color", "--tail", "25"], COMMAND_LIMIT).await?;
        // Compose clears a terminal's line before each, also where there is no terminal.
        Ok(text.replace("\u{1b}[2K", ""))
    }

    /// Takes everything down and proves that docker has nothing of it any more.
    pub async fn down(&self) -> anyhow::Result<()> {
        let down = ["down", "--volumes", "--remove-orphans", "--timeout", "5"];
        self.compose(&down, DOWN_LIMIT).await?;
        let left = self.left_behind().await?;
        anyhow::ensure!(left.is_empty(), "left behind: {}; remove it by hand", left.join(", "));
        Ok(())
    }

    async fn left_behind(&self) -> anyhow::Result<Vec<String>> {
        let label = format!("label=com.docker.compose.project={}", self.project);
        let mut left = Vec::new();
        for (kind, list) in [
            ("container", ["ps", "--all", "--quiet"].as_slice()),
            ("volume", &["volume", "ls", "--quiet"]),
            ("network", &["network", "ls", "--quiet"]),
        ] {
            let args: Vec<_> = list.iter().copied().chain(["--filter", &label]).collect();
            let said = run(docker(&args), COMMAND_LIMIT).await?;
            anyhow::ensure!(said.code == Some(0), "docker {}: {}", args.join(" "), said.stderr.trim());
            left.extend(said.stdout.lines().map(|id| format!("{kind} {id}")));
        }
        Ok(left)
    }

    /// Runs `docker compose ARGS` on this network; anything but exit code 0 is an error with what was said.
    async fn compose(&self, args: &[&str], limit: Duration) -> anyhow::Result<String> {
        let mut command = docker(&["compose", "--progress", "quiet", "--project-name", &self.project]);
        command.arg("--project-directory").arg(&self.root).args(args).envs(IMAGES).env(TARGET.0, TARGET.1);
        let said = run(command, limit).await.with_context(|| format!("docker compose {}", args.join(" ")))?;
        anyhow::ensure!(
            said.code == Some(0),
            "`docker compose {}` ended with {:?}: {}",
            args.join(" "),
            said.code,
            last_lines(&said.stderr)
        );
        Ok(said.stdout)
    }
}

fn docker(args: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(args);
    command
}

/// Builds tell their whole life before the error.
fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Runs a command within `limit`. In a group of its own: a Ctrl-C in the terminal is for us, who take everything down
/// afterwards, and a command that nobody waits for any more ends together with the plugin that it has started.
async fn run(mut command: Command, limit: Duration) -> anyhow::Result<Outcome> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn()?;
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let output = tokio::time::timeout(limit, child.wait_with_output())
        .await
        .with_context(|| format!("no end within {} s", limit.as_secs()))??;
    group.has_ended();
    Ok(Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A running command and its children; dropping it ends them.
struct Group(Option<Pid>);

impl Group {
    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use sublet::config::Config;

    #[test]
    fn every_configuration_of_the_network_is_one_that_a_node_reads() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/compose");
        let mut read = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                Config::parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
                read += 1;
            }
        }
        assert_eq!(read, 5);
    }
}
