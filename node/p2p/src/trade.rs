//! `/sublet/trade/1` on the wire: the market's versioned envelope in a frame.

use std::io;

use sublet_market::{
    TradeRequest, TradeResponse,
    codec::{self, MAX_TRADE_BYTES},
};

use super::{
    frame::invalid,
    request_codec::{Messages, RequestCodec},
};

/// The messages of the trade protocol.
#[derive(Debug)]
pub(super) struct TradeMessages;

/// Encodes and decodes them.
pub(super) type TradeCodec = RequestCodec<TradeMessages>;

impl Messages for TradeMessages {
    type Request = TradeRequest;
    type Response = TradeResponse;
    const MAX_REQUEST_BYTES: usize = MAX_TRADE_BYTES;
    const MAX_RESPONSE_BYTES: usize = MAX_TRADE_BYTES;

    fn encode_request(request: &TradeRequest) -> io::Result<Vec<u8>> {
        codec::encode_trade_request(request).map_err(invalid)
    }

    fn decode_request(bytes: &[u8]) -> io::Result<TradeRequest> {
        codec::decode_trade_request(bytes).map_err(invalid)
    }

    fn encode_response(response: &TradeResponse) -> io::Result<Vec<u8>> {
        codec::encode_trade_response(response).map_err(invalid)
    }

    fn decode_response(bytes: &[u8]) -> io::Result<TradeResponse> {
        codec::decode_trade_response(bytes).map_err(invalid)
    }
}
