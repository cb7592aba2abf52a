//! Accepts: a provider's short-lived commitment to one bid at one rate.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};

use super::{
    Order, StructureError, check_activate_within, check_bond, check_duration, check_not_zero, check_rate,
};
use crate::eip712::StructHasher;

/// The accept's EIP-712 type string.
pub const ACCEPT_TYPE: &str = "Accept(bytes32 bid,bytes32 offer,address provider,bytes32 node,uint64 rate,uint32 bondSeconds,\
uint32 activateWithin,uint32 maxDuration,bool burn,uint64 settleBy)";

static TYPE_HASH: LazyLock<B256> = LazyLock::new(|| keccak256(ACCEPT_TYPE));

/// A provider's signed answer to one bid; the capacity is held until `settle_by`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// Digest of the bid.
    pub bid: B256,
    /// Digest of the offer that it follows from.
    pub offer: B256,
    /// Who provides, is paid and locks the bond.
    pub provider: Address,
    /// ed25519 key of the provider's peer.
    pub node: B256,
    /// Rate for all units together, in base units per second.
    pub rate: u64,
    /// Bond, in seconds of the rate.
    pub bond_seconds: u32,
    /// Seconds from settle to activate at most.
    pub activate_within: u32,
    /// Longest the lease may become by top-ups, in seconds.
    pub max_duration: u32,
    /// Whether the provider's earnings are burned rather than paid out.
    pub burn: bool,
    /// Last second at which the accept can be settled; at most 300 s ahead.
    pub settle_by: u64,
}

impl Accept {
    /// Tokens that the bond locks, in base units.
    pub fn bond(&self) -> u128 {
        u128::from(self.rate).saturating_mul(u128::from(self.bond_seconds))
    }
}

impl Order for Accept {
    fn hash_struct(&self) -> B256 {
        StructHasher::new(*TYPE_HASH)
            .word(self.bid)
            .word(self.offer)
            .address(self.provider)
            .word(self.node)
            .uint(self.rate)
            .uint(self.bond_seconds)
            .uint(self.activate_within)
            .uint(self.max_duration)
            .flag(self.burn)
            .uint(self.settle_by)
            .finish()
    }

    fn maker(&self) -> Address {
        self.provider
    }

    fn node(&self) -> B256 {
        self.node
    }

    fn valid_until(&self) -> u64 {
        self.settle_by
    }

    fn check(&self) -> Result<(), StructureError> {
        check_not_zero("bid", self.bid.is_zero())?;
        check_not_zero("provider", self.provider.is_zero())?;
        check_not_zero("node", self.node.is_zero())?;
        check_rate("rate", self.rate)?;
        check_bond(self.bond_seconds)?;
        check_duration(self.max_duration)?;
        check_activate_within(self.activate_within)
    }
}
