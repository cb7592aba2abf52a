//! The protocol's messages as bytes, in frames. A request begins with its kind and the book it is about; a
//! list of digests is 32 bytes each, a list of envelopes has a 2-byte big-endian length before each.

use std::io;

use alloy_primitives::B256;
use sublet_market::codec::MAX_ORDER_BYTES;

use crate::{
    frame::invalid,
    request_codec::{Messages, RequestCodec},
};

/// Digests in one request.
pub(super) const MAX_DIGESTS: usize = 512;

/// Largest message of set reconciliation in a request. Peers may have as many requests under way as connections
/// have streams, so it is kept small.
pub(super) const MAX_QUERY_BYTES: usize = 65_536;

/// Largest message of set reconciliation in an answer: 8,000 digests for whoever has nothing.
pub(super) const MAX_REPLY_BYTES: usize = 262_144;

/// An answer with envelopes ends with the one that takes it above this.
pub(super) const FULL_ANSWER_BYTES: usize = 524_288;

const MAX_REQUEST_BYTES: usize = 1 + 32 + MAX_QUERY_BYTES;
const MAX_RESPONSE_BYTES: usize = FULL_ANSWER_BYTES + MAX_ORDER_BYTES + 16;

const COMPARE: u8 = 1;
const FETCH: u8 = 2;
const REFUSED: u8 = 3;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// A step of set reconciliation.
    Compare { book: B256, query: Vec<u8> },
    /// The orders with these digests.
    Fetch { book: B256, digests: Vec<B256> },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Response {
    /// The next step of set reconciliation.
    Compared { reply: Vec<u8> },
    /// The envelopes of the first `covered` digests of the request, but for those that are gone.
    Orders { covered: u16, envelopes: Vec<Vec<u8>> },
    /// None.
    Refused(Refusal),
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many requests: later.
    Busy,
    /// The book is another market's or shard's.
    OtherBook,
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Compare { book, query } => [&[COMPARE], book.as_slice(), query].concat(),
            Self::Fetch { book, digests } => {
                let mut bytes = [&[FETCH], book.as_slice()].concat();
                digests.iter().for_each(|digest| bytes.extend_from_slice(digest.as_slice()));
                bytes
            }
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let (&kind, rest) = bytes.split_first().ok_or_else(|| invalid("an empty request"))?;
        let (book, rest) = rest.split_at_checked(32).ok_or_else(|| invalid("a request without its book"))?;
        let book = B256::from_slice(book);
        match kind {
            COMPARE => Ok(Self::Compare { book, query: rest.to_vec() }),
            FETCH if rest.is_empty() || rest.len() % 32 != 0 || rest.len() / 32 > MAX_DIGESTS => {
                Err(invalid(format!("{} bytes are not 1 to {MAX_DIGESTS} digests", rest.len())))
            }
            FETCH => Ok(Self::Fetch { book, digests: rest.chunks(32).map(B256::from_slice).collect() }),
            kind => Err(invalid(format!("a request of the unknown kind {kind}"))),
        }
    }
}

impl Response {
    /// Bytes on the wire without the frame.
    pub(super) fn size(&self) -> u64 {
        let bytes = match self {
            Self::Compared { reply } => 1 + reply.len(),
            Self::Orders { envelopes, .. } => {
                3 + envelopes.iter().map(|envelope| envelope.len() + 2).sum::<usize>()
            }
            Self::Refused(_) => 2,
        };
        bytes as u64
    }

    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Compared { reply } => Ok([&[COMPARE], reply.as_slice()].concat()),
            Self::Orders { covered, envelopes } => {
                let mut bytes = vec![FETCH];
                bytes.extend_from_slice(&covered.to_be_bytes());
                for envelope in envelopes {
                    let len = u16::try_from(envelope.len()).map_err(invalid)?;
                    bytes.extend_from_slice(&len.to_be_bytes());
                    bytes.extend_from_slice(envelope);
                }
                Ok(bytes)
            }
            Self::Refused(Refusal::Busy) => Ok(vec![REFUSED, 0]),
            Self::Refused(Refusal::OtherBook) => Ok(vec![REFUSED, 1]),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        match bytes {
            [COMPARE, reply @ ..] if reply.len() <= MAX_REPLY_BYTES => {
                Ok(Self::Compared { reply: reply.to_vec() })
            }
            [FETCH, high, low, rest @ ..] => {
                let envelopes = split(rest)?;
                Ok(Self::Orders { covered: u16::from_be_bytes([*high, *low]), envelopes })
            }
            [REFUSED, 0] => Ok(Self::Refused(Refusal::Busy)),
            [REFUSED, 1] => Ok(Self::Refused(Refusal::OtherBook)),
            _ => Err(invalid("an answer of an unknown kind")),
        }
    }
}

