//! Pairs of orders: `check_settle` against `quote`, digests and signatures against `settle`.

use alloy::primitives::{Address, B256, Bytes, U256};
use sublet_contracts::{IMarket, Market};
use sublet_market::{Accept, Bid, Maker, Order as _, OrderKey, SettleRefusal, check_settle, lease::Params};

use crate::{Random, Tally, evm::Chain, revert_name, seed, times};

const NOW: u64 = 1_900_000_000;
const PARAMS: Params = Params { fee_bps: 100, hold: 600, notice: 60, half_life_days: 90 };
const CASES: u64 = 8_000;
const SIGNED: u64 = 400;

struct Makers {
    buyer: OrderKey,
    provider: OrderKey,
    stranger: OrderKey,
}

fn key(n: u8) -> OrderKey {
    OrderKey::from_bytes(&[n; 32]).expect("a key")
}

fn makers() -> Makers {
    Makers { buyer: key(1), provider: key(2), stranger: key(3) }
}

/// A chain on which both makers have something free.
fn chain(makers: &Makers) -> Chain {
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
fn good(random: &mut Random, makers: &Makers, epoch: u32) -> (Bid, Accept) {
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

fn quoted(chain: &mut Chain, bid: &Bid, accept: &Accept) -> Result<(B256, u128, u128), &'static str> {
    use alloy::sol_types::SolCall as _;
    let call = Market::quoteCall { bid: IMarket::Bid::from(bid), accept: IMarket::Accept::from(accept) };
    match chain.look(&call) {
        Ok(output) => {
            let seen = Market::quoteCall::abi_decode_returns(&output).expect("the ABI's types");
            Ok((seen.id, seen.escrow.to::<u128>(), seen.bond.to::<u128>()))
        }
        Err(data) => Err(revert_name(&data)),
    }
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
        let ours = check_settle(&bid, id, &accept, &of_buyer, &of_provider, NOW);
        let theirs = quoted(&mut chain, &bid, &accept);
        let named =
            ours.map(|locked| (id, locked.escrow, locked.bond)).map_err(|no: SettleRefusal| no.name());
        assert_eq!(named, theirs, "case {case} of seed {}: {bid:?} {accept:?}", seed());
        tally.count(theirs.err().unwrap_or("taken"));
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
    tally.demand(&all, 20);
    assert!(tally.total() >= CASES);
}

/// Our signature in one of the forms in which it may reach the contract.
fn form(random: &mut Random, signature: &[u8]) -> (Bytes, bool) {
    let mut bytes = signature.to_vec();
    match random.within(0, 5) {
        0 | 1 => (bytes.into(), true),
        2 => {
            // ERC-2098: the parity of v in the top bit of s.
            let parity = bytes.pop().expect("65 bytes") - 27;
            bytes[32] |= parity << 7;
            (bytes.into(), true)
        }
        3 => {
            let last = bytes.last_mut().expect("65 bytes");
            *last -= 27;
            (bytes.into(), false)
        }
        4 => {
            let order =
                U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16);
            let s = order.expect("the curve's order") - U256::from_be_slice(&bytes[32..64]);
            bytes[32..64].copy_from_slice(&s.to_be_bytes::<32>());
            bytes[64] = 55 - bytes[64];
            (bytes.into(), false)
        }
        _ => {
            bytes.truncate(usize::try_from(random.within(0, 63)).expect("a length"));
            (bytes.into(), false)
        }
    }
}

#[test]
fn signatures_count_here_and_there_by_the_same_rules() {
    let makers = makers();
    let mut chain = chain(&makers);
    let mut random = Random::new(seed() ^ 1);
    let mut tally = Tally::default();
    for case in 0..SIGNED * times() {
        let (mut bid, mut accept) = good(&mut random, &makers, 0);
        (bid.max_rate, accept.rate) = (1, 1);
        (accept.bond_seconds, bid.min_bond_seconds) = (0, 0);
        bid.duration = 300;
        bid.settler = makers.stranger.address();
        accept.bid = bid.digest(&chain.domain);
        let by_buyer = !random.once_in(4);
        let by_provider = !random.once_in(4);
        let signed_bid =
            if by_buyer { &makers.buyer } else { &makers.stranger }.sign(bid.clone(), &chain.domain);
        let signed_accept =
            if by_provider { &makers.provider } else { &makers.stranger }.sign(accept.clone(), &chain.domain);
        let (bid_signature, bid_form) = form(&mut random, signed_bid.signature.as_bytes().as_ref());
        let (accept_signature, accept_form) = form(&mut random, signed_accept.signature.as_bytes().as_ref());
        assert_eq!(signed_bid.signer(&chain.domain).ok() == Some(bid.buyer), by_buyer);
        assert_eq!(signed_accept.signer(&chain.domain).ok() == Some(accept.provider), by_provider);
        let call = Market::settleCall {
            bid: IMarket::Bid::from(&bid),
            bidSignature: bid_signature,
            accept: IMarket::Accept::from(&accept),
            acceptSignature: accept_signature,
        };
        let ours = if !(by_buyer && bid_form) {
            "BidSignatureInvalid"
        } else if !(by_provider && accept_form) {
            "AcceptSignatureInvalid"
        } else {
            "taken"
        };
        let theirs =
            chain.send(makers.stranger.address(), &call).err().map_or("taken", |data| revert_name(&data));
        assert_eq!(ours, theirs, "case {case} of seed {}", seed());
        tally.count(theirs);
    }
    tally.demand(&["taken", "BidSignatureInvalid", "AcceptSignatureInvalid"], 20);
}
