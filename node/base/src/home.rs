//! A node's home directory: where its configuration, keys, store and local API token live.
//!
//! One directory is one node. Secrets are 0600 files, and a directory that `init` makes is 0700; a secret that
//! others can read is refused, because by then it may be known to them.

pub mod files;

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use libp2p_identity::Keypair;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

pub use self::files::write_atomic;
use self::files::{io, new_secret, read_secret};

/// What can be wrong with a home directory.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The directory has no node in it.
    #[error("{0} is not a sublet home (no node.toml): run `sublet init --home {0}`")]
    NotInitialised(PathBuf),
    /// The configuration is gone and a key is not: a new key over it would lose what the old one owns.
    #[error(
        "{key} exists but {config} does not: restore node.toml (another home's will do, once its addresses \
         are checked), or move the key to a safe place and run `sublet init` again"
    )]
    ConfigLost {
        /// The first key file that was found.
        key: PathBuf,
        /// The configuration that is missing.
        config: PathBuf,
    },
    /// `init` on a directory that holds something else.
    #[error("{dir} is not empty ({entry}): give `sublet init` a new directory with --home")]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// One of the things in it.
        entry: String,
    },
    /// `init` on an existing directory in which other users could replace the keys.
    #[error("{0} can be written by other users: run `chmod 700 {0}`, or choose a new directory with --home")]
    ExposedDir(PathBuf),
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
    #[error("the system's random number generator failed: check that /dev/urandom exists")]
    Random,
}

/// What a new home gets as its wallet.
pub enum WalletFile {
    /// `wallet.key`: the secret key as it is.
    Plain(Zeroizing<[u8; 32]>),
    /// `keystore.json`: the secret key under a passphrase.
    Keystore(String),
    /// No file: the key is not in this home.
    Elsewhere,
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

    /// The peers that were met.
    pub fn peers(&self) -> PathBuf {
        self.0.join("peers.json")
    }

    /// Where the running node says under which address its local API answers.
    pub fn api_address(&self) -> PathBuf {
        self.0.join("api.address")
    }

    /// The bearer token of the local API.
    pub fn api_token(&self) -> PathBuf {
        self.0.join("api.token")
    }

    /// The wallet's secret key, when it is in a plain file.
    pub fn wallet_key(&self) -> PathBuf {
        self.0.join("wallet.key")
    }

    /// The wallet's secret key, when a passphrase protects it.
    pub fn keystore(&self) -> PathBuf {
        self.0.join("keystore.json")
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
        if self.config().is_file() {
            return Ok(());
        }
        self.refuse_lost_config()?;
        Err(HomeError::NotInitialised(self.0.clone()))
    }

    /// Fails when there are keys and no configuration.
    fn refuse_lost_config(&self) -> Result<(), HomeError> {
        let secrets = [self.wallet_key(), self.keystore(), self.node_key(), self.ssh_key(), self.api_token()];
        match secrets.into_iter().find(|path| path.symlink_metadata().is_ok()) {
            Some(key) => Err(HomeError::ConfigLost { key, config: self.config() }),
            None => Ok(()),
        }
    }

