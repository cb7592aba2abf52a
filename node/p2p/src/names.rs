//! The names under which nodes of one market find each other. All but the request protocols carry the
//! EIP-712 domain separator, so peers of two markets never mix; a request of the sync protocol names its book.

use alloy_primitives::hex;
use libp2p::{StreamProtocol, gossipsub::TopicHash};
use sublet_market::{Domain, Shard};

use super::P2pError;

/// The trade protocol: ask, accept, access.
pub(super) const TRADE: StreamProtocol = StreamProtocol::new("/sublet/trade/1");

/// The comparison of two books.
pub(super) const SYNC: StreamProtocol = StreamProtocol::new("/sublet/sync/1");

/// The gossip topic of one shard of a market's order book: `/sublet/{domain separator}/orders/{shard}/1`.
pub fn topic_name(domain: &Domain, shard: Shard) -> String {
    format!("/sublet/{}/orders/{shard}/1", hex::encode(domain.separator()))
}

/// The gossip topics of a market's shards: a list that nobody can make longer.
#[derive(Debug, Clone)]
pub(super) struct Topics(Vec<TopicHash>);

impl Topics {
    fn new(domain: &Domain) -> Self {
        Self(Shard::all().map(|shard| TopicHash::from_raw(topic_name(domain, shard))).collect())
    }

    /// All of them, the main shard's first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Shard, &TopicHash)> {
        Shard::all().zip(&self.0)
    }

    /// The topic of a shard.
    pub(super) fn of(&self, shard: Shard) -> TopicHash {
        // One for each shard, in their order.
        self.0[shard.index()].clone()
    }

    /// The shard of a topic; nothing for a topic of somebody else's.
    pub(super) fn shard(&self, topic: &TopicHash) -> Option<Shard> {
        self.iter().find(|(_, known)| *known == topic).map(|(shard, _)| shard)
    }
}

/// What this node calls its protocols.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) topics: Topics,
    pub(super) kad: StreamProtocol,
    pub(super) identify: String,
}

impl Names {
    pub(super) fn new(domain: &Domain) -> Result<Self, P2pError> {
        let separator = hex::encode(domain.separator());
        let kad = StreamProtocol::try_from_owned(format!("/sublet/{separator}/kad/1"))
            .map_err(|error| P2pError::Setup { part: "kad", detail: error.to_string() })?;
        Ok(Self { topics: Topics::new(domain), kad, identify: format!("/sublet/{separator}/1") })
    }
}
