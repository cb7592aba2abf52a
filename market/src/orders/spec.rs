//! The spec: what a buyer wants. The chain knows it by its hash only, so a new kind of capacity needs no new contract.

use std::sync::LazyLock;

use alloy_primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};

use super::StructureError;
use crate::eip712::StructHasher;
use crate::resources::Resources;
use crate::traits::Traits;

/// EIP-712 type string of [`Resources`].
pub const RESOURCES_TYPE: &str =
    "Resources(uint32 vcpus,uint32 memoryMib,uint32 diskGib,uint32 gpus,uint32 diskIops,uint32 netMbps)";
/// The spec's own part of its EIP-712 type string; the encoded type appends [`RESOURCES_TYPE`].
pub const SPEC_TYPE: &str = "Spec(Resources unit,uint32 units,string[] traits,bytes32 manifest)";

static RESOURCES_TYPE_HASH: LazyLock<B256> = LazyLock::new(|| keccak256(RESOURCES_TYPE));
static TYPE_HASH: LazyLock<B256> = LazyLock::new(|| keccak256([SPEC_TYPE, RESOURCES_TYPE].concat()));

/// What a bid asks for. It travels beside the bid, which carries its hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Least size of one unit.
    pub unit: Resources,
    /// Units wanted: one machine group of `units` × `unit`.
    pub units: u32,
    /// Traits that the offer must have.
    pub traits: Traits,
    /// keccak256 of the private manifest's canonical bytes.
    pub manifest: B256,
}

impl Resources {
    /// The EIP-712 `hashStruct`.
    pub fn hash_struct(&self) -> B256 {
        let hasher = StructHasher::new(*RESOURCES_TYPE_HASH);
        self.fields().into_iter().fold(hasher, |hasher, (_, value)| hasher.uint(value)).finish()
    }
}

impl Spec {
    /// The EIP-712 `hashStruct`, which is the bid's field `spec`.
    pub fn hash_struct(&self) -> B256 {
        StructHasher::new(*TYPE_HASH)
            .word(self.unit.hash_struct())
            .uint(self.units)
            .strings(self.traits.iter())
            .word(self.manifest)
            .finish()
    }

    /// All that is wanted: `units` × `unit`; `None` above 32 bits in a field, which [`Spec::check`] refuses.
    pub fn total(&self) -> Option<Resources> {
        self.unit.checked_mul(self.units)
    }

    /// Checks everything that can be told from the spec alone.
    ///
    /// # Errors
    /// An empty unit, no units, or more than can be counted.
    pub fn check(&self) -> Result<(), StructureError> {
        if self.unit.is_empty() {
            return Err(StructureError::EmptyUnit);
        }
        if self.units == 0 {
            return Err(StructureError::NoUnits);
        }
        self.total().map(|_| ()).ok_or(StructureError::TooManyUnits(self.units))
    }
}
