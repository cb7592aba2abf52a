//! No token appears or disappears in the life of a lease, whatever happens in whatever order.

use alloy_primitives::{Address, B256};
use proptest::collection::vec;
use proptest::prelude::*;
use sublet_market::lease::{
    Action, EndReason, Flows, Lease, POINT_BASE_UNITS, Params, Party, Refusal, State,
};
use sublet_market::{Accept, Bid};

const START: u64 = 1_800_000_000;

fn lease(rate: u64, duration: u32, max_duration: u32, bond_seconds: u32, burn: bool) -> (Lease, Flows) {
    let bid = Bid { max_rate: rate, duration, ..crate::orders::bid() };
    let accept = Accept { rate, bond_seconds, max_duration, burn, ..lease_accept() };
    Lease::open(&bid, &accept, START).unwrap()
}

/// A lease of 1 CTK per 1,000 s for an hour, activated 100 s after it was settled.
fn active() -> (Lease, u64) {
    let (opened, _) = lease(1_000_000_000_000_000, 3_600, 7_200, 600, false);
    (opened.activate(START + 100).unwrap().0, START + 100)
}

fn params() -> impl Strategy<Value = Params> {
    (10..=500_u16, 60..=3_600_u32, 0..=600_u32, 7..=365_u16).prop_map(
        |(fee_bps, hold, notice, half_life_days)| Params {
            fee_bps,
            hold,
            notice: notice.min(hold),
            half_life_days,
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => Just(Action::Activate),
        4 => Just(Action::Claim),
        2 => (0..5_000_u32).prop_map(Action::TopUp),
        1 => prop_oneof![
            Just(Action::Abort), Just(Action::Close), Just(Action::Reject), Just(Action::ProviderClose), Just(Action::Finish),
        ],
    ]
}

fn bond_locked(lease: &Lease) -> u128 {
    if matches!(lease.state, State::Ended(_)) { 0 } else { lease.bond() }
}

proptest! {
    #[test]
    fn what_went_in_is_held_or_went_out(
        params in params(), rate in 1..=u64::MAX, duration in 300..20_000_u32, more in 0..20_000_u32,
        bond_seconds in 0..=86_400_u32, burn in any::<bool>(),
        steps in vec((action(), prop_oneof![Just(Party::Buyer), Just(Party::Provider), Just(Party::Other)], 0..2_000_u64), 1..40),
    ) {
        prop_assert_eq!(params.check(), Ok(()));
        let (mut lease, opened) = lease(rate, duration, duration + more, bond_seconds, burn);
        let (mut total_in, mut total_out, mut now) = (opened.total_in(), 0, START);
        for (action, by, wait) in steps {
            now += wait;
            let before = lease;
            let Ok((after, flows)) = lease.apply(action, by, now, &params) else { continue };
            total_in += flows.total_in();
            total_out += flows.total_out();
            lease = after;
            prop_assert_eq!(total_in, total_out + lease.held() + bond_locked(&lease), "{:?}", action);
            prop_assert_eq!(burn, lease.burn);
            let other_way = if burn { flows.to_provider } else { flows.to_payout_bucket };
            prop_assert_eq!(other_way, 0);
            prop_assert!(!matches!(before.state, State::Ended(_)), "nothing follows the end");
        }
    }

    #[test]
    fn claims_on_the_way_change_nothing_in_the_end(
        params in params(), rate in 1..=u64::MAX, waits in vec(1..900_u64, 0..12),
        end in prop_oneof![Just(Action::Close), Just(Action::Reject), Just(Action::ProviderClose), Just(Action::Finish)],
    ) {
        let (opened, _) = lease(rate, 3_600, 3_600, 600, false);
        let quiet = opened.activate(START).unwrap().0;
        let (mut claimed, mut now, mut pay, mut fee) = (quiet, START, 0, 0);
        for wait in waits {
            now += wait;
            if let Ok((next, flows)) = claimed.claim(now, &params) {
                (claimed, pay, fee) = (next, pay + flows.to_provider, fee + flows.fee);
            }
        }
        let by = if end == Action::ProviderClose { Party::Provider } else { Party::Buyer };
        match (quiet.apply(end, by, now, &params), claimed.apply(end, by, now, &params)) {
            (Ok((one, direct)), Ok((other, last))) => {
                prop_assert_eq!(one, other);
                prop_assert_eq!(direct.to_provider, pay + last.to_provider);
                prop_assert_eq!(direct.fee, fee + last.fee);
                prop_assert_eq!((direct.to_buyer, direct.burned), (last.to_buyer, last.burned));
                prop_assert_eq!(direct.points_cut, last.points_cut);
            }
            (one, other) => prop_assert_eq!(one.is_err(), other.is_err()),
        }
    }

    #[test]
    fn a_provider_is_never_paid_for_time_to_come_beyond_the_notice(
        params in params(), used in 0..8_000_u64, end in prop_oneof![Just(Action::Close), Just(Action::Reject), Just(Action::Claim)],
    ) {
        let (lease, start) = active();
        let now = start + used;
        if let Ok((_, flows)) = lease.apply(end, Party::Buyer, now, &params) {
            let billed = used + u64::from(params.notice);
            prop_assert!(flows.to_provider + flows.fee <= u128::from(lease.rate) * u128::from(billed));
            let ends = [flows.to_provider, flows.fee, flows.burned, flows.to_buyer].iter().sum::<u128>();
            prop_assert!(ends <= u128::from(lease.rate) * 3_600);
        }
    }
}

#[test]
fn closing_bills_the_notice_and_returns_the_rest() {
    let (lease, start) = active();
    let (ended, flows) = lease.close(start + 1_000, &Params::default()).unwrap();
    assert_eq!(ended.state, State::Ended(EndReason::Closed));
    let rate = u128::from(lease.rate);
    assert_eq!(flows.fee, rate / 100 * 1_060);
    assert_eq!(flows.to_provider + flows.fee, rate * 1_060);
    assert_eq!(flows.to_buyer, rate * (3_600 - 1_060));
    assert_eq!(flows.bond_to_provider, rate * 600);
    assert_eq!(u128::from(flows.points_earned), flows.fee / POINT_BASE_UNITS);
    assert_eq!(ended.held(), 0);
}

#[test]
fn rejecting_burns_the_last_hold_and_as_much_of_the_bond() {
    let (lease, start) = active();
    let rate = u128::from(lease.rate);
    let (_, early) = lease.reject(start + 100, &Params::default()).unwrap();
    assert_eq!((early.to_provider, early.burned), (0, rate * 160));
    assert_eq!((early.bond_burned, early.bond_to_provider), (rate * 160, rate * 440));
    assert_eq!(early.to_buyer, rate * (3_600 - 160));
    let (_, late) = lease.reject(start + 2_000, &Params::default()).unwrap();
    assert_eq!(late.to_provider + late.fee, rate * 1_400);
    assert_eq!((late.burned, late.bond_burned), (rate * 660, rate * 600));
    assert_eq!(u128::from(late.points_cut), rate * 600 / POINT_BASE_UNITS);
    let last = start + 3_600 + 599;
    assert!(lease.reject(last, &Params::default()).is_ok());
    assert_eq!(lease.reject(last + 1, &Params::default()), Err(Refusal::RejectionMissed(last + 1)));
    assert!(lease.finish(last + 1, &Params::default()).is_ok());
    assert_eq!(lease.finish(last, &Params::default()), Err(Refusal::NotFinishable(last + 1)));
}

#[test]
fn a_lease_that_is_not_activated_goes_back_with_the_bond() {
    let (lease, opened) = lease(7, 300, 300, 60, false);
    assert_eq!((opened.escrow_in, opened.bond_in), (2_100, 420));
    assert!(lease.activate(START + 600).is_ok());
    assert_eq!(lease.activate(START + 601), Err(Refusal::ActivationMissed(START + 600)));
    assert_eq!(lease.abort(Party::Other, START + 600), Err(Refusal::StillActivatable(START + 600)));
    assert!(lease.abort(Party::Provider, START).is_ok());
    let (ended, flows) = lease.abort(Party::Other, START + 601).unwrap();
    assert_eq!(ended.state, State::Ended(EndReason::Aborted));
    assert_eq!((flows.to_buyer, flows.bond_to_buyer), (2_100, 420));
}

#[test]
fn top_ups_stay_within_the_agreed_end() {
    let (lease, start) = active();
    let (longer, flows) = lease.top_up(3_600, start).unwrap();
    assert_eq!(flows.escrow_in, u128::from(lease.rate) * 3_600);
    assert_eq!(longer.top_up(1, start), Err(Refusal::BeyondMaxEnd(start + 7_200)));
    assert_eq!(lease.top_up(0, start), Err(Refusal::NoSeconds));
    assert_eq!(lease.top_up(1, start + 3_600), Err(Refusal::FundsEnded(start + 3_600)));
    assert_eq!(
        lease.provider_close(start + 3_600, &Params::default()),
        Err(Refusal::FundsEnded(start + 3_600))
    );
}

#[test]
fn only_what_is_older_than_hold_can_be_claimed() {
    let (lease, start) = active();
    let params = Params::default();
    assert_eq!(lease.claim(start + 600, &params), Err(Refusal::NothingToClaim(start + 601)));
    assert_eq!(lease.claimable(start + 601, &params), u128::from(lease.rate));
    assert_eq!(lease.accrued(start + 601), u128::from(lease.rate) * 601);
    let (claimed, _) = lease.claim(start + 100_000, &params).unwrap();
    assert_eq!(claimed.held(), 0);
    let everyone_may = lease.apply(Action::Claim, Party::Other, start + 700, &params);
    assert!(everyone_may.is_ok());
    assert_eq!(
        lease.apply(Action::Close, Party::Provider, start, &params),
        Err(Refusal::NotAllowed("buyer"))
    );
    assert_eq!(
        lease.apply(Action::ProviderClose, Party::Buyer, start, &params),
        Err(Refusal::NotAllowed("provider"))
    );
}

#[test]
fn a_lease_longer_than_accepted_is_refused() {
    let bid = Bid { duration: 7_201, ..crate::orders::bid() };
    let accept = Accept { max_duration: 7_200, ..lease_accept() };
    let refusal = Refusal::DurationBeyondMax { duration: 7_201, max_duration: 7_200 };
    assert_eq!(Lease::open(&bid, &accept, START), Err(refusal));
}

fn lease_accept() -> Accept {
    Accept {
        bid: B256::repeat_byte(1),
        offer: B256::repeat_byte(2),
        provider: Address::repeat_byte(0xaa),
        node: B256::repeat_byte(3),
        rate: 1,
        bond_seconds: 600,
        activate_within: 600,
        max_duration: 7_200,
        burn: false,
        settle_by: START + 300,
    }
}