fn split(mut rest: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut envelopes = Vec::new();
    while let [high, low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (envelope, next) =
            after.split_at_checked(len).ok_or_else(|| invalid("an envelope that ends early"))?;
        if envelopes.len() >= MAX_DIGESTS {
            return Err(invalid("more envelopes than can have been asked for"));
        }
        envelopes.push(envelope.to_vec());
        rest = next;
    }
    if rest.is_empty() { Ok(envelopes) } else { Err(invalid("an envelope without its length")) }
}

/// The messages of the protocol.
#[derive(Debug)]
pub(crate) struct SyncMessages;

/// Reads and writes the frames.
pub(crate) type SyncCodec = RequestCodec<SyncMessages>;

impl Messages for SyncMessages {
    type Request = Request;
    type Response = Response;
    const MAX_REQUEST_BYTES: usize = MAX_REQUEST_BYTES;
    const MAX_RESPONSE_BYTES: usize = MAX_RESPONSE_BYTES;

    fn encode_request(request: &Request) -> io::Result<Vec<u8>> {
        Ok(request.encode())
    }

    fn decode_request(bytes: &[u8]) -> io::Result<Request> {
        Request::decode(bytes)
    }

    fn encode_response(response: &Response) -> io::Result<Vec<u8>> {
        response.encode()
    }

    fn decode_response(bytes: &[u8]) -> io::Result<Response> {
        Response::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> B256 {
        B256::repeat_byte(n)
    }

    #[test]
    fn messages_survive_the_wire() {
        for request in [
            Request::Compare { book: digest(1), query: vec![1, 2, 3] },
            Request::Fetch { book: digest(1), digests: vec![digest(2); MAX_DIGESTS] },
        ] {
            assert_eq!(Request::decode(&request.encode()).unwrap(), request);
        }
        for response in [
            Response::Compared { reply: vec![7; MAX_REPLY_BYTES] },
            Response::Orders { covered: 3, envelopes: vec![vec![1; 300], vec![2; MAX_ORDER_BYTES]] },
            Response::Orders { covered: 512, envelopes: vec![] },
            Response::Refused(Refusal::Busy),
            Response::Refused(Refusal::OtherBook),
        ] {
            assert_eq!(Response::decode(&response.encode().unwrap()).unwrap(), response);
        }
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        let book = digest(1);
        let too_many = Request::Fetch { book, digests: vec![digest(2); MAX_DIGESTS + 1] }.encode();
        let none = Request::Fetch { book, digests: vec![] }.encode();
        let crooked = [none.clone(), vec![0; 33]].concat();
        for bytes in [&too_many[..], &none, &crooked, &[], &[9; 33], &[COMPARE; 20]] {
            assert!(Request::decode(bytes).is_err(), "{} bytes", bytes.len());
        }
        let many =
            Response::Orders { covered: 1, envelopes: vec![vec![]; MAX_DIGESTS + 1] }.encode().unwrap();
        let long = [&[COMPARE][..], &[0; MAX_REPLY_BYTES + 1]].concat();
        for bytes in
            [&many[..], &long, &[], &[FETCH, 0], &[FETCH, 0, 1, 0, 9, 1], &[FETCH, 0, 1, 0], &[REFUSED, 2]]
        {
            assert!(Response::decode(bytes).is_err(), "{} bytes", bytes.len());
        }
    }
}
