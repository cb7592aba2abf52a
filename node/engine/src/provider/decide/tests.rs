use super::*;
use crate::samples::{ACTIVATE_BY, FUNDED_UNTIL, PARAMS, SETTLE_BY, promise, view};

const WORTH: Worth = Worth { seconds: 100, amount: 1_000 };
const RUNNING: Option<InstanceState> = Some(InstanceState::Running);

struct Case {
    phase: ProviderPhase,
    state: Option<LeaseState>,
    instance: Option<InstanceState>,
    now: u64,
    give_up: bool,
    closing: bool,
    ended: bool,
    offline: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            phase: ProviderPhase::Leased,
            state: None,
            instance: None,
            now: SETTLE_BY,
            give_up: false,
            closing: false,
            ended: false,
            offline: false,
        }
    }
}

fn step(case: Case) -> Step {
    let mut promise = promise(case.phase);
    promise.instance = Some("qemu-1".into());
    promise.give_up = case.give_up;
    promise.closing = case.closing;
    let lease = case.state.map(view);
    decide(&Facts {
        promise: &promise,
        lease: lease.as_ref(),
        instance: case.instance.as_ref(),
        now: case.now,
        watched_until: case.now,
        offline: case.offline,
        params: &PARAMS,
        ended: case.ended,
        worth: WORTH,
        backoff: 300,
    })
}

#[test]
fn capacity_is_held_until_the_watcher_has_read_past_the_deadline() {
    let held = |now| step(Case { phase: ProviderPhase::Held, now, ..Case::default() });
    assert_eq!(held(SETTLE_BY), Step::Wait);
    assert_eq!(held(SETTLE_BY + 1), Step::Lapse);
    let promise = promise(ProviderPhase::Held);
    let behind = Facts {
        promise: &promise,
        lease: None,
        instance: None,
        now: SETTLE_BY + 1_000,
        watched_until: SETTLE_BY,
        offline: false,
        params: &PARAMS,
        ended: false,
        worth: WORTH,
        backoff: 300,
    };
    assert_eq!(decide(&behind), Step::Wait, "the settlement may be in a block not yet read");
}

#[test]
fn what_its_operator_gives_up_ends_whatever_runs() {
    let closing =
        |state, instance| step(Case { state: Some(state), instance, closing: true, ..Case::default() });
    assert_eq!(closing(LeaseState::Opened, RUNNING), Step::Remove);
    assert_eq!(closing(LeaseState::Opened, None), Step::Abort);
    assert_eq!(closing(LeaseState::Active, RUNNING), Step::GiveUp);
    assert_eq!(closing(LeaseState::Active, None), Step::GiveUp);
    let unseen = Case {
        state: Some(LeaseState::Active),
        instance: RUNNING,
        closing: true,
        offline: true,
        ..Case::default()
    };
    assert_eq!(step(unseen), Step::Pause, "the chain cannot be told");
}

#[test]
fn a_settled_lease_gets_a_machine_and_then_billing() {
    let opened =
        |phase, instance| step(Case { phase, state: Some(LeaseState::Opened), instance, ..Case::default() });
    assert_eq!(opened(ProviderPhase::Held, None), Step::NoteLeased);
    assert_eq!(opened(ProviderPhase::Leased, None), Step::Provision);
    assert_eq!(opened(ProviderPhase::Leased, Some(InstanceState::Starting)), Step::Provision);
    assert_eq!(opened(ProviderPhase::Leased, RUNNING), Step::Activate);
}

