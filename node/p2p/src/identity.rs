//! Peers by two names: the ed25519 key that orders carry as `node`, and libp2p's peer id.
//!
//! A peer id of an ed25519 key is the key itself behind the identity multihash, so both directions are exact.

use alloy_primitives::B256;
use libp2p::{
    PeerId,
    identity::{PublicKey, ed25519},
};

/// Multihash code of the identity function (multicodec table, `identity`).
const IDENTITY_MULTIHASH: u64 = 0x00;

/// The bytes are no point of the ed25519 curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not an ed25519 public key; a node key is shown by `sublet node status`")]
pub struct NodeKeyError(
    /// The bytes that are no key.
    pub B256,
);

/// The ed25519 public key behind a peer id; nothing if the peer uses another kind of key.
pub fn node_key(peer: &PeerId) -> Option<B256> {
    let multihash = peer.as_ref();
    if multihash.code() != IDENTITY_MULTIHASH {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(multihash.digest()).ok()?;
    Some(B256::from(key.try_into_ed25519().ok()?.to_bytes()))
}

/// The peer id of an ed25519 public key.
///
/// # Errors
/// The bytes are not a valid public key.
pub fn peer_id(node: B256) -> Result<PeerId, NodeKeyError> {
    let key = ed25519::PublicKey::try_from_bytes(node.as_slice()).map_err(|_| NodeKeyError(node))?;
    Ok(PublicKey::from(key).to_peer_id())
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn both_directions_agree() {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let node = node_key(&peer).unwrap();
        assert_eq!(node.0, keypair.try_into_ed25519().unwrap().public().to_bytes());
        assert_eq!(peer_id(node).unwrap(), peer);
    }

    #[test]
    fn a_hashed_peer_id_has_no_node_key() {
        let random = PeerId::random();
        assert!(node_key(&random).is_none_or(|key| peer_id(key).is_err() || peer_id(key) == Ok(random)));
        let hashed: PeerId = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        assert_eq!(node_key(&hashed), None);
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        // y = 2 is not on the curve.
        let mut bytes = [0u8; 32];
        bytes[0] = 2;
        assert_eq!(peer_id(B256::from(bytes)), Err(NodeKeyError(B256::from(bytes))));
    }
}
