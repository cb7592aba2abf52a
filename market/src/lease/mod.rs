//! Leases: the same arithmetic and the same transitions as the Market contract, so that a node can tell beforehand
//! what a call will do, and can bill without asking the chain.
//!
//! [`Lease`] holds what the contract's two slots hold. Each transition takes the lease and the time and gives
//! the next lease and its [`Flows`], or a [`Refusal`]. All integers; nothing is rounded but the fee per
//! second (up) and points (down).
//!
//! Choices where the table of DESIGN section 4 leaves one:
//! - Deadlines are inclusive: `activate` until `now == activate_by`, `abort` by anyone from the second after.
//! - `now − HOLD` saturates at 0. `claim` of nothing is [`Refusal::NothingToClaim`] here; the contract's
//!   batch skips it.
//! - What `reject` burns, of escrow and bond, joins the fees (destroyed); only payouts with the burn flag are
//!   sent to 0x…dEaD.
//! - Points: decay, then add what was earned, then cut, each rounded down to whole points; sums stop at 64 bits.

mod params;
mod points;
mod transitions;

use std::fmt;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

pub use params::{Params, ParamsError};
pub use points::{POINT_BASE_UNITS, Points};
pub use transitions::{Action, Party};

/// Why a lease is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The bid was cancelled before it was settled.
    Cancelled,
    /// It was never activated.
    Aborted,
    /// The buyer closed it.
    Closed,
    /// The buyer found no working machine.
    Rejected,
    /// The provider gave it up.
    ProviderClosed,
    /// Its funds ran out.
    Finished,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Cancelled, Self::Aborted, Self::Closed, Self::Rejected, Self::ProviderClosed, Self::Finished];

    /// The stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Aborted => "aborted",
            Self::Closed => "closed",
            Self::Rejected => "rejected",
            Self::ProviderClosed => "provider_closed",
            Self::Finished => "finished",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a lease is in its life, as the contract names it; [`State`] has the numbers as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// There is no lease with this id.
    None,
    /// Settled; the provider has to activate.
    Opened,
    /// Billed by the second.
    Active,
    /// Over, or cancelled before it began; the id is used up.
    Ended,
}

impl LeaseState {
    /// The stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Opened => "opened",
            Self::Active => "active",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a lease stands, with the numbers that count there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Settled: escrow and bond are locked, nothing is billed yet.
    Opened {
        /// Last second at which the provider may activate.
        activate_by: u64,
        /// Seconds that are paid for.
        duration: u32,
        /// Longest the lease may become, in seconds.
        max_duration: u32,
    },
    /// Billed by the second.
    Active {
        /// Unix second up to which the provider has been paid.
        paid_until: u64,
        /// Unix second at which the funds end.
        funded_until: u64,
        /// Unix second beyond which it cannot be topped up.
        max_end: u64,
    },
    /// Over; nothing is held.
    Ended(EndReason),
}

/// A lease as the contract holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// Who pays.
    pub buyer: Address,
    /// Who provides.
    pub provider: Address,
    /// Base units per second.
    pub rate: u64,
    /// Bond, in seconds of the rate.
    pub bond_seconds: u32,
    /// Whether the provider's earnings are burned.
    pub burn: bool,
    /// Where it stands.
    pub state: State,
}

/// What a transition moves, in base units but for the points. What leaves a lease adds up to what it held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flows {
    /// From the buyer's free balance into the lease.
    pub escrow_in: u128,
    /// From the provider's free balance into the bond.
    pub bond_in: u128,
    /// Net pay to the provider's free balance.
    pub to_provider: u128,
    /// Net pay that the burn flag sends to the bucket of payouts.
    pub to_payout_bucket: u128,
    /// Fee, to the bucket of fees.
    pub fee: u128,
    /// Escrow that `reject` burns, to the bucket of fees.
    pub burned: u128,
    /// Escrow back to the buyer's free balance.
    pub to_buyer: u128,
    /// Bond back to the provider's free balance.
    pub bond_to_provider: u128,
    /// Bond to the buyer's free balance.
    pub bond_to_buyer: u128,
    /// Bond that `reject` burns, to the bucket of fees.
    pub bond_burned: u128,
    /// Points that the provider earns.
    pub points_earned: u64,
    /// Points that the provider loses, after earning.
    pub points_cut: u64,
}

impl Flows {
    /// What goes into the lease, escrow and bond.
    pub fn total_in(&self) -> u128 {
        self.escrow_in.saturating_add(self.bond_in)
    }

    /// What leaves the lease, wherever to.
    pub fn total_out(&self) -> u128 {
        let pay = [self.to_provider, self.to_payout_bucket, self.fee, self.burned, self.to_buyer];
        let bond = [self.bond_to_provider, self.bond_to_buyer, self.bond_burned];
        pay.into_iter().chain(bond).fold(0, u128::saturating_add)
    }
}

/// Why a transition is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The lease is not where the transition starts.
    #[error("the lease is not {0}: check its state first")]
    NotInState(&'static str),
    /// The caller is not the party who may do this.
    #[error("only the {0} may do this: call from its account or an operator of it")]
    NotAllowed(&'static str),
    /// Too late to activate.
    #[error("activation was due by {0}: the buyer may abort now")]
    ActivationMissed(u64),
    /// Too early for anyone but the provider to abort.
    #[error("the provider may still activate until {0}: abort after that")]
    StillActivatable(u64),
    /// The funds have ended.
    #[error("funds ended at {0}: settle a new bid")]
    FundsEnded(u64),
    /// The funds have not ended, or HOLD has not passed since.
    #[error("the lease can be finished from {0} on: wait until then")]
    NotFinishable(u64),
    /// The top-up goes beyond what was agreed.
    #[error("the lease cannot go beyond {0}: top up by less")]
    BeyondMaxEnd(u64),
    /// A top-up of nothing.
    #[error("a top-up of 0 s: add at least one second")]
    NoSeconds,
    /// Nothing is old enough to be claimed.
    #[error("nothing is due yet: claim from {0} on, unless all has been paid")]
    NothingToClaim(u64),
    /// Too late to reject.
    #[error("a lease could be rejected until {0}: it can be finished now")]
    RejectionMissed(u64),
    /// Orders that cannot become a lease.
    #[error("the lease would last {duration} s of at most {max_duration} s: agree on a longer one")]
    DurationBeyondMax {
        /// Seconds bid for.
        duration: u32,
        /// Seconds accepted at most.
        max_duration: u32,
    },
}
