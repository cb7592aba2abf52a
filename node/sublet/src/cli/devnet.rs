//! `sublet devnet`

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{
    Context,
    output::{facts, note},
};
use crate::devnet::{
    DEVNET_PARAMS, Devnet as Network, DevnetOptions, NodeProcess,
    market::{BUYER_FUNDS, IMAGE, SELLERS, add_seller, default_images, deposit},
    stop_signal,
};

/// Run a whole network on this machine: chain, contracts, three providers, a buyer with funds. Ctrl-C ends
/// it.
#[derive(Debug, Args)]
pub(super) struct Devnet {
    /// Directory for homes and logs while it runs; must not exist yet.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Folder of the guest images, made by guest/build.sh.
    #[arg(long, default_value_os_t = default_images(), value_name = "DIR")]
    images: PathBuf,
}

impl Devnet {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.images.join(IMAGE).is_dir(),
            "there is no guest image at {}: build it with `guest/build.sh {}`",
            self.images.join(IMAGE).display(),
            self.images.join(IMAGE).display()
        );
        let dir = match self.dir {
            Some(dir) => std::path::absolute(dir)?,
            None => std::env::temp_dir().join(format!("sublet-devnet-{}", std::process::id())),
        };
        anyhow::ensure!(!dir.exists(), "{} already exists: choose another --dir", dir.display());
        let binary = std::env::current_exe().context("cannot find the path of this binary")?;
        let mut stopped = stop_signal().context("cannot listen for signals")?;
        note("starting a chain and deploying the contracts…");
        let options = DevnetOptions { dir, binary, params: DEVNET_PARAMS };
        let mut net = tokio::select! {
            started = Network::start(options) => started?,
            () = &mut stopped => return Err(Stopped.into()),
        };
        let ended = tokio::select! {
            ended = show(context, &mut net, &self.images) => ended,
            () = &mut stopped => Err(Stopped.into()),
        };
        let ended = match ended {
            Ok(()) => {
                stopped.await;
                Ok(())
            }
            // The reader has seen enough.
            Err(error) if is_broken_pipe(&error) => Ok(()),
            Err(error) => Err(error),
        };
        note("taking the network down…");
        // Down first, then the errors: the first is the reason, the second what it led to.
        let down = net.down().await;
        ended?;
        Ok(down?)
    }
}

/// A signal came before the network was up.
#[derive(Debug, thiserror::Error)]
#[error("interrupted before the network was up; everything was removed")]
struct Stopped;

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Starts the nodes and says how to play with them.
async fn show(context: &Context, net: &mut Network, images: &Path) -> anyhow::Result<()> {
    for seller in &SELLERS {
        note(format_args!("starting provider {}…", seller.name));
        add_seller(net, seller, images).await?;
    }
    note("starting the buyer…");
    let buyer = net.add_node("buyer", BUYER_FUNDS, None).await?;
    deposit(&buyer, BUYER_FUNDS).await?;
    Ok(describe(context, net, &buyer)?)
}

fn describe(context: &Context, net: &Network, buyer: &NodeProcess) -> io::Result<()> {
    let homes: Vec<_> = net.nodes().iter().map(|node| node.home().path().display().to_string()).collect();
    let data = json!({
        "rpc_url": net.anvil.url(),
        "deployment": net.deployment,
        "homes": homes,
        "params": { "hold": DEVNET_PARAMS.hold, "notice": DEVNET_PARAMS.notice },
    });
    context.output.write(&data, |_| how_to_play(net, buyer))
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
