//! The codec of messages between peers. This module and its `wire` mirror are all that knows `bincode`
//! (2.0.1, finished and unmaintained).
//!
//! An envelope is 4 bytes, `"sl"`, kind and version, and then the message. Decoding refuses anything above
//! the kind's size, trailing bytes, values that break a type's own bounds, and any encoding but the one that
//! [encoding](encode_order) gives: two different byte strings are never the same message.

mod manifest;
mod wire;

use bincode::config;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};

use crate::manifest::{Manifest, ManifestError};
use crate::message::OrderMessage;
use crate::signature::SignatureError;
use crate::trade::{TradeError, TradeRequest, TradeResponse};
use crate::traits::TraitError;

/// Most bytes of an order in gossip: 32 traits of 64 bytes and the fixed fields take under 2.5 kB.
pub const MAX_ORDER_BYTES: usize = 8_192;
/// Most bytes of a trade request or answer: an ask with the largest manifest takes under 25 kB.
pub const MAX_TRADE_BYTES: usize = 65_536;
/// Most bytes of a manifest: 16 keys of 1 KiB and the fixed fields.
pub const MAX_MANIFEST_BYTES: usize = 20_480;
/// What the short parts of a message (integers, names) may take in memory beyond their bytes: bincode's limit
/// counts memory.
const SHORT_BYTES: usize = 8_192;

const MAGIC: [u8; 2] = *b"sl";
/// 2: an order names its signer where that is not the maker.
const VERSION: u8 = 2;
const HEADER_BYTES: usize = 4;

/// What an envelope carries.
#[derive(Clone, Copy)]
enum Kind {
    Order = 1,
    TradeRequest = 2,
    TradeResponse = 3,
    Manifest = 4,
}

impl Kind {
    const fn max_bytes(self) -> usize {
        match self {
            Self::Order => MAX_ORDER_BYTES,
            Self::TradeRequest | Self::TradeResponse => MAX_TRADE_BYTES,
            Self::Manifest => MAX_MANIFEST_BYTES,
        }
    }

    const fn header(self) -> [u8; HEADER_BYTES] {
        [MAGIC[0], MAGIC[1], self as u8, VERSION]
    }
}

