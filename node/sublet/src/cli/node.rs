//! `sublet node`

use std::io::IsTerminal as _;

use clap::Subcommand;
use sublet_api::types::{BookDigest, Status};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::{Context, output::facts, unlock::PassphraseArgs};
use crate::{
    config::{Config, Override},
    node,
};

/// Run the node, or show its state.
#[derive(Debug, Subcommand)]
pub(super) enum Node {
    /// Run the node until Ctrl-C or SIGTERM. Machines of running leases go on without it.
    Run {
        /// What to log, for example `info` or `sublet=debug`.
        #[arg(
            long,
            env = "SUBLET_LOG",
            default_value = "info,libp2p=warn,quinn=warn,alloy=warn",
            value_name = "FILTER"
        )]
        log: String,
        /// Override a key of node.toml, for example chain.rpc_url=http://host:8545; may be given several
        /// times. Stronger than the environment variable of the same key, here SUBLET__CHAIN__RPC_URL.
        #[arg(long, value_name = "KEY=VALUE", value_parser = Override::from_flag)]
        set: Vec<Override>,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Show peers, order book and chain time of the running node.
    Status,
    /// Show one number for all orders in the running node's book: nodes with the same number know the same
    /// orders.
    BookDigest,
}

impl Node {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Run { log, set, passphrase } => run(context, &log, &set, &passphrase).await,
            Self::Status => {
                let status: Status = context.client()?.get("/v1/status").await?;
                context.output.print(&status, text)
            }
            Self::BookDigest => {
                let book: BookDigest = context.client()?.get("/v1/book/digest").await?;
                context.output.print(&book, |book| {
                    format!("{} of {} offers and {} bids", book.digest, book.offers, book.bids)
                })
            }
        }
    }
}

async fn run(
    context: &Context,
    log: &str,
    set: &[Override],
    passphrase: &PassphraseArgs,
) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(log).map_err(|e| anyhow::anyhow!("--log '{log}': {e}; for example info"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // A line that cannot be written, on a full disk say, is lost; to complain of it on stderr would be a panic.
        .log_internal_errors(false)
        .init();
    let config = Config::load_with(&context.home, set)?;
    // Before the signals are taken over: Ctrl-C at the prompt ends the program.
    let wallet = passphrase.unlock(context, &config.wallet).await?;
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        signalled.cancel();
    });
    let output = context.output;
    node::run(&context.home, config, wallet, stop, |started| {
        let said = output.print(started, |started| {
            format!("node {} is up; peers reach it at {}", started.address, started.listen.join(", "))
        });
        if let Err(error) = said {
            tracing::warn!(%error, "cannot write to stdout");
        }
    })
    .await?;
    Ok(())
}

fn text(status: &Status) -> String {
    facts(&[
        ("address", status.address.to_string()),
        ("peer id", status.peer_id.clone()),
        ("reached at", status.listen.join(", ")),
        ("peers", status.peers.len().to_string()),
        ("chain", format!("{} (Market {})", status.chain_id, status.market)),
        ("chain time", super::values::time(status.chain_time)),
        ("book", format!("{} offers, {} bids", status.book.offers, status.book.bids)),
        ("sells", if status.provider { "yes" } else { "no" }.to_owned()),
    ])
}
