//! What happens to a book in the tests against an oracle: few values, so that orders meet.

use alloy_primitives::Address;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sublet_market::{Bid, Maker, Offer, Resources, Spec, Traits};

use crate::orders;

/// Makers; the last one is not known at first.
pub(crate) const PARTIES: u8 = 5;

/// Something that happens to a book. Times are relative to the present.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Offer(Offer, bool),
    Bid(Bid, Spec, bool),
    Maker(u8, Maker),
    Operator(u8, bool),
    Wait(u64),
    Expire,
    Remove(Index),
}

pub(crate) fn party(number: u8) -> Address {
    Address::repeat_byte(number + 1)
}

pub(crate) fn operator() -> Address {
    Address::repeat_byte(0x77)
}

fn traits() -> impl Strategy<Value = Traits> {
    vec(select(vec!["a=1", "a=2", "b=1", "c=1"]), 0..4).prop_map(|texts| Traits::new(texts).unwrap())
}

fn wanted() -> impl Strategy<Value = Traits> {
    vec(select(vec!["a=1", "a=2", "b=1", "c=1", "z=9"]), 0..2).prop_map(|texts| Traits::new(texts).unwrap())
}

/// Few values, some of them between two levels of the index and some on them.
fn unit() -> impl Strategy<Value = Resources> {
    let sizes = (
        1..6_u32,
        select(vec![255, 256, 300, 511, 512, 700, 1_024]),
        select(vec![0, 1, 4, 5, 40]),
        0..3_u32,
        select(vec![0, 99]),
    );
    sizes.prop_map(|(vcpus, memory_mib, disk_gib, gpus, disk_iops)| Resources {
        vcpus,
        memory_mib,
        disk_gib,
        gpus,
        disk_iops,
        net_mbps: 0,
    })
}

fn seconds() -> impl Strategy<Value = u32> {
    select(vec![300, 301, 600, 700, 1_200, 7_200])
}

fn offer() -> impl Strategy<Value = Offer> {
    let names = (0..PARTIES, 0..2_u64, 0..5_u64, 0..4_000_u64);
    let terms = (0..5_u32, 1..6_u64, select(vec![0, 15, 600, 700]), seconds(), seconds());
    (names, terms, unit(), traits()).prop_map(|(names, terms, unit, traits)| {
        let (provider, series, seq, valid_until) = names;
        let (units, price_per_second, bond_seconds, one, two) = terms;
        let (min_duration, max_duration) = (one.min(two), one.max(two));
        let provider = party(provider);
        Offer {
            provider,
            unit,
            units,
            price_per_second,
            bond_seconds,
            min_duration,
            max_duration,
            traits,
            series,
            seq,
            valid_until,
            ..orders::offer()
        }
    })
}

pub(crate) fn bid() -> impl Strategy<Value = (Bid, Spec)> {
    let names = (0..PARTIES, 0..700_u64, prop_oneof![9 => Just(0_u32), 1 => Just(1)]);
    let small = prop_oneof![
        1 => unit(),
        1 => Just(Resources { vcpus: 1, ..Resources::default() }),
    ];
    let terms =
        (1..20_u64, select(vec![0, 16, 600]), prop_oneof![3 => Just(0), 1 => 0..4_u64], seconds(), 1..4_u32);
    (names, terms, small, wanted()).prop_map(|(names, terms, unit, traits)| {
        let (buyer, valid_until, epoch) = names;
        let (max_rate, min_bond_seconds, min_points, duration, units) = terms;
        let spec = Spec { unit, units, traits, ..orders::spec() };
        let buyer = party(buyer);
        let hash = spec.hash_struct();
        let bid = Bid {
            buyer,
            spec: hash,
            max_rate,
            min_bond_seconds,
            min_points,
            duration,
            valid_until,
            epoch,
            ..orders::bid()
        };
        (bid, spec)
    })
}

/// Times are relative to the present and are made absolute when the step is taken.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let free = prop_oneof![1 => Just(0), 2 => 900..2_500_u128, 8 => 2_000..40_000_u128];
    let maker = (0..PARTIES, free, 0..3_u64, prop_oneof![9 => Just(0_u32), 1 => Just(1)]);
    let by_operator = prop_oneof![5 => Just(false), 1 => Just(true)];
    prop_oneof![
        16 => (offer(), by_operator.clone()).prop_map(|(offer, by)| Step::Offer(offer, by)),
        8 => (bid(), by_operator).prop_map(|((bid, spec), by)| Step::Bid(bid, spec, by)),
        4 => maker.prop_map(|(who, free, points, epoch)| Step::Maker(who, Maker { free, points, epoch })),
        2 => (0..PARTIES, any::<bool>()).prop_map(|(who, approved)| Step::Operator(who, approved)),
        3 => prop_oneof![9 => 0..100_u64, 1 => 0..2_000_u64].prop_map(Step::Wait),
        2 => Just(Step::Expire),
        1 => any::<Index>().prop_map(Step::Remove),
    ]
}
