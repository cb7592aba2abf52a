//! Errors of the wallet's key, each with its remedy.

use std::path::PathBuf;

use alloy_primitives::Address;
use sublet_base::home::HomeError;
#[cfg(feature = "kms")]
use sublet_signer_kms::KmsError;

use super::{keystore::KeystoreError, passphrase::PassphraseError};

/// What can keep a wallet's key from being made, opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read or written, or others can read it.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The keystore is damaged, or the passphrase is wrong.
    #[error("{} {source}", path.display())]
    Keystore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeystoreError,
    },
    /// The passphrase cannot be had.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The key in KMS cannot be had.
    #[cfg(feature = "kms")]
    #[error(transparent)]
    Kms(#[from] KmsError),
    /// There is a keystore and nothing to open it with.
    #[error(
        "{} needs its passphrase: put it into a file (mode 0600) and name that with --passphrase-file or \
         wallet.passphrase_file in node.toml, set SUBLET_PASSPHRASE, or run this on a terminal", .0.display()
    )]
    NoPassphrase(PathBuf),
    /// A new keystore was asked for without a passphrase.
    #[error(
        "a keystore needs a passphrase: put one into a file (mode 0600) and name that with {flag}, set {variable}, or \
         run this on a terminal"
    )]
    NoNewPassphrase {
        /// The flag that would give it.
        flag: &'static str,
        /// The variable that would give it.
        variable: &'static str,
    },
    /// Two files, and no telling which is meant.
    #[error(
        "{} and {} both exist: finish with `sublet wallet encrypt`, which removes the plain one if both hold \
         the same key; otherwise move the wrong one to a safe place", .0.display(), .1.display()
    )]
    Two(PathBuf, PathBuf),
    /// A command for keystores, in a home without one.
    #[error("no keystore in {}: run `sublet wallet encrypt` to make one", .0.display())]
    NoKeystore(PathBuf),
    /// A plain key is wanted and the home has none.
    #[error("no plain key in {} to encrypt", .0.display())]
    NoPlainKey(PathBuf),
    /// The plain key and the keystore beside it are two wallets.
    #[error("{} is the key of {plain} and {} that of {keystore}: move the wrong one to a safe place", .plain_path.display(), .keystore_path.display())]
    Differ {
        /// The plain key's file.
        plain_path: PathBuf,
        /// The keystore's file.
        keystore_path: PathBuf,
        /// The plain key's address.
        plain: Address,
        /// The keystore's address.
        keystore: Address,
    },
    /// A file from elsewhere, put into the home by hand.
    #[error(
        "{} does not say whose key it is: import the file with `sublet init --keystore FILE`, or add its \"address\"", .0.display()
    )]
    NoAddress(PathBuf),
    /// The work was stopped.
    #[error("the key was not opened: the program is ending")]
    Stopped,
}
