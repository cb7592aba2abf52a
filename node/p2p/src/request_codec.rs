//! Request protocols on the wire: any pair of messages that turn into bytes and back, each in a frame.
//!
//! A protocol is a type with [`Messages`]; [`RequestCodec`] is what libp2p asks for. The stream has a time limit.

use std::{io, marker::PhantomData};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{StreamProtocol, request_response};

use super::{
    counters::SharedCounter,
    frame::{Malformed, invalid, or_malformed, read_frame, write_frame},
};

/// The messages of one request protocol.
pub(super) trait Messages: Send + Sync + 'static {
    /// What is asked.
    type Request: Send + 'static;
    /// What is answered.
    type Response: Send + 'static;
    /// Largest request in bytes.
    const MAX_REQUEST_BYTES: usize;
    /// Largest answer in bytes.
    const MAX_RESPONSE_BYTES: usize;

    /// The bytes of a request.
    fn encode_request(request: &Self::Request) -> io::Result<Vec<u8>>;
    /// The request of some bytes; [`io::ErrorKind::InvalidData`] for what the protocol does not know.
    fn decode_request(bytes: &[u8]) -> io::Result<Self::Request>;
    /// The bytes of an answer.
    fn encode_response(response: &Self::Response) -> io::Result<Vec<u8>>;
    /// The answer of some bytes; [`io::ErrorKind::InvalidData`] for what the protocol does not know.
    fn decode_response(bytes: &[u8]) -> io::Result<Self::Response>;
}

/// Reads and writes the messages of a protocol.
#[derive(Debug)]
pub(super) struct RequestCodec<M> {
    /// Requests that broke the protocol, or were cut off.
    pub(super) malformed: SharedCounter,
    messages: PhantomData<M>,
}

impl<M> Default for RequestCodec<M> {
    fn default() -> Self {
        Self { malformed: SharedCounter::default(), messages: PhantomData }
    }
}

impl<M> Clone for RequestCodec<M> {
    fn clone(&self) -> Self {
        Self { malformed: self.malformed.clone(), messages: PhantomData }
    }
}

impl<M: Messages> request_response::Codec for RequestCodec<M> {
    type Protocol = StreamProtocol;
    type Request = Result<M::Request, Malformed>;
    type Response = M::Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let read = read_frame(io, M::MAX_REQUEST_BYTES).await;
        let request = read.and_then(|bytes| M::decode_request(&bytes));
        if request.is_err() {
            self.malformed.add_one();
        }
        or_malformed(request)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<M::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        M::decode_response(&read_frame(io, M::MAX_RESPONSE_BYTES).await?)
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
        let bytes = M::encode_request(&request.map_err(invalid)?)?;
        write_frame(io, &bytes, M::MAX_REQUEST_BYTES).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: M::Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &M::encode_response(&response)?, M::MAX_RESPONSE_BYTES).await
    }
}
