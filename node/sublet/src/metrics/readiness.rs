//! Readiness: whether the node sees the chain, has its network task, and can write its store.

use std::time::Duration;

use serde::Serialize;
use sublet_engine::Core;

/// The least time without a new block that counts as being offline.
const LEAST_OFFLINE: Duration = Duration::from_secs(60);
/// Or this many looks at the chain.
const POLLS: u32 = 10;
/// The network task answers within microseconds.
const P2P_LIMIT: Duration = Duration::from_secs(2);

/// What `/readyz` says.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Nothing is missing.
    pub ready: bool,
    /// What is missing.
    pub missing: Vec<Missing>,
}

/// A part that does not work.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// `chain`, `network` or `store`.
    pub part: &'static str,
    /// What is wrong, in words.
    pub detail: String,
}

/// How long no new block may come before the node counts as offline, when the head is asked for every `poll`.
pub fn offline_after(poll: Duration) -> Duration {
    poll.saturating_mul(POLLS).max(LEAST_OFFLINE)
}

/// Looks at the parts now.
pub async fn look(core: &Core, offline_after: Duration) -> Readiness {
    let network = match tokio::time::timeout(P2P_LIMIT, core.p2p.status()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the network task does not answer within {} s", P2P_LIMIT.as_secs())),
    };
    let store = core.store.check_writable().map_err(|error| error.to_string());
    judge(core.chain.newest().age(), offline_after, network, store)
}

fn judge(
    head_age: Duration,
    offline_after: Duration,
    network: Result<(), String>,
    store: Result<(), String>,
) -> Readiness {
    let mut missing = Vec::new();
    if head_age > offline_after {
        let detail = format!(
            "no new block for {} s: check whether the RPC at chain.rpc_url answers and the chain advances",
            head_age.as_secs()
        );
        missing.push(Missing { part: "chain", detail });
    }
    if let Err(detail) = network {
        missing.push(Missing { part: "network", detail });
    }
    if let Err(detail) = store {
        missing.push(Missing { part: "store", detail });
    }
    Readiness { ready: missing.is_empty(), missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_offline_node_is_not_ready() {
        let limit = offline_after(SECOND);
        assert_eq!(limit, 60 * SECOND);
        assert_eq!(offline_after(12 * SECOND), 120 * SECOND);
        assert!(judge(limit, limit, Ok(()), Ok(())).ready);
        let offline = judge(limit + SECOND, limit, Ok(()), Ok(()));
        assert!(!offline.ready);
        assert_eq!(offline.missing[0].part, "chain");
        assert!(offline.missing[0].detail.contains("no new block for 61 s"));
    }

    #[test]
    fn all_that_is_missing_is_named() {
        let lost = judge(100 * SECOND, 60 * SECOND, Err("gone".into()), Err("full".into()));
        let parts: Vec<_> = lost.missing.iter().map(|missing| missing.part).collect();
        assert_eq!(parts, ["chain", "network", "store"]);
        let json = serde_json::to_value(&lost).unwrap();
        assert_eq!(json["ready"], false);
        assert_eq!(json["missing"][1]["detail"], "gone");
    }
}