/// Why bytes are not a message, or a message cannot become bytes.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// More bytes than the kind may have.
    #[error("{size} bytes are more than the {max} of this kind of message: send less")]
    TooLarge {
        /// Bytes there are.
        size: usize,
        /// Bytes there may be.
        max: usize,
    },
    /// The envelope does not begin as it should.
    #[error("not an envelope of this kind: the peer speaks another protocol")]
    Header,
    /// A version that this node does not know.
    #[error("envelope of version {0}, this node knows {VERSION}: update the older of the two")]
    Version(u8),
    /// There are bytes after the message.
    #[error("{0} bytes after the message: send the message alone")]
    Trailing(usize),
    /// The bytes are not the one encoding of what they say.
    #[error("not the canonical encoding: encode with the shortest integers")]
    NotCanonical,
    /// The bytes are not a message.
    #[error("malformed message: the peer must send what the protocol describes")]
    Malformed(#[source] DecodeError),
    /// The message cannot be written.
    #[error("cannot encode the message: report this as a bug")]
    Encode(#[source] EncodeError),
    /// A set of traits breaks its bounds.
    #[error(transparent)]
    Traits(#[from] TraitError),
    /// A signature is not in the one form.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A manifest breaks its bounds.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A trade answer breaks its bounds.
    #[error(transparent)]
    Trade(#[from] TradeError),
}

/// Encodes an order for gossip.
#[allow(clippy::expect_used)]
pub fn encode_order(message: &OrderMessage) -> Vec<u8> {
    // Cannot fail: bincode has no failure for these types, and traits, the only part without a fixed size,
    // bound themselves to 32 × 64 bytes, so that the largest order takes a third of MAX_ORDER_BYTES.
    encode(Kind::Order, wire::Order::from(message.clone())).expect("an order fits its bounds by construction")
}

/// Decodes an order from gossip. Its structure is still to be checked ([`OrderMessage::check`]), and its signer.
///
/// # Errors
/// Anything but the canonical encoding of an order.
pub fn decode_order(bytes: &[u8]) -> Result<OrderMessage, CodecError> {
    let payload = open(Kind::Order, bytes)?;
    let wire: wire::Order = read(payload, config::standard().with_limit::<MAX_ORDER_BYTES>())?;
    // Becoming a message changes no value, so that the mirror's encoding is the message's, which need not be
    // cloned for it.
    let mut rest = SameBytes(payload);
    bincode::encode_into_writer(&wire, &mut rest, config::standard())
        .map_err(|_| CodecError::NotCanonical)?;
    OrderMessage::try_from(wire)
}

/// Encodes a trade request.
///
/// # Errors
/// A request above [`MAX_TRADE_BYTES`].
pub fn encode_trade_request(request: &TradeRequest) -> Result<Vec<u8>, CodecError> {
    encode(Kind::TradeRequest, wire::Request::from(request.clone()))
}

/// Decodes a trade request. Bid, spec and manifest are still to be checked.
///
/// # Errors
/// Anything but the canonical encoding of a request.
pub fn decode_trade_request(bytes: &[u8]) -> Result<TradeRequest, CodecError> {
    let payload = open(Kind::TradeRequest, bytes)?;
    let wire: wire::Request =
        read(payload, config::standard().with_limit::<{ MAX_TRADE_BYTES + SHORT_BYTES }>())?;
    let request = TradeRequest::try_from(wire)?;
    canonical(bytes, encode_trade_request(&request)?)?;
    Ok(request)
}

/// Encodes a trade answer.
///
/// # Errors
/// An answer whose texts break their bounds ([`TradeResponse::check`]).
pub fn encode_trade_response(response: &TradeResponse) -> Result<Vec<u8>, CodecError> {
    response.check()?;
    encode(Kind::TradeResponse, wire::Response::from(response.clone()))
}

/// Decodes a trade answer; its texts are safe to show and use.
///
/// # Errors
/// Anything but the canonical encoding of an answer within its bounds.
pub fn decode_trade_response(bytes: &[u8]) -> Result<TradeResponse, CodecError> {
    let payload = open(Kind::TradeResponse, bytes)?;
    let wire: wire::Response =
        read(payload, config::standard().with_limit::<{ MAX_TRADE_BYTES + SHORT_BYTES }>())?;
    let response = TradeResponse::try_from(wire)?;
    canonical(bytes, encode_trade_response(&response)?)?;
    Ok(response)
}

/// Encodes a manifest: the bytes that its hash is taken of.
///
/// # Errors
/// A manifest that breaks its bounds.
pub fn encode_manifest(manifest: &Manifest) -> Result<Vec<u8>, CodecError> {
    manifest.check()?;
    encode(Kind::Manifest, wire::Manifest::from(manifest.clone()))
}

/// Decodes a manifest.
///
/// # Errors
/// Anything but the canonical encoding of a manifest within its bounds.
pub fn decode_manifest(bytes: &[u8]) -> Result<Manifest, CodecError> {
    let payload = open(Kind::Manifest, bytes)?;
    let wire: wire::Manifest =
        read(payload, config::standard().with_limit::<{ MAX_MANIFEST_BYTES + SHORT_BYTES }>())?;
    let manifest = Manifest::try_from(wire)?;
    canonical(bytes, encode_manifest(&manifest)?)?;
    Ok(manifest)
}

/// Takes what is written for granted as long as it is what these bytes begin with.
struct SameBytes<'a>(&'a [u8]);

impl Writer for SameBytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0 = self.0.strip_prefix(bytes).ok_or(EncodeError::UnexpectedEnd)?;
        Ok(())
    }
}

fn encode(kind: Kind, message: impl bincode::Encode) -> Result<Vec<u8>, CodecError> {
    let mut bytes = kind.header().to_vec();
    let payload = bincode::encode_to_vec(message, config::standard()).map_err(CodecError::Encode)?;
    bytes.extend_from_slice(&payload);
    check_size(kind, &bytes)?;
    Ok(bytes)
}

/// Checks size and header; the message follows.
fn open(kind: Kind, bytes: &[u8]) -> Result<&[u8], CodecError> {
    check_size(kind, bytes)?;
    let (header, payload) = bytes.split_at_checked(HEADER_BYTES).ok_or(CodecError::Header)?;
    let [magic @ .., version] = kind.header();
    if header[..HEADER_BYTES - 1] != magic {
        return Err(CodecError::Header);
    }
    if header[HEADER_BYTES - 1] != version {
        return Err(CodecError::Version(header[HEADER_BYTES - 1]));
    }
    Ok(payload)
}

/// Reads a message that must take up the whole payload. The limit of `config` bounds what is allocated on the way.
fn read<T: bincode::Decode<()>>(payload: &[u8], config: impl config::Config) -> Result<T, CodecError> {
    let (message, used) = bincode::decode_from_slice(payload, config).map_err(CodecError::Malformed)?;
    match payload.len().saturating_sub(used) {
        0 => Ok(message),
        trailing => Err(CodecError::Trailing(trailing)),
    }
}

fn check_size(kind: Kind, bytes: &[u8]) -> Result<(), CodecError> {
    let (size, max) = (bytes.len(), kind.max_bytes());
    if size > max { Err(CodecError::TooLarge { size, max }) } else { Ok(()) }
}

fn canonical(bytes: &[u8], encoded: Vec<u8>) -> Result<(), CodecError> {
    if bytes == encoded { Ok(()) } else { Err(CodecError::NotCanonical) }
}
