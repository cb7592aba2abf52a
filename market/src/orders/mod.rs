//! The orders that makers sign: [`Offer`] (gossip only), [`Bid`] with its [`Spec`], and [`Accept`].
//!
//! The type strings are those of the contract, to the letter. [`Order::check`] looks only at the order itself;
//! what depends on time, balances or quotas is the book's and the rules' business.

mod accept;
mod bid;
mod offer;
mod spec;

use alloy_primitives::{Address, B256};

pub use accept::{ACCEPT_TYPE, Accept};
pub use bid::{BID_TYPE, Bid};
pub use offer::{OFFER_TYPE, Offer};
pub use spec::{RESOURCES_TYPE, SPEC_TYPE, Spec};

use crate::eip712::Domain;
use crate::limits::{
    MAX_ACTIVATE_WITHIN_SECONDS, MAX_BOND_SECONDS, MAX_DURATION_SECONDS, MIN_DURATION_SECONDS,
};

/// What all signed orders have in common.
pub trait Order {
    /// The EIP-712 `hashStruct` of this order, without the domain.
    fn hash_struct(&self) -> B256;

    /// The digest that the maker signs, and that names the order everywhere. A bid's digest is its lease's id.
    fn digest(&self, domain: &Domain) -> B256 {
        domain.signing_hash(self.hash_struct())
    }

    /// Whose order it is: the address whose balance and points stand behind it.
    fn maker(&self) -> Address;

    /// The ed25519 public key of the maker's peer.
    fn node(&self) -> B256;

    /// Last second (Unix, chain time) at which the order counts.
    fn valid_until(&self) -> u64;

    /// Checks everything that can be told from the order alone.
    ///
    /// # Errors
    /// The first bound that is broken.
    fn check(&self) -> Result<(), StructureError>;
}

/// Which bound of its own an order, or a part of it, breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StructureError {
    /// The maker, settler or node is zero.
    #[error("{0} is zero: name who makes the order and which node speaks for it")]
    Zero(&'static str),
    /// The price or rate is zero.
    #[error("{0} is zero: ask or pay at least one base unit per second")]
    ZeroRate(&'static str),
    /// The unit has nothing in it.
    #[error("the unit is empty: set at least one of its resources")]
    EmptyUnit,
    /// A bid wants no units.
    #[error("a bid for 0 units: ask for at least one")]
    NoUnits,
    /// Units × unit does not fit.
    #[error("{0} units of that size are more than can be counted: ask for fewer or smaller units")]
    TooManyUnits(u32),
    /// The bond is above a day of the rate.
    #[error("a bond of {0} s is above {MAX_BOND_SECONDS} s: lower it")]
    Bond(u32),
    /// A duration is outside the bounds of a lease.
    #[error(
        "a duration of {0} s is outside {MIN_DURATION_SECONDS}..={MAX_DURATION_SECONDS} s: choose one within"
    )]
    Duration(u32),
    /// The shortest duration is above the longest.
    #[error("the shortest duration {min} s is above the longest {max} s: swap them")]
    DurationOrder {
        /// Shortest, in seconds.
        min: u32,
        /// Longest, in seconds.
        max: u32,
    },
    /// The time to activate is outside its bounds.
    #[error("activation within {0} s is outside 1..={MAX_ACTIVATE_WITHIN_SECONDS} s: choose one within")]
    ActivateWithin(u32),
    /// The spec beside a bid is not the one that was signed.
    #[error("the spec beside the bid hashes to {found} and not to {signed}: send the spec that was signed")]
    SpecHash {
        /// Hash in the bid.
        signed: B256,
        /// Hash of the spec that came with it.
        found: B256,
    },
}

fn check_not_zero(name: &'static str, zero: bool) -> Result<(), StructureError> {
    if zero { Err(StructureError::Zero(name)) } else { Ok(()) }
}

fn check_rate(name: &'static str, rate: u64) -> Result<(), StructureError> {
    if rate == 0 { Err(StructureError::ZeroRate(name)) } else { Ok(()) }
}

fn check_bond(seconds: u32) -> Result<(), StructureError> {
    if seconds > MAX_BOND_SECONDS { Err(StructureError::Bond(seconds)) } else { Ok(()) }
}

fn check_duration(seconds: u32) -> Result<(), StructureError> {
    let allowed = MIN_DURATION_SECONDS..=MAX_DURATION_SECONDS;
    if allowed.contains(&seconds) { Ok(()) } else { Err(StructureError::Duration(seconds)) }
}

fn check_activate_within(seconds: u32) -> Result<(), StructureError> {
    let allowed = 1..=MAX_ACTIVATE_WITHIN_SECONDS;
    if allowed.contains(&seconds) { Ok(()) } else { Err(StructureError::ActivateWithin(seconds)) }
}
