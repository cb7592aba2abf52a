//! The wallet's key: where it is, how it is opened, and what signs with it.
//!
//! ```text
//!   wallet.key     plain, 0600 ───────────────────────────▶┐
//!   keystore.json  under a passphrase ─▶ scrypt ──────────▶├─▶ WalletSigner ─▶ orders, transactions
//!   AWS KMS        never leaves it ─▶ asked to sign ──────▶┘
//! ```
//!
//! A home has one of the two files, or its configuration names a key in KMS. [`Stored`] says which,
//! [`Stored::open`] makes a [`WalletSigner`] of it, and [`NewWallet`] makes the file of a new home.

mod config;
mod error;
pub mod keystore;
pub mod passphrase;
mod signer;

use std::path::{Path, PathBuf};

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::Address;
use sublet_base::home::{self, Home, HomeError, WalletFile, files, write_atomic};
#[cfg(feature = "kms")]
use sublet_signer_kms::{KmsAccess, KmsKey};
use zeroize::Zeroizing;

pub use self::{
    config::WalletConfig,
    error::KeyError,
    signer::{SignError, WalletSigner},
};
use self::{
    keystore::{Cost, Keystore, KeystoreError},
    passphrase::Passphrase,
};

/// Where a home's wallet key is.
#[derive(Debug, Clone)]
pub enum Stored {
    /// In a plain file.
    Plain(PathBuf),
    /// In a keystore.
    Keystore {
        /// The file.
        path: PathBuf,
        /// Its content.
        keystore: Box<Keystore>,
    },
    /// In AWS KMS.
    #[cfg(feature = "kms")]
    Kms {
        /// The key's name there.
        key: String,
        /// Where KMS is, and who asks.
        access: KmsAccess,
    },
}

impl Stored {
    /// Finds the key. What the configuration names is stronger than a file.
    ///
    /// # Errors
    /// [`KeyError::Two`], and what is wrong with a keystore without its passphrase.
    pub fn find(home: &Home, config: &WalletConfig) -> Result<Self, KeyError> {
        #[cfg(feature = "kms")]
        if let Some(key) = &config.kms_key {
            return Ok(Self::Kms { key: key.clone(), access: config.aws.clone().unwrap_or_default() });
        }
        #[cfg(not(feature = "kms"))]
        let _ = config;
        let (plain, path) = (home.wallet_key(), home.keystore());
        match (plain.exists(), path.exists()) {
            (true, true) => Err(KeyError::Two(plain, path)),
            (false, true) => {
                let keystore = Box::new(read_keystore(&path)?);
                Ok(Self::Keystore { path, keystore })
            }
            // Reading it says what is wrong when there is none.
            (_, false) => Ok(Self::Plain(plain)),
        }
    }

    /// Whether [`Stored::open`] needs a passphrase.
    #[must_use]
    pub fn needs_passphrase(&self) -> bool {
        matches!(self, Self::Keystore { .. })
    }

    /// The wallet's address, without a passphrase. Asks KMS for a key that is there.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn address(&self) -> Result<Address, KeyError> {
        match self {
            Self::Plain(path) => Ok(read_wallet_key(path)?.address()),
            Self::Keystore { path, keystore } => {
                keystore.address().ok_or_else(|| KeyError::NoAddress(path.clone()))
            }
            #[cfg(feature = "kms")]
            Self::Kms { key, access } => Ok(KmsKey::open(key, access).await?.address()),
        }
    }

    /// The key, ready to sign.
    ///
    /// # Errors
    /// [`KeyError::NoPassphrase`] for a keystore without one.
    pub async fn open(self, passphrase: Option<Passphrase>) -> Result<WalletSigner, KeyError> {
        match self {
            Self::Plain(path) => Ok(read_wallet_key(&path)?.into()),
            Self::Keystore { path, keystore } => {
                let passphrase = passphrase.ok_or_else(|| KeyError::NoPassphrase(path.clone()))?;
                Ok(in_background(move || decrypt(&path, &keystore, &passphrase)).await?.into())
            }
            #[cfg(feature = "kms")]
            Self::Kms { key, access } => Ok(KmsKey::open(&key, &access).await?.into()),
        }
    }
}

