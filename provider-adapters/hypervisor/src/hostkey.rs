//! The guest's ssh host key, made by the provider so that the tenant can check it at the very first login.

use ring::rand::{SecureRandom, SystemRandom};
use ssh_key::PublicKey;
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::KeyData;
use sublet_adapter::AdapterError;

const ALGORITHM: &[u8] = b"ssh-ed25519";

/// A new ed25519 key pair. `Debug` is left out on purpose.
pub(crate) struct HostKey(Ed25519Keypair);

impl HostKey {
    pub(crate) fn generate() -> Result<Self, AdapterError> {
        Ok(Self(Ed25519Keypair::from_seed(&random_bytes()?)))
    }

    /// The public half as one line of OpenSSH: `ssh-ed25519 AAAA…`.
    pub(crate) fn public_line(&self) -> Result<String, AdapterError> {
        let key = PublicKey::new(KeyData::Ed25519(self.0.public), "");
        key.to_openssh().map_err(|error| {
            AdapterError::retryable(format!("a new host key could not be written: {error}"), "try again")
        })
    }

    /// The secret in dropbear's own format (`dropbearkey -t ed25519`): the length-prefixed strings "ssh-ed25519" and
    /// seed ‖ public key.
    pub(crate) fn to_dropbear(&self) -> Vec<u8> {
        let pair = self.0.to_bytes();
        let mut out = Vec::with_capacity(8 + ALGORITHM.len() + pair.len());
        // Both lengths are small constants: 11 and 64.
        out.extend_from_slice(&11_u32.to_be_bytes());
        out.extend_from_slice(ALGORITHM);
        out.extend_from_slice(&64_u32.to_be_bytes());
        out.extend_from_slice(&pair);
        out
    }
}

/// Bytes that nobody can guess.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], AdapterError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        AdapterError::retryable("the system's random number generator gave nothing", "try again")
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropbear_format_carries_both_halves() {
        let key = HostKey::generate().unwrap();
        let bytes = key.to_dropbear();
        assert_eq!(bytes.len(), 83);
        assert_eq!(&bytes[..15], b"\x00\x00\x00\x0bssh-ed25519");
        assert_eq!(&bytes[15..19], [0, 0, 0, 64]);
        let line = key.public_line().unwrap();
        let public = PublicKey::from_openssh(&line).unwrap();
        assert_eq!(public.key_data().ed25519().unwrap().0, bytes[51..]);
    }

    #[test]
    fn every_key_is_new() {
        let line = || HostKey::generate().unwrap().public_line().unwrap();
        assert_ne!(line(), line());
    }
}
