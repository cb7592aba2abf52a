//! Orders that are not what was signed: every field of both, one at a time.
//!
//! The fields are those of the types that are signed, so that one that is added there has to be altered here too; which
//! one was altered is read off the words of the call.

use std::collections::BTreeMap;

use alloy::{primitives::Address, sol_types::SolValue as _};
use sublet_contracts::IMarket;
use sublet_market::{
    Accept, Bid, Order, Signed,
    orders::{ACCEPT_TYPE, BID_TYPE},
};

use crate::{
    Random, Tally,
    orders::{NOW, good, makers},
    seed, times,
    world::{STRANGER, Trade, World},
};

/// In each, every field is altered in every way.
const ROUNDS: u64 = 8;

/// What is signed, and what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// Signed as it should be and sent altered. A bid is altered before its accept is signed, which is for
    /// what it became.
    Spoiled,
    /// Signed altered and sent as it should be: no rule is broken, so that the signature alone can tell.
    Mended,
    /// A bid that was altered after its accept was signed.
    Late,
}

/// A signed type, one of its fields, and what is done to it.
type Case = (&'static str, &'static str, Way);

fn fields(of: &'static str) -> impl Iterator<Item = &'static str> {
    let (_, list) = of.strip_suffix(')').and_then(|of| of.split_once('(')).expect("a type");
    list.split(',').map(|field| field.split_once(' ').expect("a type and a name").1)
}

fn cases() -> impl Iterator<Item = Case> {
    let all = |of, ways: &'static [Way]| {
        fields(of).flat_map(move |field| ways.iter().map(move |way| (of, field, *way)))
    };
    all(BID_TYPE, &[Way::Spoiled, Way::Mended, Way::Late])
        .chain(all(ACCEPT_TYPE, &[Way::Spoiled, Way::Mended]))
}

/// One more, one less, or a bit.
fn number(random: &mut Random, was: &mut u64) {
    *was = match random.within(0, 3) {
        0 => was.wrapping_add(1),
        1 => was.wrapping_sub(1),
        _ => *was ^ (1 << random.within(0, 63)),
    };
}

fn number32(random: &mut Random, was: &mut u32) {
    *was = match random.within(0, 3) {
        0 => was.wrapping_add(1),
        1 => was.wrapping_sub(1),
        _ => *was ^ (1 << random.within(0, 31)),
    };
}

fn flip(random: &mut Random, bytes: &mut [u8]) {
    let bits = u64::try_from(bytes.len() * 8).expect("small");
    let bit = usize::try_from(random.within(0, bits - 1)).expect("small");
    bytes[bit / 8] ^= 1 << (bit % 8);
}

/// Another maker, an operator, somebody of whom the chain knows nothing, or almost the same address.
fn address(random: &mut Random, was: &mut Address, world: &World) {
    let mut near = *was;
    flip(random, near.as_mut_slice());
    let known = world.owners.iter().flat_map(|o| [o.key.address(), o.operator.address()]);
    let mut others: Vec<Address> = known.chain([near, STRANGER]).collect();
    others.retain(|other| other != was);
    *was = *random.pick(&others);
}

fn alter_bid(random: &mut Random, bid: &mut Bid, field: &str, world: &World) {
    match field {
        "buyer" => address(random, &mut bid.buyer, world),
        "settler" => address(random, &mut bid.settler, world),
        "spec" => flip(random, bid.spec.as_mut_slice()),
        "node" => flip(random, bid.node.as_mut_slice()),
        "maxRate" => number(random, &mut bid.max_rate),
        "minBondSeconds" => number32(random, &mut bid.min_bond_seconds),
        "minPoints" => number(random, &mut bid.min_points),
        "duration" => number32(random, &mut bid.duration),
        "validUntil" => number(random, &mut bid.valid_until),
        "epoch" => number32(random, &mut bid.epoch),
        "salt" => number(random, &mut bid.salt),
        other => panic!("a bid's {other} is never altered"),
    }
}

fn alter_accept(random: &mut Random, accept: &mut Accept, field: &str, world: &World) {
    match field {
        "bid" => flip(random, accept.bid.as_mut_slice()),
        "offer" => flip(random, accept.offer.as_mut_slice()),
        "provider" => address(random, &mut accept.provider, world),
        "node" => flip(random, accept.node.as_mut_slice()),
        "rate" => number(random, &mut accept.rate),
        "bondSeconds" => number32(random, &mut accept.bond_seconds),
        "activateWithin" => number32(random, &mut accept.activate_within),
        "maxDuration" => number32(random, &mut accept.max_duration),
        "burn" => accept.burn = !accept.burn,
        "settleBy" => number(random, &mut accept.settle_by),
        other => panic!("an accept's {other} is never altered"),
    }
}

