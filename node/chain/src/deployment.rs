//! The deployment file: which contracts on which chain this market is.

use std::{io::Write as _, path::Path};

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use sublet_market::{Domain, lease::Params};

use super::{error::ChainError, rpc::clip};

/// One pair of contracts, as `deployment.json` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The EVM chain id.
    pub chain_id: u64,
    /// The CloudToken.
    pub token: Address,
    /// The Market.
    pub market: Address,
    /// The salt of the EIP-712 domain, a constructor argument of the Market.
    pub salt: B256,
    /// The block of the Market's deployment: the first that can have events.
    pub block: u64,
    /// The Market's constants.
    pub params: Params,
    /// What the code at both addresses hashes to.
    pub code_hashes: CodeHashes,
}

/// Keccak-256 of the deployed code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeHashes {
    /// Of the CloudToken.
    pub token: B256,
    /// Of the Market.
    pub market: B256,
}

impl Deployment {
    /// The EIP-712 domain that orders are signed for.
    #[must_use]
    pub fn domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, market: self.market, salt: self.salt }
    }

    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, ChainError> {
        let wrong = |reason: String| ChainError::File { what: "read", path: path.into(), reason };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        serde_json::from_str(&text).map_err(|e| wrong(clip(&e.to_string())))
    }

    /// Writes the file whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), ChainError> {
        let wrong = |reason: String| ChainError::File { what: "write", path: path.into(), reason };
        let mut text = serde_json::to_string_pretty(self).map_err(|e| wrong(e.to_string()))?;
        text.push('\n');
        let part = path.with_extension("json.part");
        let written = std::fs::File::create(&part).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.and_then(|()| std::fs::rename(&part, path)).map_err(|e| wrong(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Deployment {
        Deployment {
            chain_id: 31337,
            token: Address::repeat_byte(1),
            market: Address::repeat_byte(2),
            salt: B256::repeat_byte(3),
            block: 2,
            params: Params { fee_bps: 100, hold: 600, notice: 60, half_life_days: 90 },
            code_hashes: CodeHashes { token: B256::repeat_byte(4), market: B256::repeat_byte(5) },
        }
    }

    #[test]
    fn a_deployment_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deployment.json");
        example().write(&path).unwrap();
        assert_eq!(Deployment::read(&path).unwrap(), example());
    }

    #[test]
    fn errors_name_the_file_the_field_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deployment.json");
        let said = Deployment::read(&path).unwrap_err().to_string();
        assert!(said.contains("deployment.json") && said.contains("sublet chain deploy"), "{said}");
        let mut json = serde_json::to_value(example()).unwrap();
        json["chainid"] = 1.into();
        std::fs::write(&path, json.to_string()).unwrap();
        let said = Deployment::read(&path).unwrap_err().to_string();
        assert!(said.contains("chainid"), "{said}");
    }
}
