//! A lease that is over comes back: a new lease of the same provider, with the disk that it has kept.

use alloy_primitives::{Address, B256};
use sublet_market::Explanation;
use sublet_market::LeaseState;
use sublet_store::{ChainLease, Purchase};

use super::{Buyer, NewBid, rebid::like};
use crate::EngineError;

impl Buyer {
    /// Bids for a machine as the lease `id` had it, with its disk, at its top rate or another.
    pub async fn revive(
        &self,
        id: B256,
        duration: u32,
        max_rate: Option<u64>,
    ) -> Result<(Purchase, Explanation), EngineError> {
        let old = self.core.store.find::<Purchase>(id.as_slice())?.ok_or_else(|| {
            EngineError::NotFound(format!(
                "the bid of the lease {id} is not known here, so neither are its terms: post a new bid"
            ))
        })?;
        let mut new = NewBid { disk_of: Some(id), ..like(&old, duration) };
        if let Some(max_rate) = max_rate {
            new.terms.max_rate = max_rate;
        }
        self.post_bid(new).await
    }

    /// The provider of a lease of ours that is over, and its node: nobody else has the disk.
    pub(super) fn keeper_of(&self, id: B256) -> Result<(Address, B256), EngineError> {
        let lease = self.core.store.find::<ChainLease>(id.as_slice())?;
        let lease = lease.filter(|lease| lease.view.buyer == self.core.account.maker()).ok_or_else(|| {
            EngineError::NotFound(format!("this node has bought no lease {id}: see `sublet lease list`"))
        })?;
        if lease.view.state != LeaseState::Ended {
            return Err(EngineError::Invalid(format!(
                "the lease {id} is not over: more time costs less than a new lease, `sublet lease top-up {id}`"
            )));
        }
        let node = lease.provider_node().ok_or_else(|| {
            EngineError::NotFound(format!("the node that provided the lease {id} is not known"))
        })?;
        Ok((lease.view.provider, node))
    }
}
