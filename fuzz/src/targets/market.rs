//! Envelopes of the market's codec.

use sublet_market::{OrderMessage, TradeRequest, TradeResponse, codec};

use crate::seeds::market::domain;

/// What is accepted is the one encoding of what it says, and can be judged and shown.
pub(crate) fn order(bytes: &[u8]) -> bool {
    let Ok(message) = codec::decode_order(bytes) else { return false };
    assert_eq!(codec::encode_order(&message), bytes, "another encoding of the same order");
    assert!(bytes.len() <= codec::MAX_ORDER_BYTES);
    // Whatever the values are: none of this may fail otherwise than by saying so.
    let _ = message.check();
    let digest = message.digest(&domain());
    assert_eq!(message.signer(&domain()).ok(), message.recover(digest).ok());
    // The store and the API hold orders as JSON.
    let text = serde_json::to_string(&message).unwrap_or_else(|error| panic!("no JSON: {error}"));
    let read: OrderMessage = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(read, message);
    true
}

/// The same for what a buyer asks.
pub(crate) fn trade_request(bytes: &[u8]) -> bool {
    let Ok(request) = codec::decode_trade_request(bytes) else { return false };
    let again =
        codec::encode_trade_request(&request).unwrap_or_else(|error| panic!("read and not written: {error}"));
    assert_eq!(again, bytes, "another encoding of the same request");
    let message = match request {
        TradeRequest::Ask { bid, spec, manifest, .. } => {
            self::manifest(&manifest);
            OrderMessage::Bid { bid, spec }
        }
        TradeRequest::Quote { offer, .. } => offer.into(),
        TradeRequest::Access { .. } | TradeRequest::Console { .. } => return true,
    };
    let _ = (message.check(), message.signer(&domain()));
    true
}

/// The same for what a provider answers, whose texts a person reads.
pub(crate) fn trade_response(bytes: &[u8]) -> bool {
    let Ok(response) = codec::decode_trade_response(bytes) else { return false };
    let again = codec::encode_trade_response(&response)
        .unwrap_or_else(|error| panic!("read and not written: {error}"));
    assert_eq!(again, bytes, "another encoding of the same answer");
    match &response {
        TradeResponse::Accept(accept) => {
            let _ = accept.signer(&domain());
        }
        TradeResponse::Declined(decline) => super::assert_plain(&decline.to_string(), 1_024),
        TradeResponse::Console(lines) => lines.iter().for_each(|line| super::assert_plain(line, 512)),
        TradeResponse::Access(_) | TradeResponse::Noted => assert!(response.check().is_ok()),
    }
    true
}

/// The same for what a machine is to run.
pub(crate) fn manifest(bytes: &[u8]) -> bool {
    let Ok(manifest) = codec::decode_manifest(bytes) else { return false };
    let again = manifest.canonical_bytes().unwrap_or_else(|error| panic!("read and not written: {error}"));
    assert_eq!(again, bytes, "another encoding of the same manifest");
    assert!(manifest.check().is_ok());
    assert!(manifest.hash().is_ok());
    true
}
