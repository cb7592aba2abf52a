//! Routing of commands about money: to the node of the home, or straight to the chain if none runs. A
//! maker's key that is kept apart needs no node.

use std::sync::Arc;

use alloy_primitives::Address;
use sublet_api::{
    client::{ApiClient, ClientError},
    types::{self, Amount, MoveTokens, Transaction},
};
use sublet_engine::account::Account;
use sublet_store::ClosedStore;

use super::{
    Context,
    output::{facts, note, short},
    unlock::PassphraseArgs,
};
use crate::{config::Config, http::wallet, node::connect_chain};

/// Who is asked.
enum Door {
    Node(ApiClient),
    Chain { account: Box<Account>, floor: u128 },
}

/// A change.
pub(super) enum Move {
    Deposit(u128),
    Withdraw(u128),
    Operator(types::Operator),
}

impl Door {
    async fn open(context: &Context, passphrase: &PassphraseArgs) -> anyhow::Result<Self> {
        let running = async {
            let client = context.client()?;
            client.hello().await?;
            Ok(client)
        };
        match running.await {
            Ok(client) => Ok(Self::Node(client)),
            // One account is moved by one sender: only where no node runs is the chain asked directly.
            Err(ClientError::NotRunning { .. } | ClientError::Stranger { .. }) => {
                let config = Config::load(&context.home)?;
                let wallet = passphrase.unlock(context, &config.wallet).await?;
                let floor = config.market.floor;
                let journal = Arc::new(ClosedStore::new(context.home.store()));
                let chain = connect_chain(&config, wallet.clone(), journal).await?;
                let maker = config.wallet.maker.unwrap_or(chain.address());
                Ok(Self::Chain { account: Box::new(Account::new(chain, maker, wallet, None)), floor })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn carry_out(&self, change: Move) -> anyhow::Result<Vec<Transaction>> {
        let done = match (self, change) {
            (Self::Node(client), Move::Deposit(amount)) => {
                return Ok(client.post("/v1/wallet/deposit", &tokens(amount)).await?);
            }
            (Self::Node(client), Move::Withdraw(amount)) => {
                return Ok(client.post("/v1/wallet/withdraw", &tokens(amount)).await?);
            }
            (Self::Node(client), Move::Operator(operator)) => {
                return Ok(client.post("/v1/wallet/operators", &operator).await?);
            }
            (Self::Chain { account, .. }, Move::Deposit(amount)) => account.deposit(amount).await?,
            (Self::Chain { account, .. }, Move::Withdraw(amount)) => account.withdraw(amount).await?,
            (Self::Chain { account, .. }, Move::Operator(types::Operator { key, approved })) => {
                account.set_operator(key, approved).await?
            }
        };
        Ok(wallet::transactions(&done))
    }
}

fn tokens(amount: u128) -> MoveTokens {
    MoveTokens { amount: Amount(amount) }
}

/// Makes a change and prints its transactions.
pub(super) async fn make(context: &Context, passphrase: &PassphraseArgs, change: Move) -> anyhow::Result<()> {
    let door = Door::open(context, passphrase).await?;
    note("waiting for the chain…");
    let done = door.carry_out(change).await?;
    context.output.print(&done, |done| {
        if done.is_empty() {
            return "nothing to do: already in place".to_owned();
        }
        let line = |tx: &Transaction| {
            format!("{:<11} {}  gas {}  block {}", tx.call, short(&tx.tx), tx.gas, tx.block)
        };
        done.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

/// Prints what there is.
pub(super) async fn balance(context: &Context, passphrase: &PassphraseArgs) -> anyhow::Result<()> {
    let wallet = match Door::open(context, passphrase).await? {
        Door::Node(client) => client.get("/v1/wallet").await?,
        Door::Chain { account, floor } => wallet::wallet(&account, floor).await?,
    };
    context.output.print(&wallet, |wallet| {
        let mut rows = vec![("address", wallet.address.to_string())];
        if let Some(operator) = &wallet.operator {
            let word = if operator.approved { "approved" } else { "NOT approved by the address" };
            rows.push(("operator key", format!("{} ({word})", operator.key)));
        }
        rows.extend([
            ("wallet", wallet.wallet.to_string()),
            ("free in the Market", free(wallet)),
            ("gas money", format!("{} wei", wallet.gas_wei.0)),
            ("points", wallet.points.to_string()),
        ]);
        facts(&rows)
    })
}

fn free(wallet: &types::Wallet) -> String {
    match wallet.reserved {
        Some(promised) if promised.0 > 0 => format!("{} ({promised} of it reserved)", wallet.free),
        _ => wallet.free.to_string(),
    }
}

/// Prints whether a key may act for the wallet's account.
pub(super) async fn operator(
    context: &Context,
    passphrase: &PassphraseArgs,
    key: Address,
) -> anyhow::Result<()> {
    let operator: types::Operator = match Door::open(context, passphrase).await? {
        Door::Node(client) => client.get(&format!("/v1/wallet/operators/{key}")).await?,
        Door::Chain { account, .. } => types::Operator { key, approved: account.is_operator(key).await? },
    };
    context.output.print(&operator, |operator| {
        let word = if operator.approved { "yes" } else { "no" };
        facts(&[("key", operator.key.to_string()), ("approved", word.to_owned())])
    })
}