#[test]
fn a_machine_that_nobody_noted_is_asked_for_before_anything_is_billed() {
    let promise = promise(ProviderPhase::Leased);
    for state in [LeaseState::Opened, LeaseState::Active] {
        let lease = view(state);
        let facts = Facts {
            promise: &promise,
            lease: Some(&lease),
            instance: RUNNING.as_ref(),
            now: SETTLE_BY,
            watched_until: SETTLE_BY,
            offline: false,
            params: &PARAMS,
            ended: false,
            worth: WORTH,
            backoff: 300,
        };
        assert_eq!(decide(&facts), Step::Provision);
    }
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
    let active =
        |instance, now| step(Case { state: Some(LeaseState::Active), instance, now, ..Case::default() });
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
fn without_sight_of_the_chain_a_machine_is_stopped_not_removed_and_comes_back() {
    let now = u64::from(FUNDED_UNTIL) - 1;
    let active = |instance, offline| {
        step(Case { state: Some(LeaseState::Active), instance, now, offline, ..Case::default() })
    };
    assert_eq!(active(RUNNING, true), Step::Pause);
    assert_eq!(active(Some(InstanceState::Starting), true), Step::Pause);
    assert_eq!(active(Some(InstanceState::Stopped), true), Step::Wait);
    assert_eq!(active(Some(InstanceState::Stopped), false), Step::Provision);
    let over = step(Case {
        state: Some(LeaseState::Active),
        instance: RUNNING,
        now: u64::from(FUNDED_UNTIL),
        offline: true,
        ..Case::default()
    });
    assert_eq!(over, Step::Remove, "unpaid is unpaid");
}

#[test]
fn a_machine_that_cannot_be_brought_back_is_not_billed() {
    let now = u64::from(FUNDED_UNTIL) - 1;
    let broken = |instance| {
        step(Case { state: Some(LeaseState::Active), instance, now, give_up: true, ..Case::default() })
    };
    assert_eq!(broken(None), Step::GiveUp);
    assert_ne!(broken(RUNNING), Step::GiveUp);
}

#[test]
fn a_lapsed_promise_goes_when_its_buyer_may_ask_again_and_serves_a_late_settlement() {
    let lapsed = |state, now| step(Case { phase: ProviderPhase::Lapsed, state, now, ..Case::default() });
    assert_eq!(lapsed(None, SETTLE_BY + 300), Step::Wait);
    assert_eq!(lapsed(None, SETTLE_BY + 301), Step::Retire);
    assert_eq!(lapsed(Some(LeaseState::Opened), SETTLE_BY + 10), Step::NoteLeased);
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
    let over =
        |instance, ended| step(Case { state: Some(LeaseState::Ended), instance, ended, ..Case::default() });
    assert_eq!(over(RUNNING, true), Step::Remove);
    assert_eq!(over(None, false), Step::Wait, "not yet deep enough");
    assert_eq!(over(None, true), Step::Conclude);
}

#[test]
fn a_settlement_that_a_reorganisation_took_back_loses_its_machine() {
    let none = |instance, now| step(Case { state: Some(LeaseState::None), instance, now, ..Case::default() });
    assert_eq!(none(RUNNING, SETTLE_BY), Step::Wait, "it may come back");
    assert_eq!(none(RUNNING, SETTLE_BY + 1), Step::Remove);
    assert_eq!(none(None, SETTLE_BY + 1), Step::Lapse);
}

#[test]
fn a_claim_is_made_when_it_is_worth_its_gas() {
    let lease = view(LeaseState::Active);
    let after = |seconds: u64| u64::from(lease.paid_until) + u64::from(PARAMS.hold) + seconds;
    let worth = |seconds, amount| Worth { seconds, amount };
    assert!(!worth(100, 0).is_met(&lease, after(99), &PARAMS));
    assert!(worth(100, 0).is_met(&lease, after(100), &PARAMS));
    let rate = u128::from(lease.rate);
    assert!(!worth(0, rate * 200).is_met(&lease, after(199), &PARAMS));
    assert!(worth(0, rate * 200).is_met(&lease, after(200), &PARAMS));
    assert!(!worth(0, 0).is_met(&lease, after(0), &PARAMS), "nothing is never worth it");
    assert!(worth(100, rate * 100).beside_another().is_met(&lease, after(25), &PARAMS));
    assert!(!worth(0, 0).is_met(&view(LeaseState::Opened), after(100), &PARAMS));
}
