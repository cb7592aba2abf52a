//! A whole network on one machine: a development chain, the contracts, and nodes that are processes of their
//! own. `sublet devnet`, the demo and the end-to-end tests stand on it.
//!
//! Nothing is shared between the nodes but sockets and the chain. [`Devnet::down`] ends all of it and removes
//! every machine, file and process; what happens when it is dropped in a panic is the same, less gently.

pub mod anvil;
pub mod market;
pub mod process;

use std::{path::PathBuf, time::Duration};

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::Address;
use sublet_market::lease::Params;

pub use self::{
    anvil::{Anvil, AnvilConfig, AnvilError},
    process::{NodeProcess, ProcessError},
};
use crate::{
    chain::{Call, Chain, ChainError, DeployOptions, Deployment, TxReport, deploy},
    home::Home,
    setup::{ProviderSetup, Setup, SetupError, init},
};

/// Gas money of each node: 10 of the chain's native currency.
const GAS_MONEY_WEI: u128 = 10_000_000_000_000_000_000;

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
}

/// Where and how the network runs.
#[derive(Debug, Clone)]
pub struct DevnetOptions {
    /// Homes, logs and the deployment file go here.
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
    options: DevnetOptions,
    nodes: Vec<NodeProcess>,
}

impl Devnet {
    /// Starts the chain and deploys the contracts; no node yet.
    pub async fn start(options: DevnetOptions) -> Result<Self, DevnetError> {
        std::fs::create_dir_all(&options.dir)
            .map_err(|source| DevnetError::Io { path: options.dir.clone(), source })?;
        let anvil = Anvil::start(AnvilConfig::default()).await?;
        let deployer = anvil.funded_signer().await?;
        let deploying = DeployOptions { params: options.params, ..DeployOptions::default() };
        let (deployment, deploy_reports) = deploy(anvil.url(), deployer.clone(), deploying).await?;
        let file = options.dir.join("deployment.json");
        deployment.write(&file)?;
        let bank = Chain::connect(anvil.url(), deployment.clone(), deployer).await?;
        Ok(Self { anvil, deployment, deploy_reports, bank, options, nodes: Vec::new() })
    }

    /// Makes a home under the devnet's directory, funds its wallet, and starts its node.
    pub async fn add_node(
        &mut self,
        name: &str,
        ctk: u128,
        provider: Option<ProviderSetup>,
    ) -> Result<NodeProcess, DevnetError> {
        let home = Home::new(self.options.dir.join(name));
        let bootstrap = match self.nodes.first() {
            Some(first) => first.status().await?.listen,
            None => Vec::new(),
        };
        let wallet = init(
            &home,
            &Setup {
                rpc_url: self.anvil.url().to_owned(),
                deployment: Some(self.options.dir.join("deployment.json")),
                listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
                bootstrap,
                poll: "250ms".into(),
                confirmations: 1,
                wallet: None,
                provider,
            },
        )?;
        self.fund(wallet, ctk).await?;
        let node = NodeProcess::start(name, &self.options.binary, home).await?;
        self.nodes.push(node.clone());
        Ok(node)
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
        &self.options.dir
    }

    /// The nodes, in the order of their start.
    pub fn nodes(&self) -> &[NodeProcess] {
        &self.nodes
    }

    /// A wallet with gas money and no tokens.
    pub async fn wallet(&self) -> Result<PrivateKeySigner, DevnetError> {
        Ok(self.anvil.funded_signer().await?)
    }

    /// Stops nodes and machines, then the chain, and removes the directory.
    pub async fn down(self) -> Result<(), DevnetError> {
        for node in &self.nodes {
            node.stop(Duration::from_secs(20)).await;
        }
        for node in &self.nodes {
            node.remove_machines().await;
        }
        self.anvil.stop().await;
        let dir = self.options.dir;
        std::fs::remove_dir_all(&dir).map_err(|source| DevnetError::Io { path: dir, source })
    }
}
