//! Making a node's home: keys and a commented `node.toml`.

use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use sublet_base::home::{Home, HomeError, write_atomic};
use sublet_chain::{ChainError, Deployment};
use sublet_keys::NewWallet;
use sublet_market::Resources;

use crate::config::{Config, ConfigError};

/// What can keep `init` from making a home.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The settings cannot be written as TOML.
    #[error("the settings cannot be written as TOML: {0}")]
    Toml(#[from] toml::ser::Error),
    /// Directory, keys, files.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The deployment file does not read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// What was asked for would make a configuration that no node reads.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// How the node shall be.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The chain's JSON-RPC endpoint.
    pub rpc_url: String,
    /// A deployment file; a copy goes into the home.
    pub deployment: Option<PathBuf>,
    /// Addresses to listen on.
    pub listen: Vec<String>,
    /// Peers to meet first.
    pub bootstrap: Vec<String>,
    /// How often the head is asked for, as `1s`.
    pub poll: String,
    /// Blocks on top of an event before the node acts on it.
    pub confirmations: u64,
    /// The wallet.
    pub wallet: NewWallet,
    /// The file in which the node looks for the keystore's passphrase.
    pub passphrase_file: Option<PathBuf>,
    /// Whose account the node trades with, when its wallet is only an operator's.
    pub maker: Option<Address>,
    /// For nodes that sell.
    pub provider: Option<ProviderSetup>,
}

/// How a provider's machines shall be.
#[derive(Debug, Clone)]
pub struct ProviderSetup {
    /// How often pay is claimed, as `1h`.
    pub claim_every: String,
    /// What runs them.
    pub backend: Backend,
}

/// What runs a provider's machines.
#[derive(Debug, Clone)]
pub enum Backend {
    /// QEMU on this host.
    Hypervisor {
        /// Where the guest images are.
        images_dir: PathBuf,
        /// All that leases may use together.
        capacity: Resources,
        /// `auto`, `kvm` or `tcg`.
        accel: String,
    },
    /// An AWS account.
    #[cfg(feature = "aws")]
    Aws(Box<sublet_adapter_aws::AwsConfig>),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            rpc_url: "http://127.0.0.1:8545".into(),
            deployment: None,
            listen: vec!["/ip4/0.0.0.0/tcp/4001".into(), "/ip4/0.0.0.0/udp/4001/quic-v1".into()],
            bootstrap: Vec::new(),
            poll: "1s".into(),
            confirmations: 2,
            wallet: NewWallet::default(),
            passphrase_file: None,
            maker: None,
            provider: None,
        }
    }
}

/// Makes `home` and returns the wallet's address.
pub fn init(home: &Home, setup: &Setup) -> Result<Address, SetupError> {
    // Read and checked before anything is written: a mistake leaves no half-made home.
    let deployment = setup.deployment.as_deref().map(Deployment::read).transpose()?;
    let config = node_toml(setup)?;
    Config::parse(&home.config(), &config)?;
    let (wallet, address) = setup.wallet.prepare()?;
    home.create(&wallet)?;
    if let Some(deployment) = deployment {
        deployment.write(&home.path().join("deployment.json"))?;
    }
    // Last: a home with a node.toml is complete.
    write_atomic(&home.config(), &config, 0o600)?;
    Ok(address)
}

fn node_toml(setup: &Setup) -> Result<String, SetupError> {
    let list = |items: &[String]| items.iter().map(|item| quote(item)).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "# A Sublet node. Unknown keys are errors; every key and its default is explained in docs/configuration.md.\n\
         \n\
         [chain]\n\
         # JSON-RPC of the EVM chain that has the contracts.\n\
         rpc_url = {}\n\
         # Written by `sublet chain deploy`; ask whoever runs the market for it.\n\
         deployment = \"deployment.json\"\n\
         # How often to ask for the newest block.\n\
         poll = {}\n\
         # Confirmations: blocks on top of an event before this node acts on it.\n\
         confirmations = {}\n\
         \n\
         [p2p]\n\
         # Addresses to listen on, where peers reach this node.\n\
         listen = [{}]\n\
         # Bootstrap peers, dialled first, as /ip4/ADDRESS/tcp/PORT/p2p/PEERID.\n\
         bootstrap = [{}]\n",
        quote(&setup.rpc_url),
        quote(&setup.poll),
        setup.confirmations,
        list(&setup.listen),
        list(&setup.bootstrap),
    );
    text.push_str(&wallet_toml(setup)?);
    if let Some(provider) = &setup.provider {
        text.push_str(&provider_toml(provider)?);
    }
    Ok(text)
}

