//! What is encoded reads back, and nothing else reads at all.

use proptest::collection::vec;
use proptest::prelude::*;
use sublet_market::codec::*;
use sublet_market::{OrderMessage, SignatureError, Signed, TradeRequest};

use crate::strategies::{manifest, message, request, response, signed};

/// Decodes with every decoder; whatever one accepts must encode to the same bytes.
fn accepted_is_canonical(bytes: &[u8]) {
    if let Ok(message) = decode_order(bytes) {
        assert_eq!(encode_order(&message), bytes);
    }
    if let Ok(request) = decode_trade_request(bytes) {
        assert_eq!(encode_trade_request(&request).unwrap(), bytes);
    }
    if let Ok(response) = decode_trade_response(bytes) {
        assert_eq!(encode_trade_response(&response).unwrap(), bytes);
    }
    if let Ok(manifest) = decode_manifest(bytes) {
        assert_eq!(encode_manifest(&manifest).unwrap(), bytes);
    }
}

proptest! {
    #[test]
    fn orders_read_back(message in message()) {
        let bytes = encode_order(&message);
        prop_assert!(bytes.len() <= MAX_ORDER_BYTES / 3);
        prop_assert_eq!(decode_order(&bytes).unwrap(), message);
    }

    #[test]
    fn trade_messages_read_back(request in request(), response in response(), manifest in manifest()) {
        prop_assert_eq!(decode_trade_request(&encode_trade_request(&request).unwrap()).unwrap(), request);
        prop_assert_eq!(decode_trade_response(&encode_trade_response(&response).unwrap()).unwrap(), response);
        prop_assert_eq!(decode_manifest(&encode_manifest(&manifest).unwrap()).unwrap(), manifest);
    }

    #[test]
    fn mutated_orders_are_refused_or_are_another_message(
        message in message(), position in any::<prop::sample::Index>(), flip in 1..=u8::MAX, cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode_order(&message);
        accepted_is_canonical(&bytes);
        prop_assert!(decode_order(&bytes[..cut.index(bytes.len())]).is_err());
        *position.get_mut(&mut bytes) ^= flip;
        accepted_is_canonical(&bytes);
        if let Ok(other) = decode_order(&bytes) {
            prop_assert_ne!(other, message);
        }
    }

    #[test]
    fn mutated_trade_messages_are_refused_or_canonical(
        request in request(), response in response(), position in any::<prop::sample::Index>(), flip in 1..=u8::MAX,
    ) {
        for mut bytes in [encode_trade_request(&request).unwrap(), encode_trade_response(&response).unwrap()] {
            *position.get_mut(&mut bytes) ^= flip;
            accepted_is_canonical(&bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(kind in 0..6_u8, tail in vec(any::<u8>(), 0..2_000), bare in vec(any::<u8>(), 0..100)) {
        let bytes = [b"sl".as_slice(), &[kind, 2], &tail].concat();
        accepted_is_canonical(&bytes);
        accepted_is_canonical(&bare);
    }

    #[test]
    fn trailing_bytes_are_refused(message in message(), tail in vec(any::<u8>(), 1..20)) {
        let bytes = [encode_order(&message), tail.clone()].concat();
        let refused = matches!(decode_order(&bytes), Err(CodecError::Trailing(count)) if count == tail.len());
        prop_assert!(refused);
    }
}

#[test]
fn a_request_of_exactly_the_largest_size_reads_back() {
    let mut request = sample(crate::strategies::ask());
    for size in [MAX_TRADE_BYTES - 1, MAX_TRADE_BYTES] {
        let TradeRequest::Ask { manifest, .. } = &mut request else { unreachable!() };
        // The length of so long a manifest takes 5 bytes.
        manifest.resize(60_000, 7);
        let rest = encode_trade_request(&request).unwrap().len() - 60_000;
        let TradeRequest::Ask { manifest, .. } = &mut request else { unreachable!() };
        manifest.resize(size - rest, 7);
        let bytes = encode_trade_request(&request).unwrap();
        assert_eq!(bytes.len(), size);
        assert_eq!(decode_trade_request(&bytes).unwrap(), request);
    }
    let TradeRequest::Ask { manifest, .. } = &mut request else { unreachable!() };
    manifest.push(7);
    assert!(matches!(encode_trade_request(&request), Err(CodecError::TooLarge { .. })));
}

fn sample<S: Strategy>(strategy: S) -> S::Value {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    strategy.new_tree(&mut TestRunner::deterministic()).unwrap().current()
}

fn an_offer() -> OrderMessage {
    let offer = sample(crate::strategies::offer());
    let signed = signed(sublet_market::Offer { units: 5, ..offer });
    OrderMessage::Offer(Signed { operator: None, ..signed })
}

#[test]
fn who_signed_in_the_makers_place_is_named_once() {
    let OrderMessage::Offer(offer) = an_offer() else { unreachable!() };
    let by = |operator| encode_order(&OrderMessage::Offer(Signed { operator, ..offer.clone() }));
    let maker = offer.order.provider;
    let operator = alloy_primitives::Address::repeat_byte(7);
    let named = decode_order(&by(Some(operator))).unwrap();
    assert_eq!((named.operator(), named.maker()), (Some(operator), maker));
    assert!(matches!(decode_order(&by(Some(maker))), Err(CodecError::NotCanonical)));
}

#[test]
fn an_envelope_of_another_version_says_so() {
    let mut bytes = encode_order(&an_offer());
    bytes[3] = 1;
    assert!(matches!(decode_order(&bytes), Err(CodecError::Version(1))));
    bytes[2] = 9;
    assert!(matches!(decode_order(&bytes), Err(CodecError::Header)));
    assert!(matches!(decode_order(b"sl"), Err(CodecError::Header)));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let error = decode_order(&vec![0; MAX_ORDER_BYTES + 1]).unwrap_err();
    assert!(matches!(error, CodecError::TooLarge { size: 8_193, max: 8_192 }));
}

#[test]
fn a_longer_form_of_an_integer_is_refused() {
    let OrderMessage::Offer(offer) = an_offer() else { unreachable!() };
    let bytes = encode_order(&OrderMessage::Offer(offer.clone()));
    // Envelope, variant, provider, node; then the unit's vcpus, which is below 251 and takes one byte.
    let at = 4 + 1 + 20 + 32;
    assert_eq!(u32::from(bytes[at]), offer.order.unit.vcpus);
    let longer = [&bytes[..at], &[251, bytes[at], 0], &bytes[at + 1..]].concat();
    assert!(matches!(decode_order(&longer), Err(CodecError::NotCanonical)));
}

#[test]
fn a_claimed_length_beyond_the_limit_allocates_nothing() {
    // A trade request whose manifest claims 2^60 bytes.
    let OrderMessage::Offer(offer) = an_offer() else { unreachable!() };
    let mut bytes = encode_order(&OrderMessage::Offer(offer));
    bytes.truncate(4 + 1 + 20 + 32);
    bytes.extend([0; 13]);
    bytes.extend([253, 0, 0, 0, 0, 0, 0, 0, 16]);
    assert!(matches!(decode_order(&bytes), Err(CodecError::Malformed(_))));
}

#[test]
fn a_signature_in_another_form_is_refused() {
    let bytes = encode_order(&an_offer());
    // The signature is followed by the operator, of whom there is none here.
    let v = bytes.len() - 2;
    let with_v = |value: u8| [&bytes[..v], &[value, 0]].concat();
    for value in [0, 1, 26, 29, 30] {
        let error = decode_order(&with_v(value)).unwrap_err();
        assert!(matches!(error, CodecError::Signature(SignatureError::V(found)) if found == value));
    }
}