/// Reads a wallet's secret key from a 0600 file.
///
/// # Errors
/// The file cannot be read, others can read it, or it holds no key.
pub fn read_wallet_key(path: &Path) -> Result<PrivateKeySigner, HomeError> {
    let bytes = home::read_key(path, "wallet")?;
    PrivateKeySigner::from_slice(bytes.as_slice()).map_err(|e| HomeError::BadKey {
        path: path.into(),
        kind: "wallet",
        reason: e.to_string(),
    })
}

/// What the wallet of a new home shall be.
#[derive(Debug, Clone)]
pub enum NewWallet {
    /// A key, in a keystore if there is a passphrase, else in a plain file.
    Key {
        /// An existing key; a new one is made without.
        key: Option<PrivateKeySigner>,
        /// What protects it.
        passphrase: Option<Passphrase>,
    },
    /// A keystore that exists; see [`import`].
    Keystore(Box<Keystore>),
    /// A key in AWS KMS.
    #[cfg(feature = "kms")]
    Kms {
        /// The key's name there.
        key: String,
        /// Where KMS is, and who asks.
        access: KmsAccess,
        /// What [`Stored::address`] said.
        address: Address,
    },
}

impl Default for NewWallet {
    fn default() -> Self {
        Self::Key { key: None, passphrase: None }
    }
}

impl NewWallet {
    /// The file to write, and the wallet's address. With a passphrase it takes a second.
    ///
    /// # Errors
    /// No randomness.
    pub fn prepare(&self) -> Result<(WalletFile, Address), HomeError> {
        match self {
            Self::Key { key, passphrase } => {
                let key = key.clone().map_or_else(fresh_key, Ok)?;
                let file = match passphrase {
                    Some(passphrase) => WalletFile::Keystore(encrypt(&key, passphrase)?.to_text()),
                    None => WalletFile::Plain(Zeroizing::new(key.to_bytes().0)),
                };
                Ok((file, key.address()))
            }
            // `import` has put the address in.
            Self::Keystore(keystore) => {
                Ok((WalletFile::Keystore(keystore.to_text()), keystore.address().unwrap_or_default()))
            }
            #[cfg(feature = "kms")]
            Self::Kms { address, .. } => Ok((WalletFile::Elsewhere, *address)),
        }
    }
}

/// Reads a keystore that another program wrote, and makes sure that the passphrase opens it. The content
/// stays as it is, with the address in it.
///
/// # Errors
/// A file that others can read, a damaged one, or another passphrase.
pub fn import(path: &Path, passphrase: &Passphrase) -> Result<Keystore, KeyError> {
    let keystore = read_keystore(path)?;
    let address = decrypt(path, &keystore, passphrase)?.address();
    Ok(keystore.with_address(address))
}

/// Puts a passphrase on the plain key of `home`: the keystore is written and proven to open before the plain file goes.
/// Where both files are there, by an interruption in between, it ends what was begun.
///
/// # Errors
/// Nothing is lost by any of them.
pub fn encrypt_plain(home: &Home, passphrase: &Passphrase) -> Result<Address, KeyError> {
    let (plain_path, path) = (home.wallet_key(), home.keystore());
    if !plain_path.exists() {
        return Err(KeyError::NoPlainKey(home.path().into()));
    }
    let key = read_wallet_key(&plain_path)?;
    if !path.exists() {
        write_atomic(&path, &line(&encrypt(&key, passphrase)?), 0o600)?;
    }
    let keystore = decrypt(&path, &read_keystore(&path)?, passphrase)?.address();
    if keystore != key.address() {
        return Err(KeyError::Differ { plain_path, keystore_path: path, plain: key.address(), keystore });
    }
    std::fs::remove_file(&plain_path).map_err(files::io("remove", &plain_path))?;
    Ok(keystore)
}

