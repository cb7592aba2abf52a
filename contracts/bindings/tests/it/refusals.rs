//! Rust's refusals as the contract says them, so that all values are compared: those that Rust carries are taken from
//! it, and the others, which are the call's own, from the call.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolError,
};
use sublet_contracts::Market as M;
use sublet_market::{
    Accept, Bid, LeaseState, SettleRefusal,
    lease::{Lease, Refusal, State},
    limits::{MAX_ACTIVATE_WITHIN_SECONDS, MAX_BOND_SECONDS, MAX_DURATION_SECONDS, MIN_DURATION_SECONDS},
};

/// One call on a lease.
pub(crate) struct Step<'a> {
    pub(crate) id: B256,
    pub(crate) lease: &'a Lease,
    pub(crate) caller: Address,
    /// Of a top-up.
    pub(crate) seconds: u32,
    pub(crate) now: u64,
}

pub(crate) fn bytes(error: &impl SolError) -> Bytes {
    error.abi_encode().into()
}

/// The first rule that two orders break.
pub(crate) fn of_orders(no: &SettleRefusal, bid: &Bid, id: B256, accept: &Accept, now: u64) -> Bytes {
    use SettleRefusal as R;
    let now = U256::from(now);
    match *no {
        R::WrongBid => bytes(&M::WrongBid { accepted: accept.bid, bid: id }),
        R::BidExpired { valid_until } => bytes(&M::BidExpired { validUntil: valid_until, nowSeconds: now }),
        R::AcceptExpired { settle_by } => bytes(&M::AcceptExpired { settleBy: settle_by, nowSeconds: now }),
        R::AcceptTooLong { settle_by, latest } => {
            bytes(&M::AcceptTooLong { settleBy: settle_by, latest: U256::from(latest) })
        }
        R::SameParty => bytes(&M::SameParty { maker: bid.buyer }),
        R::EpochMismatch { bid, account } => {
            bytes(&M::EpochMismatch { bidEpoch: bid, accountEpoch: account })
        }
        R::PointsTooLow { points, min } => bytes(&M::PointsTooLow { points, minPoints: min }),
        R::BuyerFunds { free, needed } => {
            bytes(&M::BuyerFunds { buyer: bid.buyer, free: U256::from(free), needed: U256::from(needed) })
        }
        R::ProviderFunds { free, needed } => bytes(&M::ProviderFunds {
            provider: accept.provider,
            free: U256::from(free),
            needed: U256::from(needed),
        }),
        ref terms => of_terms(terms),
    }
}

fn of_terms(no: &SettleRefusal) -> Bytes {
    use SettleRefusal as R;
    match *no {
        R::RateZero => bytes(&M::RateZero {}),
        R::RateTooHigh { rate, max_rate } => bytes(&M::RateTooHigh { rate, maxRate: max_rate }),
        R::BondTooShort { bond, min } => bytes(&M::BondTooShort { bondSeconds: bond, minBondSeconds: min }),
        R::BondTooLong { bond } => bytes(&M::BondTooLong { bondSeconds: bond, max: MAX_BOND_SECONDS }),
        R::DurationTooShort { duration } => {
            bytes(&M::DurationTooShort { duration, min: MIN_DURATION_SECONDS })
        }
        R::DurationTooLong { duration, max_duration } => {
            bytes(&M::DurationTooLong { duration, maxDuration: max_duration })
        }
        R::MaxDurationTooLong { max_duration } => {
            bytes(&M::MaxDurationTooLong { maxDuration: max_duration, max: MAX_DURATION_SECONDS })
        }
        R::ActivateWithinTooLong { activate_within } => bytes(&M::ActivateWithinTooLong {
            activateWithin: activate_within,
            max: MAX_ACTIVATE_WITHIN_SECONDS,
        }),
        ref other => panic!("{other:?} is no rule of the terms"),
    }
}

/// What a lease refuses.
pub(crate) fn of_step(no: &Refusal, step: &Step<'_>) -> Bytes {
    let (caller, lease, now) = (step.caller, step.lease, U256::from(step.now));
    match *no {
        Refusal::NotInState(needed) => {
            bytes(&M::WrongState { id: step.id, state: state_of(lease) as u8, needed: named(needed) as u8 })
        }
        Refusal::NotAllowed("buyer") => bytes(&M::NotBuyer { caller, buyer: lease.buyer }),
        Refusal::NotAllowed(_) => bytes(&M::NotProvider { caller, provider: lease.provider }),
        Refusal::ActivationMissed(by) => {
            bytes(&M::ActivationLate { activateBy: seconds32(by), nowSeconds: now })
        }
        Refusal::StillActivatable(by) => bytes(&M::AbortEarly { activateBy: seconds32(by), nowSeconds: now }),
        Refusal::FundsEnded(at) => bytes(&M::LeaseOver { fundedUntil: seconds32(at), nowSeconds: now }),
        Refusal::NotFinishable(from) => {
            bytes(&M::FinishEarly { earliest: U256::from(from), nowSeconds: now })
        }
        Refusal::BeyondMaxEnd(max_end) => {
            let end = funded_until(lease) + u64::from(step.seconds);
            bytes(&M::TopUpTooLong { fundedUntil: U256::from(end), maxEnd: seconds32(max_end) })
        }
        Refusal::NoSeconds => bytes(&M::ZeroSeconds {}),
        // When something can be claimed is Rust's to say alone: the contract's error is for a whole list.
        Refusal::NothingToClaim(_) => bytes(&M::NothingToClaim {}),
        Refusal::RejectionMissed(last) => {
            bytes(&M::RejectLate { deadline: U256::from(last), nowSeconds: now })
        }
        Refusal::DurationBeyondMax { duration, max_duration } => {
            bytes(&M::DurationTooLong { duration, maxDuration: max_duration })
        }
    }
}

/// The contract's word for where a lease is.
pub(crate) fn state_of(lease: &Lease) -> LeaseState {
    match lease.state {
        State::Opened { .. } => LeaseState::Opened,
        State::Active { .. } => LeaseState::Active,
        State::Ended(_) => LeaseState::Ended,
    }
}

fn named(state: &str) -> LeaseState {
    match state {
        "opened" => LeaseState::Opened,
        "active" => LeaseState::Active,
        other => panic!("no transition starts in a lease that is {other}"),
    }
}

fn funded_until(lease: &Lease) -> u64 {
    match lease.state {
        State::Active { funded_until, .. } => funded_until,
        State::Opened { .. } | State::Ended(_) => panic!("{lease:?} cannot be topped up"),
    }
}

fn seconds32(at: u64) -> u32 {
    u32::try_from(at).expect("before 2106")
}
