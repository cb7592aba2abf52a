//! Offers: what providers advertise. They exist in gossip only; the chain sees their digest in an accept.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, keccak256};
use serde::{Deserialize, Serialize};

use super::{
    Order, RESOURCES_TYPE, StructureError, check_activate_within, check_bond, check_duration, check_not_zero,
    check_rate,
};
use crate::eip712::StructHasher;
use crate::resources::Resources;
use crate::traits::Traits;

/// The offer's own part of its EIP-712 type string; the encoded type appends [`RESOURCES_TYPE`].
pub const OFFER_TYPE: &str = "Offer(address provider,bytes32 node,Resources unit,uint32 units,uint64 pricePerSecond,\
uint32 bondSeconds,uint32 minDuration,uint32 maxDuration,uint32 activateWithin,bool burn,string[] traits,uint64 series,\
uint64 seq,uint64 validUntil)";

static TYPE_HASH: LazyLock<B256> = LazyLock::new(|| keccak256([OFFER_TYPE, RESOURCES_TYPE].concat()));

/// A provider's signed advertisement. A higher `seq` of the same `series` replaces it; `units = 0` cancels the series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Whose capacity, balance and points stand behind the offer.
    pub provider: Address,
    /// ed25519 key of the peer to ask.
    pub node: B256,
    /// The indivisible piece that is sold.
    pub unit: Resources,
    /// Units left; 0 cancels the series.
    pub units: u32,
    /// Base units per second for one unit.
    pub price_per_second: u64,
    /// Bond the provider locks, in seconds of the rate.
    pub bond_seconds: u32,
    /// Shortest lease, in seconds.
    pub min_duration: u32,
    /// Longest lease with its top-ups, in seconds.
    pub max_duration: u32,
    /// Seconds from settle to activate at most.
    pub activate_within: u32,
    /// Whether the provider's earnings are burned rather than paid out.
    pub burn: bool,
    /// Facts about the capacity.
    pub traits: Traits,
    /// The maker's own number for this line of offers.
    pub series: u64,
    /// Version within the series; the highest counts.
    pub seq: u64,
    /// Last second at which the offer counts; at most an hour ahead.
    pub valid_until: u64,
}

impl Offer {
    /// Whether this version withdraws the series.
    pub fn is_cancel(&self) -> bool {
        self.units == 0
    }

    /// Rate for that many units, in base units per second; `None` above 64 bits, which no bid can pay.
    pub fn rate(&self, units: u32) -> Option<u64> {
        self.price_per_second.checked_mul(u64::from(units))
    }

    /// Tokens that the bond of that many units locks, in base units.
    pub fn bond(&self, units: u32) -> u128 {
        let unit_bond = u128::from(self.price_per_second).saturating_mul(u128::from(self.bond_seconds));
        unit_bond.saturating_mul(u128::from(units))
    }
}

impl Order for Offer {
    fn hash_struct(&self) -> B256 {
        StructHasher::new(*TYPE_HASH)
            .address(self.provider)
            .word(self.node)
            .word(self.unit.hash_struct())
            .uint(self.units)
            .uint(self.price_per_second)
            .uint(self.bond_seconds)
            .uint(self.min_duration)
            .uint(self.max_duration)
            .uint(self.activate_within)
            .flag(self.burn)
            .strings(self.traits.iter())
            .uint(self.series)
            .uint(self.seq)
            .uint(self.valid_until)
            .finish()
    }

    fn maker(&self) -> Address {
        self.provider
    }

    fn node(&self) -> B256 {
        self.node
    }

    fn valid_until(&self) -> u64 {
        self.valid_until
    }

    fn check(&self) -> Result<(), StructureError> {
        check_not_zero("provider", self.provider.is_zero())?;
        check_not_zero("node", self.node.is_zero())?;
        if self.unit.is_empty() {
            return Err(StructureError::EmptyUnit);
        }
        check_rate("price_per_second", self.price_per_second)?;
        check_bond(self.bond_seconds)?;
        check_duration(self.min_duration)?;
        check_duration(self.max_duration)?;
        if self.min_duration > self.max_duration {
            return Err(StructureError::DurationOrder { min: self.min_duration, max: self.max_duration });
        }
        check_activate_within(self.activate_within)
    }
}
