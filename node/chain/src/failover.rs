//! Failover between RPC endpoints: in use is the first in the operator's order that serves the right chain
//! and is not behind the others.
//!
//! Whoever notices that the one in use fails calls for an election; the watcher also does so now and then, so
//! that a preferred endpoint that is well again is used again. A faulty endpoint (another chain, a head that
//! stands still, garbage, no answer) is passed over until it has come back.

use std::time::Duration;

use alloy::{eips::BlockNumberOrTag, providers::Provider as _};
use tracing::{debug, info};

use super::{
    deployment::Deployment,
    rpc::{Endpoint, Head, Rpc},
};

/// How long an endpoint may take to answer in an election.
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// An endpoint so many seconds of chain time behind the best one, and more than [`MOST_BLOCKS_BEHIND`], is not used.
const MOST_SECONDS_BEHIND: u64 = 30;
/// A block or two is the network's delay; on a chain with slow blocks that is more than [`MOST_SECONDS_BEHIND`].
const MOST_BLOCKS_BEHIND: u64 = 2;

impl Rpc {
    /// Whether there is a choice.
    pub(crate) fn has_fallbacks(&self) -> bool {
        self.endpoints.len() > 1
    }

    /// Asks every endpoint for its chain, the Market and its head, and uses the best from now on. When none is usable,
    /// nothing changes. Says whether another one is asked than before.
    pub(crate) async fn elect(&self, deployment: &Deployment) -> bool {
        let limit = self.timeout.min(PROBE_LIMIT);
        let probes = self.endpoints.iter().map(|endpoint| probe(endpoint, deployment, limit));
        let heads = futures::future::join_all(probes).await;
        let Some(chosen) = choose(&heads) else { return false };
        let before = self.current();
        if chosen == before {
            return false;
        }
        let (from, to) = (&self.endpoints[before].label, &self.endpoints[chosen].label);
        info!(%from, %to, "switching to an RPC endpoint that serves better");
        self.switch_to(chosen);
        true
    }
}

/// The head of an endpoint that answers and serves the chain.
async fn probe(endpoint: &Endpoint, deployment: &Deployment, limit: Duration) -> Option<Head> {
    let provider = &endpoint.provider;
    // Development chains all have the same id: the Market tells them apart.
    let questions = async {
        tokio::try_join!(
            provider.get_chain_id(),
            async { provider.get_code_at(deployment.market).await },
            async { provider.get_block_by_number(BlockNumberOrTag::Latest).await },
        )
    };
    let (served, code, block) = tokio::time::timeout(limit, questions).await.ok()?.ok()?;
    if served != deployment.chain_id || code.is_empty() {
        debug!(endpoint = endpoint.label, served, "this RPC endpoint serves another chain");
        return None;
    }
    Some(Head::from(&block?.header))
}

/// The first that is not behind the best.
fn choose(heads: &[Option<Head>]) -> Option<usize> {
    let best = heads.iter().flatten().max_by_key(|head| (head.timestamp, head.number))?;
    heads.iter().position(|head| {
        head.is_some_and(|head| {
            head.timestamp.saturating_add(MOST_SECONDS_BEHIND) >= best.timestamp
                || head.number.saturating_add(MOST_BLOCKS_BEHIND) >= best.number
        })
    })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;

    fn head(number: u64, timestamp: u64) -> Option<Head> {
        Some(Head { number, hash: B256::ZERO, timestamp })
    }

    #[test]
    fn the_first_usable_one_is_chosen() {
        assert_eq!(choose(&[None, None]), None);
        assert_eq!(choose(&[None, head(5, 50)]), Some(1));
        assert_eq!(choose(&[head(5, 50), head(5, 50)]), Some(0));
    }

    #[test]
    fn a_little_behind_is_no_reason_to_switch() {
        assert_eq!(choose(&[head(98, 1_000), head(100, 1_024)]), Some(0), "two slow blocks");
        assert_eq!(choose(&[head(70, 1_000), head(100, 1_030)]), Some(0), "thirty fast blocks");
        assert_eq!(choose(&[head(69, 999), head(100, 1_030)]), Some(1), "it stands still");
    }
}
