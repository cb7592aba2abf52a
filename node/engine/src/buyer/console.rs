//! The machine's last console lines, fetched from its provider; kept when the lease is over.

use alloy_primitives::B256;
use sublet_market::{TradeRequest, TradeResponse};
use sublet_store::{ChainLease, Purchase};

use super::Buyer;
use crate::EngineError;

impl Buyer {
    /// The last console lines of a lease of ours: the kept ones after its end, the provider's before.
    pub async fn console(&self, id: B256) -> Result<Vec<String>, EngineError> {
        let purchase = self.core.store.find::<Purchase>(id.as_slice())?;
        let kept = purchase.map(|purchase| purchase.console).unwrap_or_default();
        if kept.is_empty() { self.ask_console(id).await } else { Ok(kept) }
    }

    /// Keeps what can be had: whether or not the provider still answers, the lease is over.
    pub(super) async fn keep_console(&self, id: B256) -> Result<(), EngineError> {
        match self.ask_console(id).await {
            Ok(console) => self.update(id, |p| p.console = console),
            Err(error) => {
                tracing::debug!(lease = %id, %error, "cannot fetch the last console lines");
                Ok(())
            }
        }
    }

    async fn ask_console(&self, id: B256) -> Result<Vec<String>, EngineError> {
        let lease = self.core.store.find::<ChainLease>(id.as_slice())?;
        let node = lease.and_then(|lease| lease.provider_node()).ok_or_else(|| {
            EngineError::NotFound(format!(
                "the console of the lease {id} cannot be fetched: its provider's node is not known"
            ))
        })?;
        let unavailable = |why: &str| {
            EngineError::Unavailable(format!("cannot fetch the machine's console from the provider: {why}"))
        };
        match self.core.p2p.request(node, Vec::new(), TradeRequest::Console { lease: id }).await {
            Ok(TradeResponse::Console(lines)) => Ok(lines),
            Ok(TradeResponse::Declined(no)) => Err(unavailable(&no.to_string())),
            Ok(_) => Err(unavailable("its answer is invalid")),
            Err(error) => Err(unavailable(&error.to_string())),
        }
    }
}
