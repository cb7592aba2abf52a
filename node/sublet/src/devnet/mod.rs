//! A whole network on one machine: a development chain, the contracts, and nodes that are processes of their
//! own. `sublet devnet`, the demo and the end-to-end tests stand on it.
//!
//! Nothing is shared between the nodes but sockets and the chain. [`Devnet::down`] ends all of it and removes
//! every machine, file and process; what happens when it is dropped, by an error or a panic, is the same, less
//! gently.

pub mod market;
pub mod process;
mod remains;
mod signals;

use std::{path::PathBuf, time::Duration};

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::Address;
use sublet_base::home::Home;
use sublet_chain::{
    Call, Chain, ChainError, DeployOptions, Deployment, TxReport,
    anvil::{Anvil, AnvilConfig, AnvilError},
    deploy,
};
use sublet_keys::NewWallet;
use sublet_market::lease::Params;

use self::remains::Remains;
pub use self::{
    process::{NodeProcess, ProcessError},
    signals::stop_signal,
};
use crate::setup::{ProviderSetup, Setup, SetupError, init};

/// Gas money of each node: 10 of the chain's native currency.
const GAS_MONEY_WEI: u128 = 10_000_000_000_000_000_000;

/// How long a node may take to end before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Short enough to watch; on a real deployment HOLD is minutes.
pub const DEVNET_PARAMS: Params = Params { fee_bps: 100, hold: 60, notice: 5, half_life_days: 90 };

/// What can go wrong with a devnet.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // Each variant is the error of the part it names.
pub enum DevnetError {
    #[error(transparent)]
    Anvil(#[from] AnvilError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("cannot write {path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("there is no node '{0}' in this network")]
    NoSuchNode(String),
    #[error("not everything was removed: {0}; find it with `ps` and remove it by hand")]
    LeftBehind(String),
}

/// How a further node shall be.
#[derive(Debug, Clone, Default)]
pub struct NewNode {
    /// Tokens for its wallet's own address, in base units.
    pub ctk: u128,
    /// What it sells from, if it sells.
    pub provider: Option<ProviderSetup>,
    /// Its key.
    pub wallet: NewWallet,
    /// Whose account it trades with, if not its own.
    pub maker: Option<Address>,
}

/// Where and how the network runs.
#[derive(Debug, Clone)]
pub struct DevnetOptions {
    /// Homes, logs and the deployment file go here; must not exist yet.
    pub dir: PathBuf,
    /// The `sublet` binary that the nodes run.
    pub binary: PathBuf,
    /// The market's parameters.
    pub params: Params,
}

/// A running network.
pub struct Devnet {
    /// The development chain.
    pub anvil: Anvil,
    /// The contracts.
    pub deployment: Deployment,
    /// The transactions that made them.
    pub deploy_reports: Vec<TxReport>,
    /// The deployer's view of the chain; it holds the token's supply.
    pub bank: Chain,
    /// The RPC that new nodes are told of; the chain's own to begin with.
    pub rpc_url: String,
    binary: PathBuf,
    // After the chain: whatever the order of the drops, nodes are ended by this one.
    remains: Remains,
}

impl Devnet {
    /// Starts the chain and deploys the contracts; no node yet.
    pub async fn start(options: DevnetOptions) -> Result<Self, DevnetError> {
        Self::start_on(AnvilConfig::default(), options).await
    }

    /// The same on a chain of the caller's choice.
    pub async fn start_on(chain: AnvilConfig, options: DevnetOptions) -> Result<Self, DevnetError> {
        let DevnetOptions { dir, binary, params } = options;
        // From here on an error takes the directory with it.
        let remains =
            Remains::new(dir.clone()).map_err(|source| DevnetError::Io { path: dir.clone(), source })?;
        let anvil = Anvil::start(chain).await?;
        let deployer = anvil.funded_signer().await?;
        let deploying = DeployOptions { params, ..DeployOptions::default() };
        let (deployment, deploy_reports) = deploy(anvil.url(), deployer.clone(), deploying).await?;
        deployment.write(&dir.join("deployment.json"))?;
        let bank = Chain::connect(anvil.url(), deployment.clone(), deployer).await?;
        let rpc_url = anvil.url().to_owned();
        Ok(Self { anvil, deployment, deploy_reports, bank, rpc_url, binary, remains })
    }

