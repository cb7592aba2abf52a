//! The command line: one module for each group of commands.
//!
//! Commands talk to the running node over its local API; only `init`, `node run`, `wallet …`, `faucet`, `chain …` and
//! `devnet` work without one. Data goes to stdout, logs and progress to stderr. Exit codes: 0 done,
//! 1 failed, 2 wrong usage, 3 no node is running, 4 refused (funds, gas money, no fitting offer, the contract
//! said no).

mod bid;
mod chain;
mod devnet;
mod faucet;
mod init;
mod lease;
mod money;
mod node;
mod offer;
mod output;
mod rent;
mod unlock;
mod values;
mod wallet;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use sublet_api::client::{ApiClient, ClientError};
use sublet_base::home::Home;

pub use self::{
    devnet::how_to_play,
    output::{Output, one_line},
};

/// A peer-to-peer compute market: rent out spare machines, or rent one, settled by the second on an EVM chain.
#[derive(Debug, Parser)]
#[command(name = "sublet", version, propagate_version = true)]
pub struct Cli {
    /// The node's home directory: configuration, keys, store.
    #[arg(long, global = true, env = "SUBLET_HOME", default_value_os_t = default_home())]
    #[arg(value_name = "DIR", help_heading = "Global options")]
    home: PathBuf,
    /// Format of the output on stdout: text for people, JSON for programs.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    #[arg(value_name = "FORMAT", help_heading = "Global options")]
    pub output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a home: configuration, wallet, node key.
    Init(Box<init::Init>),
    /// Run the node.
    #[command(subcommand)]
    Node(node::Node),
    /// Rent a machine in one step: estimate the price, ask to confirm, deposit, bid, wait, print the ssh
    /// command.
    Rent(rent::Rent),
    /// Wallet: address, balances, passphrase, deposit, withdraw, operator keys.
    #[command(subcommand)]
    Wallet(wallet::Wallet),
    /// Sell: post, list and cancel offers.
    #[command(subcommand)]
    Offer(offer::Offer),
    /// Buy: post, list and cancel bids, and see why nothing fits.
    #[command(subcommand)]
    Bid(bid::Bid),
    /// Running and past leases: list, show, log in, read the console, top up, end, revive.
    #[command(subcommand)]
    Lease(lease::Lease),
    /// Reputation points.
    #[command(subcommand)]
    Points(wallet::Points),
    /// Get free CTK and gas money on a development chain.
    Faucet(faucet::Faucet),
    /// Contracts: deploy them, or verify those of a deployment file.
    #[command(subcommand)]
    Chain(chain::Chain),
    /// Run a whole network on this machine: chain, contracts, providers, a buyer.
    Devnet(devnet::Devnet),
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let context = Context { home: Home::new(self.home), output: self.output };
        runtime.block_on(async {
            match self.command {
                Command::Init(command) => command.run(&context).await,
                Command::Node(command) => command.run(&context).await,
                Command::Rent(command) => command.run(&context).await,
                Command::Wallet(command) => command.run(&context).await,
                Command::Offer(command) => command.run(&context).await,
                Command::Bid(command) => command.run(&context).await,
                Command::Lease(command) => command.run(&context).await,
                Command::Points(command) => command.run(&context).await,
                Command::Faucet(command) => command.run(&context).await,
                Command::Chain(command) => command.run(&context).await,
                Command::Devnet(command) => command.run(&context).await,
            }
        })
    }
}

/// What every command gets.
struct Context {
    home: Home,
    output: Output,
}

impl Context {
    fn client(&self) -> Result<ApiClient, ClientError> {
        ApiClient::connect(&self.home)
    }
}

/// A refusal that is nobody's failure: exit code 4.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// The documented exit code of an error.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    match output::code(error) {
        "not_running" => ExitCode::from(3),
        "funds" | "gas" | "refused" => ExitCode::from(4),
        _ => ExitCode::FAILURE,
    }
}

fn default_home() -> PathBuf {
    std::env::var_os("HOME")
        .map_or_else(|| PathBuf::from(".sublet"), |home| PathBuf::from(home).join(".sublet"))
}
