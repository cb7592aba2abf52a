//! Pending transactions that come before the next one: those of an earlier call, or of a process before this
//! one, that are not mined.

use alloy::{providers::Provider as _, rpc::types::TransactionReceipt};
use tracing::warn;

use super::{Flight, Sender, TxRequest};
use crate::error::ChainError;

/// What a transaction is called in messages that another call or process has sent.
const EARLIER: &str = "an earlier transaction";

impl Sender {
    /// Sees to the transactions that an earlier call, or a process before this one, has not seen mined. The
    /// one that is next is waited for, and replaced if it is stuck: nothing of this key can be mined before
    /// it. One that no pool has is forgotten: who wanted it looks at the state and decides again.
    ///
    /// Gives the receipt of one that is this very call. After another one of the same function whoever asks has to look
    /// again: it may have been the same wish.
    pub(super) async fn clear_the_way(
        &self,
        order: &TxRequest,
    ) -> Result<Option<TransactionReceipt>, ChainError> {
        let mut open = self.journal.flights().map_err(ChainError::Journal)?;
        open.retain(|flight| (flight.chain_id, flight.from) == (self.chain_id, self.address));
        if open.is_empty() {
            return Ok(None);
        }
        open.sort_by_key(|flight| flight.nonce);
        let counted = self.rpc.provider().get_transaction_count(self.address);
        let mut mined = self.rpc.ask("eth_getTransactionCount", counted).await?;
        for mut flight in open {
            if flight.nonce < mined || !self.is_known(&flight).await? {
                self.forget(&flight);
            } else if flight.nonce == mined {
                warn!(
                    earlier = flight.call,
                    nonce = flight.nonce,
                    "an earlier transaction is not mined yet: waiting for it first, at a higher fee if needed"
                );
                let landed = match self.finish(EARLIER, &mut flight).await {
                    Ok(receipt) => receipt.status().then_some(receipt),
                    Err(ChainError::Superseded { .. }) => None,
                    Err(ChainError::Unconfirmed { hash, nonce, .. }) => {
                        let (call, earlier) = (order.call, flight.call);
                        return Err(ChainError::Blocked { call, earlier, hash, nonce });
                    }
                    Err(error) => return Err(error),
                };
                mined = flight.nonce + 1;
                match landed {
                    Some(receipt) if (flight.to, &flight.input) == (order.to, &order.input) => {
                        return Ok(Some(receipt));
                    }
                    Some(receipt) if flight.call == order.call => {
                        return Err(ChainError::Overtaken {
                            call: order.call,
                            hash: receipt.transaction_hash,
                        });
                    }
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    /// Whether any version of a transaction is in the pool of the RPC, or mined.
    async fn is_known(&self, flight: &Flight) -> Result<bool, ChainError> {
        for hash in flight.hashes.iter().rev() {
            let asked = self.rpc.provider().get_transaction_by_hash(*hash);
            if self.rpc.ask("eth_getTransactionByHash", asked).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
