//! What a machine has printed last: for its buyer while it runs, and for both sides after its end.

use alloy_primitives::B256;
use sublet_base::phase::ProviderPhase;
use sublet_market::{Decline, DeclineCode};
use sublet_store::Promise;

use super::{
    Provider,
    ask::{busy, decline},
};

/// How many lines are shown and kept.
pub(super) const CONSOLE_LINES: usize = 40;

impl Provider {
    /// The last console lines of a lease, for the peer that the bid names and nobody else.
    pub async fn console_for(&self, node: B256, lease: B256) -> Result<Vec<String>, Decline> {
        let promise = self.core.store.find::<Promise>(lease.as_slice()).map_err(|e| busy(&e))?;
        match promise {
            Some(promise) if promise.bid.order.node == node => Ok(self.console_of(&promise).await),
            _ => Err(decline(DeclineCode::NotYours, "you have no lease with this id here")),
        }
    }

    /// What the machine has printed, or what was kept of it.
    pub async fn console_of(&self, promise: &Promise) -> Vec<String> {
        if promise.phase != ProviderPhase::Leased {
            return promise.console.clone();
        }
        // Between the end of the machine and the end of the lease only the kept lines are left.
        let now = self.adapter.logs(promise.id, CONSOLE_LINES).await.unwrap_or_default();
        if now.is_empty() { promise.console.clone() } else { now }
    }
}