/// Gives the keystore at `path` another passphrase.
///
/// # Errors
/// The file stays as it is.
pub fn change_passphrase(
    path: &Path,
    keystore: &Keystore,
    old: &Passphrase,
    new: &Passphrase,
) -> Result<Address, KeyError> {
    let key = decrypt(path, keystore, old)?;
    write_atomic(path, &line(&encrypt(&key, new)?), 0o600)?;
    Ok(key.address())
}

/// Runs what takes a processor for a second where it holds up nobody.
///
/// # Errors
/// What `work` says.
pub async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
) -> Result<T, KeyError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| KeyError::Stopped)?
}

/// The keystore in a file that only its owner can read.
///
/// # Errors
/// With the path and the remedy.
pub fn read_keystore(path: &Path) -> Result<Keystore, KeyError> {
    let text = files::read_secret(path)?;
    Keystore::parse(&text).map_err(|source| KeyError::Keystore { path: path.into(), source })
}

fn decrypt(path: &Path, keystore: &Keystore, passphrase: &Passphrase) -> Result<PrivateKeySigner, KeyError> {
    let failed = |source| KeyError::Keystore { path: path.into(), source };
    let secret = keystore.decrypt(passphrase).map_err(failed)?;
    let key = PrivateKeySigner::from_slice(secret.as_slice())
        .map_err(|error| failed(KeystoreError::Damaged(error.to_string())))?;
    match keystore.address() {
        Some(named) if named != key.address() => {
            Err(failed(KeystoreError::OtherKey { named, actual: key.address() }))
        }
        _ => Ok(key),
    }
}

fn encrypt(key: &PrivateKeySigner, passphrase: &Passphrase) -> Result<Keystore, HomeError> {
    let secret = Zeroizing::new(key.to_bytes().0);
    // All that can fail is the random number generator.
    Keystore::encrypt(&secret, key.address(), passphrase, Cost::STANDARD).map_err(|_| HomeError::Random)
}

fn fresh_key() -> Result<PrivateKeySigner, HomeError> {
    let secret = home::random()?;
    // Only zero and what lies above the curve's order are no keys: one in 2^127.
    PrivateKeySigner::from_slice(secret.as_slice()).map_err(|_| HomeError::Random)
}

