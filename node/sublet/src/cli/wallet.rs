//! `sublet wallet` and `sublet points`.

use std::path::PathBuf;

use alloy_primitives::Address;
use clap::{Args, Subcommand};
use serde_json::json;
use sublet_api::types;
use sublet_base::home::Home;
use sublet_keys as keys;
use sublet_keys::{
    KeyError, Stored,
    passphrase::{self, NEW_VARIABLE, Passphrase, Sources, VARIABLE},
};

use super::{
    Context,
    money::{self, Move},
    output::{facts, note},
    unlock::{self, PassphraseArgs},
    values,
};
use crate::config::Config;

/// Wallet: address, balances, passphrase, deposit, withdraw, operator keys.
#[derive(Debug, Subcommand)]
pub(super) enum Wallet {
    /// Show the wallet's address (needs no running node and no passphrase).
    Address,
    /// Encrypt the wallet's key with a passphrase: keystore.json replaces the plain wallet.key.
    Encrypt {
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Change the passphrase of keystore.json.
    Passphrase {
        #[command(flatten)]
        old: PassphraseArgs,
        /// File (mode 0600) whose first line is the new passphrase. Without it: SUBLET_NEW_PASSPHRASE, then
        /// the terminal.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Show tokens in the wallet and in the Market, gas money, points (needs no running node).
    Balance {
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Move tokens from the wallet into the Market, where bids and bonds are paid from (needs no running node).
    Deposit {
        /// Amount of tokens, for example `10` or `2.5 CTK`.
        #[arg(value_parser = values::amount, value_name = "AMOUNT")]
        amount: u128,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Move free tokens from the Market back to the wallet (needs no running node).
    Withdraw {
        /// Amount of tokens, for example `10` or `2.5 CTK`.
        #[arg(value_parser = values::amount, value_name = "AMOUNT")]
        amount: u128,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Operator keys: they may trade for this wallet's account but never withdraw, for nodes without its key.
    #[command(subcommand)]
    Operator(OperatorKey),
}

/// Operators of the account.
#[derive(Debug, Subcommand)]
pub(super) enum OperatorKey {
    /// Approve a key: it may sign orders and drive leases in this account's name.
    Approve(KeyArgs),
    /// Revoke a key at once: orders that it has signed and that are not settled no longer count.
    Revoke(KeyArgs),
    /// Show whether a key is approved.
    Show(KeyArgs),
}

/// Which key.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// The key's address, as `sublet wallet address` prints it in the key's home.
    #[arg(value_name = "ADDRESS")]
    key: Address,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl OperatorKey {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (KeyArgs { key, passphrase }, approved) = match self {
            Self::Show(args) => return money::operator(context, &args.passphrase, args.key).await,
            Self::Approve(args) => (args, true),
            Self::Revoke(args) => (args, false),
        };
        money::make(context, &passphrase, Move::Operator(types::Operator { key, approved })).await
    }
}

/// Reputation points.
#[derive(Debug, Subcommand)]
pub(super) enum Points {
    /// Show points and free balance of an address.
    Show {
        /// The account's address; this node's own by default.
        #[arg(value_name = "ADDRESS")]
        address: Option<Address>,
    },
}

impl Wallet {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Address => {
                let address = unlock::address(context).await?;
                context.output.print(&json!({ "address": address }), |_| address.to_string())
            }
            Self::Encrypt { passphrase } => encrypt(context, &passphrase).await,
            Self::Passphrase { old, new_passphrase_file } => {
                change_passphrase(context, &old, new_passphrase_file).await
            }
            Self::Balance { passphrase } => money::balance(context, &passphrase).await,
            Self::Deposit { amount, passphrase } => {
                money::make(context, &passphrase, Move::Deposit(amount)).await
            }
            Self::Withdraw { amount, passphrase } => {
                money::make(context, &passphrase, Move::Withdraw(amount)).await
            }
            Self::Operator(operator) => operator.run(context).await,
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

async fn encrypt(context: &Context, args: &PassphraseArgs) -> anyhow::Result<()> {
    let config = Config::load(&context.home)?;
    let home = context.home.clone();
    anyhow::ensure!(home.wallet_key().exists(), KeyError::NoPlainKey(home.path().into()));
    let flag = "--passphrase-file";
    let given = args.given(config.wallet.passphrase_file.as_deref())?;
    let passphrase = given_or_asked(given, flag, VARIABLE)?;
    let work = keys::in_background(move || keys::encrypt_plain(&home, &passphrase));
    let address = unlock::patiently(work).await?;
    say_where(
        context,
        address,
        "copies of wallet.key elsewhere, such as backups, still hold the unprotected key",
    )
}

async fn change_passphrase(
    context: &Context,
    old: &PassphraseArgs,
    new_file: Option<PathBuf>,
) -> anyhow::Result<()> {
    let config = Config::load(&context.home)?.wallet;
    let Stored::Keystore { path, keystore } = Stored::find(&context.home, &config)? else {
        return Err(KeyError::NoKeystore(context.home.path().into()).into());
    };
    // Everything that nobody has to be asked for comes first.
    let new = Sources { flag: new_file.as_deref(), variable: NEW_VARIABLE, config: None }.read()?;
    let change = |old: Passphrase, new: Passphrase| {
        let (path, keystore) = (path.clone(), keystore.clone());
        keys::in_background(move || keys::change_passphrase(&path, &keystore, &old, &new))
    };
    let old = match old.given(config.passphrase_file.as_deref())? {
        Some(old) => old,
        None if passphrase::can_ask() => {
            let prompt = format!("Old passphrase for {}: ", path.display());
            passphrase::ask(&prompt)?.ok_or_else(|| KeyError::NoPassphrase(path.clone()))?
        }
        None => return Err(KeyError::NoPassphrase(path).into()),
    };
    let new = given_or_asked(new, "--new-passphrase-file", NEW_VARIABLE)?;
    let address = unlock::patiently(change(old, new)).await?;
    let remedy = match &config.passphrase_file {
        Some(file) => {
            format!("put the new passphrase into {} as well, or the node will not start", file.display())
        }
        None => "copies of the file made before still open with the old passphrase".into(),
    };
    say_where(context, address, &remedy)
}

/// A new passphrase, from the terminal if need be.
fn given_or_asked(
    given: Option<Passphrase>,
    flag: &'static str,
    variable: &'static str,
) -> Result<Passphrase, KeyError> {
    let missing = || KeyError::NoNewPassphrase { flag, variable };
    match given {
        Some(given) => Ok(given),
        None if passphrase::can_ask() => passphrase::ask_new("New passphrase: ")?.ok_or_else(missing),
        None => Err(missing()),
    }
}

fn say_where(context: &Context, address: Address, hint: &str) -> anyhow::Result<()> {
    let keystore = Home::keystore(&context.home).display().to_string();
    context.output.print(&json!({ "address": address, "keystore": keystore }), |_| {
        facts(&[("address", address.to_string()), ("keystore", keystore.clone())])
    })?;
    note(hint);
    Ok(())
}
