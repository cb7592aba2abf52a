//! A node as a child process: started with its own home, watched, stopped, and cleaned up after.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sublet_adapter::{Adapter, AdapterError, Instance};
use sublet_api::{
    client::{ApiClient, ClientError},
    types::Status,
};
use sublet_base::home::{Home, HomeError};
use sublet_chain::anvil::on_path;
use sublet_keys::read_wallet_key;

use crate::{backend, config::Config};

/// A node answers within a second; a loaded machine may need some more.
const START_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// Lines of a dead node's log that go into the error.
const LOG_LINES: usize = 12;

/// What can go wrong with a node's process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {binary}: {source}; build it with `cargo build`")]
    Spawn {
        /// The binary.
        binary: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended, or did not come up in time.
    #[error("node '{name}' did not start ({reason}); the end of its log:\n{log}")]
    Down {
        /// The node.
        name: String,
        /// What is known.
        reason: String,
        /// Its last lines.
        log: String,
    },
    /// It runs and refused a request.
    #[error(transparent)]
    Api(#[from] ClientError),
}

/// A running node; clones name the same process. Dropping the last one kills it.
#[derive(Clone)]
pub struct NodeProcess {
    name: String,
    home: Home,
    binary: PathBuf,
    child: Arc<Child>,
}

struct Child(Mutex<std::process::Child>);

impl Drop for Child {
    fn drop(&mut self) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing more can be done about a child that cannot be killed; one that has ended is fine.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl NodeProcess {
    /// Starts the node of `home` and waits until its API answers.
    pub async fn start(name: &str, binary: &Path, home: Home) -> Result<Self, ProcessError> {
        let node = Self::spawn(name, binary, home, None)?;
        node.wait_until_up().await?;
        Ok(node)
    }

    /// Starts the node of `home`, which may take a moment to answer. `failpoint` names the place where it is to end,
    /// as `sublet_base::failpoint` has it.
    pub fn spawn(
        name: &str,
        binary: &Path,
        home: Home,
        failpoint: Option<&str>,
    ) -> Result<Self, ProcessError> {
        let log_path = home.path().join("node.log");
        let spawn_error = |source| ProcessError::Spawn { binary: binary.into(), source };
        let open = std::fs::OpenOptions::new().create(true).append(true).open(&log_path);
        let log = open.map_err(spawn_error)?;
        let mut command = command(binary);
        command.args(["node", "run", "--home"]).arg(home.path());
        // A group of its own: Ctrl-C reaches the harness, which ends the nodes in order.
        // Seconds in this file move the clock of a test build.
        command.env("SUBLET_CLOCK_OFFSET_FILE", home.path().join("clock-offset"));
        command.env_remove("SUBLET_FAILPOINT").envs(failpoint.map(|name| ("SUBLET_FAILPOINT", name)));
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().map_err(spawn_error)?;
        Ok(Self { name: name.into(), home, binary: binary.into(), child: Arc::new(Child(Mutex::new(child))) })
    }

    /// Waits until its API answers.
    pub async fn wait_until_up(&self) -> Result<(), ProcessError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Ok(client) = self.client()
                && client.get::<Status>("/v1/status").await.is_ok()
            {
                return Ok(());
            }
            let reason = match self.exited() {
                Some(status) => format!("it ended with {status}"),
                None if Instant::now() > deadline => format!("no answer within {} s", START_LIMIT.as_secs()),
                None => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            return Err(ProcessError::Down { name: self.name.clone(), reason, log: self.log_tail() });
        }
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The address of the key in its home.
    ///
    /// # Errors
    /// The key is not in a plain file.
    pub fn address(&self) -> Result<Address, HomeError> {
        Ok(read_wallet_key(&self.home.wallet_key())?.address())
    }

    /// The binary that it runs, for commands beside it.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// A client of its API.
    pub fn client(&self) -> Result<ApiClient, ClientError> {
        ApiClient::connect(&self.home)
    }

    /// How it is.
    pub async fn status(&self) -> Result<Status, ProcessError> {
        Ok(self.client()?.get("/v1/status").await?)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.lock().id()
    }

    /// How it ended, once it has.
    pub fn exited(&self) -> Option<std::process::ExitStatus> {
        self.lock().try_wait().ok().flatten()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.home.path().join("node.log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Asks it to end, and kills it after `limit`. No error when it has ended already.
    pub async fn stop(&self, limit: Duration) {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + limit;
        while self.exited().is_none() && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        self.kill();
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&self) {
        let mut child = self.lock();
        // An error says that it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Removes every machine that this node's adapter started, and says which could not be. For nodes that are
    /// stopped.
    pub async fn remove_machines(&self) -> Vec<String> {
        let Some(adapter) = self.adapter() else { return Vec::new() };
        let machines = match adapter.list().await {
            Ok(machines) => machines,
            Err(error) => {
                return vec![format!("the machines of node '{}' are not known: {error}", self.name)];
            }
        };
        let mut trouble = Vec::new();
        for machine in machines {
            if let Err(error) = adapter.deprovision(machine.lease).await {
                trouble.push(format!("machine {} of node '{}': {error}", machine.id, self.name));
            }
        }
        trouble
    }

    /// The machines of this node, as its adapter sees them; none if it does not provide.
    pub async fn machines(&self) -> Result<Vec<Instance>, AdapterError> {
        match self.adapter() {
            Some(adapter) => adapter.list().await,
            None => Ok(Vec::new()),
        }
    }

    fn adapter(&self) -> Option<Arc<dyn Adapter>> {
        let provider = Config::load(&self.home).ok()?.provider?;
        // A wallet that is not in a plain file has no address here; what machines of this host are whose does
        // not depend on it.
        backend::open(&provider, self.address().unwrap_or_default()).ok()
    }

    fn signal(&self, signal: Signal) {
        if self.exited().is_none()
            && let Ok(pid) = i32::try_from(self.pid())
        {
            // The child is ours and not waited for, so the id is still its own.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, std::process::Child> {
        self.child.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The node's command, ended by the kernel should the harness die by `kill -9` (where util-linux is there).
fn command(binary: &Path) -> Command {
    match on_path("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).arg(binary);
            command
        }
        None => Command::new(binary),
    }
}
