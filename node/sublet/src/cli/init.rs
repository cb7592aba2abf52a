//! `sublet init`

use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use clap::Args;
use serde_json::json;
use sublet_keys as keys;
use sublet_keys::{
    KeyError, NewWallet,
    passphrase::{self, Passphrase},
    read_wallet_key,
};
use sublet_market::Resources;
#[cfg(feature = "kms")]
use {sublet_keys::Stored, sublet_signer_kms::KmsAccess};

use super::{
    Context,
    output::{facts, note},
    unlock::{self, PassphraseArgs},
    values,
};
use crate::setup::{Backend, ProviderSetup, Setup, init};

/// Create a home: configuration, wallet, node key.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// JSON-RPC endpoint of the EVM chain that has the contracts.
    #[arg(long, default_value = "http://127.0.0.1:8545", value_name = "URL", help_heading = "Chain")]
    rpc_url: String,
    /// Deployment file that `sublet chain deploy` wrote; a copy goes into the home.
    #[arg(long, value_name = "FILE", help_heading = "Chain")]
    deployment: Option<PathBuf>,
    /// Address to listen on for peers, for example /ip4/0.0.0.0/tcp/4001; may be given several times.
    #[arg(long, value_name = "MULTIADDR", value_parser = values::listen_address, help_heading = "Network")]
    listen: Vec<String>,
    /// Bootstrap peer, as /ip4/ADDRESS/tcp/PORT/p2p/PEERID; may be given several times.
    #[arg(long, value_name = "MULTIADDR", value_parser = values::peer_address, help_heading = "Network")]
    bootstrap: Vec<String>,
    /// Use this wallet key (0600 file, 64 hexadecimal digits) instead of a new one.
    #[arg(long, value_name = "FILE", help_heading = "Wallet")]
    wallet_key: Option<PathBuf>,
    /// Use this keystore (Web3 Secret Storage, as geth and `cast wallet` write it) and its passphrase.
    #[arg(long, value_name = "FILE", conflicts_with = "wallet_key", help_heading = "Wallet")]
    keystore: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Keep the wallet's key in a plain file, and do not ask for a passphrase on the terminal.
    #[arg(long, conflicts_with_all = ["passphrase_file", "keystore"], help_heading = "Wallet")]
    no_passphrase: bool,
    /// Trade for this account: the node's key is only its operator (`sublet wallet operator approve` in its
    /// home).
    #[arg(long, value_name = "ADDRESS", help_heading = "Wallet")]
    maker: Option<Address>,
    #[cfg(feature = "kms")]
    #[command(flatten)]
    kms: KmsArgs,
    /// Confirmations: blocks on top of an event before the node acts on it.
    #[arg(long, default_value_t = 2, value_name = "BLOCKS", help_heading = "Chain")]
    confirmations: u64,
    /// How often to ask for the newest block.
    #[arg(long, default_value = "1s", value_name = "DURATION", help_heading = "Chain")]
    poll: humantime::Duration,
    /// Sell machines of this host, run by QEMU.
    #[arg(long, help_heading = "Provider")]
    provider: bool,
    /// Folder of the guest images, made by guest/build.sh.
    #[arg(
        long,
        default_value = "images",
        value_name = "DIR",
        requires = "provider",
        help_heading = "Provider"
    )]
    images: PathBuf,
    /// Acceleration: `auto`, `kvm` or `tcg` (software emulation).
    #[arg(long, default_value = "auto", value_parser = ["auto", "kvm", "tcg"], requires = "provider")]
    #[arg(value_name = "KIND", help_heading = "Provider")]
    accel: String,
    /// Virtual CPUs that all leases may use together.
    #[arg(long, default_value_t = 2, requires = "provider", value_name = "N", help_heading = "Provider")]
    capacity_vcpus: u32,
    /// Memory that all leases may use together.
    #[arg(long, default_value = "2GiB", value_parser = values::memory, requires = "provider")]
    #[arg(value_name = "SIZE", help_heading = "Provider")]
    capacity_memory: u32,
    /// Disk that all leases may use together.
    #[arg(long, default_value = "20GiB", value_parser = values::disk, requires = "provider")]
    #[arg(value_name = "SIZE", help_heading = "Provider")]
    capacity_disk: u32,
}

