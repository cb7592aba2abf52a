//! Ending a lease: at its owner's request, and again when that came to nothing by a crash or a reorganisation.

use alloy_primitives::B256;
use sublet_chain::{Call, ChainError, TxReport};
use sublet_market::LeaseState;
use sublet_store::{Ending, Purchase};

use super::Buyer;
use crate::{EngineError, follower};

fn call(ending: Ending, id: B256) -> Call {
    match ending {
        Ending::Close => Call::Close { id },
        Ending::Reject => Call::Reject { id },
    }
}

impl Buyer {
    /// Ends a lease that this node buys: a close pays to now + NOTICE, a reject burns the last HOLD. That it
    /// is to end is on disk before the transaction.
    pub async fn end(&self, id: B256, ending: Ending) -> Result<TxReport, EngineError> {
        let view = self.core.chain.lease(id).await?;
        match view.state {
            LeaseState::Active => {}
            LeaseState::Opened => {
                return Err(EngineError::Invalid(format!(
                    "the machine has not started yet and nothing is billed: if it does not start within {} \
                     s, this node aborts the lease and the money comes back",
                    u64::from(view.activate_by).saturating_sub(self.core.now())
                )));
            }
            LeaseState::None | LeaseState::Ended => {
                return Err(EngineError::Invalid(format!("the lease {id} is over: nothing to end")));
            }
        }
        let note = |wanted: bool| self.note_ending(id, wanted.then_some(ending));
        let ended = self.ending.send(&self.core, call(ending, id), id, note).await;
        self.core.wake.buyer.notify_one();
        ended
    }

    /// The engine's step: the owner wanted the end, and the chain does not show it.
    pub(super) async fn end_again(&self, id: B256) -> Result<(), EngineError> {
        let Some(ending) = self.purchase_of(id)?.ending else { return Ok(()) };
        let sent = self.core.account.execute(call(ending, id)).await;
        follower::refresh_lease(&self.core, id).await?;
        match sent {
            Ok(report) => {
                tracing::info!(lease = %id, tx = %report.hash, "the lease is ended at its owner's request");
                Ok(())
            }
            // Over already, or too late for this kind of end: what the chain says is read, and the owner told.
            Err(error @ ChainError::Reverted { .. }) => {
                self.note_ending(id, None)?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A lease whose file was lost can be ended all the same.
    fn note_ending(&self, id: B256, ending: Option<Ending>) -> Result<(), EngineError> {
        self.core.store.update::<Purchase>(id.as_slice(), |purchase| purchase.ending = ending)?;
        Ok(())
    }
}
