//! The rules of the Sublet compute market, as plain values and pure functions: no I/O, no clock, no async.
//!
//! Inputs: orders that makers signed ([`orders`], hashed by EIP-712 in [`eip712`], signed in
//! [`signature`]), bytes from other peers ([`codec`]), what the chain says of makers ([`rule::Maker`]), and
//! the time as an argument. Outputs: which offers fit a bid and why the others do not ([`rule`],
//! [`fit`], [`book`]), whether an accept keeps what its offer promised ([`fit::check_accept`]), whether the
//! contract will take both ([`settle`]), and what each step of a lease moves ([`lease`]).
//!
//! Amounts are base units (10^-18 CTK), rates base units per second, times Unix seconds of chain time,
//! durations seconds.

#![deny(clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails"))]

pub mod amount;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "positions in rows of bits and counters, bounded by the book's limits, on the path of every search; its money \
              (`limits`, `makers`) has the lint"
)]
pub mod book;
pub mod codec;
pub mod eip712;
pub mod event;
pub mod fit;
pub mod lease;
pub mod limits;
pub mod manifest;
pub mod message;
pub mod orders;
pub mod resources;
pub mod rule;
#[cfg(any(test, feature = "test-support"))]
pub mod samples;
pub mod settle;
pub mod shard;
pub mod signature;
pub mod terms;
pub mod text_number;
pub mod trade;
pub mod traits;

pub use book::{
    Best, BidEntry, Book, BookLimits, Counters, Explanation, Ignored, Inserted, Known, NearestMiss, Quote,
};
pub use codec::CodecError;
pub use eip712::Domain;
pub use event::{LoggedEvent, MarketEvent};
pub use fit::{AcceptError, check_accept, first_miss, misses};
pub use lease::{EndReason, LeaseState};
pub use manifest::{Manifest, ManifestError};
pub use message::OrderMessage;
pub use orders::{Accept, Bid, Offer, Order, Spec, StructureError};
pub use resources::Resources;
pub use rule::{Maker, MatchContext, Rule};
pub use settle::{Locked, SettleRefusal, check_settle};
pub use shard::Shard;
pub use signature::{OrderKey, OrderSignature, SignatureError, Signed};
pub use terms::{BidTerms, OfferTerms, OfferVersion};
pub use trade::{
    Access, AccessState, Decline, DeclineCode, TradeError, TradeRequest, TradeResponse, clean_lines,
};
pub use traits::{TraitError, Traits};