    /// Makes a home under the devnet's directory, funds its wallet, and starts its node.
    pub async fn add_node(
        &mut self,
        name: &str,
        ctk: u128,
        provider: Option<ProviderSetup>,
    ) -> Result<NodeProcess, DevnetError> {
        self.add_node_with(name, NewNode { ctk, provider, ..NewNode::default() }).await
    }

    /// [`Devnet::add_node`] with a wallet of the caller's choice.
    pub async fn add_node_with(&mut self, name: &str, new: NewNode) -> Result<NodeProcess, DevnetError> {
        let NewNode { ctk, provider, wallet, maker } = new;
        let home = Home::new(self.remains.dir.join(name));
        let bootstrap = match self.remains.nodes.first() {
            Some(first) => first.status().await?.listen,
            None => Vec::new(),
        };
        let address = init(
            &home,
            &Setup {
                rpc_url: self.rpc_url.clone(),
                deployment: Some(self.remains.dir.join("deployment.json")),
                listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
                bootstrap,
                poll: "250ms".into(),
                confirmations: 1,
                provider,
                wallet,
                maker,
                ..Setup::default()
            },
        )?;
        self.fund(address, ctk).await?;
        let node = NodeProcess::start(name, &self.binary, home).await?;
        self.remains.nodes.push(node.clone());
        Ok(node)
    }

    /// Ends the node `name`, as a power cut would, and starts it again; it may take a moment to answer.
    /// `failpoint` names the place where it is to end, as [`sublet_base::failpoint`] has it.
    pub fn restart(&mut self, name: &str, failpoint: Option<&str>) -> Result<NodeProcess, DevnetError> {
        let Some(place) = self.remains.nodes.iter_mut().find(|node| node.name() == name) else {
            return Err(DevnetError::NoSuchNode(name.to_owned()));
        };
        place.kill();
        *place = NodeProcess::spawn(name, &self.binary, place.home().clone(), failpoint)?;
        Ok(place.clone())
    }

    /// Gives gas money and tokens to an address.
    pub async fn fund(&self, address: Address, ctk: u128) -> Result<(), DevnetError> {
        self.anvil.set_balance(address, GAS_MONEY_WEI).await?;
        if ctk > 0 {
            self.bank.execute(Call::Transfer { to: address, amount: ctk }).await?;
        }
        Ok(())
    }

    /// Where homes, logs and the deployment file are.
    pub fn dir(&self) -> &std::path::Path {
        &self.remains.dir
    }

    /// The nodes, in the order of their start.
    pub fn nodes(&self) -> &[NodeProcess] {
        &self.remains.nodes
    }

    /// A wallet with gas money and no tokens.
    pub async fn wallet(&self) -> Result<PrivateKeySigner, DevnetError> {
        Ok(self.anvil.funded_signer().await?)
    }

    /// Stops nodes and machines, then the chain, and removes the directory. Everything is tried, whatever fails.
    pub async fn down(mut self) -> Result<(), DevnetError> {
        for node in &self.remains.nodes {
            node.stop(STOP_LIMIT).await;
        }
        let mut trouble = Vec::new();
        for node in &self.remains.nodes {
            trouble.extend(node.remove_machines().await);
        }
        self.anvil.stop().await;
        // What the adapter could not remove is killed here; only what is there after that is left behind.
        match self.remains.clear() {
            Ok(()) => Ok(()),
            Err(error) => {
                trouble.push(error);
                Err(DevnetError::LeftBehind(trouble.join("; ")))
            }
        }
    }
}
