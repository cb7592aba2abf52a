//! What the Market contract checks before two orders become a lease, in its order and by its names: a buyer finds out
//! before it pays for a transaction, and a provider before it holds capacity.
//!
//! Not here: the caller, the signatures, and whether the bid was settled or cancelled before.

use alloy_primitives::B256;

use crate::limits::{
    MAX_ACTIVATE_WITHIN_SECONDS, MAX_BOND_SECONDS, MAX_DURATION_SECONDS, MAX_SETTLE_AHEAD_SECONDS,
    MIN_DURATION_SECONDS,
};
use crate::orders::{Accept, Bid};
use crate::rule::Maker;

/// The first rule of the contract that two orders break. [`SettleRefusal::name`] is the name of the contract's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[allow(missing_docs)] // The texts say it; the fields are the orders' own.
pub enum SettleRefusal {
    #[error("the accept names another bid: ask again")]
    WrongBid,
    #[error("the bid's last second was {valid_until}: sign a new one")]
    BidExpired { valid_until: u64 },
    #[error("the accept's last second was {settle_by}: ask again")]
    AcceptExpired { settle_by: u64 },
    #[error("the accept ends at {settle_by}, later than {latest}: wait, or ask again")]
    AcceptTooLong { settle_by: u64, latest: u64 },
    #[error("buyer and provider are the same account: bid from another one")]
    SameParty,
    #[error("the bid is of epoch {bid}, its buyer's is {account}: sign a new one")]
    EpochMismatch { bid: u32, account: u32 },
    #[error("the accept's rate is zero: ask another provider")]
    RateZero,
    #[error(
        "the accept's rate {rate} is above the bid's {max_rate} base units per second: ask another provider"
    )]
    RateTooHigh { rate: u64, max_rate: u64 },
    #[error("the accept's bond of {bond} s is below the bid's {min} s: ask another provider")]
    BondTooShort { bond: u32, min: u32 },
    #[error("the accept's bond of {bond} s is above {MAX_BOND_SECONDS} s: ask another provider")]
    BondTooLong { bond: u32 },
    #[error("the bid's duration of {duration} s is below {MIN_DURATION_SECONDS} s: bid for longer")]
    DurationTooShort { duration: u32 },
    #[error("the bid's duration of {duration} s is above the accept's {max_duration} s: bid for less")]
    DurationTooLong { duration: u32, max_duration: u32 },
    #[error(
        "the accept's longest life of {max_duration} s is above {MAX_DURATION_SECONDS} s: ask another provider"
    )]
    MaxDurationTooLong { max_duration: u32 },
    #[error(
        "the accept gives {activate_within} s to activate, more than {MAX_ACTIVATE_WITHIN_SECONDS} s: ask another provider"
    )]
    ActivateWithinTooLong { activate_within: u32 },
    #[error("the provider has {points} points of {min} wanted: ask another provider")]
    PointsTooLow { points: u64, min: u64 },
    #[error("the buyer has {free} base units free of {needed} needed: deposit more")]
    BuyerFunds { free: u128, needed: u128 },
    #[error("the provider has {free} base units free of {needed} needed for its bond: ask another provider")]
    ProviderFunds { free: u128, needed: u128 },
}

impl SettleRefusal {
    /// The name of the contract's error.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::WrongBid => "WrongBid",
            Self::BidExpired { .. } => "BidExpired",
            Self::AcceptExpired { .. } => "AcceptExpired",
            Self::AcceptTooLong { .. } => "AcceptTooLong",
            Self::SameParty => "SameParty",
            Self::EpochMismatch { .. } => "EpochMismatch",
            Self::RateZero => "RateZero",
            Self::RateTooHigh { .. } => "RateTooHigh",
            Self::BondTooShort { .. } => "BondTooShort",
            Self::BondTooLong { .. } => "BondTooLong",
            Self::DurationTooShort { .. } => "DurationTooShort",
            Self::DurationTooLong { .. } => "DurationTooLong",
            Self::MaxDurationTooLong { .. } => "MaxDurationTooLong",
            Self::ActivateWithinTooLong { .. } => "ActivateWithinTooLong",
            Self::PointsTooLow { .. } => "PointsTooLow",
            Self::BuyerFunds { .. } => "BuyerFunds",
            Self::ProviderFunds { .. } => "ProviderFunds",
        }
    }
}

