//! Two peers in memory: whatever their sets, both sides of the protocol come to the difference; and whatever
//! a hostile peer answers, the asking side ends.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use proptest::prelude::*;
use sublet_market::{Known, OrderSignature, Shard};

use super::{
    Orders, Snapshots,
    answer::{answer, compare},
    session::{Broken, Session, batches, left_of},
    snapshot::Snapshot,
    wire::{FULL_ANSWER_BYTES, MAX_DIGESTS, MAX_QUERY_BYTES, MAX_REPLY_BYTES, Request, Response},
};

type Set = BTreeSet<(u64, B256)>;

/// Numbers mixed into digests (SplitMix64): a real hash takes seconds in a build without optimisation.
fn digest(n: u64) -> B256 {
    let mut state = n;
    let mut word = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).to_be_bytes()
    };
    B256::from_slice(&[word(), word(), word(), word()].concat())
}

fn item(n: u64) -> (u64, B256) {
    (1_000 + n % 50, digest(n.wrapping_mul(0x9e37_79b9)))
}

fn set(numbers: impl IntoIterator<Item = u64>) -> Set {
    numbers.into_iter().map(item).collect()
}

struct Compared {
    needed: BTreeSet<B256>,
    rounds: usize,
    bytes: usize,
}

/// The asking side with `own`, against an honest peer with `theirs`.
fn run(own: &Set, theirs: &Set) -> Compared {
    let theirs = Snapshot::new(theirs.iter().copied()).unwrap();
    let (mut session, mut query) = Session::start(Snapshot::new(own.iter().copied()).unwrap()).unwrap();
    let (mut rounds, mut bytes) = (0, 0);
    loop {
        rounds += 1;
        assert!(query.len() <= MAX_QUERY_BYTES);
        let reply = compare(&theirs, &query).unwrap();
        assert!(reply.len() <= MAX_REPLY_BYTES);
        bytes += query.len() + reply.len();
        match session.answered(&reply).unwrap() {
            Some(next) => query = next,
            None => break,
        }
    }
    Compared { needed: session.into_needed().into_iter().collect(), rounds, bytes }
}

fn lacking(own: &Set, theirs: &Set) -> BTreeSet<B256> {
    theirs.difference(own).map(|(_, digest)| *digest).collect()
}

#[test]
fn equal_books_take_one_short_round() {
    let both = set(0..5_000);
    let compared = run(&both, &both);
    assert!(compared.needed.is_empty());
    assert_eq!(compared.rounds, 1);
    assert!(compared.bytes < 1_000, "{} bytes", compared.bytes);
}

#[test]
fn the_effort_grows_with_the_difference_and_not_with_the_books() {
    let (own, theirs) = (set(0..20_000), set((0..19_980).chain(60_000..60_020)));
    let compared = run(&own, &theirs);
    assert_eq!(compared.needed, lacking(&own, &theirs));
    // All digests alone would be 640 kB.
    assert!(compared.bytes < 50_000, "{} bytes", compared.bytes);
}

#[test]
fn whoever_has_nothing_learns_everything() {
    let theirs = set(0..30_000);
    let compared = run(&Set::new(), &theirs);
    assert_eq!(compared.needed, lacking(&Set::new(), &theirs));
    assert_eq!(run(&theirs, &Set::new()).needed, BTreeSet::new());
}

#[test]
fn books_without_a_common_order_are_compared_within_the_rounds() {
    let (own, theirs) = (set(0..10_000), set(1_000_000..1_010_000));
    let compared = run(&own, &theirs);
    assert_eq!(compared.needed.len(), 10_000);
    assert!(compared.rounds < 15, "{} rounds", compared.rounds);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_difference_is_exact(common in 0u64..1_000, own in 0u64..100, theirs in 0u64..100) {
        let ours = set((0..common).chain(10_000..10_000 + own));
        let other = set((0..common).chain(20_000..20_000 + theirs));
        prop_assert_eq!(run(&ours, &other).needed, lacking(&ours, &other));
        prop_assert_eq!(run(&other, &ours).needed, lacking(&other, &ours));
    }

    #[test]
    fn nonsense_ends_in_an_error_or_in_a_bounded_answer(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let own = Snapshot::new(set(0..500)).unwrap();
        for start in [&[][..], &[0x61]] {
            let bytes = [start, &bytes].concat();
            if let Ok(reply) = compare(&own, &bytes) {
                prop_assert!(reply.len() <= MAX_REPLY_BYTES);
            }
            let (mut session, _) = Session::start(own.clone()).unwrap();
            let _ = session.answered(&bytes);
        }
    }
}

