//! `sublet chain`

use std::path::PathBuf;

use alloy_primitives::B256;
use clap::{Args, Subcommand};
use serde_json::json;
use sublet_chain::{ChainOptions, Check, CheckResult, DeployOptions, Deployment, check_deployment, deploy};
use sublet_keys::read_wallet_key;
use sublet_market::lease::Params;

use super::{
    Context, Refused,
    output::{facts, note, table},
    unlock::PassphraseArgs,
    values,
};
use crate::config::Config;

/// The contracts.
#[derive(Debug, Subcommand)]
pub(super) enum Chain {
    /// Deploy CloudToken and Market, and write the deployment file that nodes read.
    Deploy(Deploy),
    /// Verify that the contracts of a deployment file are those that this binary knows.
    Verify(Verify),
}

/// What to check.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// JSON-RPC endpoint of the chain.
    #[arg(long, default_value = "http://127.0.0.1:8545", value_name = "URL", help_heading = "Chain")]
    rpc_url: String,
    /// Deployment file to check.
    #[arg(long, default_value = "deployment.json", value_name = "FILE", help_heading = "Chain")]
    deployment: PathBuf,
}

/// What to deploy where.
#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// JSON-RPC endpoint of the chain.
    #[arg(long, default_value = "http://127.0.0.1:8545", value_name = "URL", help_heading = "Chain")]
    rpc_url: String,
    /// Key that pays the gas and receives the token's whole supply (0600 file); by default the home's wallet.
    #[arg(long, value_name = "FILE", help_heading = "Wallet")]
    key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Where to write the deployment file.
    #[arg(long, default_value = "deployment.json", value_name = "FILE", help_heading = "Output")]
    out: PathBuf,
    /// Replace an existing deployment file.
    #[arg(long, help_heading = "Output")]
    force: bool,
    /// Part of each payment that is burned, in hundredths of a percent.
    #[arg(long, default_value_t = 100, value_name = "BPS", help_heading = "Market parameters")]
    fee_bps: u16,
    /// How long accrued pay waits before it can be claimed.
    #[arg(long, default_value = "10m", value_parser = values::duration)]
    #[arg(value_name = "DURATION", help_heading = "Market parameters")]
    hold: u32,
    /// Time beyond now that a buyer pays for when it closes a lease.
    #[arg(long, default_value = "1m", value_parser = values::duration)]
    #[arg(value_name = "DURATION", help_heading = "Market parameters")]
    notice: u32,
    /// Half-life of points, in days.
    #[arg(long, default_value_t = 90, value_name = "DAYS", help_heading = "Market parameters")]
    half_life_days: u16,
    /// Salt of the orders' EIP-712 domain, 64 hexadecimal digits; random by default.
    #[arg(long, value_name = "HEX", help_heading = "Market parameters")]
    salt: Option<B256>,
}

impl Chain {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Deploy(args) => args.run(context).await,
            Self::Verify(args) => args.run(context).await,
        }
    }
}

impl Verify {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let deployment = Deployment::read(&self.deployment)?;
        let timeout = ChainOptions::default().request_timeout;
        let checks = check_deployment(&self.rpc_url, &deployment, timeout).await?;
        let file = self.deployment.display();
        context.output.print(&checks, |checks| {
            let rows = checks.iter().map(|check| {
                let verdict = match check.verdict {
                    CheckResult::Ok => "ok",
                    CheckResult::Differs => "DIFFERS",
                    CheckResult::Unchecked => "NOT CHECKED",
                };
                vec![check.what.to_owned(), verdict.to_owned(), check.expected.clone(), check.seen.clone()]
            });
            table(&["what", "verdict", "expected", "on chain"], rows)
        })?;
        let wrong = checks.iter().filter(|check| check.verdict == CheckResult::Differs).count();
        if wrong > 0 {
            return Err(Refused(format!(
                "{wrong} of {} checks failed: the contracts are not those of {file} and this binary; do not \
                 trade on them: get the right file from whoever runs the market, or the release that matches \
                 it",
                checks.len()
            ))
            .into());
        }
        if !checks.iter().all(Check::holds) {
            return Err(Refused(format!(
                "cannot check through {} whether the code is that of this binary: use an RPC that runs \
                 `eth_call` with overridden code, as geth, reth and anvil do",
                self.rpc_url
            ))
            .into());
        }
        Ok(())
    }
}

impl Deploy {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let args = self;
        anyhow::ensure!(
            args.force || !args.out.exists(),
            "{} already exists: choose another file with --out, or replace it with --force",
            args.out.display()
        );
        let params = Params {
            fee_bps: args.fee_bps,
            hold: args.hold,
            notice: args.notice,
            half_life_days: args.half_life_days,
        };
        params.check()?;
        let signer = match &args.key {
            Some(path) => read_wallet_key(path)?.into(),
            None => {
                let config = Config::load(&context.home)?;
                args.passphrase.unlock(context, &config.wallet).await?
            }
        };
        note(format_args!("deploying to {}…", args.rpc_url));
        let options = DeployOptions { params, salt: args.salt, ..DeployOptions::default() };
        let (deployment, reports) = deploy(&args.rpc_url, signer, options).await?;
        deployment.write(&args.out)?;
        let data = json!({ "deployment": deployment, "transactions": reports, "file": args.out });
        context.output.print(&data, |_| text(&deployment, &args.out.display().to_string()))
    }
}

fn text(deployment: &Deployment, file: &str) -> String {
    let facts = facts(&[
        ("chain", deployment.chain_id.to_string()),
        ("token (CTK)", deployment.token.to_string()),
        ("market", deployment.market.to_string()),
        ("block", deployment.block.to_string()),
        ("written to", file.to_owned()),
    ]);
    format!("{facts}\nnext: give the file to every node, `sublet init --deployment {file}`")
}