/// Two orders that fit, one of them altered: as they are signed, and what is sent under these signatures.
fn pair(random: &mut Random, world: &World, (of, field, way): Case) -> [Trade; 2] {
    let domain = &world.chain.domain;
    let (mut bid, mut accept) = good(random, &makers(), 0);
    bid.settler = *random.pick(&[bid.buyer, STRANGER]);
    let altered = usize::from(way != Way::Mended);
    let mut bids = [bid.clone(), bid];
    if of == BID_TYPE {
        alter_bid(random, &mut bids[altered], field, world);
    }
    accept.bid = bids[usize::from(way != Way::Late)].digest(domain);
    let mut accepts = [accept.clone(), accept];
    if of == ACCEPT_TYPE {
        alter_accept(random, &mut accepts[altered], field, world);
    }
    let mut key = |at: usize| {
        let owner = &world.owners[at];
        if random.once_in(3) { owner.operator.clone() } else { owner.key.clone() }
    };
    let signed =
        Trade { bid: key(0).sign(bids[0].clone(), domain), accept: key(1).sign(accepts[0].clone(), domain) };
    let [_, bid] = bids;
    let [_, accept] = accepts;
    let sent = Trade {
        bid: Signed { order: bid, ..signed.bid.clone() },
        accept: Signed { order: accept, ..signed.accept.clone() },
    };
    [signed, sent]
}

/// All fields in which the words of two trades differ.
fn altered_fields(one: &Trade, other: &Trade) -> Vec<(&'static str, &'static str)> {
    let words = |trade: &Trade| {
        let bid = IMarket::Bid::from(&trade.bid.order).abi_encode();
        [bid, IMarket::Accept::from(&trade.accept.order).abi_encode()].concat()
    };
    let (one, other) = (words(one), words(other));
    let all: Vec<_> =
        [BID_TYPE, ACCEPT_TYPE].iter().flat_map(|of| fields(of).map(|field| (*of, field))).collect();
    assert_eq!(one.len(), all.len() * 32, "a word for each field");
    let words = one.chunks(32).zip(other.chunks(32));
    all.into_iter().zip(words).filter(|(_, (one, other))| one != other).map(|(field, _)| field).collect()
}

/// What both must say, where that does not depend on what a field became.
fn expected((of, _, way): Case) -> Option<&'static str> {
    match way {
        Way::Spoiled => None,
        Way::Mended if of == BID_TYPE => Some("BidSignatureInvalid"),
        Way::Mended => Some("AcceptSignatureInvalid"),
        Way::Late => Some("WrongBid"),
    }
}

/// Makers of whom none is short of money.
fn rich_world(random: &mut Random) -> World {
    let mut world = World::new(random);
    world.chain.set_time(NOW);
    for owner in &mut world.owners {
        owner.free += 1 << 60;
        world.chain.fund(owner.key.address(), 1 << 60);
    }
    world
}

#[test]
fn no_field_can_be_altered_once_it_is_signed() {
    let mut random = Random::new(seed() ^ 2);
    let mut world = rich_world(&mut random);
    let (mut tally, mut altered) = (Tally::default(), BTreeMap::<Case, u64>::new());
    for (round, case) in (0..ROUNDS * times()).flat_map(|round| cases().map(move |case| (round, case))) {
        let [signed, sent] = pair(&mut random, &world, case);
        let said = format!("{case:?} in round {round} of seed {}", seed());
        let (may, might) = (sent.bid.order.settler, signed.bid.order.settler);
        let caller = if case.2 == Way::Spoiled && round % 2 == 1 { might } else { may };
        let verdict = world.try_settle(&sent, caller, &mut tally, &said);
        assert_ne!(verdict, "settle", "{said}");
        assert_eq!(verdict, expected(case).unwrap_or(verdict), "{said}");
        for (of, field) in altered_fields(&signed, &sent) {
            *altered.entry((of, field, case.2)).or_default() += 1;
        }
        // As they were signed, nothing is in their way.
        if matches!(case, (ACCEPT_TYPE, _, Way::Spoiled) | (_, _, Way::Late)) {
            assert_eq!(world.try_settle(&signed, might, &mut tally, &said), "settle", "{said}");
        }
    }
    // Each was altered in its turn and none besides.
    let wanted: BTreeMap<Case, u64> = cases().map(|case| (case, ROUNDS * times())).collect();
    assert_eq!(altered, wanted);
    // What a rule says of a value is compared often enough in `orders.rs`.
    let verdicts = ["settle", "NotSettler", "WrongBid", "BidSignatureInvalid", "AcceptSignatureInvalid"];
    tally.demand(altered.values().sum(), &verdicts, 2);
    world.assert_same();
}
