//! The names under which nodes of one market find each other. All but the request protocols carry the
//! EIP-712 domain separator, so peers of two markets never mix; a request of the sync protocol names its book.

use alloy_primitives::hex;
use libp2p::StreamProtocol;
use sublet_market::Domain;

use super::P2pError;

/// The trade protocol: ask, accept, access.
pub(super) const TRADE: StreamProtocol = StreamProtocol::new("/sublet/trade/1");

/// The comparison of two books.
pub(super) const SYNC: StreamProtocol = StreamProtocol::new("/sublet/sync/1");

/// Longest shard name in bytes; longer ones only waste bandwidth in every subscription.
const MAX_SHARD_BYTES: usize = 32;

/// The gossip topic of one shard of a market's order book: `/sublet/{domain separator}/orders/{shard}/1`.
pub fn topic_name(domain: &Domain, shard: &str) -> String {
    format!("/sublet/{}/orders/{shard}/1", hex::encode(domain.separator()))
}

/// What this node calls its protocols.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) topic: String,
    pub(super) kad: StreamProtocol,
    pub(super) identify: String,
}

impl Names {
    pub(super) fn new(domain: &Domain, shard: &str) -> Result<Self, P2pError> {
        let plain = shard.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if shard.is_empty() || shard.len() > MAX_SHARD_BYTES || !plain {
            return Err(P2pError::Shard(shard.to_owned()));
        }
        let separator = hex::encode(domain.separator());
        let kad = StreamProtocol::try_from_owned(format!("/sublet/{separator}/kad/1"))
            .map_err(|error| P2pError::Setup { part: "kad", detail: error.to_string() })?;
        Ok(Self { topic: topic_name(domain, shard), kad, identify: format!("/sublet/{separator}/1") })
    }
}
