//! The names of the books in requests: one for each shard of the market.

use alloy_primitives::{B256, keccak256};
use sublet_market::Shard;

use crate::names::Topics;

/// `keccak256` of the gossip topic of each shard.
#[derive(Debug, Clone)]
pub(crate) struct Books(Vec<B256>);

impl Books {
    pub(crate) fn new(topics: &Topics) -> Self {
        Self(topics.iter().map(|(_, topic)| keccak256(topic.as_str())).collect())
    }

    pub(crate) fn of(&self, shard: Shard) -> B256 {
        // One for each shard, in their order.
        self.0[shard.index()]
    }
}
