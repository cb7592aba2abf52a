//! Pairs of orders: `check_settle` against `quote`, and the digests.

use alloy::primitives::{Address, B256, Bytes, U256};
use sublet_contracts::{IMarket, Market};
use sublet_market::{Accept, Bid, Maker, Order as _, OrderKey, SettleRefusal, check_settle, lease::Params};

use crate::{Random, Tally, evm::Chain, refusals, seed, times};

pub(crate) const NOW: u64 = 1_900_000_000;
pub(crate) const CASES: u64 = 8_000;
const PARAMS: Params = Params { fee_bps: 100, hold: 600, notice: 60, half_life_days: 90 };

pub(crate) struct Makers {
    pub(crate) buyer: OrderKey,
    pub(crate) provider: OrderKey,
}

pub(crate) fn key(n: u8) -> OrderKey {
    OrderKey::from_bytes(&[n; 32]).expect("a key")
}

pub(crate) fn makers() -> Makers {
    Makers { buyer: key(1), provider: key(2) }
}

/// A chain on which both makers have something free.
pub(crate) fn chain(makers: &Makers) -> Chain {
    let mut chain = Chain::new(&PARAMS, NOW);
    chain.fund(makers.buyer.address(), 1_000_000_000);
    chain.fund(makers.provider.address(), 20_000_000);
    chain
}

fn account(chain: &mut Chain, maker: Address) -> Maker {
    let seen = chain.read(&Market::accountCall { maker });
    Maker { free: seen.free.to::<u128>(), points: seen.points, epoch: seen.epoch }
}

/// A pair that fits.
pub(crate) fn good(random: &mut Random, makers: &Makers, epoch: u32) -> (Bid, Accept) {
    let max_rate = random.within(1, 1_000);
    let bond = random.within32(0, 86_400);
    let duration = random.within32(300, 40_000);
    let bid = Bid {
        buyer: makers.buyer.address(),
        settler: makers.buyer.address(),
        spec: B256::from(U256::from(random.next_u64())),
        node: B256::repeat_byte(5),
        max_rate,
        min_bond_seconds: random.within32(0, bond),
        min_points: 0,
        duration,
        valid_until: NOW + random.within(0, 600),
        epoch,
        salt: random.next_u64(),
    };
    let accept = Accept {
        bid: B256::ZERO,
        offer: B256::from(U256::from(random.next_u64())),
        provider: makers.provider.address(),
        node: B256::repeat_byte(6),
        rate: random.within(1, max_rate),
        bond_seconds: bond,
        activate_within: random.within32(0, 1_800),
        max_duration: random.within32(duration, 366 * 86_400),
        burn: random.once_in(2),
        settle_by: NOW + random.within(0, 300),
    };
    (bid, accept)
}

/// Breaks one field, at its edge or far beyond.
fn spoil(random: &mut Random, bid: &mut Bid, accept: &mut Accept) {
    let far = |random: &mut Random| 1 + if random.once_in(2) { 0 } else { random.within(0, 1 << 20) };
    let far32 = |random: &mut Random| 1 + if random.once_in(2) { 0 } else { random.within32(0, 1 << 20) };
    match random.within(0, 15) {
        0 => bid.valid_until = NOW - far(random),
        1 => accept.settle_by = NOW - far(random),
        2 => accept.settle_by = NOW + 300 + far(random),
        3 => accept.provider = bid.buyer,
        4 => bid.epoch += far32(random),
        5 => accept.rate = 0,
        6 => accept.rate = bid.max_rate.saturating_add(far(random)),
        7 => bid.min_bond_seconds = accept.bond_seconds + far32(random),
        8 => accept.bond_seconds = 86_400 + far32(random),
        9 => bid.duration = 300 - random.within32(1, 300),
        10 => bid.duration = accept.max_duration + far32(random),
        11 => accept.max_duration = 366 * 86_400 + far32(random),
        12 => accept.activate_within = 1_800 + far32(random),
        13 => bid.min_points = far(random),
        14 => (bid.max_rate, accept.rate) = (u64::MAX, random.within(1 << 30, u64::MAX)),
        // Last seconds: not broken at all.
        _ => (bid.valid_until, accept.settle_by) = (NOW, NOW),
    }
}

/// The id, the escrow and the bond.
fn quoted(chain: &mut Chain, bid: &Bid, accept: &Accept) -> Result<(B256, u128, u128), Bytes> {
    use alloy::sol_types::SolCall as _;
    let call = Market::quoteCall { bid: IMarket::Bid::from(bid), accept: IMarket::Accept::from(accept) };
    let output = chain.look(&call)?;
    let seen = Market::quoteCall::abi_decode_returns(&output).expect("the ABI's types");
    Ok((seen.id, seen.escrow.to::<u128>(), seen.bond.to::<u128>()))
}

#[test]
fn the_first_broken_rule_and_the_amounts_are_the_same() {
    let makers = makers();
    let mut chain = chain(&makers);
    let mut random = Random::new(seed());
    let (buyer, provider) = (makers.buyer.address(), makers.provider.address());
    let mut tally = Tally::default();
    for case in 0..CASES * times() {
        let epoch = account(&mut chain, buyer).epoch;
        let (mut bid, mut accept) = good(&mut random, &makers, epoch);
        for _ in 0..random.within(0, 2) {
            spoil(&mut random, &mut bid, &mut accept);
        }
        let id = bid.digest(&chain.domain);
        accept.bid = if random.once_in(40) { B256::repeat_byte(9) } else { id };
        let (of_buyer, of_provider) = (account(&mut chain, buyer), account(&mut chain, accept.provider));
        let rust = check_settle(&bid, id, &accept, &of_buyer, &of_provider, NOW);
        let ours = rust.as_ref().map(|locked| (id, locked.escrow, locked.bond));
        let ours = ours.map_err(|no| refusals::of_orders(no, &bid, id, &accept, NOW));
        let theirs = quoted(&mut chain, &bid, &accept);
        let said = format!("case {case} of seed {}: {bid:?} {accept:?}", seed());
        let verdict = tally.agree("taken", &ours, &theirs, &said);
        assert_eq!(verdict, rust.as_ref().map_or_else(SettleRefusal::name, |_| "taken"), "{said}");
        assert_eq!(ours.ok(), theirs.ok(), "{said}");
        let digest = chain.read(&Market::acceptDigestCall { accept: IMarket::Accept::from(&accept) });
        assert_eq!(digest, accept.digest(&chain.domain), "case {case}");
        // Accounts change over the run, so that funds and epochs differ.
        if random.once_in(400) {
            chain.send(buyer, &Market::bumpEpochCall {}).expect("a bump");
        }
        if random.once_in(50) {
            chain.fund(*random.pick(&[buyer, provider]), u128::from(random.within(1, 1_000_000)));
        }
    }
    let all = [
        "taken",
        "WrongBid",
        "BidExpired",
        "AcceptExpired",
        "AcceptTooLong",
        "SameParty",
        "EpochMismatch",
        "RateZero",
        "RateTooHigh",
        "BondTooShort",
        "BondTooLong",
        "DurationTooShort",
        "DurationTooLong",
        "MaxDurationTooLong",
        "ActivateWithinTooLong",
        "PointsTooLow",
        "BuyerFunds",
        "ProviderFunds",
    ];
    tally.demand(CASES * times(), &all, 20);
}
