//! What peers send: frames, sync requests, addresses.

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use sublet_market::codec;
use sublet_p2p::{fuzzing, node_key, peer_id};

use crate::seeds::{market::domain, p2p::met};

/// The first check of gossip: the signer of what is valid is its maker or the operator that it names, and the
/// same bytes are judged once.
pub(crate) fn gossip(bytes: &[u8]) -> bool {
    let Ok((signer, digest)) = fuzzing::gossip(domain(), bytes) else { return false };
    let message =
        codec::decode_order(bytes).unwrap_or_else(|error| panic!("valid and not to be read: {error}"));
    assert!(message.check().is_ok());
    let named = message.operator().unwrap_or(message.maker());
    assert_eq!((named, message.digest(&domain())), (signer, digest));
    true
}

/// The first byte says which way and how many bytes come at a time; the rest is the wire.
pub(crate) fn trade_frame(bytes: &[u8]) -> bool {
    frame(bytes, fuzzing::trade_request, fuzzing::trade_response);
    true
}

/// The same for the sync.
pub(crate) fn sync_frame(bytes: &[u8]) -> bool {
    frame(bytes, fuzzing::sync_request, fuzzing::sync_response);
    true
}

type Reader = fn(&[u8], usize) -> std::io::Result<Vec<u8>>;

fn frame(bytes: &[u8], request: Reader, response: Reader) -> bool {
    let Some((&control, wire)) = bytes.split_first() else { return false };
    let step = usize::from(control >> 1) * 64 + 1;
    let reader = if control & 1 == 0 { request } else { response };
    match reader(wire, step) {
        // What comes after the frame is not read.
        Ok(again) => {
            assert_eq!(wire.get(..again.len()), Some(again.as_slice()), "not what was sent");
            true
        }
        Err(error) => {
            assert_ne!(error.kind(), std::io::ErrorKind::OutOfMemory, "{error}");
            false
        }
    }
}

/// A question of set reconciliation gets an answer of bounded size.
pub(crate) fn sync_answer(bytes: &[u8]) -> bool {
    let Some(reply) = fuzzing::answer(bytes) else { return false };
    assert!(reply.len() <= 262_144, "an answer of {} bytes", reply.len());
    let again = fuzzing::answer(bytes);
    assert_eq!(again.as_deref(), Some(reply.as_slice()), "two answers to one question");
    true
}

/// Answers of set reconciliation, each after its length (2 bytes, big-endian): a peer cannot promise more
/// digests than it has named.
pub(crate) fn sync_session(bytes: &[u8]) -> bool {
    let Ok((needed, questions)) = fuzzing::converse(pieces(bytes)) else { return false };
    assert!(needed * 32 <= bytes.len(), "{needed} digests in {} bytes", bytes.len());
    assert!(questions <= 256, "{questions} questions");
    true
}

fn pieces(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (piece, next) = after.split_at(usize::from(u16::from_be_bytes(*length)).min(after.len()));
        rest = next;
        Some(piece)
    })
}

/// Addresses in their binary form, each after its length (1 byte); the first is where the peer is seen. What remains is
/// its agent string.
pub(crate) fn addresses(bytes: &[u8]) -> bool {
    let (mut rest, mut said) = (bytes, Vec::new());
    while let Some((&length, after)) = rest.split_first() {
        let Some((piece, next)) = after.split_at_checked(usize::from(length)) else { break };
        rest = next;
        let Ok(address) = Multiaddr::try_from(piece.to_vec()) else { continue };
        assert_eq!(address.to_vec(), piece, "another encoding of {address}");
        let peer = fuzzing::named_peer(&address);
        if let Some(node) = peer.as_ref().and_then(node_key) {
            assert_eq!(peer_id(node).ok(), peer, "two names of one key");
        }
        said.push(address);
    }
    let agent = fuzzing::agent(&String::from_utf8_lossy(rest));
    super::assert_plain(&agent, 4 * 64);
    let Some(seen_at) = said.first().cloned() else { return false };
    let worth = fuzzing::dialable(said.clone(), &seen_at);
    assert!(worth.len() <= 16 && worth.iter().all(|address| said.contains(address)));
    let nowhere = |address: &Multiaddr| match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_unspecified(),
        Some(Protocol::Ip6(ip)) => ip.is_unspecified(),
        first => first.is_none(),
    };
    assert!(!worth.iter().any(nowhere), "an address of nowhere is dialled");
    true
}

/// The file of known peers: what is written of it is read again as the same.
pub(crate) fn peer_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (peer, addresses): (PeerId, _) = met();
    let again = |text: &str| fuzzing::peers(text, 8, peer, addresses.clone());
    let Some(written) = again(text) else { return false };
    assert_eq!(again(&written).as_ref(), Some(&written));
    true
}
