//! `sublet wallet` and `sublet points`.

use alloy_primitives::Address;
use clap::Subcommand;
use serde_json::json;

use super::{
    Context,
    output::{facts, note, short},
    values,
};
use crate::api::types::{self, Amount, MoveTokens, Transaction};

/// Address, balances, deposit, withdraw.
#[derive(Debug, Subcommand)]
pub(super) enum Wallet {
    /// The wallet's address (needs no running node).
    Address,
    /// Tokens in the wallet and in the Market, gas money, points.
    Balance,
    /// Move tokens from the wallet into the Market, where bids and bonds are paid from.
    Deposit {
        /// For example `10` or `2.5 CTK`.
        #[arg(value_parser = values::amount)]
        amount: u128,
    },
    /// Move free tokens from the Market back to the wallet.
    Withdraw {
        /// For example `10` or `2.5 CTK`.
        #[arg(value_parser = values::amount)]
        amount: u128,
    },
}

/// Reputation points.
#[derive(Debug, Subcommand)]
pub(super) enum Points {
    /// Points and free balance of an address; our own without one.
    Show {
        /// Whose.
        address: Option<Address>,
    },
}

impl Wallet {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Address => {
                context.home.require()?;
                let address = context.home.wallet()?.address();
                context.output.print(&json!({ "address": address }), |_| address.to_string())
            }
            Self::Balance => {
                let wallet: types::Wallet = context.client()?.get("/v1/wallet").await?;
                context.output.print(&wallet, |wallet| {
                    facts(&[
                        ("address", wallet.address.to_string()),
                        ("wallet", wallet.wallet.to_string()),
                        ("free in the Market", wallet.free.to_string()),
                        ("gas money", format!("{} wei", wallet.gas_wei.0)),
                        ("points", wallet.points.to_string()),
                    ])
                })
            }
            Self::Deposit { amount } => move_tokens(context, "deposit", amount).await,
            Self::Withdraw { amount } => move_tokens(context, "withdraw", amount).await,
        }
    }
}

impl Points {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let Self::Show { address } = self;
        let client = context.client()?;
        let address = match address {
            Some(address) => address,
            None => client.get::<types::Wallet>("/v1/wallet").await?.address,
        };
        let points: types::Points = client.get(&format!("/v1/points/{address}")).await?;
        context.output.print(&points, |points| {
            facts(&[
                ("address", points.address.to_string()),
                ("points", points.points.to_string()),
                ("free in the Market", points.free.to_string()),
            ])
        })
    }
}

async fn move_tokens(context: &Context, what: &str, amount: u128) -> anyhow::Result<()> {
    let client = context.client()?;
    note("waiting for the chain…");
    let body = MoveTokens { amount: Amount(amount) };
    let done: Vec<Transaction> = client.post(&format!("/v1/wallet/{what}"), &body).await?;
    context.output.print(&done, |done| {
        let lines: Vec<_> = done
            .iter()
            .map(|tx| format!("{:<9} {}  gas {}  block {}", tx.call, short(&tx.tx), tx.gas, tx.block))
            .collect();
        lines.join("\n")
    })
}