    /// Fails unless the directory is absent, or empty and not writable by others.
    fn require_vacant(&self) -> Result<(), HomeError> {
        if self.config().exists() {
            return Err(HomeError::AlreadyInitialised(self.0.clone()));
        }
        self.refuse_lost_config()?;
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(io("read", &self.0))?,
        };
        if let Some(entry) = entries.flatten().next() {
            let entry = entry.file_name().to_string_lossy().into_owned();
            return Err(HomeError::NotEmpty { dir: self.0.clone(), entry });
        }
        let mode = fs::metadata(&self.0).map_err(io("read", &self.0))?.permissions().mode();
        if mode & 0o022 == 0 { Ok(()) } else { Err(HomeError::ExposedDir(self.0.clone())) }
    }

    /// Makes the directory and its secrets. Nothing that exists is overwritten or changed.
    pub fn create(&self, wallet: &WalletFile) -> Result<(), HomeError> {
        self.require_vacant()?;
        self.create_dir()?;
        match wallet {
            WalletFile::Plain(key) => new_secret(&self.wallet_key(), &hex::encode(key.as_slice()))?,
            WalletFile::Keystore(text) => new_secret(&self.keystore(), text)?,
            WalletFile::Elsewhere => {}
        }
        new_secret(&self.node_key(), &hex::encode(random()?.as_slice()))?;
        new_secret(&self.api_token(), &hex::encode(random()?.as_slice()))?;
        self.create_ssh_key(&*random()?)
    }

    /// The folders above get the usual mode, the home itself is closed to others from its first moment.
    fn create_dir(&self) -> Result<(), HomeError> {
        if self.0.is_dir() {
            return Ok(());
        }
        if let Some(above) = self.0.parent().filter(|above| !above.as_os_str().is_empty()) {
            fs::create_dir_all(above).map_err(io("create", above))?;
        }
        fs::DirBuilder::new().mode(0o700).create(&self.0).map_err(io("create", &self.0))
    }

    fn create_ssh_key(&self, seed: &[u8; 32]) -> Result<(), HomeError> {
        let pair = ssh_key::private::Ed25519Keypair::from_seed(seed);
        let failed = |_| HomeError::Random;
        let mut key = ssh_key::PrivateKey::from(pair);
        key.set_comment("sublet");
        let private = key.to_openssh(ssh_key::LineEnding::LF).map_err(failed)?;
        let public = key.public_key().to_openssh().map_err(failed)?;
        new_secret(&self.ssh_key(), private.trim_end())?;
        write_atomic(&self.ssh_public_key(), &format!("{public}\n"), 0o644)
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

/// Reads a secret key of 32 bytes from a 0600 file with 64 hexadecimal digits. `kind` (`wallet`, `node`)
/// names it in errors.
///
/// # Errors
/// The file cannot be read, others can read it, or it holds something else.
pub fn read_key(path: &Path, kind: &'static str) -> Result<Zeroizing<[u8; 32]>, HomeError> {
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

/// 32 bytes of the system's random number generator.
///
/// # Errors
/// [`HomeError::Random`].
pub fn random() -> Result<Zeroizing<[u8; 32]>, HomeError> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| HomeError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(home: &Home) -> Result<(), HomeError> {
        home.create(&WalletFile::Plain(random()?))
    }

    #[test]
    fn a_new_home_has_distinct_private_keys() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("node"));
        create(&home).unwrap();
        let mode = fs::metadata(home.wallet_key()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let key = |path, kind| *read_key(path, kind).unwrap();
        assert_ne!(key(&home.wallet_key(), "wallet"), key(&home.node_key(), "node"));
        home.node_identity().unwrap();
        assert_eq!(home.token().unwrap().len(), 64);
    }

    #[test]
    fn an_exposed_key_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        create(&home).unwrap();
        fs::set_permissions(home.wallet_key(), fs::Permissions::from_mode(0o644)).unwrap();
        let said = read_key(&home.wallet_key(), "wallet").unwrap_err().to_string();
        assert!(said.contains("chmod 600"), "{said}");
    }

    #[test]
    fn a_wrong_key_file_is_named_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        create(&home).unwrap();
        write_atomic(&home.wallet_key(), "not a key", 0o600).unwrap();
        let said = read_key(&home.wallet_key(), "wallet").unwrap_err().to_string();
        assert!(said.contains("wallet.key") && said.contains("64 hexadecimal"), "{said}");
        assert!(!said.contains("not a key"), "{said}");
    }

    #[test]
    fn a_key_survives_an_init_after_the_configuration_was_lost() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("node"));
        create(&home).unwrap();
        let key = fs::read(home.wallet_key()).unwrap();
        for said in [create(&home).unwrap_err().to_string(), home.require().unwrap_err().to_string()] {
            assert!(said.contains("wallet.key") && said.contains("restore node.toml"), "{said}");
        }
        assert_eq!(fs::read(home.wallet_key()).unwrap(), key);
        fs::rename(home.wallet_key(), dir.path().join("safe")).unwrap();
        let said = create(&home).unwrap_err().to_string();
        assert!(said.contains("node.key"), "{said}");
        assert!(new_secret(&home.node_key(), "another").is_err(), "an existing secret is never opened");
    }

    #[test]
    fn somebody_elses_directory_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o775)).unwrap();
        let said = create(&Home::new(dir.path())).unwrap_err().to_string();
        assert!(said.contains("chmod 700"), "{said}");
        fs::write(dir.path().join("thesis.tex"), "").unwrap();
        let said = create(&Home::new(dir.path())).unwrap_err().to_string();
        assert!(said.contains("thesis.tex") && said.contains("--home"), "{said}");
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o775);
        let home = Home::new(dir.path().join("above/home"));
        create(&home).unwrap();
        assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
