//! EIP-712 hashing: the domain, and a small writer for the words of a struct.
//!
//! Written by hand because the set of types is closed; the tests compare every hash with alloy's `sol!` structs.
//! Source: <https://eips.ethereum.org/EIPS/eip-712>.

use std::cell::Cell;

use alloy_primitives::{Address, B256, Keccak256, keccak256};
use serde::{Deserialize, Serialize};

/// The domain's `name`.
pub const DOMAIN_NAME: &str = "Sublet";
/// The domain's `version`.
pub const DOMAIN_VERSION: &str = "1";
/// The domain's type string.
pub const DOMAIN_TYPE: &str =
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)";

thread_local! {
    /// The domain that was last hashed with, and its separator.
    static LAST_SEPARATOR: Cell<Option<(Domain, B256)>> = const { Cell::new(None) };
}

/// Which market an order is for. Two deployments never share a domain, for the salt is random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// The chain's id.
    pub chain_id: u64,
    /// Address of the Market contract.
    pub market: Address,
    /// The Market's random constructor argument.
    pub salt: B256,
}

impl Domain {
    /// The domain separator: what the contract's `domainSeparator()` returns.
    pub fn separator(&self) -> B256 {
        // Every order of a market is hashed with the same one, which would be a quarter of the work.
        if let Some((domain, separator)) = LAST_SEPARATOR.get()
            && domain == *self
        {
            return separator;
        }
        let separator = StructHasher::new(keccak256(DOMAIN_TYPE))
            .word(keccak256(DOMAIN_NAME))
            .word(keccak256(DOMAIN_VERSION))
            .uint(self.chain_id)
            .address(self.market)
            .word(self.salt)
            .finish();
        LAST_SEPARATOR.set(Some((*self, separator)));
        separator
    }

    /// The digest that is signed for a struct: `keccak256(0x1901 ‖ separator ‖ hash_struct)`.
    pub fn signing_hash(&self, hash_struct: B256) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update([0x19, 0x01]);
        hasher.update(self.separator());
        hasher.update(hash_struct);
        hasher.finalize()
    }
}

/// Most words of a struct, its type hash included: an offer has 15.
const MAX_WORDS: usize = 16;

/// Collects the 32-byte words of one struct, in the order of its type string, and hashes them in one go.
pub(crate) struct StructHasher {
    words: [[u8; 32]; MAX_WORDS],
    len: usize,
}

impl StructHasher {
    /// Starts with the hash of the type string.
    pub(crate) fn new(type_hash: B256) -> Self {
        Self { words: [[0; 32]; MAX_WORDS], len: 0 }.word(type_hash)
    }

    pub(crate) fn word(mut self, word: B256) -> Self {
        self.words[self.len] = word.0;
        self.len = self.len.saturating_add(1);
        self
    }

    pub(crate) fn uint(mut self, value: impl Into<u64>) -> Self {
        self.words[self.len][24..].copy_from_slice(&value.into().to_be_bytes());
        self.len = self.len.saturating_add(1);
        self
    }

    pub(crate) fn address(self, address: Address) -> Self {
        self.word(address.into_word())
    }

    pub(crate) fn flag(self, flag: bool) -> Self {
        self.uint(u64::from(flag))
    }

    /// An array of strings: the hash of the concatenated hashes of its elements.
    pub(crate) fn strings<'a>(self, texts: impl Iterator<Item = &'a str>) -> Self {
        let mut hasher = Keccak256::new();
        texts.for_each(|text| hasher.update(keccak256(text)));
        self.word(hasher.finalize())
    }

    pub(crate) fn finish(self) -> B256 {
        keccak256(self.words[..self.len].as_flattened())
    }
}
