//! `sublet faucet`

use clap::Args;
use serde_json::json;
use sublet_api::types::Amount;
use sublet_chain::{Deployment, faucet};

use super::{Context, output::short, unlock, values};
use crate::config::Config;

/// Gas money that lasts for thousands of transactions: 10 of the chain's native currency.
const GAS_MONEY_WEI: u128 = 10_000_000_000_000_000_000;

/// Get free CTK and gas money for this home's wallet, on a development chain (anvil or Hardhat's node). Needs
/// no running node.
#[derive(Debug, Args)]
pub(super) struct Faucet {
    /// Amount of tokens, for example 100.
    #[arg(long, default_value = "100", value_parser = values::amount, value_name = "AMOUNT")]
    amount: u128,
}

impl Faucet {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let config = Config::load(&context.home)?;
        let deployment = Deployment::read(&config.chain.deployment)?;
        let address = unlock::address(context).await?;
        eprintln!("waiting for the chain…");
        let tx = faucet(&config.chain.rpc_url, &deployment, address, self.amount, GAS_MONEY_WEI).await?;
        let data = json!({ "address": address, "ctk": Amount(self.amount), "tx": tx });
        context.output.print(&data, |_| {
            format!(
                "{address} got {} and gas money, in {}\nnext: `sublet wallet deposit {}`",
                Amount(self.amount),
                short(&tx),
                Amount(self.amount).to_string().trim_end_matches(" CTK")
            )
        })
    }
}
