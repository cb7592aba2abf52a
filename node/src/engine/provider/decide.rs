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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::samples::{ACTIVATE_BY, FUNDED_UNTIL, SETTLE_BY, promise, view};

    const PARAMS: Params = Params { fee_bps: 100, hold: 60, notice: 5, half_life_days: 90 };
    const RUNNING: Option<InstanceState> = Some(InstanceState::Running);

    struct Case {
        phase: ProviderPhase,
        state: Option<LeaseState>,
        instance: Option<InstanceState>,
        now: u64,
        give_up: bool,
    }

    impl Default for Case {
        fn default() -> Self {
            Self { phase: ProviderPhase::Leased, state: None, instance: None, now: SETTLE_BY, give_up: false }
        }
    }

    fn step(case: Case) -> Step {
        let mut promise = promise(case.phase);
        promise.give_up = case.give_up;
        let lease = case.state.map(view);
        decide(&Sight {
            promise: &promise,
            lease: lease.as_ref(),
            instance: case.instance.as_ref(),
            now: case.now,
            watched_until: case.now,
            params: &PARAMS,
            claim_every: 100,
        })
    }

    #[test]
    fn capacity_is_held_until_the_watcher_has_read_past_the_deadline() {
        let held = |now| step(Case { phase: ProviderPhase::Held, now, ..Case::default() });
        assert_eq!(held(SETTLE_BY), Step::Wait);
        assert_eq!(held(SETTLE_BY + 1), Step::Lapse);
        let promise = promise(ProviderPhase::Held);
        let behind = Sight {
            promise: &promise,
            lease: None,
            instance: None,
            now: SETTLE_BY + 1_000,
            watched_until: SETTLE_BY,
            params: &PARAMS,
            claim_every: 100,
        };
        assert_eq!(decide(&behind), Step::Wait, "the settlement may be in a block not yet read");
    }

    #[test]
    fn a_settled_lease_gets_a_machine_and_then_billing() {
        let opened = |phase, instance| {
            step(Case { phase, state: Some(LeaseState::Opened), instance, ..Case::default() })
        };
        assert_eq!(opened(ProviderPhase::Held, None), Step::NoteLeased);
        assert_eq!(opened(ProviderPhase::Leased, None), Step::Provision);
        assert_eq!(opened(ProviderPhase::Leased, Some(InstanceState::Starting)), Step::Provision);
        assert_eq!(opened(ProviderPhase::Leased, RUNNING), Step::Activate);
    }

    #[test]
    fn a_lease_that_cannot_start_is_given_up_without_its_machine() {
        let late = |instance, give_up, now| {
            step(Case { state: Some(LeaseState::Opened), instance, give_up, now, ..Case::default() })
        };
        let deadline = u64::from(ACTIVATE_BY);
        assert_eq!(late(None, true, SETTLE_BY), Step::Abort);
        assert_eq!(late(RUNNING, false, deadline), Step::Activate, "the deadline includes its last second");
        assert_eq!(late(RUNNING, false, deadline + 1), Step::Remove);
        assert_eq!(late(None, false, deadline + 1), Step::Abort);
    }

    #[test]
    fn no_second_is_worked_unpaid_and_no_machine_outlives_its_funds() {
        let active = |instance, now| {
            step(Case { state: Some(LeaseState::Active), instance, now, ..Case::default() })
        };
        let end = u64::from(FUNDED_UNTIL);
        assert_eq!(active(RUNNING, end), Step::Remove);
        assert_eq!(active(None, end), Step::Wait);
        assert_eq!(active(None, end + 59), Step::Wait);
        assert_eq!(active(None, end + 60), Step::Finish);
    }

    #[test]
    fn a_paid_machine_that_stopped_is_started_again() {
        for instance in [None, Some(InstanceState::Stopped), Some(InstanceState::Failed { reason: "x".into() })] {
            let seen = step(Case {
                state: Some(LeaseState::Active),
                instance,
                now: u64::from(FUNDED_UNTIL) - 1,
                ..Case::default()
            });
            assert_eq!(seen, Step::Provision);
        }
    }

    #[test]
    fn pay_is_claimed_when_enough_of_it_is_older_than_the_hold() {
        let paid_until = 1_000_400;
        let at = |now| step(Case { state: Some(LeaseState::Active), instance: RUNNING, now, ..Case::default() });
        assert_eq!(at(paid_until + 60 + 99), Step::Wait);
        assert_eq!(at(paid_until + 60 + 100), Step::Claim);
    }

    #[test]
    fn an_ended_lease_loses_its_machine_before_the_file_is_closed() {
        let ended = |instance| step(Case { state: Some(LeaseState::Ended), instance, ..Case::default() });
        assert_eq!(ended(RUNNING), Step::Remove);
        assert_eq!(ended(None), Step::Conclude);
    }

    #[test]
    fn a_settlement_that_a_reorganisation_took_back_loses_its_machine() {
        let none = |instance, now| {
            step(Case { state: Some(LeaseState::None), instance, now, ..Case::default() })
        };
        assert_eq!(none(RUNNING, SETTLE_BY), Step::Remove);
        assert_eq!(none(None, SETTLE_BY + 1), Step::Lapse);
    }
}
