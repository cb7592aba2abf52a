//! The child process itself: where the binary is, how it is called, and the thread that keeps it.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use nix::unistd::Pid;
use sublet_base::port;
use tokio::sync::watch;

use super::{ANVIL_ENV, AnvilConfig, AnvilError};

/// Lines of anvil's error output that are kept for messages.
const KEPT_LINES: usize = 12;

/// Finds the binary: `SUBLET_ANVIL`, `PATH`, then `contracts/node_modules` of this folder or one above it.
pub fn find_anvil() -> Result<PathBuf, AnvilError> {
    if let Some(named) = std::env::var_os(ANVIL_ENV) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(AnvilError::NotFound(format!("{ANVIL_ENV} names {}, which is not a file", named.display())))
        };
    }
    if let Some(found) = on_path("anvil") {
        return Ok(found);
    }
    let package = PathBuf::from(format!("contracts/node_modules/@foundry-rs/anvil-{}/bin/anvil", platform()));
    // cargo sets the second one for tests: the workspace is above it.
    let starts = [std::env::current_dir().ok(), std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from)];
    let found = starts
        .iter()
        .flatten()
        .flat_map(|s| s.ancestors())
        .map(|dir| dir.join(&package))
        .find(|p| p.is_file());
    found.ok_or_else(|| {
        AnvilError::NotFound(format!("{ANVIL_ENV} is not set, PATH has none, nor has {}", package.display()))
    })
}

/// The npm name of this platform's Foundry packages.
fn platform() -> String {
    let os = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    format!("{os}-{arch}")
}

/// The program of that name on the `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| p.is_file())
}

pub(super) fn free_port() -> Result<u16, AnvilError> {
    port::free_port().map_err(|error| AnvilError::NotUp(error.to_string()))
}

/// The command line, wrapped by what the system has of `setpriv` and `prlimit` (both replace themselves by the
/// next command, so the child's id is anvil's).
pub(super) fn command(binary: &Path, config: &AnvilConfig, port: u16) -> Command {
    let mut words: Vec<String> = Vec::new();
    if let Some(setpriv) = on_path("setpriv") {
        let signal = if config.state.is_some() { "TERM" } else { "KILL" };
        words.extend([setpriv.display().to_string(), "--pdeathsig".into(), signal.into(), "--".into()]);
    }
    if let Some(prlimit) = on_path("prlimit") {
        let bytes = config.memory_mib.saturating_mul(1024 * 1024);
        words.extend([prlimit.display().to_string(), format!("--as={bytes}"), "--".into()]);
    }
    words.push(binary.display().to_string());
    words.extend(["--silent".into(), "--host".into(), "127.0.0.1".into()]);
    words.extend(["--port".into(), port.to_string(), "--accounts".into(), config.accounts.to_string()]);
    if let Some(every) = config.block_time {
        words.extend(["--block-time".into(), every.as_secs_f64().to_string()]);
    }
    if let Some(id) = config.chain_id {
        words.extend(["--chain-id".into(), id.to_string()]);
    }
    if let Some(state) = &config.state {
        words.extend(["--state".into(), state.display().to_string()]);
    }
    words.extend(config.extra.iter().cloned());
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Starts the child on a thread that waits for it, and returns its id and how to hear of its end.
pub(super) fn keep(
    mut command: Command,
    binary: &Path,
) -> Result<(Pid, watch::Receiver<Option<String>>), AnvilError> {
    let failed = |reason: String| AnvilError::Start { binary: binary.into(), reason };
    let (ended, exited) = watch::channel(None);
    let (started, pid) = std::sync::mpsc::sync_channel(1);
    let keeper = thread::Builder::new().name("anvil-keeper".into());
    keeper
        .spawn(move || match command.spawn() {
            Ok(child) => {
                // The receiver waits for this one message.
                let _ = started.send(Ok(child.id()));
                ended.send_replace(Some(wait(child)));
            }
            Err(e) => {
                let _ = started.send(Err(e.to_string()));
            }
        })
        .map_err(|e| failed(e.to_string()))?;
    let pid = pid.recv().map_err(|e| failed(e.to_string()))?.map_err(failed)?;
    let pid = i32::try_from(pid).map_err(|e| failed(e.to_string()))?;
    Ok((Pid::from_raw(pid), exited))
}

/// Waits for the child and says how it ended, with its last words.
fn wait(mut child: Child) -> String {
    let words = Arc::new(Mutex::new(VecDeque::new()));
    let reader = child.stderr.take().map(|stderr| {
        let words = Arc::clone(&words);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                if words.len() == KEPT_LINES {
                    words.pop_front();
                }
                words.push_back(line);
            }
        })
    });
    let how = match child.wait() {
        Ok(status) => format!("anvil ended with {status}"),
        Err(e) => format!("anvil cannot be waited for ({e})"),
    };
    if let Some(reader) = reader {
        // A panic there loses the last words only.
        let _ = reader.join();
    }
    let words = words.lock().unwrap_or_else(PoisonError::into_inner);
    let words: Vec<_> = words.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    if words.is_empty() { how } else { format!("{how}: {}", words.join(" / ")) }
}