/// A wallet key in AWS KMS.
#[cfg(feature = "kms")]
#[derive(Debug, Args)]
struct KmsArgs {
    /// Sign with this AWS KMS key (alias/NAME, key id, or ARN; ECC_SECG_P256K1) instead of a key in the home.
    #[arg(long, conflicts_with_all = ["wallet_key", "keystore", "passphrase_file", "no_passphrase"])]
    #[arg(value_name = "KEY", help_heading = "Wallet")]
    kms_key: Option<String>,
    /// Region of the KMS key; may be left out when the key is named by its ARN.
    #[arg(long, value_name = "REGION", requires = "kms_key", help_heading = "Wallet")]
    kms_region: Option<String>,
    /// KMS endpoint, if not the region's own.
    #[arg(long, value_name = "URL", requires = "kms_key", help_heading = "Wallet")]
    kms_endpoint_url: Option<String>,
}

impl Init {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let defaults = Setup::default();
        let wallet = self.wallet().await?;
        let is_plain = matches!(wallet, NewWallet::Key { passphrase: None, .. });
        let provider = self.provider.then(|| ProviderSetup {
            claim_every: "1h".into(),
            backend: Backend::Hypervisor {
                images_dir: self.images,
                capacity: Resources {
                    vcpus: self.capacity_vcpus,
                    memory_mib: self.capacity_memory,
                    disk_gib: self.capacity_disk,
                    ..Resources::default()
                },
                accel: self.accel,
            },
        });
        let setup = Setup {
            rpc_url: self.rpc_url,
            deployment: self.deployment.clone(),
            listen: if self.listen.is_empty() { defaults.listen } else { self.listen },
            bootstrap: self.bootstrap,
            poll: self.poll.to_string(),
            confirmations: self.confirmations,
            wallet,
            passphrase_file: self.passphrase.passphrase_file,
            maker: self.maker,
            provider,
        };
        let at = context.home.clone();
        let made = tokio::task::spawn_blocking(move || init(&at, &setup));
        let address = unlock::patiently(made).await??;
        let home = context.home.path().display().to_string();
        if is_plain {
            note(format!(
                "note: the wallet's key is in a plain file, {} (mode 0600): whoever can read it controls the \
                 wallet; `sublet wallet encrypt` protects it with a passphrase",
                context.home.wallet_key().display()
            ));
        }
        let data = json!({ "home": home, "address": address });
        context.output.print(&data, |_| {
            let deployment = if self.deployment.is_some() {
                String::new()
            } else {
                format!("put the market's deployment file at {home}/deployment.json, then ")
            };
            let mut rows = vec![("home", home.clone()), ("address", address.to_string())];
            let approve = self.maker.map(|maker| {
                rows.push(("trades for", maker.to_string()));
                format!("`sublet wallet operator approve {address}` in the home of {maker}, then ")
            });
            let approve = approve.unwrap_or_default();
            format!("{}\nnext: {deployment}{approve}`sublet node run --home {home}`", facts(&rows))
        })
    }

    /// The wallet that was asked for. The terminal is asked only when nothing else says.
    async fn wallet(&self) -> anyhow::Result<NewWallet> {
        #[cfg(feature = "kms")]
        if let Some(key) = self.kms.kms_key.clone() {
            let (region, endpoint_url) = (self.kms.kms_region.clone(), self.kms.kms_endpoint_url.clone());
            let access = KmsAccess { region, endpoint_url, ..KmsAccess::default() };
            let address = Stored::Kms { key: key.clone(), access: access.clone() }.address().await?;
            return Ok(NewWallet::Kms { key, access, address });
        }
        let given = if self.no_passphrase { None } else { self.passphrase.given(None)? };
        let can_ask = passphrase::can_ask() && !self.no_passphrase;
        if let Some(path) = &self.keystore {
            return self.import(path, given, can_ask).await;
        }
        let key = self.wallet_key.as_deref().map(read_wallet_key).transpose()?;
        let passphrase = match given {
            None if can_ask => {
                passphrase::ask_new("Passphrase for the wallet's key (empty: keep it in a plain file): ")?
            }
            given => given,
        };
        Ok(NewWallet::Key { key, passphrase })
    }

    async fn import(
        &self,
        path: &Path,
        given: Option<Passphrase>,
        can_ask: bool,
    ) -> anyhow::Result<NewWallet> {
        let open = |passphrase| {
            let path = path.to_path_buf();
            keys::in_background(move || keys::import(&path, &passphrase))
        };
        let keystore = match given {
            Some(given) => unlock::patiently(open(given)).await?,
            None if can_ask => {
                unlock::ask_until(&format!("Passphrase for {}: ", path.display()), open).await?
            }
            None => return Err(KeyError::NoPassphrase(path.into()).into()),
        };
        Ok(NewWallet::Keystore(Box::new(keystore)))
    }
}
