//! A development chain in a child process: Foundry's `anvil`, found, started on a free port, bounded in memory
//! and never left behind.
//!
//! The child has a process group of its own, so that a Ctrl-C in the terminal reaches this process first; where
//! util-linux's `setpriv` is there, the kernel ends the child when this process dies by `kill -9`. A keeper thread
//! starts the child and waits for it: the kernel's parent-death signal follows the *thread* that started the
//! child, and a thread of an async runtime may end early.
//!
//! With interval mining (the default) any number of transactions may be in flight. Without, anvil mines one block
//! per transaction, which is fast and good for one transaction awaited at a time. Both at once wedges and is not
//! on offer.

mod child;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use alloy::{
    network::Ethereum,
    providers::{Provider as _, RootProvider, ext::AnvilApi as _},
    signers::local::PrivateKeySigner,
    transports::TransportError,
};
use alloy_primitives::{Address, U256};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::sync::watch;

pub use child::find_anvil;
pub use child::on_path;
use child::{command, free_port, keep};

/// The environment variable that names the binary.
pub const ANVIL_ENV: &str = "SUBLET_ANVIL";
/// How long anvil may take until it answers; a loaded machine with a large state file needs some.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a graceful stop may take (it writes the state file) before the child is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a starting anvil is asked whether it answers.
const START_POLL: Duration = Duration::from_millis(25);
/// A child that cannot bind its port has ended by then.
const BIND_TIME: Duration = Duration::from_millis(200);
/// A free port can be taken by somebody else before anvil binds it; so many ports are tried.
const PORT_ATTEMPTS: usize = 3;
/// Enough for days of a development chain, and far from what a wedged anvil takes (it was seen at 18 GB).
const DEFAULT_MEMORY_MIB: u64 = 4096;
/// What [`Anvil::funded_signer`] gives, in wei: 1,000 of the native currency.
const FUNDING_WEI: u128 = 1_000 * 1_000_000_000_000_000_000;

/// What can go wrong with the development chain.
#[derive(Debug, thiserror::Error)]
pub enum AnvilError {
    /// There is no binary.
    #[error(
        "cannot find anvil ({0}): run `npm ci --ignore-scripts` in contracts/, install Foundry, \
         or set {ANVIL_ENV} to the binary"
    )]
    NotFound(String),
    /// The system did not start it.
    #[error(
        "cannot start {binary}: {reason}; check that it is executable here, or set {ANVIL_ENV} to another"
    )]
    Start {
        /// The binary.
        binary: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It ended, or gave no answer in time.
    #[error("anvil did not start: {0}; check its options, its state file and the machine's memory")]
    NotUp(String),
    /// It runs and refused a request.
    #[error("anvil refused {what}: {reason}; is it still running?")]
    Request {
        /// What was asked.
        what: &'static str,
        /// What it said.
        reason: String,
    },
}

/// How the chain should be.
#[derive(Debug, Clone)]
pub struct AnvilConfig {
    /// The binary; found by [`find_anvil`] when not given.
    pub binary: Option<PathBuf>,
    /// A free one when not given.
    pub port: Option<u16>,
    /// The time between blocks, fractions of a second included; without, each transaction makes a block at once.
    pub block_time: Option<Duration>,
    /// anvil's own, 31337, when not given.
    pub chain_id: Option<u64>,
    /// How many of anvil's well-known accounts have money.
    pub accounts: u8,
    /// Where the chain is kept between runs; written by a graceful stop.
    pub state: Option<PathBuf>,
    /// Bound on the child's address space in MiB.
    pub memory_mib: u64,
    /// Further options, such as `--gas-limit`.
    pub extra: Vec<String>,
}

impl Default for AnvilConfig {
    fn default() -> Self {
        Self {
            binary: None,
            port: None,
            block_time: Some(Duration::from_secs(1)),
            chain_id: None,
            accounts: 1,
            state: None,
            memory_mib: DEFAULT_MEMORY_MIB,
            extra: Vec::new(),
        }
    }
}

/// A running chain; dropping it ends the child.
pub struct Anvil {
    url: String,
    port: u16,
    pid: Pid,
    /// `Some` once the child has ended, with the reason.
    exited: watch::Receiver<Option<String>>,
    keeps_state: bool,
    provider: RootProvider<Ethereum>,
}

