//! Unlocking of the wallet's key for commands: the flag, the environment, the configuration, the terminal, in
//! this order.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use alloy_primitives::Address;
use clap::Args;
use sublet_keys::{
    KeyError, Stored, WalletConfig, WalletSigner,
    keystore::KeystoreError,
    passphrase::{self, Passphrase, Sources},
};

use super::{Context, output::note};
use crate::config::Config;

/// Scrypt takes one second on most machines; after two, people want to know what it is that takes so long.
const SILENT: Duration = Duration::from_secs(2);
/// Mistyping happens.
const TRIES: usize = 3;

/// The passphrase of a keystore.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct PassphraseArgs {
    /// File (mode 0600) whose first line is the keystore's passphrase. Without it: SUBLET_PASSPHRASE, then
    /// wallet.passphrase_file in node.toml, then the terminal.
    #[arg(long, value_name = "FILE", help_heading = "Wallet")]
    pub(super) passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// A passphrase that is given without asking anybody.
    pub(super) fn given(&self, config: Option<&Path>) -> Result<Option<Passphrase>, KeyError> {
        let flag = self.passphrase_file.as_deref();
        Ok(Sources { flag, variable: passphrase::VARIABLE, config }.read()?)
    }

    /// Opens the wallet of a home, asking on the terminal for what is not given.
    pub(super) async fn unlock(
        &self,
        context: &Context,
        config: &WalletConfig,
    ) -> Result<WalletSigner, KeyError> {
        let stored = Stored::find(&context.home, config)?;
        if !stored.needs_passphrase() {
            return stored.open(None).await;
        }
        let given = self.given(config.passphrase_file.as_deref())?;
        if given.is_some() || !passphrase::can_ask() {
            return patiently(stored.open(given)).await;
        }
        let prompt = format!("Passphrase for {}: ", context.home.keystore().display());
        ask_until(&prompt, |typed| stored.clone().open(Some(typed))).await
    }
}

/// Asks, and asks again after a wrong passphrase.
pub(super) async fn ask_until<T, F: Future<Output = Result<T, KeyError>>>(
    prompt: &str,
    open: impl Fn(Passphrase) -> F,
) -> Result<T, KeyError> {
    let mut left = TRIES;
    loop {
        left -= 1;
        let wrong = match passphrase::ask(prompt)? {
            Some(typed) => match patiently(open(typed)).await {
                Err(error) if is_wrong(&error) && left > 0 => error,
                done => return done,
            },
            None => return Err(passphrase::PassphraseError::Empty("that was typed".into()).into()),
        };
        note(wrong);
    }
}

fn is_wrong(error: &KeyError) -> bool {
    matches!(error, KeyError::Keystore { source: KeystoreError::WrongPassphrase, .. })
}

/// Says what it is that takes long, when it does.
pub(super) async fn patiently<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    match tokio::time::timeout(SILENT, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            note("still deriving the key from the passphrase (scrypt makes every try expensive)…");
            work.await
        }
    }
}

/// The wallet's address, which needs no passphrase.
pub(super) async fn address(context: &Context) -> anyhow::Result<Address> {
    let config = Config::load(&context.home)?;
    Ok(Stored::find(&context.home, &config.wallet)?.address().await?)
}
