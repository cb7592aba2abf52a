//! `sublet init`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use sublet_market::Resources;

use super::{Context, output::facts, values};
use crate::{
    home::read_wallet_key,
    setup::{Backend, ProviderSetup, Setup, init},
};

/// Make a home: configuration, wallet, node key.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// JSON-RPC of the EVM chain that has the contracts.
    #[arg(long, default_value = "http://127.0.0.1:8545")]
    rpc_url: String,
    /// The deployment file that `sublet chain deploy` wrote; a copy goes into the home.
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
    /// Where peers reach this node, as /ip4/0.0.0.0/tcp/4001; may be given several times.
    #[arg(long, value_name = "MULTIADDR", value_parser = values::listen_address)]
    listen: Vec<String>,
    /// A peer to meet first, as /ip4/ADDRESS/tcp/PORT/p2p/PEERID; may be given several times.
    #[arg(long, value_name = "MULTIADDR", value_parser = values::peer_address)]
    bootstrap: Vec<String>,
    /// Take this wallet key (0600 file, 64 hexadecimal digits) instead of a new one.
    #[arg(long, value_name = "FILE")]
    wallet_key: Option<PathBuf>,
    /// Blocks on top of an event before the node acts on it.
    #[arg(long, default_value_t = 2)]
    confirmations: u64,
    /// How often the newest block is asked for.
    #[arg(long, default_value = "1s")]
    poll: humantime::Duration,
    /// Sell machines of this host with QEMU.
    #[arg(long)]
    provider: bool,
    /// Folder of the guest images, made by configs/guest/build.sh.
    #[arg(long, default_value = "images", value_name = "DIR", requires = "provider")]
    images: PathBuf,
    /// `auto`, `kvm` or `tcg` (software emulation).
    #[arg(long, default_value = "auto", value_parser = ["auto", "kvm", "tcg"], requires = "provider")]
    accel: String,
    /// Virtual CPUs that all leases may use together.
    #[arg(long, default_value_t = 2, requires = "provider")]
    capacity_vcpus: u32,
    /// Memory that all leases may use together.
    #[arg(long, default_value = "2GiB", value_parser = values::memory, requires = "provider")]
    capacity_memory: u32,
    /// Disk that all leases may use together.
    #[arg(long, default_value = "20GiB", value_parser = values::disk, requires = "provider")]
    capacity_disk: u32,
}

impl Init {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let defaults = Setup::default();
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
            wallet: self.wallet_key.as_deref().map(read_wallet_key).transpose()?,
            provider,
        };
        let address = init(&context.home, &setup)?;
        let home = context.home.path().display().to_string();
        let data = json!({ "home": home, "address": address });
        context.output.print(&data, |_| {
            let deployment = if self.deployment.is_some() {
                String::new()
            } else {
                format!("put the market's deployment file at {home}/deployment.json, then ")
            };
            let rows = [("home", home.clone()), ("address", address.to_string())];
            format!("{}\nnext: {deployment}`sublet node run --home {home}`", facts(&rows))
        })
    }
}
