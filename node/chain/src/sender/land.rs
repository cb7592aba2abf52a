//! From the broadcast to the receipt: watches every version of a transaction, and replaces a stuck one at a
//! higher fee.

use std::time::{Duration, Instant};

use alloy::{providers::Provider as _, rpc::types::TransactionReceipt};
use tracing::warn;

use super::{Broadcast, Fees, Flight, Sender};
use crate::error::ChainError;

/// A replacement must pay at least 10 % more (geth and its kin); 12.5 % leaves room for rounding.
const BUMP_NUMERATOR: u128 = 9;
const BUMP_DENOMINATOR: u128 = 8;
/// How long a receipt may lag behind the nonce before the nonce counts as taken by another transaction: load
/// balanced RPCs do not answer both from the same node.
const RECEIPT_GRACE: Duration = Duration::from_secs(10);
/// How long the transaction before this one, taken back by a reorganisation, may take to come into a block again.
const GAP_GRACE: Duration = Duration::from_secs(10);

impl Sender {
    /// Waits for the receipt of any version of the transaction; broadcasts again what is stuck.
    pub(super) async fn land(
        &self,
        call: &'static str,
        flight: &mut Flight,
    ) -> Result<TransactionReceipt, ChainError> {
        let started = Instant::now();
        let mut sent = started;
        let mut taken: Option<Instant> = None;
        let mut gap: Option<Instant> = None;
        loop {
            let looked = self.receipt(flight).await;
            if let Ok(Some(receipt)) = looked {
                return Ok(receipt);
            }
            let mined = self.mined_nonces().await;
            taken = match mined {
                Some(mined) if mined > flight.nonce => taken.or_else(|| Some(Instant::now())),
                // Another endpoint is asked by now, or a block was taken back.
                Some(_) => None,
                None => taken,
            };
            // Only who knows that the nonce is gone, and knows no receipt, says that it was another transaction.
            let denied = mined.is_some() && looked.is_ok();
            if denied && taken.is_some_and(|since| since.elapsed() > RECEIPT_GRACE) {
                return Err(self.superseded(call, flight.nonce));
            }
            // Each transaction waits for the one before: that one is missing only if a reorganisation took it back, and
            // this one cannot be mined before somebody has sent it again.
            gap = match gap {
                None if mined.is_some_and(|mined| mined < flight.nonce) => Some(Instant::now()),
                Some(_) if mined.is_some_and(|mined| mined >= flight.nonce) => None,
                same => same,
            };
            let stuck = gap.is_some_and(|since| since.elapsed() > GAP_GRACE);
            if stuck || started.elapsed() > self.options.confirm_timeout {
                return Err(ChainError::Unconfirmed {
                    call,
                    hash: flight.hashes.last().copied().unwrap_or_default(),
                    nonce: flight.nonce,
                    seconds: started.elapsed().as_secs(),
                });
            }
            if taken.is_none() && sent.elapsed() > self.options.resend_after {
                self.push(call, flight).await;
                sent = Instant::now();
            }
            tokio::time::sleep(self.options.receipt_poll).await;
        }
    }

    /// The receipt of any version of the transaction.
    async fn receipt(&self, flight: &Flight) -> Result<Option<TransactionReceipt>, ChainError> {
        for hash in flight.hashes.iter().rev() {
            let asked = self.rpc.provider().get_transaction_receipt(*hash);
            if let Some(receipt) = self.rpc.ask("eth_getTransactionReceipt", asked).await? {
                return Ok(Some(receipt));
            }
        }
        Ok(None)
    }

    /// How many transactions of ours are mined. An RPC that does not answer is no evidence.
    async fn mined_nonces(&self) -> Option<u64> {
        let asked =
            self.rpc.ask("eth_getTransactionCount", self.rpc.provider().get_transaction_count(self.address));
        asked.await.ok()
    }

    /// Broadcasts a stuck transaction again, dearer if the cap and the balance allow.
    async fn push(&self, call: &'static str, flight: &mut Flight) {
        let bump = |fee: u128| fee.saturating_mul(BUMP_NUMERATOR) / BUMP_DENOMINATOR + 1;
        let wanted = Fees { max: bump(flight.fees.max), priority: bump(flight.fees.priority) };
        let market = self.fees().await.map_or(wanted, |now| Fees {
            max: now.max.max(wanted.max),
            priority: now.priority.max(wanted.priority),
        });
        let affordable = self
            .rpc
            .balance(self.address)
            .await
            .is_ok_and(|have| have >= market.max.saturating_mul(u128::from(flight.gas)));
        if affordable && market.max <= self.options.max_fee_per_gas {
            let fees = Fees { max: market.max, priority: market.priority.min(market.max) };
            match self.dearer(flight, fees).await {
                Ok(dearer) => *flight = dearer,
                // A key that is elsewhere may not answer. The version that is out there may be mined all the same.
                Err(error) => warn!(call, %error, "cannot raise the fee; sending the same transaction again"),
            }
        }
        if let Broadcast::Refused(e) | Broadcast::Unclear(e) = self.broadcast(call, flight).await {
            // An earlier version may be mined all the same: only the receipt or the deadline ends the wait.
            warn!(call, nonce = flight.nonce, error = %e, "cannot broadcast again");
        }
    }

    /// The same transaction at other fees, signed and written down.
    async fn dearer(&self, flight: &Flight, fees: Fees) -> Result<Flight, ChainError> {
        let mut dearer = Flight { fees, ..flight.clone() };
        self.sign(&mut dearer).await?;
        self.journal.note(&dearer).map_err(ChainError::Journal)?;
        Ok(dearer)
    }
}
