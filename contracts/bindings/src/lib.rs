//! Rust bindings of the Sublet contracts.
//!
//! Inputs: the committed `contracts/abi/*.json` (ABI and creation bytecode), from which alloy's `sol!`
//! makes one module for each contract. Outputs: those modules ([`Market`], [`CloudToken`], and
//! [`IMarket`] with the structs they share), conversions from the plain types of `sublet-market`,
//! [`lease_state`] and [`end_reason`] for the two enums that an ABI only knows as numbers, and
//! [`decode_revert`], which turns the bytes of a revert into the name of the failing rule and a line for
//! people.

mod convert;
mod enums;
mod revert;
mod sol;

pub use enums::{UnknownVariant, end_reason, lease_state};
pub use revert::{MarketRevert, decode_revert};
pub use sol::{CloudToken, IMarket, Market};
