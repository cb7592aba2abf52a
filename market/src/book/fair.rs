//! What a search does when a flood has used up its budget: every maker has the same number of turns.

use alloy_primitives::B256;

use super::index::Budget;
use super::makers::{Kind, Makers};

/// Orders that a search tests in turns over their makers when its budget is spent, and turns of makers who have none
/// left to test.
pub const FAIR_TESTS: usize = 16_384;

/// One order of each maker, then another of each, in an order that the seed picks, until the tests are spent. `test` is
/// given the number of an order and gives what looking at it cost.
pub(super) fn in_turns(makers: &Makers, kind: Kind, seed: B256, mut test: impl FnMut(u32) -> usize) {
    let part = |at: usize| usize::from(u16::from_be_bytes([seed[at], seed[at + 1]]));
    let mut list = shuffled(makers.with_live(kind), part(0) << 16 | part(2), part(4) << 16 | part(6));
    let shift = part(8);
    let mut budget = Budget(FAIR_TESTS);
    let mut turn = 0;
    while !list.is_empty() {
        for maker in &list {
            let orders = &makers.slot(*maker).orders[kind as usize];
            if !budget.spend(test(orders[(turn + shift) % orders.len()])) {
                return;
            }
        }
        turn += 1;
        list.retain(|maker| makers.slot(*maker).orders[kind as usize].len() > turn);
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
    use alloy_primitives::keccak256;

    use super::*;

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
