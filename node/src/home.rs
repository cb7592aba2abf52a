//! A node's home directory: where its configuration, keys, store and local API token live.
//!
//! One directory is one node. Secrets are 0600 files in a 0700 directory; a secret that others can read is
//! refused, because by then it may be known to them.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use alloy::signers::local::PrivateKeySigner;
use libp2p::identity::Keypair;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

/// What can be wrong with a home directory.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The directory has no node in it.
    #[error("{0} is not a sublet home (no node.toml): run `sublet init --home {0}`")]
    NotInitialised(PathBuf),
    /// `init` on a directory that has a node already.
    #[error("{0} already holds a node: choose another directory with --home, or remove it first")]
    AlreadyInitialised(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried: `read`, `write`, `create`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A secret that other users of this machine can read.
    #[error(
        "{0} can be read by other users: run `chmod 600 {0}`, and replace the key if somebody may have seen it"
    )]
    Exposed(PathBuf),
    /// A key file with something else in it.
    #[error(
        "{path} is not a {kind} key ({reason}): expected 64 hexadecimal digits, as `sublet init` writes them"
    )]
    BadKey {
        /// The file.
        path: PathBuf,
        /// `wallet` or `node`.
        kind: &'static str,
        /// What is wrong, never the content.
        reason: String,
    },
    /// The system's random number generator failed.
    #[error("the system's random number generator failed: is /dev/urandom there?")]
    Random,
}

/// A node's home directory.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// A home at `path`; nothing is touched yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.0.join("node.toml")
    }

    /// The database file.
    pub fn store(&self) -> PathBuf {
        self.0.join("sublet.redb")
    }

    /// Where the running node says under which address its local API answers.
    pub fn api_address(&self) -> PathBuf {
        self.0.join("api.address")
    }

    /// The bearer token of the local API.
    pub fn api_token(&self) -> PathBuf {
        self.0.join("api.token")
    }

    /// The wallet's secret key.
    pub fn wallet_key(&self) -> PathBuf {
        self.0.join("wallet.key")
    }

    /// The secret key of the libp2p identity.
    pub fn node_key(&self) -> PathBuf {
        self.0.join("node.key")
    }

    /// The ssh key that may log in to every machine that this node rents.
    pub fn ssh_key(&self) -> PathBuf {
        self.0.join("ssh.key")
    }

    /// The public half of [`Home::ssh_key`].
    pub fn ssh_public_key(&self) -> PathBuf {
        self.0.join("ssh.key.pub")
    }

    /// Fails unless `sublet init` was run here.
    pub fn require(&self) -> Result<(), HomeError> {
        if self.config().is_file() { Ok(()) } else { Err(HomeError::NotInitialised(self.0.clone())) }
    }

    /// Makes the directory and its secrets. `wallet` is an existing wallet key, else a new one is made.
    pub fn create(&self, wallet: Option<&PrivateKeySigner>) -> Result<(), HomeError> {
        if self.config().exists() {
            return Err(HomeError::AlreadyInitialised(self.0.clone()));
        }
        fs::create_dir_all(&self.0).map_err(io("create", &self.0))?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).map_err(io("create", &self.0))?;
        let wallet = match wallet {
            Some(key) => Zeroizing::new(key.to_bytes().0),
            None => random()?,
        };
        write_secret(&self.wallet_key(), &hex::encode(wallet.as_slice()))?;
        write_secret(&self.node_key(), &hex::encode(random()?.as_slice()))?;
        write_secret(&self.api_token(), &hex::encode(random()?.as_slice()))?;
        self.create_ssh_key(&*random()?)
    }

    fn create_ssh_key(&self, seed: &[u8; 32]) -> Result<(), HomeError> {
        let pair = ssh_key::private::Ed25519Keypair::from_seed(seed);
        let failed = |_| HomeError::Random;
        let mut key = ssh_key::PrivateKey::from(pair);
        key.set_comment("sublet");
        let private = key.to_openssh(ssh_key::LineEnding::LF).map_err(failed)?;
        let public = key.public_key().to_openssh().map_err(failed)?;
        write_secret(&self.ssh_key(), private.trim_end())?;
        write_atomic(&self.ssh_public_key(), &format!("{public}\n"), 0o644)
    }

    /// The wallet that signs orders and transactions.
    pub fn wallet(&self) -> Result<PrivateKeySigner, HomeError> {
        read_wallet_key(&self.wallet_key())
    }

    /// The libp2p identity.
    pub fn node_identity(&self) -> Result<Keypair, HomeError> {
        let path = self.node_key();
        let mut seed = read_key(&path, "node")?;
        Keypair::ed25519_from_bytes(seed.as_mut_slice()).map_err(|e| HomeError::BadKey {
            path,
            kind: "node",
            reason: e.to_string(),
        })
    }

    /// The bearer token of the local API.
    pub fn token(&self) -> Result<Zeroizing<String>, HomeError> {
        Ok(Zeroizing::new(read_secret(&self.api_token())?.trim().to_owned()))
    }
}

/// Reads a wallet's secret key from a 0600 file.
pub fn read_wallet_key(path: &Path) -> Result<PrivateKeySigner, HomeError> {
    let bytes = read_key(path, "wallet")?;
    PrivateKeySigner::from_slice(bytes.as_slice()).map_err(|e| HomeError::BadKey {
        path: path.into(),
        kind: "wallet",
        reason: e.to_string(),
    })
}

/// Writes `text` so that after a crash the file is either the old or the new one, never half.
pub fn write_atomic(path: &Path, text: &str, mode: u32) -> Result<(), HomeError> {
    let partial = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(io("write", path))
}

fn write_secret(path: &Path, text: &str) -> Result<(), HomeError> {
    write_atomic(path, &format!("{text}\n"), 0o600)
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>, HomeError> {
    let mode = fs::metadata(path).map_err(io("read", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(HomeError::Exposed(path.into()));
    }
    Ok(Zeroizing::new(fs::read_to_string(path).map_err(io("read", path))?))
}

fn read_key(path: &Path, kind: &'static str) -> Result<Zeroizing<[u8; 32]>, HomeError> {
    let text = read_secret(path)?;
    let digits = text.trim().trim_start_matches("0x");
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits, key.as_mut_slice()).map_err(|e| HomeError::BadKey {
        path: path.into(),
        kind,
        reason: e.to_string(),
    })?;
    Ok(key)
}

fn random() -> Result<Zeroizing<[u8; 32]>, HomeError> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| HomeError::Random)?;
    Ok(bytes)
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> HomeError {
    let path = path.to_path_buf();
    move |source| HomeError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_home_has_distinct_private_keys() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("node"));
        home.create(None).unwrap();
        let mode = fs::metadata(home.wallet_key()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(home.wallet().unwrap().to_bytes().0, *read_key(&home.node_key(), "node").unwrap());
        home.node_identity().unwrap();
        assert_eq!(home.token().unwrap().len(), 64);
    }

    #[test]
    fn an_exposed_key_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        home.create(None).unwrap();
        fs::set_permissions(home.wallet_key(), fs::Permissions::from_mode(0o644)).unwrap();
        let said = home.wallet().unwrap_err().to_string();
        assert!(said.contains("chmod 600"), "{said}");
    }

    #[test]
    fn a_wrong_key_file_is_named_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        home.create(None).unwrap();
        write_secret(&home.wallet_key(), "not a key").unwrap();
        let said = home.wallet().unwrap_err().to_string();
        assert!(said.contains("wallet.key") && said.contains("64 hexadecimal"), "{said}");
        assert!(!said.contains("not a key"), "{said}");
    }
}
