//! `/sublet/trade/1` on the wire: the market's versioned envelope in a frame. The stream has a time limit.

use std::io;

use futures::{AsyncRead, AsyncWrite};
use libp2p::{StreamProtocol, request_response};
use sublet_market::{
    TradeRequest, TradeResponse,
    codec::{self, MAX_TRADE_BYTES},
};

use super::{
    counters::SharedCounter,
    frame::{Malformed, invalid, or_malformed, read_frame, write_frame},
};

/// Encodes and decodes requests and answers of the trade protocol.
#[derive(Debug, Clone, Default)]
pub(super) struct TradeCodec {
    /// Requests that broke the protocol, or were cut off.
    pub(super) malformed: SharedCounter,
}

impl request_response::Codec for TradeCodec {
    type Protocol = StreamProtocol;
    type Request = Result<TradeRequest, Malformed>;
    type Response = TradeResponse;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let read = read_frame(io, MAX_TRADE_BYTES).await;
        let request = read.and_then(|bytes| codec::decode_trade_request(&bytes).map_err(invalid));
        if request.is_err() {
            self.malformed.add_one();
        }
        or_malformed(request)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<TradeResponse>
    where
        T: AsyncRead + Unpin + Send,
    {
        codec::decode_trade_response(&read_frame(io, MAX_TRADE_BYTES).await?).map_err(invalid)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Self::Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let request = request.map_err(invalid)?;
        write_frame(io, &codec::encode_trade_request(&request).map_err(invalid)?, MAX_TRADE_BYTES).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: TradeResponse,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &codec::encode_trade_response(&response).map_err(invalid)?, MAX_TRADE_BYTES).await
    }
}
