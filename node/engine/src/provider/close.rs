//! Giving a lease up at its operator's request, and again when that came to nothing by a crash or a reorganisation.

use alloy_primitives::B256;
use sublet_chain::{Call, TxReport};
use sublet_market::LeaseState;

use super::{Provider, Step};
use crate::EngineError;

impl Provider {
    /// Gives a lease up that this node provides: the rest and the bond go to the buyer. That it is to end is
    /// on disk before the transaction.
    pub async fn close(&self, id: B256) -> Result<TxReport, EngineError> {
        let call = match self.core.chain.lease(id).await?.state {
            LeaseState::Opened => Call::Abort { id },
            LeaseState::Active => Call::ProviderClose { id },
            LeaseState::None | LeaseState::Ended => {
                return Err(EngineError::NotFound(format!(
                    "the lease {id} is over, or never was: nothing to give up"
                )));
            }
        };
        let note = |closing: bool| self.note_closing(id, closing);
        let closed = self.closing.send(&self.core, call, id, note).await;
        self.core.wake.provider.notify_one();
        closed
    }

    /// A lease whose promise was lost can be given up all the same.
    fn note_closing(&self, id: B256, closing: bool) -> Result<(), EngineError> {
        self.update_if_there(id, |promise| promise.closing = closing)
    }

    /// Whether a step would do what the operator's own command is doing now.
    pub(super) fn is_under_way(&self, step: Step, id: B256) -> bool {
        matches!(step, Step::Abort | Step::GiveUp) && self.closing.contains(&id)
    }
}