#[test]
fn a_comparison_without_end_is_ended() {
    // Whatever we ask, the peer claims another set of orders.
    let own = Snapshot::new(set(0..1_000)).unwrap();
    let (mut session, mut query) = Session::start(own).unwrap();
    let mut fault = None;
    for round in 0..1_000u64 {
        let theirs = Snapshot::new(set(round * 100_000..round * 100_000 + 1_000)).unwrap();
        let reply = compare(&theirs, &query).unwrap();
        match session.answered(&reply) {
            Ok(Some(next)) => query = next,
            Ok(None) => return assert!(session.into_needed().len() <= 300_000),
            Err(error) => {
                fault = Some(error);
                break;
            }
        }
    }
    assert!(matches!(fault, Some(Broken::Rounds)), "{fault:?}");
}

#[test]
fn promises_without_end_are_taken_up_to_a_bound() {
    let (mut session, _) = Session::start(Snapshot::new(set(0..10)).unwrap()).unwrap();
    // Version, an infinite bound, a list of digests, and how many of them: 8,000 in base 128.
    for round in 0..40u64 {
        let mut reply = vec![0x61, 0, 0, 2, 0x80 | 62, 64];
        for n in 0..8_000 {
            reply.extend_from_slice(digest(round << 32 | n).as_slice());
        }
        // No fault: the peer may have a larger book than most.
        assert_eq!(session.answered(&reply).unwrap(), None);
    }
    assert_eq!(session.into_needed().len(), 300_000);
}

struct Shelf(BTreeMap<B256, Vec<u8>>);

impl Orders for Shelf {
    fn items(&self) -> Vec<(Shard, u64, B256)> {
        self.0.keys().map(|digest| (Shard::MAIN, 1, *digest)).collect()
    }

    fn envelopes(&self, digests: &[B256]) -> Vec<Option<Vec<u8>>> {
        digests.iter().map(|digest| self.0.get(digest).cloned()).collect()
    }

    fn unknown(&self, digests: Vec<B256>) -> Vec<B256> {
        digests.into_iter().filter(|digest| !self.0.contains_key(digest)).collect()
    }

    fn knows(&self, _: &B256, _: &OrderSignature) -> Known {
        Known::No
    }
}

#[test]
fn large_orders_come_in_several_answers_and_lost_ones_are_skipped() {
    let shelf: BTreeMap<_, _> = (0..400).map(|n| (item(n).1, vec![7; 8_000])).collect();
    let snapshots = Snapshots::new(std::sync::Arc::new(Shelf(shelf.clone())));
    let wanted: Vec<B256> = (0..600).map(|n| item(n).1).collect();
    let (mut got, mut requests) = (0, 0);
    for batch in batches(&wanted) {
        assert!(batch.len() <= MAX_DIGESTS);
        let mut asked = &batch[..];
        while !asked.is_empty() {
            requests += 1;
            let request = Request::Fetch { book: B256::ZERO, digests: asked.to_vec() };
            let Response::Orders { covered, envelopes } = answer(&snapshots, Shard::MAIN, request).unwrap()
            else {
                panic!()
            };
            assert!(envelopes.iter().map(Vec::len).sum::<usize>() < FULL_ANSWER_BYTES + 8_192);
            got += envelopes.len();
            asked = left_of(asked, covered, envelopes.len()).unwrap();
        }
    }
    assert_eq!(got, 400);
    assert!((7..=9).contains(&requests), "{requests} requests for 3.2 MB");
}

#[test]
fn an_answer_covers_what_it_says_and_never_nothing() {
    let asked: Vec<B256> = (0..3).map(|n| item(n).1).collect();
    assert_eq!(left_of(&asked, 2, 1).unwrap(), &asked[2..]);
    for (covered, envelopes) in [(0, 0), (4, 0), (2, 3)] {
        assert!(matches!(left_of(&asked, covered, envelopes), Err(Broken::Count { .. })));
    }
}
