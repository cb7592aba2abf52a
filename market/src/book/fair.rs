//! Fair search once a flood has used up the budget: every maker gets the same number of tests.

use alloy_primitives::B256;

use super::index::Budget;
use super::makers::{Kind, Makers};

/// What a search may spend in turns over the makers when its budget is spent, in tests of one order.
pub const FAIR_TESTS: usize = 16_384;

/// Orders passed over for the price of a test, because they have ended or their maker's balance does not cover them.
const PASSED_FOR_A_TEST: usize = 16;

/// One order of each maker, then another of each, in an order that the seed picks, until the tests are spent. `counts`
/// tells which orders may be answered at all; `test` is given the number of one and gives what looking at it cost.
pub(super) fn in_turns(
    makers: &Makers,
    kind: Kind,
    seed: B256,
    counts: impl Fn(u32) -> bool,
    mut test: impl FnMut(u32) -> usize,
) {
    let part = |at: usize| usize::from(u16::from_be_bytes([seed[at], seed[at + 1]]));
    let list = shuffled(makers.with_funded(kind), part(0) << 16 | part(2), part(4) << 16 | part(6));
    let shift = part(8);
    let mut budget = Budget(FAIR_TESTS);
    let mut turns: Vec<(u32, usize)> = list.into_iter().map(|maker| (maker, 0)).collect();
    while !turns.is_empty() {
        for (maker, next) in &mut turns {
            let orders = &makers.slot(*maker).orders[kind as usize];
            let order = |at: usize| orders[(at + shift) % orders.len()];
            let passed = (*next..orders.len()).take_while(|at| !counts(order(*at))).count();
            *next += passed;
            let tested = if *next < orders.len() { test(order(*next)) } else { 0 };
            *next += 1;
            if !budget.spend(tested + passed.div_ceil(PASSED_FOR_A_TEST)) {
                return;
            }
        }
        turns.retain(|(maker, next)| *next < makers.slot(*maker).orders[kind as usize].len());
    }
}

/// The list by strides: when there are more makers than tests, a maker is no more likely to be left out for the address
/// that it has, or that its neighbours have chosen.
fn shuffled(list: Vec<u32>, start: usize, stride: usize) -> Vec<u32> {
    let count = list.len().max(1);
    let coprime = |stride: &usize| gcd(*stride, count) == 1;
    let stride = (stride % count..).find(coprime).unwrap_or(1);
    (0..list.len()).map(|i| list[(start % count + i * stride) % count]).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256, keccak256};

    use super::*;
    use crate::rule::Maker;

    const FLOOR: u128 = 1_000;

    /// A maker that lists so many orders, of which the last counts.
    fn add(makers: &mut Makers, number: u32, free: u128, orders: u32) {
        let address = Address::from_word(U256::from(number).into());
        let id = makers.set(address, Maker { free, ..Maker::default() });
        for order in 0..orders {
            makers.list(id, Kind::Offers, number * 1_000 + order);
            makers.count(id, Kind::Offers, true);
        }
    }

    fn tested(makers: &Makers, counts: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut tested = Vec::new();
        in_turns(makers, Kind::Offers, keccak256("a bid"), counts, |order| {
            tested.push(order);
            1
        });
        tested
    }

    #[test]
    fn makers_whose_balance_has_gone_take_no_turns() {
        let mut makers = Makers::new(FLOOR);
        (1..=20_000).for_each(|number| add(&mut makers, number, FLOOR - 1, 1));
        add(&mut makers, 20_001, FLOOR, 1);
        assert_eq!(tested(&makers, |_| true), [20_001_000]);
    }

    #[test]
    fn series_that_have_ended_take_no_turns() {
        let mut makers = Makers::new(FLOOR);
        (1..=200).for_each(|number| add(&mut makers, number, FLOOR, 500));
        let mut orders = tested(&makers, |order| order % 1_000 == 499);
        orders.sort_unstable();
        assert_eq!(orders, (1..=200).map(|number| number * 1_000 + 499).collect::<Vec<_>>());
    }

    #[test]
    fn every_maker_has_a_turn_and_no_place_is_always_the_last() {
        for count in [0_u32, 1, 2, 6, 97, 100] {
            let mut lasts = std::collections::BTreeSet::new();
            for seed in 0_u32..200 {
                let seed = keccak256(seed.to_be_bytes());
                let part = |at: usize| usize::from(seed[at]) << 8 | usize::from(seed[at + 1]);
                let mut list = shuffled((0..count).collect(), part(0), part(2));
                lasts.extend(list.last().copied());
                list.sort_unstable();
                assert_eq!(list, (0..count).collect::<Vec<_>>());
            }
            assert!(lasts.len() >= (count as usize).min(30), "{count}: {lasts:?}");
        }
    }
}
