//! Signatures, structure checks, and what an accept may differ in from its offer.

use alloy_primitives::{Address, B256, U256};
use proptest::prelude::*;
use sublet_market::{
    Accept, AcceptError, Bid, Offer, Order, OrderMessage, OrderSignature, Resources, SignatureError, Spec,
    StructureError, Traits, check_accept,
};

use crate::strategies::{domain, key, message, signed};

/// Order of the secp256k1 group (SEC 2, section 2.4.1).
const CURVE_ORDER: U256 = U256::from_limbs([
    0xBFD2_5E8C_D036_4141,
    0xBAAE_DCE6_AF48_A03B,
    0xFFFF_FFFF_FFFF_FFFE,
    0xFFFF_FFFF_FFFF_FFFF,
]);

pub(crate) fn spec() -> Spec {
    Spec {
        unit: Resources { vcpus: 1, memory_mib: 512, ..Resources::default() },
        units: 2,
        traits: Traits::new(["arch=x86_64"]).unwrap(),
        manifest: B256::repeat_byte(9),
    }
}

pub(crate) fn offer() -> Offer {
    Offer {
        provider: Address::repeat_byte(0xaa),
        node: B256::repeat_byte(0xab),
        unit: Resources { vcpus: 1, memory_mib: 1_024, disk_gib: 10, ..Resources::default() },
        units: 4,
        price_per_second: 10,
        bond_seconds: 600,
        min_duration: 300,
        max_duration: 7_200,
        activate_within: 120,
        burn: false,
        traits: Traits::new(["arch=x86_64", "region=eu"]).unwrap(),
        series: 1,
        seq: 1,
        valid_until: 1_600,
    }
}

pub(crate) fn bid() -> Bid {
    Bid {
        buyer: Address::repeat_byte(0xbb),
        settler: Address::repeat_byte(0xbb),
        spec: spec().hash_struct(),
        node: B256::repeat_byte(0xbc),
        max_rate: 25,
        min_bond_seconds: 300,
        min_points: 0,
        duration: 3_600,
        valid_until: 1_500,
        epoch: 0,
        salt: 1,
    }
}

fn accept() -> Accept {
    Accept {
        bid: bid().digest(&domain()),
        offer: offer().digest(&domain()),
        provider: offer().provider,
        node: offer().node,
        rate: 20,
        bond_seconds: 600,
        activate_within: 120,
        max_duration: 7_200,
        burn: false,
        settle_by: 1_300,
    }
}

fn check(accept: &Accept, now: u64) -> Result<(), AcceptError> {
    let (bid, offer) = (bid(), offer());
    check_accept(&bid, &spec(), &offer, bid.digest(&domain()), offer.digest(&domain()), accept, now)
}

#[test]
fn an_accept_keeps_what_its_offer_promised() {
    assert_eq!(check(&accept(), 1_000), Ok(()));
    assert_eq!(check(&Accept { rate: 19, ..accept() }, 1_000), Ok(()));
    assert_eq!(check(&Accept { activate_within: 60, bond_seconds: 900, ..accept() }, 1_000), Ok(()));
    let refused = |accept: Accept| check(&accept, 1_000).unwrap_err();
    assert_eq!(refused(Accept { rate: 21, ..accept() }), AcceptError::Rate { rate: 21, limit: 20 });
    assert_eq!(refused(Accept { bid: B256::repeat_byte(1), ..accept() }), AcceptError::Foreign("bid"));
    assert_eq!(refused(Accept { offer: B256::ZERO, ..accept() }), AcceptError::Foreign("offer"));
    assert_eq!(refused(Accept { node: bid().node, ..accept() }), AcceptError::Foreign("node"));
    assert_eq!(refused(Accept { provider: bid().buyer, ..accept() }), AcceptError::Foreign("provider"));
    assert_eq!(refused(Accept { burn: true, ..accept() }), AcceptError::Foreign("burn"));
    let term = |accept: Accept| match refused(accept) {
        AcceptError::Term { name, .. } => name,
        other => panic!("{other}"),
    };
    assert_eq!(term(Accept { bond_seconds: 599, ..accept() }), "bond_seconds");
    assert_eq!(term(Accept { activate_within: 121, ..accept() }), "activate_within");
    assert_eq!(term(Accept { max_duration: 3_600, ..accept() }), "max_duration");
}

