//! What a host needs before it can run machines, with remedies.

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use sublet_adapter::AdapterError;
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::HypervisorConfig;

/// Starts new sessions; part of Debian's essential util-linux.
pub(crate) const SETSID: &str = "setsid";

/// Programs tell their version within milliseconds, on a thrashing host within seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The programs are there and can be started.
pub(crate) async fn check_programs(config: &HypervisorConfig) -> Result<(), AdapterError> {
    version(&config.qemu_binary).await?;
    let tools = [
        (config.qemu_img_binary.as_path(), "qemu-utils", "qemu_img_binary"),
        (Path::new(SETSID), "util-linux", "PATH"),
    ];
    for (program, package, key) in tools {
        run(program).await.map_err(|error| missing(program, package, key, &error))?;
    }
    Ok(())
}

/// The first line of `qemu --version`.
pub(crate) async fn version(qemu: &Path) -> Result<String, AdapterError> {
    let output = run(qemu).await.map_err(|error| missing(qemu, "qemu-system-x86", "qemu_binary", &error))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

async fn run(program: &Path) -> io::Result<Output> {
    let mut command = Command::new(program);
    let output = command.arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(ANSWER_WITHIN, output).await??;
    if output.status.success() {
        return Ok(output);
    }
    Err(io::Error::other(format!("--version ended with {}", output.status)))
}

fn missing(program: &Path, package: &str, key: &str, error: &io::Error) -> AdapterError {
    AdapterError::configuration(
        format!("{} cannot be started: {error}", program.display()),
        format!("as root: apt-get install -y --no-install-recommends {package}   (or correct {key})"),
    )
}
