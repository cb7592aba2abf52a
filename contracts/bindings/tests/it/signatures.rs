//! Signatures in the forms in which they may reach the contract: whom the contract takes for the signer, and whom
//! `OrderSignature` and `Signed::signer`, by which every node judges an order.

use std::collections::BTreeMap;

use alloy::primitives::{Address, Bytes, U256};
use sublet_contracts::{IMarket, Market};
use sublet_market::{Domain, Order, OrderKey, OrderSignature, SignatureError, Signed};

use crate::{
    Random, Tally,
    evm::Chain,
    orders::{chain, good, key, makers},
    refusals::bytes,
    seed, times,
};

pub(crate) const CASES: u64 = 600;
/// Of the curve secp256k1.
const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

/// How often each reading of Rust's was seen.
type Readings = BTreeMap<&'static str, u64>;

/// A signature of one of many keys, in one of many forms.
fn form(random: &mut Random, signature: &[u8; 65]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    let order = U256::from_str_radix(ORDER, 16).expect("a number");
    match random.within(0, 15) {
        // ERC-2098: the parity of v in the top bit of s.
        0 | 1 => {
            let parity = bytes.pop().expect("65 bytes") - 27;
            bytes[32] |= parity << 7;
        }
        2 => bytes[64] -= 27,
        3 => bytes[64] = u8::try_from(random.within(0, 255)).expect("a byte"),
        // Well formed, and of somebody else.
        4 => bytes[64] = 55 - bytes[64],
        5 => {
            let s = order - U256::from_be_slice(&bytes[32..64]);
            bytes[32..64].copy_from_slice(&s.to_be_bytes::<32>());
            bytes[64] = 55 - bytes[64];
        }
        6 => bytes.truncate(usize::try_from(random.within(0, 64)).expect("a length")),
        7 => bytes.extend_from_slice(&[27, 0, 0][..usize::try_from(random.within(1, 3)).expect("small")]),
        // r or s out of range, or at its edge.
        8 => {
            let at = *random.pick(&[0, 32]);
            let number = *random.pick(&[U256::ZERO, U256::ONE, order, order - U256::ONE, U256::MAX]);
            bytes[at..at + 32].copy_from_slice(&number.to_be_bytes::<32>());
        }
        // A bit of r or s: mostly another signer, or none.
        9..=11 => {
            let bit = usize::try_from(random.within(0, 511)).expect("small");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        _ => {}
    }
    bytes
}

/// Who signed `order`, by Rust; nobody where it refuses the form.
///
/// One form the contract takes and Rust does not: 64 bytes (ERC-2098). Peers pass an order's signature on in one form
/// only, so Rust must refuse it; what it says of the same numbers in 65 bytes is what the contract must say.
fn signer<T: Order + Clone>(order: &T, form: &[u8], domain: &Domain, seen: &mut Readings) -> Address {
    let read = |form: &[u8]| -> Result<Address, SignatureError> {
        let signature = OrderSignature::try_from(form)?;
        Signed::by(order.maker(), order.clone(), signature).signer(domain)
    };
    let mut said = read(form);
    let mut count = |reading| *seen.entry(reading).or_default() += 1;
    if let Ok(mut compact) = <[u8; 64]>::try_from(form) {
        assert_eq!(said, Err(SignatureError::Length(64)), "a second form of one signature");
        count("compact");
        let parity = compact[32] >> 7;
        compact[32] &= 0x7f;
        said = read(&[&compact[..], &[27 + parity]].concat());
    }
    count(match said {
        Ok(_) => "signer",
        Err(SignatureError::Length(_)) => "length",
        Err(SignatureError::V(_)) => "v",
        Err(SignatureError::Range) => "range",
        Err(SignatureError::HighS) => "high s",
        Err(SignatureError::NoKey) => "no key",
        Err(other) => panic!("{other} of bytes"),
    });
    said.unwrap_or(Address::ZERO)
}

/// Whoever may have signed: the maker, its operator, one who was its operator, somebody else.
struct Signers {
    maker: OrderKey,
    operator: OrderKey,
    revoked: OrderKey,
    stranger: OrderKey,
}

impl Signers {
    fn new(chain: &mut Chain, maker: OrderKey, n: u8) -> Self {
        let signers = Self { maker, operator: key(n), revoked: key(n + 1), stranger: key(n + 2) };
        for (key, approved) in
            [(&signers.operator, true), (&signers.revoked, true), (&signers.revoked, false)]
        {
            let call = Market::setOperatorCall { key: key.address(), approved };
            chain.send(signers.maker.address(), &call).expect("an operator");
        }
        signers
    }

    fn any(&self, random: &mut Random) -> &OrderKey {
        match random.within(0, 9) {
            0 => &self.stranger,
            1 => &self.revoked,
            2..=4 => &self.operator,
            _ => &self.maker,
        }
    }

    /// Whose word is the maker's: what the chain knows and Rust asks it for.
    fn speaks(&self, signer: Address) -> bool {
        signer == self.maker.address() || signer == self.operator.address()
    }
}

#[test]
fn the_signer_is_the_same_here_and_there() {
    let makers = makers();
    let mut chain = chain(&makers);
    let buyer = Signers::new(&mut chain, makers.buyer.clone(), 10);
    let provider = Signers::new(&mut chain, makers.provider.clone(), 20);
    let relayer = Address::repeat_byte(0x44);
    let mut random = Random::new(seed() ^ 1);
    let (mut tally, mut seen) = (Tally::default(), Readings::new());
    for case in 0..CASES * times() {
        let (mut bid, mut accept) = good(&mut random, &makers, 0);
        (bid.max_rate, accept.rate) = (1, 1);
        (accept.bond_seconds, bid.min_bond_seconds) = (0, 0);
        (bid.duration, bid.settler) = (300, relayer);
        let domain = chain.domain;
        accept.bid = bid.digest(&domain);
        let signed_bid = buyer.any(&mut random).sign(bid.clone(), &domain);
        let signed_accept = provider.any(&mut random).sign(accept.clone(), &domain);
        let bid_form = form(&mut random, signed_bid.signature.as_bytes());
        // Half of the accepts as they are, or bids with an accept would hardly ever settle.
        let accept_form = if random.once_in(2) {
            signed_accept.signature.as_bytes().to_vec()
        } else {
            form(&mut random, signed_accept.signature.as_bytes())
        };
        let of_bid = signer(&bid, &bid_form, &domain, &mut seen);
        let of_accept = signer(&accept, &accept_form, &domain, &mut seen);
        let ours = if !buyer.speaks(of_bid) {
            Err(bytes(&Market::BidSignatureInvalid { signer: of_bid, buyer: bid.buyer }))
        } else if !provider.speaks(of_accept) {
            let provider = accept.provider;
            Err(bytes(&Market::AcceptSignatureInvalid { signer: of_accept, provider }))
        } else {
            Ok(())
        };
        let call = Market::settleCall {
            bid: IMarket::Bid::from(&bid),
            bidSignature: Bytes::from(bid_form),
            accept: IMarket::Accept::from(&accept),
            acceptSignature: Bytes::from(accept_form),
        };
        let theirs = chain.send(relayer, &call);
        tally.agree("taken", &ours, &theirs, &format_args!("case {case} of seed {}", seed()));
    }
    tally.demand(CASES * times(), &["taken", "BidSignatureInvalid", "AcceptSignatureInvalid"], 20);
    for reading in ["signer", "compact", "length", "v", "range", "high s", "no key"] {
        let times = seen.get(reading).copied().unwrap_or(0);
        assert!(times >= 5, "{reading} was seen {times} times only; all: {seen:?}");
    }
}