#[test]
fn an_accept_is_in_time_to_the_last_second() {
    assert_eq!(check(&accept(), 1_300), Ok(()));
    assert_eq!(check(&accept(), 1_301), Err(AcceptError::Expired(1_300)));
    assert_eq!(check(&accept(), 999), Err(AcceptError::TooFarAhead(1_300)));
    assert_eq!(check(&Accept { settle_by: 1_700, ..accept() }, 1_501), Err(AcceptError::BidExpired(1_500)));
}

#[test]
fn structure_is_bounded_as_in_the_contract() {
    assert_eq!(offer().check(), Ok(()));
    assert_eq!(Offer { units: 0, ..offer() }.check(), Ok(()), "a cancel");
    assert_eq!(
        Offer { price_per_second: 0, ..offer() }.check(),
        Err(StructureError::ZeroRate("price_per_second"))
    );
    assert_eq!(Offer { activate_within: 0, ..offer() }.check(), Err(StructureError::ActivateWithin(0)));
    assert_eq!(
        Offer { activate_within: 1_801, ..offer() }.check(),
        Err(StructureError::ActivateWithin(1_801))
    );
    assert_eq!(Offer { min_duration: 299, ..offer() }.check(), Err(StructureError::Duration(299)));
    assert_eq!(
        Offer { min_duration: 7_201, ..offer() }.check(),
        Err(StructureError::DurationOrder { min: 7_201, max: 7_200 })
    );
    assert_eq!(Offer { unit: Resources::default(), ..offer() }.check(), Err(StructureError::EmptyUnit));
    assert_eq!(bid().check(), Ok(()));
    assert_eq!(Bid { duration: 366 * 86_400, ..bid() }.check(), Ok(()));
    assert_eq!(
        Bid { duration: 366 * 86_400 + 1, ..bid() }.check(),
        Err(StructureError::Duration(31_622_401))
    );
    assert_eq!(Bid { min_bond_seconds: 86_401, ..bid() }.check(), Err(StructureError::Bond(86_401)));
    assert_eq!(Bid { buyer: Address::ZERO, ..bid() }.check(), Err(StructureError::Zero("buyer")));
    assert_eq!(Accept { rate: 0, ..accept() }.check(), Err(StructureError::ZeroRate("rate")));
    assert_eq!(Spec { units: 0, ..spec() }.check(), Err(StructureError::NoUnits));
    assert_eq!(Spec { units: u32::MAX, ..spec() }.check(), Err(StructureError::TooManyUnits(u32::MAX)));
}

#[test]
fn a_bid_with_another_spec_is_refused() {
    let other = Spec { units: 1, ..spec() };
    let message = OrderMessage::Bid { bid: signed(bid()), spec: other.clone() };
    let expected = StructureError::SpecHash { signed: spec().hash_struct(), found: other.hash_struct() };
    assert_eq!(message.check(), Err(expected));
}

#[test]
fn the_other_signature_of_the_pair_is_refused() {
    let bytes = *signed(bid()).signature.as_bytes();
    let s = U256::from_be_slice(&bytes[32..64]);
    let mut flipped = bytes;
    flipped[32..64].copy_from_slice(&(CURVE_ORDER - s).to_be_bytes::<32>());
    flipped[64] = 55 - bytes[64];
    assert_eq!(OrderSignature::from_bytes(flipped), Err(SignatureError::HighS));
    let mut zero = bytes;
    zero[32..64].fill(0);
    assert_eq!(OrderSignature::from_bytes(zero), Err(SignatureError::Range));
    let mut large = bytes;
    large[..32].fill(0xff);
    assert_eq!(OrderSignature::from_bytes(large), Err(SignatureError::Range));
}

#[test]
fn a_key_shows_its_address_only() {
    let text = format!("{:?}", key());
    assert_eq!(text, format!("OrderKey({})", key().address()));
    assert_eq!(sublet_market::OrderKey::from_bytes(&[0; 32]).unwrap_err(), SignatureError::Secret);
    assert_eq!(sublet_market::OrderKey::from_bytes(&[0xff; 32]).unwrap_err(), SignatureError::Secret);
}

proptest! {
    #[test]
    fn generated_messages_pass_their_checks_and_recover(message in message()) {
        prop_assert_eq!(message.check(), Ok(()));
        prop_assert_eq!(message.signer(&domain()), Ok(key().address()));
        let json = serde_json::to_string(&message).unwrap();
        prop_assert_eq!(serde_json::from_str::<OrderMessage>(&json).unwrap(), message);
    }
}
