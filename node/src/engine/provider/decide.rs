//! What to do next for one promise: a pure function of what is known, so that every case has a test.

use sublet_adapter::InstanceState;
use sublet_market::lease::Params;

use crate::{
    chain::{LeaseState, LeaseView},
    store::{Promise, ProviderPhase},
};

/// The next step for a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing now.
    Wait,
    /// The buyer never settled: free the capacity.
    Lapse,
    /// Settled: remember that the machine is owed.
    NoteLeased,
    /// Start the machine, or start it again.
    Provision,
    /// Tell the chain that the machine runs: billing starts.
    Activate,
    /// Give the lease up before it started: everything goes back to the buyer.
    Abort,
    /// Collect what is older than the hold.
    Claim,
    /// The paid time is over, or the lease has ended: remove the machine.
    Remove,
    /// Collect the rest and the bond after the hold.
    Finish,
    /// Ended and removed: close the file.
    Conclude,
}

/// All that a decision stands on. Times are chain time in seconds.
pub(super) struct Sight<'a> {
    /// What was promised.
    pub(super) promise: &'a Promise,
    /// What the chain said, if it has said anything at the wanted depth.
    pub(super) lease: Option<&'a LeaseView>,
    /// What the adapter says of the machine.
    pub(super) instance: Option<&'a InstanceState>,
    /// Now.
    pub(super) now: u64,
    /// All blocks up to this time have been read.
    pub(super) watched_until: u64,
    /// The market's parameters.
    pub(super) params: &'a Params,
    /// How many unclaimed seconds make a claim worth its gas.
    pub(super) claim_every: u64,
}

/// The next step.
pub(super) fn decide(sight: &Sight<'_>) -> Step {
    let Some(lease) = sight.lease else { return before_settlement(sight) };
    match lease.state {
        LeaseState::None => before_settlement(sight),
        LeaseState::Opened => before_activation(sight, lease),
        LeaseState::Active => while_active(sight, lease),
        LeaseState::Ended if sight.instance.is_some() => Step::Remove,
        LeaseState::Ended => Step::Conclude,
    }
}

fn before_settlement(sight: &Sight<'_>) -> Step {
    if sight.instance.is_some() {
        // A reorganisation took the settlement back after the machine was started: it is not owed.
        return Step::Remove;
    }
    let settle_by = sight.promise.accept.order.settle_by;
    // Only what the watcher has read counts: the settlement may sit in a block not yet seen.
    if sight.watched_until > settle_by && sight.now > settle_by { Step::Lapse } else { Step::Wait }
}

fn before_activation(sight: &Sight<'_>, lease: &LeaseView) -> Step {
    if sight.promise.phase != ProviderPhase::Leased {
        return Step::NoteLeased;
    }
    if sight.promise.give_up || sight.now > u64::from(lease.activate_by) {
        return if sight.instance.is_some() { Step::Remove } else { Step::Abort };
    }
    match sight.instance {
        Some(InstanceState::Running) => Step::Activate,
        _ => Step::Provision,
    }
}

fn while_active(sight: &Sight<'_>, lease: &LeaseView) -> Step {
    let funded_until = u64::from(lease.funded_until);
    if sight.now >= funded_until {
        if sight.instance.is_some() {
            return Step::Remove;
        }
        let finish_at = funded_until.saturating_add(u64::from(sight.params.hold));
        return if sight.now >= finish_at { Step::Finish } else { Step::Wait };
    }
    match sight.instance {
        Some(InstanceState::Running) => {}
        // Paid for and not running (host restarted, guest powered off): start it again, the disk is there.
        _ => return Step::Provision,
    }
    let payable = sight.now.saturating_sub(u64::from(sight.params.hold)).min(funded_until);
    if payable.saturating_sub(u64::from(lease.paid_until)) >= sight.claim_every {
        Step::Claim
    } else {
        Step::Wait
    }
}