fn wallet_toml(setup: &Setup) -> Result<String, SetupError> {
    let mut text = String::new();
    if let Some(maker) = setup.maker {
        text.push_str("# The account that this node trades for; its own key is only an operator.\n");
        text.push_str(&format!("maker = {}\n", quote(&maker.to_string())));
    }
    if let Some(file) = &setup.passphrase_file {
        text.push_str("# File whose first line is the passphrase of keystore.json.\n");
        text.push_str(&format!("passphrase_file = {}\n", quote(&absolute(file).display().to_string())));
    }
    #[cfg(feature = "kms")]
    if let NewWallet::Kms { key, access, .. } = &setup.wallet {
        text.push_str("# The wallet's key never leaves AWS KMS.\n");
        text.push_str(&format!("kms_key = {}\n\n[wallet.aws]\n{}", quote(key), toml::to_string(access)?));
    }
    Ok(if text.is_empty() { text } else { format!("\n[wallet]\n{text}") })
}

fn provider_toml(provider: &ProviderSetup) -> Result<String, SetupError> {
    let backend = match &provider.backend {
        Backend::Hypervisor { images_dir, capacity, accel } => hypervisor_toml(images_dir, capacity, accel),
        #[cfg(feature = "aws")]
        Backend::Aws(aws) => {
            let table = toml::Table::from_iter([("aws".to_owned(), toml::Value::try_from(aws)?)]);
            toml::to_string(&toml::Table::from_iter([("provider".to_owned(), toml::Value::Table(table))]))?
                .replace("[provider]\n", "")
        }
    };
    Ok(format!(
        "\n\
         [provider]\n\
         # How often pay is claimed from a running lease.\n\
         claim_every = {}\n\
         \n\
         {backend}",
        quote(&provider.claim_every),
    ))
}

fn hypervisor_toml(images_dir: &Path, capacity: &Resources, accel: &str) -> String {
    format!(
        "[provider.hypervisor]\n\
         # Guest images, one folder each, made by guest/build.sh.\n\
         images_dir = {}\n\
         # Disks, keys and consoles of the machines.\n\
         state_dir = \"machines\"\n\
         # auto uses KVM only if a guest boots under it.\n\
         accel = {}\n\
         # Total capacity for leases.\n\
         capacity = {{ vcpus = {}, memory_mib = {}, disk_gib = {}, gpus = {}, disk_iops = {}, net_mbps = {} }}\n",
        quote(&absolute(images_dir).display().to_string()),
        quote(accel),
        capacity.vcpus,
        capacity.memory_mib,
        capacity.disk_gib,
        capacity.gpus,
        capacity.disk_iops,
        capacity.net_mbps,
    )
}

/// A relative path is meant from where the command runs, not from the home.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_what_the_node_reads() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("provider"));
        let capacity = Resources { vcpus: 2, memory_mib: 1024, disk_gib: 10, ..Resources::default() };
        let provider = ProviderSetup {
            claim_every: "1m".into(),
            backend: Backend::Hypervisor {
                images_dir: "images \"of\" mine".into(),
                capacity,
                accel: "tcg".into(),
            },
        };
        init(&home, &Setup { provider: Some(provider), ..Setup::default() }).unwrap();
        let config = Config::load(&home).unwrap();
        let hypervisor = config.provider.unwrap().hypervisor.unwrap();
        assert_eq!(hypervisor.capacity, capacity);
        assert!(hypervisor.state_dir.starts_with(home.path()));
        assert!(hypervisor.images_dir.ends_with("images \"of\" mine"));
    }

    #[test]
    fn a_second_init_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let address = init(&home, &Setup::default()).unwrap();
        let said = init(&home, &Setup::default()).unwrap_err().to_string();
        assert!(said.contains("already holds a node"), "{said}");
        assert_eq!(sublet_keys::read_wallet_key(&home.wallet_key()).unwrap().address(), address);
    }

    #[test]
    fn what_no_node_could_read_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("node"));
        let garbage = || vec!["somewhere".to_owned()];
        for setup in [
            Setup { listen: garbage(), ..Setup::default() },
            Setup { bootstrap: garbage(), ..Setup::default() },
            Setup { rpc_url: "chain".into(), ..Setup::default() },
            Setup { poll: "1ms".into(), ..Setup::default() },
        ] {
            let said = init(&home, &setup).unwrap_err().to_string();
            assert!(said.contains("node.toml"), "{said}");
            assert!(!home.path().exists(), "{said}");
        }
    }
}
