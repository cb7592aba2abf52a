//! `[wallet]`: which key signs, and what opens it.

use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
#[cfg(feature = "kms")]
use sublet_signer_kms::KmsAccess;

/// `[wallet]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalletConfig {
    /// Whose account this node trades with, when its own key is only an operator's.
    #[serde(default)]
    pub maker: Option<Address>,
    /// The file whose first line opens the keystore.
    #[serde(default)]
    pub passphrase_file: Option<PathBuf>,
    /// The key in AWS KMS that signs, instead of one in the home: an alias, a key id, or an ARN.
    #[cfg(feature = "kms")]
    #[serde(default)]
    pub kms_key: Option<String>,
    /// Where KMS is, and who asks.
    #[cfg(feature = "kms")]
    #[serde(default)]
    pub aws: Option<KmsAccess>,
}

impl WalletConfig {
    /// Relative paths are meant from the home.
    pub fn resolve(&mut self, home: &Path) {
        self.passphrase_file = self.passphrase_file.as_ref().map(|file| home.join(file));
        #[cfg(feature = "kms")]
        if let Some(aws) = &mut self.aws {
            aws.credentials_file = aws.credentials_file.as_ref().map(|file| home.join(file));
        }
    }

    /// What makes no sense: the key and the problem.
    ///
    /// # Errors
    /// The key with its section, and the problem with a valid example.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.maker == Some(Address::ZERO) {
            let problem = "is zero: give the address that has the tokens, or leave the key out";
            return Err(("wallet.maker", problem.to_owned()));
        }
        #[cfg(feature = "kms")]
        match (&self.kms_key, &self.aws) {
            (None, Some(_)) => {
                let problem = "needs wallet.kms_key beside it, for example \"alias/sublet\"";
                return Err(("wallet.aws", problem.to_owned()));
            }
            (Some(key), access) => {
                let region = access.clone().unwrap_or_default().region_of(key);
                region.map_err(|error| ("wallet.kms_key", format!("cannot be used: {error}")))?;
            }
            (None, None) => {}
        }
        Ok(())
    }
}
