//! The machine's ssh host key, chosen by the provider so that the tenant can check it at the very first login.
//!
//! It is derived (HKDF-SHA256, RFC 5869) from a random secret and the lease, so that a repeated order is the
//! same to the byte, and no key lies on the provider's disk. The secret is made once and never leaves its
//! file. If it is lost, running machines keep the keys they have, whose public halves are in their tags.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use alloy_primitives::B256;
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};
use sublet_adapter::AdapterError;
use zeroize::Zeroizing;

const SECRET_FILE: &str = "host-key-secret";
const SECRET_BYTES: usize = 32;
/// What the derived bytes are for; the version allows other derivations beside this one.
const PURPOSE: &[u8] = b"sublet/aws/ssh-host-key/1";

/// Random bytes from which all host keys come. `Debug` is left out on purpose.
pub(crate) struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

/// A host key. `Debug` is left out on purpose.
pub(crate) struct HostKey(PrivateKey);

impl Secret {
    /// The secret in a folder; made, with the folder, where there is none.
    pub(crate) fn load(state_dir: &Path) -> Result<Self, AdapterError> {
        let file = state_dir.join(SECRET_FILE);
        let failed = |error: io::Error| {
            let problem = format!("could not keep the host keys' secret in {}: {error}", file.display());
            AdapterError::configuration(problem, "make state_dir a folder that the node's user can write")
        };
        match fs::read(&file).map(Zeroizing::new) {
            Ok(bytes) => Self::checked(&file, &bytes).map_err(failed)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(state_dir, &file).map_err(failed)?;
                let bytes = fs::read(&file).map(Zeroizing::new).map_err(failed)?;
                Self::checked(&file, &bytes).map_err(failed)?
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn checked(file: &Path, bytes: &[u8]) -> io::Result<Result<Self, AdapterError>> {
        let Ok(secret) = <[u8; SECRET_BYTES]>::try_from(bytes) else {
            let problem = format!("{} is not {SECRET_BYTES} bytes long", file.display());
            let remedy = "restore it from a backup, or remove it: running machines keep their keys";
            return Ok(Err(AdapterError::configuration(problem, remedy)));
        };
        let secret = Zeroizing::new(secret);
        if fs::metadata(file)?.permissions().mode() & 0o077 != 0 {
            let problem = format!("{} can be read by others", file.display());
            return Ok(Err(AdapterError::configuration(problem, "run chmod 600 on it")));
        }
        Ok(Ok(Self(secret)))
    }

    /// The host key of a lease's machine, always the same.
    pub(crate) fn host_key(&self, lease: B256) -> Result<HostKey, AdapterError> {
        let failed = || AdapterError::retryable("the host key could not be derived", "try again");
        let mut seed = Zeroizing::new([0; SECRET_BYTES]);
        Salt::new(HKDF_SHA256, &[])
            .extract(&*self.0)
            // As long as the hash, so the algorithm itself is the length.
            .expand(&[PURPOSE, lease.as_slice()], HKDF_SHA256)
            .and_then(|key| key.fill(&mut *seed))
            .map_err(|_| failed())?;
        let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
        Ok(HostKey(PrivateKey::new(pair, "").map_err(|_| failed())?))
    }
}

fn make(state_dir: &Path, file: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    SystemRandom::new().fill(&mut *secret).map_err(|_| io::Error::other("no random bytes"))?;
    let new = file.with_extension(format!("new-{}", std::process::id()));
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(&*secret)?;
    out.sync_all()?;
    // A link fails where another process was faster: its secret is the one then.
    let linked = fs::hard_link(&new, file);
    fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

impl HostKey {
    /// The public half as one line of OpenSSH: `ssh-ed25519 AAAA…`.
    pub(crate) fn public_line(&self) -> Result<String, AdapterError> {
        self.0.public_key().to_openssh().map(|line| line.trim().to_owned()).map_err(unwritable)
    }

    /// The whole key in OpenSSH's file format.
    pub(crate) fn private_pem(&self) -> Result<Zeroizing<String>, AdapterError> {
        self.0.to_openssh(LineEnding::LF).map_err(unwritable)
    }
}

fn unwritable(error: ssh_key::Error) -> AdapterError {
    AdapterError::retryable(format!("the host key could not be written: {error}"), "try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_differ_by_lease_and_secret() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let pem = |dir: &Path, lease: u8| {
            let key = Secret::load(dir).unwrap().host_key(B256::repeat_byte(lease)).unwrap();
            key.private_pem().unwrap()
        };
        assert_eq!(pem(dir.path(), 1), pem(dir.path(), 1));
        assert_ne!(pem(dir.path(), 1), pem(dir.path(), 2));
        assert_ne!(pem(dir.path(), 1), pem(other.path(), 1));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn openssh_reads_the_key_and_agrees_on_the_public_half() {
        let dir = tempfile::tempdir().unwrap();
        let key = Secret::load(dir.path()).unwrap().host_key(B256::repeat_byte(7)).unwrap();
        let file = dir.path().join("key");
        let mut out =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file).unwrap();
        out.write_all(key.private_pem().unwrap().as_bytes()).unwrap();
        let said = std::process::Command::new("ssh-keygen").arg("-y").arg("-f").arg(&file).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        assert_eq!(String::from_utf8(said.stdout).unwrap().trim(), key.public_line().unwrap());
    }

    #[test]
    fn a_damaged_or_open_secret_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        Secret::load(dir.path()).unwrap();
        let file = dir.path().join(SECRET_FILE);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Secret::load(dir.path()).err().unwrap();
        assert!(error.remedy().contains("chmod 600"), "{error}");
        fs::write(&file, "short").unwrap();
        let error = Secret::load(dir.path()).err().unwrap();
        assert!(error.remedy().contains("remove it"), "{error}");
        let nowhere = Secret::load(Path::new("/proc/nowhere")).err().unwrap();
        assert!(nowhere.remedy().contains("state_dir"), "{nowhere}");
    }
}