impl fmt::Debug for Anvil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anvil").field("url", &self.url).field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Anvil {
    /// Starts a chain and returns once it answers.
    pub async fn start(config: AnvilConfig) -> Result<Self, AnvilError> {
        let binary = match &config.binary {
            Some(binary) if binary.is_file() => binary.clone(),
            Some(binary) => return Err(AnvilError::NotFound(format!("{} is not a file", binary.display()))),
            None => find_anvil()?,
        };
        let attempts = if config.port.is_some() { 1 } else { PORT_ATTEMPTS };
        let mut last = AnvilError::NotUp("no port was tried".into());
        for _ in 0..attempts {
            let port = match config.port {
                Some(port) => port,
                None => free_port()?,
            };
            match Self::start_on(&binary, &config, port).await {
                Ok(anvil) => return Ok(anvil),
                Err(e @ AnvilError::NotUp(_)) => last = e,
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }

    async fn start_on(binary: &Path, config: &AnvilConfig, port: u16) -> Result<Self, AnvilError> {
        let (pid, exited) = keep(command(binary, config, port), binary)?;
        let url = format!("http://127.0.0.1:{port}");
        let http = reqwest::Client::builder().no_proxy().timeout(START_TIMEOUT).build();
        let http = http.map_err(|e| AnvilError::NotUp(e.to_string()))?;
        let parsed = url.parse::<reqwest::Url>().map_err(|e| AnvilError::NotUp(e.to_string()))?;
        let client = alloy::rpc::client::RpcClient::builder().http_with_client(http, parsed);
        let anvil = Self {
            url,
            port,
            pid,
            exited,
            keeps_state: config.state.is_some(),
            provider: RootProvider::new(client),
        };
        anvil.wait_until_up().await?;
        Ok(anvil)
    }

    async fn wait_until_up(&self) -> Result<(), AnvilError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let answered = self.provider.get_chain_id().await.is_ok();
            // Looked at after the answer: whoever else holds our port may have given it.
            if let Some(reason) = self.exited.borrow().clone() {
                return Err(AnvilError::NotUp(reason));
            }
            if answered {
                return self.still_there().await;
            }
            if Instant::now() > deadline {
                return Err(AnvilError::NotUp(format!("no answer within {} s", START_TIMEOUT.as_secs())));
            }
            tokio::time::sleep(START_POLL).await;
        }
    }

    /// Whether our child is there a moment after the first answer: one that finds its port taken needs a
    /// moment to say so, and whoever holds the port answers at once.
    async fn still_there(&self) -> Result<(), AnvilError> {
        tokio::time::sleep(BIND_TIME).await;
        match self.exited.borrow().clone() {
            Some(reason) => Err(AnvilError::NotUp(reason)),
            None => Ok(()),
        }
    }

    /// The JSON-RPC URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The TCP port on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The child's process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// The provider, for requests that have no method here.
    #[must_use]
    pub fn provider(&self) -> &RootProvider<Ethereum> {
        &self.provider
    }

    /// Resolves when the child has ended, with the reason; outlives this handle.
    pub fn watch_end(&self) -> impl Future<Output = String> + Send + use<> {
        let mut exited = self.exited.clone();
        async move {
            match exited.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or_default(),
                Err(_) => "the thread that watches it has ended".into(),
            }
        }
    }

    /// Stops the chain gracefully (the state file is written), or by force after some seconds.
    pub async fn stop(self) {
        self.signal(Signal::SIGCONT);
        self.signal(Signal::SIGTERM);
        if tokio::time::timeout(STOP_TIMEOUT, self.watch_end()).await.is_err() {
            self.signal(Signal::SIGKILL);
            self.watch_end().await;
        }
    }

    /// Stops the process in its tracks: requests hang, as with a dead network.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        if self.exited.borrow().is_none() {
            // An error says that the child has just ended, which is as good.
            let _ = kill(self.pid, signal);
        }
    }

    /// Sets a native balance, in wei.
    pub async fn set_balance(&self, address: Address, wei: u128) -> Result<(), AnvilError> {
        // By the name that Hardhat's node knows too.
        let set = self.provider.raw_request("hardhat_setBalance".into(), (address, U256::from(wei))).await;
        set.map(|_: serde_json::Value| ()).map_err(|e| refused("hardhat_setBalance", &e))
    }

    /// A fresh key with 1,000 of the native currency.
    pub async fn funded_signer(&self) -> Result<PrivateKeySigner, AnvilError> {
        let signer = PrivateKeySigner::random();
        self.set_balance(signer.address(), FUNDING_WEI).await?;
        Ok(signer)
    }

    /// Mines `blocks` blocks now.
    pub async fn mine(&self, blocks: u64) -> Result<(), AnvilError> {
        self.provider.anvil_mine(Some(blocks), None).await.map_err(|e| refused("anvil_mine", &e))
    }

    /// Moves the chain's time by `seconds` and mines one block there.
    pub async fn advance(&self, seconds: u64) -> Result<(), AnvilError> {
        self.provider.anvil_increase_time(seconds).await.map_err(|e| refused("evm_increaseTime", &e))?;
        self.mine(1).await
    }

    /// Remembers the chain as it is.
    pub async fn snapshot(&self) -> Result<U256, AnvilError> {
        self.provider.anvil_snapshot().await.map_err(|e| refused("evm_snapshot", &e))
    }

    /// Goes back to a snapshot; it can be used once.
    pub async fn revert(&self, snapshot: U256) -> Result<bool, AnvilError> {
        self.provider.anvil_revert(snapshot).await.map_err(|e| refused("evm_revert", &e))
    }

    /// Replaces the newest `depth` blocks by as many empty ones.
    pub async fn reorg(&self, depth: u64) -> Result<(), AnvilError> {
        let no_transactions: [(); 0] = [];
        let done = self.provider.raw_request("anvil_reorg".into(), (depth, no_transactions)).await;
        done.map(|_: serde_json::Value| ()).map_err(|e| refused("anvil_reorg", &e))
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        self.signal(Signal::SIGCONT);
        // A chain that is kept gets the chance to write itself; anything else just ends.
        self.signal(if self.keeps_state { Signal::SIGTERM } else { Signal::SIGKILL });
    }
}

fn refused(what: &'static str, error: &TransportError) -> AnvilError {
    AnvilError::Request { what, reason: error.to_string() }
}
