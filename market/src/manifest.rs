//! The manifest: what the buyer's machine is to be. Private between the two nodes of a trade; the bid carries
//! only its hash.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_IMAGE_NAME_BYTES, MAX_SSH_KEY_BYTES, MAX_SSH_KEYS};

/// What the machine runs and who may log in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Random bytes, so that nobody can guess the content from the public hash.
    pub salt: B256,
    /// Name of a machine image that the offer advertises: a-z, 0-9, `.` and `-`.
    pub image: String,
    /// Public keys that may log in, one line each.
    pub ssh_authorized_keys: Vec<String>,
    /// A lease of the same buyer that is over, and whose disk the provider has kept: the machine gets it
    /// instead of a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_of: Option<B256>,
}

/// What is wrong with a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The image name.
    #[error("image name is not 1 to {MAX_IMAGE_NAME_BYTES} of a-z 0-9 . -: write one like debian-12")]
    Image,
    /// How many keys there are.
    #[error("{0} ssh keys are not 1 to {MAX_SSH_KEYS}: list the keys that may log in")]
    KeyCount(usize),
    /// One of the keys.
    #[error(
        "ssh key {0} is empty, has several lines or more than {MAX_SSH_KEY_BYTES} bytes: paste one line of a .pub file"
    )]
    Key(usize),
}

impl Manifest {
    /// Checks the bounds; whether the image exists is the adapter's question.
    ///
    /// # Errors
    /// The first bound that is broken.
    pub fn check(&self) -> Result<(), ManifestError> {
        let in_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
        let starts_plain = self.image.starts_with(|c: char| c.is_ascii_alphanumeric());
        if self.image.len() > MAX_IMAGE_NAME_BYTES || !starts_plain || !self.image.bytes().all(in_name) {
            return Err(ManifestError::Image);
        }
        if !(1..=MAX_SSH_KEYS).contains(&self.ssh_authorized_keys.len()) {
            return Err(ManifestError::KeyCount(self.ssh_authorized_keys.len()));
        }
        let bad = |key: &String| {
            key.trim().is_empty() || key.len() > MAX_SSH_KEY_BYTES || key.contains(char::is_control)
        };
        self.ssh_authorized_keys.iter().position(bad).map_or(Ok(()), |index| Err(ManifestError::Key(index)))
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
    fn bounds_are_checked_in_both_directions() {
        for image in ["", "Debian", "../etc/passwd", "-x", ".hidden", &"a".repeat(65)] {
            let bad = Manifest { image: image.to_owned(), ..manifest() };
            assert_eq!(bad.check(), Err(ManifestError::Image), "{image}");
        }
        let keys = |keys: Vec<String>| Manifest { ssh_authorized_keys: keys, ..manifest() }.check();
        assert_eq!(keys(vec![]), Err(ManifestError::KeyCount(0)));
        assert_eq!(keys(vec!["k".into(); 17]), Err(ManifestError::KeyCount(17)));
        assert_eq!(keys(vec!["k".into(), "a\nb".into()]), Err(ManifestError::Key(1)));
        assert_eq!(keys(vec!["x".repeat(1025)]), Err(ManifestError::Key(0)));
    }

    #[test]
    fn the_largest_manifest_fits() {
        let largest =
            Manifest { image: "a".repeat(64), ssh_authorized_keys: vec!["x".repeat(1024); 16], ..manifest() };
        let bytes = largest.canonical_bytes().unwrap();
        assert_eq!(Manifest::from_canonical_bytes(&bytes).unwrap(), largest);
    }
}