fn line(keystore: &Keystore) -> String {
    format!("{}\n", keystore.to_text())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned().into()).unwrap()
    }

    fn home_with(dir: &Path, wallet: &NewWallet) -> (Home, Address) {
        let home = Home::new(dir.join("home"));
        let (file, address) = wallet.prepare().unwrap();
        home.create(&file).unwrap();
        (home, address)
    }

    fn find(home: &Home) -> Result<Stored, KeyError> {
        Stored::find(home, &WalletConfig::default())
    }

    #[tokio::test]
    async fn a_wallet_under_a_passphrase_opens_with_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let new = NewWallet::Key { key: None, passphrase: Some(passphrase("correct horse")) };
        let (home, address) = home_with(dir.path(), &new);
        assert!(!home.wallet_key().exists());
        assert_eq!(fs::metadata(home.keystore()).unwrap().permissions().mode() & 0o777, 0o600);
        let stored = find(&home).unwrap();
        assert!(stored.needs_passphrase());
        assert_eq!(stored.address().await.unwrap(), address);
        let opened = stored.clone().open(Some(passphrase("correct horse"))).await.unwrap();
        assert_eq!(opened.address(), address);
        let said = stored.clone().open(Some(passphrase("wrong"))).await.unwrap_err().to_string();
        assert!(said.contains("keystore.json does not open with this passphrase"), "{said}");
        let said = stored.open(None).await.unwrap_err().to_string();
        assert!(said.contains("--passphrase-file") && said.contains("SUBLET_PASSPHRASE"), "{said}");
    }

    #[tokio::test]
    async fn a_plain_key_gets_a_passphrase_and_then_another() {
        let dir = tempfile::tempdir().unwrap();
        let (home, address) = home_with(dir.path(), &NewWallet::default());
        assert_eq!(encrypt_plain(&home, &passphrase("one")).unwrap(), address);
        assert!(!home.wallet_key().exists());
        let Stored::Keystore { path, keystore } = find(&home).unwrap() else { panic!("no keystore") };
        let said = change_passphrase(&path, &keystore, &passphrase("two"), &passphrase("three")).unwrap_err();
        assert!(said.to_string().contains("does not open"), "{said}");
        assert_eq!(read_keystore(&path).unwrap(), *keystore, "a wrong passphrase changes nothing");
        change_passphrase(&path, &keystore, &passphrase("one"), &passphrase("two")).unwrap();
        let stored = find(&home).unwrap();
        assert!(stored.clone().open(Some(passphrase("one"))).await.is_err());
        assert_eq!(stored.open(Some(passphrase("two"))).await.unwrap().address(), address);
        assert!(matches!(encrypt_plain(&home, &passphrase("two")), Err(KeyError::NoPlainKey(_))));
    }

    #[tokio::test]
    async fn an_interrupted_encryption_is_noticed_and_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (home, address) = home_with(dir.path(), &NewWallet::default());
        let plain = fs::read(home.wallet_key()).unwrap();
        encrypt_plain(&home, &passphrase("one")).unwrap();
        fs::write(home.wallet_key(), &plain).unwrap();
        fs::set_permissions(home.wallet_key(), fs::Permissions::from_mode(0o600)).unwrap();
        let said = find(&home).unwrap_err().to_string();
        assert!(said.contains("both exist") && said.contains("wallet encrypt"), "{said}");
        assert!(encrypt_plain(&home, &passphrase("two")).is_err());
        assert!(home.wallet_key().exists(), "the plain key goes only when the keystore opens");
        assert_eq!(encrypt_plain(&home, &passphrase("one")).unwrap(), address);
        assert!(!home.wallet_key().exists());
        // Another wallet's key beside it is not thrown away.
        fs::write(home.wallet_key(), "11".repeat(32)).unwrap();
        fs::set_permissions(home.wallet_key(), fs::Permissions::from_mode(0o600)).unwrap();
        let said = encrypt_plain(&home, &passphrase("one")).unwrap_err().to_string();
        assert!(said.contains("is the key of") && home.wallet_key().exists(), "{said}");
    }

    #[test]
    fn a_keystore_is_taken_over_when_its_passphrase_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = alloy::signers::k256::elliptic_curve::rand_core::OsRng;
        let (secret, name) = eth_keystore::new(dir.path(), &mut rng, "correct horse", None).unwrap();
        let file = dir.path().join(name);
        let said = import(&file, &passphrase("correct horse")).unwrap_err().to_string();
        assert!(said.contains("chmod 600"), "{said}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(import(&file, &passphrase("wrong")).is_err());
        let keystore = import(&file, &passphrase("correct horse")).unwrap();
        let address = PrivateKeySigner::from_slice(&secret).unwrap().address();
        let (home, made) = home_with(dir.path(), &NewWallet::Keystore(Box::new(keystore)));
        assert_eq!(made, address);
        let stored = read_keystore(&home.keystore()).unwrap();
        assert_eq!(stored.address(), Some(address));
        let opened = decrypt(&home.keystore(), &stored, &passphrase("correct horse")).unwrap();
        assert_eq!(opened.to_bytes().as_slice(), secret);
        let liar = stored.with_address(Address::repeat_byte(1));
        let said = decrypt(&home.keystore(), &liar, &passphrase("correct horse")).unwrap_err().to_string();
        assert!(said.contains("holds the key of"), "{said}");
    }
}
