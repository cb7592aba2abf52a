//! `sublet devnet`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{Context, output::facts};
use crate::devnet::{
    DEVNET_PARAMS, Devnet as Network, DevnetOptions, NodeProcess,
    market::{BUYER_FUNDS, IMAGE, SELLERS, add_seller, default_images, deposit},
};

/// A whole network on this machine: chain, contracts, three providers, a buyer with funds. Ctrl-C ends it.
#[derive(Debug, Args)]
pub(super) struct Devnet {
    /// Where homes and logs go while it runs; must not exist yet.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Folder of the guest images, made by configs/guest/build.sh.
    #[arg(long, default_value_os_t = default_images(), value_name = "DIR")]
    images: PathBuf,
}

impl Devnet {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.images.join(IMAGE).is_dir(),
            "there is no guest image at {}: build it with `configs/guest/build.sh {}`",
            self.images.join(IMAGE).display(),
            self.images.join(IMAGE).display()
        );
        let dir = match self.dir {
            Some(dir) => std::path::absolute(dir)?,
            None => std::env::temp_dir().join(format!("sublet-devnet-{}", std::process::id())),
        };
        anyhow::ensure!(!dir.exists(), "{} is there already: choose another --dir", dir.display());
        let binary = std::env::current_exe().context("cannot find the path of this binary")?;
        eprintln!("starting a chain and deploying the contracts…");
        let mut net = Network::start(DevnetOptions { dir, binary, params: DEVNET_PARAMS }).await?;
        let up = tokio::select! {
            up = nodes(&mut net, &self.images) => up,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped by Ctrl-C")),
        };
        let result = match up {
            Ok(buyer) => {
                describe(context, &net, &buyer)?;
                tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")
            }
            Err(error) => Err(error),
        };
        eprintln!("taking the network down…");
        net.down().await?;
        result
    }
}

async fn nodes(net: &mut Network, images: &std::path::Path) -> anyhow::Result<NodeProcess> {
    for seller in &SELLERS {
        eprintln!("starting provider {}…", seller.name);
        add_seller(net, seller, images).await?;
    }
    eprintln!("starting the buyer…");
    let buyer = net.add_node("buyer", BUYER_FUNDS, None).await?;
    deposit(&buyer, BUYER_FUNDS).await?;
    Ok(buyer)
}

fn describe(context: &Context, net: &Network, buyer: &NodeProcess) -> anyhow::Result<()> {
    let homes: Vec<_> = net.nodes().iter().map(|node| node.home().path().display().to_string()).collect();
    let data = json!({
        "rpc_url": net.anvil.url(),
        "deployment": net.deployment,
        "homes": homes,
        "params": { "hold": DEVNET_PARAMS.hold, "notice": DEVNET_PARAMS.notice },
    });
    context.output.print(&data, |_| how_to_play(net, buyer))
}

/// What to type next.
pub fn how_to_play(net: &Network, buyer: &NodeProcess) -> String {
    let mut rows = vec![("chain", net.anvil.url().to_owned()), ("market", net.deployment.market.to_string())];
    rows.extend(net.nodes().iter().map(|node| ("home", node.home().path().display().to_string())));
    format!(
        "{}\n\nHOLD is {} s and NOTICE {} s on this devnet; a real market has minutes.\nIn another terminal:\n  \
         export SUBLET_HOME={}\n  alias sublet={}\n  sublet offer list\n  sublet bid post --memory 256MiB --max-rate \
         \"0.003 CTK/s\" --for 10m --wait\n  sublet lease list\n  sublet lease ssh ID\n  sublet lease close ID\n\
         Ctrl-C here ends everything.",
        facts(&rows),
        DEVNET_PARAMS.hold,
        DEVNET_PARAMS.notice,
        buyer.home().path().display(),
        buyer.binary().display(),
    )
}
