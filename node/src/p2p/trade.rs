//! `/sublet/trade/1` on the wire: a 4-byte big-endian length, then the market's versioned envelope. Longer frames
//! are refused before a byte of them is read; memory grows only as bytes arrive, and the stream has a time limit.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use sublet_market::{
    TradeRequest, TradeResponse,
    codec::{self, MAX_TRADE_BYTES},
};

use super::counters::SharedCounter;

/// Encodes and decodes requests and answers of the trade protocol.
#[derive(Debug, Clone, Default)]
pub(super) struct TradeCodec {
    /// Requests that broke the protocol.
    pub(super) malformed: SharedCounter,
}

impl request_response::Codec for TradeCodec {
    type Protocol = StreamProtocol;
    type Request = TradeRequest;
    type Response = TradeResponse;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<TradeRequest>
    where
        T: AsyncRead + Unpin + Send,
    {
        let request = match read_frame(io).await {
            Ok(bytes) => codec::decode_trade_request(&bytes).map_err(invalid),
            Err(error) => Err(error),
        };
        if request.is_err() {
            self.malformed.add_one();
        }
        request
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<TradeResponse>
    where
        T: AsyncRead + Unpin + Send,
    {
        codec::decode_trade_response(&read_frame(io).await?).map_err(invalid)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: TradeRequest,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &codec::encode_trade_request(&request).map_err(invalid)?).await
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
        write_frame(io, &codec::encode_trade_response(&response).map_err(invalid)?).await
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

async fn read_frame<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut header = [0; 4];
    io.read_exact(&mut header).await?;
    let len = u32::from_be_bytes(header);
    if usize::try_from(len).map_or(true, |len| len > MAX_TRADE_BYTES) {
        let text = format!("a frame of {len} bytes is above the limit of {MAX_TRADE_BYTES}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = Vec::new();
    io.take(u64::from(len)).read_to_end(&mut bytes).await?;
    if u32::try_from(bytes.len()) != Ok(len) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

async fn write_frame<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_TRADE_BYTES);
    let Some(len) = len else {
        let text = format!("a frame of {} bytes is above the limit of {MAX_TRADE_BYTES}", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    io.write_all(&len.to_be_bytes()).await?;
    io.write_all(bytes).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};

    use super::*;

    #[test]
    fn a_frame_survives_the_wire() {
        let mut wire = Vec::new();
        block_on(write_frame(&mut wire, b"hello")).unwrap();
        assert_eq!(block_on(read_frame(&mut Cursor::new(wire))).unwrap(), b"hello");
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_on_both_sides() {
        let long = vec![0; MAX_TRADE_BYTES + 1];
        assert_eq!(
            block_on(write_frame(&mut Vec::new(), &long)).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        let header = u32::MAX.to_be_bytes().to_vec();
        assert_eq!(
            block_on(read_frame(&mut Cursor::new(header))).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[test]
    fn a_frame_that_ends_early_is_refused() {
        let mut wire = 10u32.to_be_bytes().to_vec();
        wire.extend_from_slice(b"short");
        assert_eq!(
            block_on(read_frame(&mut Cursor::new(wire))).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }
}