/// What a settlement locks, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked {
    /// Of the buyer.
    pub escrow: u128,
    /// Of the provider.
    pub bond: u128,
}

/// Whether the contract would take these orders at chain time `now`, and what it would lock.
///
/// # Errors
/// The first rule that it would name.
pub fn check_settle(
    bid: &Bid,
    bid_digest: B256,
    accept: &Accept,
    buyer: &Maker,
    provider: &Maker,
    now: u64,
) -> Result<Locked, SettleRefusal> {
    if accept.bid != bid_digest {
        return Err(SettleRefusal::WrongBid);
    }
    check_times(bid, accept, now)?;
    if bid.buyer == accept.provider {
        return Err(SettleRefusal::SameParty);
    }
    if bid.epoch != buyer.epoch {
        return Err(SettleRefusal::EpochMismatch { bid: bid.epoch, account: buyer.epoch });
    }
    check_terms(bid, accept)?;
    if provider.points < bid.min_points {
        return Err(SettleRefusal::PointsTooLow { points: provider.points, min: bid.min_points });
    }
    let escrow = u128::from(accept.rate).saturating_mul(u128::from(bid.duration));
    let bond = u128::from(accept.rate).saturating_mul(u128::from(accept.bond_seconds));
    if buyer.free < escrow {
        return Err(SettleRefusal::BuyerFunds { free: buyer.free, needed: escrow });
    }
    if provider.free < bond {
        return Err(SettleRefusal::ProviderFunds { free: provider.free, needed: bond });
    }
    Ok(Locked { escrow, bond })
}

fn check_times(bid: &Bid, accept: &Accept, now: u64) -> Result<(), SettleRefusal> {
    let (valid_until, settle_by) = (bid.valid_until, accept.settle_by);
    let latest = now.saturating_add(MAX_SETTLE_AHEAD_SECONDS);
    if now > valid_until {
        Err(SettleRefusal::BidExpired { valid_until })
    } else if now > settle_by {
        Err(SettleRefusal::AcceptExpired { settle_by })
    } else if settle_by > latest {
        Err(SettleRefusal::AcceptTooLong { settle_by, latest })
    } else {
        Ok(())
    }
}

fn check_terms(bid: &Bid, accept: &Accept) -> Result<(), SettleRefusal> {
    let (rate, max_rate) = (accept.rate, bid.max_rate);
    let (bond, min) = (accept.bond_seconds, bid.min_bond_seconds);
    let (duration, max_duration) = (bid.duration, accept.max_duration);
    let activate_within = accept.activate_within;
    let rules = [
        (rate == 0, SettleRefusal::RateZero),
        (rate > max_rate, SettleRefusal::RateTooHigh { rate, max_rate }),
        (bond < min, SettleRefusal::BondTooShort { bond, min }),
        (bond > MAX_BOND_SECONDS, SettleRefusal::BondTooLong { bond }),
        (duration < MIN_DURATION_SECONDS, SettleRefusal::DurationTooShort { duration }),
        (duration > max_duration, SettleRefusal::DurationTooLong { duration, max_duration }),
        (max_duration > MAX_DURATION_SECONDS, SettleRefusal::MaxDurationTooLong { max_duration }),
        (
            activate_within > MAX_ACTIVATE_WITHIN_SECONDS,
            SettleRefusal::ActivateWithinTooLong { activate_within },
        ),
    ];
    match rules.into_iter().find(|(broken, _)| *broken) {
        Some((_, refusal)) => Err(refusal),
        None => Ok(()),
    }
}
