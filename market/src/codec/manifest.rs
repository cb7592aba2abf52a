//! A manifest as bytes: what its hash is taken of, and what the provider is sent.

use alloy_primitives::{B256, keccak256};

use super::{CodecError, decode_manifest, encode_manifest};
use crate::Manifest;

impl Manifest {
    /// The one encoding that is hashed and sent.
    ///
    /// # Errors
    /// A manifest that breaks its bounds.
    pub fn canonical_bytes(&self) -> Result<Vec<u8>, CodecError> {
        encode_manifest(self)
    }

    /// Reads the encoding back.
    ///
    /// # Errors
    /// Anything but the canonical bytes of a manifest within its bounds.
    pub fn from_canonical_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decode_manifest(bytes)
    }

    /// keccak256 of the canonical bytes: the spec's field `manifest`.
    ///
    /// # Errors
    /// A manifest that breaks its bounds.
    pub fn hash(&self) -> Result<B256, CodecError> {
        self.canonical_bytes().map(keccak256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            salt: B256::repeat_byte(7),
            image: "debian-12".into(),
            ssh_authorized_keys: vec!["ssh-ed25519 AAAA me@laptop".into()],
            disk_of: None,
        }
    }

    #[test]
    fn canonical_bytes_read_back() {
        let bytes = manifest().canonical_bytes().unwrap();
        assert_eq!(Manifest::from_canonical_bytes(&bytes).unwrap(), manifest());
        assert_eq!(manifest().hash().unwrap(), keccak256(&bytes));
        let other = Manifest { salt: B256::ZERO, ..manifest() };
        assert_ne!(other.hash().unwrap(), manifest().hash().unwrap());
    }

    #[test]
    fn what_breaks_its_bounds_has_no_bytes() {
        for image in ["", "Debian", "../etc/passwd", "-x", ".hidden", &"a".repeat(65)] {
            let bad = Manifest { image: image.to_owned(), ..manifest() };
            assert!(bad.canonical_bytes().is_err(), "{image}");
        }
    }
}
