//! Bids: what buyers ask for. A bid's digest is the id of the lease that may come of it.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};

use super::{Order, StructureError, check_bond, check_duration, check_not_zero, check_rate};
use crate::eip712::StructHasher;

/// The bid's EIP-712 type string.
pub const BID_TYPE: &str = "Bid(address buyer,address settler,bytes32 spec,bytes32 node,uint64 maxRate,uint32 minBondSeconds,\
uint64 minPoints,uint32 duration,uint64 validUntil,uint32 epoch,uint64 salt)";

static TYPE_HASH: LazyLock<B256> = LazyLock::new(|| keccak256(BID_TYPE));

/// A buyer's signed request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bid {
    /// Who pays.
    pub buyer: Address,
    /// Who may settle the bid; the buyer unless the buyer says otherwise.
    pub settler: Address,
    /// `hashStruct` of the [`Spec`](super::Spec) that travels beside the bid.
    pub spec: B256,
    /// ed25519 key of the buyer's peer.
    pub node: B256,
    /// Highest rate for all units together, in base units per second.
    pub max_rate: u64,
    /// Least bond, in seconds of the rate.
    pub min_bond_seconds: u32,
    /// Least points of the provider.
    pub min_points: u64,
    /// Seconds to pay for at the start; the lease may be topped up later.
    pub duration: u32,
    /// Last second at which the bid counts; at most ten minutes ahead.
    pub valid_until: u64,
    /// The buyer's epoch in the Market; raising it there voids all bids of the older one.
    pub epoch: u32,
    /// Tells equal bids apart.
    pub salt: u64,
}

impl Bid {
    /// What settling may lock: top rate × duration, in base units.
    pub fn budget(&self) -> u128 {
        u128::from(self.max_rate).saturating_mul(u128::from(self.duration))
    }
}

impl Order for Bid {
    fn hash_struct(&self) -> B256 {
        StructHasher::new(*TYPE_HASH)
            .address(self.buyer)
            .address(self.settler)
            .word(self.spec)
            .word(self.node)
            .uint(self.max_rate)
            .uint(self.min_bond_seconds)
            .uint(self.min_points)
            .uint(self.duration)
            .uint(self.valid_until)
            .uint(self.epoch)
            .uint(self.salt)
            .finish()
    }

    fn maker(&self) -> Address {
        self.buyer
    }

    fn node(&self) -> B256 {
        self.node
    }

    fn valid_until(&self) -> u64 {
        self.valid_until
    }

    fn check(&self) -> Result<(), StructureError> {
        check_not_zero("buyer", self.buyer.is_zero())?;
        check_not_zero("settler", self.settler.is_zero())?;
        check_not_zero("node", self.node.is_zero())?;
        check_rate("max_rate", self.max_rate)?;
        check_bond(self.min_bond_seconds)?;
        check_duration(self.duration)
    }
}
