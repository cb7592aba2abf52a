//! Sends transactions: one at a time for one key, so that nonces never race.
//!
//! In goes a contract call. It is simulated on the pending state first, so that what the contract would refuse
//! costs nothing. Then nonce, gas and fees are read afresh, the transaction is signed once, and from there on the
//! sender only ever broadcasts versions of *that* nonce: the same bytes again, or the same call with a higher fee
//! when it is stuck. Whatever the RPC says in between, at most one of them can be mined. Out comes the receipt, or
//! an error that says whether the call may still be carried out.
//!
//! Each is in the [`Journal`] before it is sent, until its nonce is used: one that an earlier call or process
//! has left in the pool would hold up everything behind it, so it comes first.

mod earlier;
mod flight;
mod land;

use std::{sync::Arc, time::Duration};

use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::{BlockId, BlockNumberOrTag, eip2718::Encodable2718 as _},
    network::{EthereumWallet, NetworkTransactionBuilder as _, TransactionBuilder as _},
    providers::Provider as _,
    rpc::types::{TransactionReceipt, TransactionRequest},
    transports::TransportError,
};
use alloy_primitives::{Address, Bytes, TxKind};
use sublet_base::failpoint;
use sublet_keys::WalletSigner;
use tokio::sync::Mutex;
use tracing::{debug, warn};

pub(crate) use self::flight::Unwritten;
pub use self::flight::{Fees, Flight, Journal};
use super::{
    error::ChainError,
    rpc::{Rpc, clip},
};

/// The name of a revert that carries no error of ours.
const UNKNOWN: &str = "unknown";
/// How often a transaction is set up at most, because somebody else took the nonce in between.
const NONCE_ATTEMPTS: usize = 3;
/// How transactions are sent.
#[derive(Debug, Clone)]
pub struct SendOptions {
    /// How long a transaction may take from the first broadcast to its receipt.
    pub confirm_timeout: Duration,
    /// How often the receipt is asked for.
    pub receipt_poll: Duration,
    /// After this long without a receipt the transaction is broadcast again, with a higher fee if the cap allows.
    pub resend_after: Duration,
    /// The most that is paid per gas, in wei.
    pub max_fee_per_gas: u128,
}

impl Default for SendOptions {
    fn default() -> Self {
        Self {
            confirm_timeout: Duration::from_secs(180),
            receipt_poll: Duration::from_millis(250),
            resend_after: Duration::from_secs(30),
            max_fee_per_gas: 500_000_000_000, // 500 gwei: several times what mainnet asks in a rush
        }
    }
}

/// What is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct TxRequest {
    /// The function, for messages.
    pub(crate) call: &'static str,
    /// The contract, or a creation.
    pub(crate) to: TxKind,
    /// Call data or creation code.
    pub(crate) input: Bytes,
}

/// What a broadcast came to.
enum Broadcast {
    /// Taken, or already known.
    Sent,
    /// A transaction with this nonce is mined. It may be this one: an answer that is lost on its way has the
    /// same bytes sent again.
    Mined,
    /// Another transaction waits with this nonce.
    Occupied,
    /// The RPC does not want it.
    Refused(ChainError),
    /// No answer: it may have been taken.
    Unclear(ChainError),
}

/// The owner of one key's nonces.
#[derive(Debug)]
pub(crate) struct Sender {
    rpc: Rpc,
    wallet: EthereumWallet,
    address: Address,
    chain_id: u64,
    options: SendOptions,
    journal: Arc<dyn Journal>,
    turn: Mutex<()>,
}

impl Sender {
    pub(crate) fn new(
        rpc: Rpc,
        signer: WalletSigner,
        chain_id: u64,
        options: SendOptions,
        journal: Arc<dyn Journal>,
    ) -> Self {
        let address = signer.address();
        let wallet = EthereumWallet::new(signer);
        Self { rpc, wallet, address, chain_id, options, journal, turn: Mutex::new(()) }
    }

    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Carries out one call and returns the receipt of its success.
    pub(crate) async fn send(&self, order: &TxRequest) -> Result<TransactionReceipt, ChainError> {
        let _turn = self.turn.lock().await;
        if let Some(receipt) = self.clear_the_way(order).await? {
            return Ok(receipt);
        }
        self.simulate(order).await?;
        for attempt in 1..=NONCE_ATTEMPTS {
            let mut flight = self.prepare(order).await?;
            self.journal.note(&flight).map_err(ChainError::Journal)?;
            failpoint::reach(&["sender", order.call, "signed"]);
            let mut gone = false;
            match self.broadcast(order.call, &flight).await {
                Broadcast::Sent => {}
                Broadcast::Unclear(e) => {
                    warn!(
                        call = order.call, error = %e,
                        "unknown whether the broadcast arrived; watching for the receipt"
                    )
                }
                Broadcast::Refused(e) => {
                    self.forget(&flight);
                    return Err(e);
                }
                Broadcast::Mined => gone = true,
                Broadcast::Occupied => {
                    self.forget(&flight);
                    if attempt == NONCE_ATTEMPTS {
                        return Err(self.superseded(order.call, flight.nonce));
                    }
                    tokio::time::sleep(self.options.receipt_poll).await;
                    continue;
                }
            }
            failpoint::reach(&["sender", order.call, "sent"]);
            let receipt = match self.finish(order.call, &mut flight).await {
                Err(ChainError::Superseded { .. }) if gone && attempt < NONCE_ATTEMPTS => continue,
                landed => landed?,
            };
            failpoint::reach(&["sender", order.call, "mined"]);
            return if receipt.status() { Ok(receipt) } else { Err(self.failure(order, &receipt).await) };
        }
        // The last attempt of the loop returns.
        Err(self.superseded(order.call, 0))
    }

    /// Waits for the receipt. While none is known the transaction stays in the journal.
    async fn finish(
        &self,
        call: &'static str,
        flight: &mut Flight,
    ) -> Result<TransactionReceipt, ChainError> {
        let landed = self.land(call, flight).await;
        if !matches!(landed, Err(ChainError::Unconfirmed { .. })) {
            self.forget(flight);
        }
        landed
    }

    /// What stays in the journal by mistake is forgotten when its nonce is found used.
    fn forget(&self, flight: &Flight) {
        if let Err(error) = self.journal.forget(flight) {
            warn!(
                call = flight.call, nonce = flight.nonce, %error,
                "cannot remove a transaction from the journal"
            );
        }
    }

    fn superseded(&self, call: &'static str, nonce: u64) -> ChainError {
        ChainError::Superseded { call, address: self.address, nonce }
    }

    fn request(&self, to: TxKind, input: &Bytes) -> TransactionRequest {
        let mut request = TransactionRequest::default().with_from(self.address).with_input(input.clone());
        request.set_kind(to);
        request
    }

    /// Runs the call without sending it; a refusal comes back decoded.
    async fn simulate(&self, order: &TxRequest) -> Result<(), ChainError> {
        let call = self.rpc.provider().call(self.request(order.to, &order.input)).block(BlockId::pending());
        match self.rpc.ask_raw(call).await? {
            Ok(_) => Ok(()),
            Err(e) => Err(self.refusal(order, "eth_call", &e)),
        }
    }

    fn refusal(&self, order: &TxRequest, method: &'static str, error: &TransportError) -> ChainError {
        match revert(error) {
            Some((name, text)) => ChainError::Reverted { call: order.call, name, text },
            None => self.rpc.error(method, error),
        }
    }

    /// Reads nonce, gas and fees, checks the money and signs.
    async fn prepare(&self, order: &TxRequest) -> Result<Flight, ChainError> {
        let provider = self.rpc.provider();
        let estimate = provider.estimate_gas(self.request(order.to, &order.input)).block(BlockId::pending());
        let nonce = provider.get_transaction_count(self.address).pending();
        let (estimate, nonce, have, fees) = tokio::join!(
            self.rpc.ask_raw(estimate),
            self.rpc.ask("eth_getTransactionCount", nonce),
            self.rpc.balance(self.address),
            self.fees(),
        );
        let (nonce, have, fees) = (nonce?, have?, fees?);
        let money = |gas: u64| ChainError::GasMoney {
            call: order.call,
            address: self.address,
            have,
            need: fees.max.saturating_mul(u128::from(gas)),
        };
        let gas = match estimate? {
            // A quarter more: the state may have changed until the transaction is mined.
            Ok(gas) => gas.saturating_add(gas / 4),
            Err(e) if lacks_money(&e) => return Err(money(21_000)),
            Err(e) => return Err(self.refusal(order, "eth_estimateGas", &e)),
        };
        if have < fees.max.saturating_mul(u128::from(gas)) {
            return Err(money(gas));
        }
        let mut flight = Flight {
            chain_id: self.chain_id,
            from: self.address,
            nonce,
            call: order.call.to_owned(),
            to: order.to,
            input: order.input.clone(),
            gas,
            fees,
            raw: Bytes::new(),
            hashes: Vec::new(),
        };
        self.sign(&mut flight).await?;
        Ok(flight)
    }

    /// What so much gas costs at most now, in wei.
    pub(crate) async fn price(&self, gas: u64) -> Result<u128, ChainError> {
        Ok(self.fees().await?.max.saturating_mul(u128::from(gas)))
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        let estimate = self.rpc.ask("eth_feeHistory", self.rpc.provider().estimate_eip1559_fees()).await?;
        let cap = self.options.max_fee_per_gas;
        // The estimate is twice the base fee plus the tip.
        let base_fee = estimate.max_fee_per_gas.saturating_sub(estimate.max_priority_fee_per_gas) / 2;
        if base_fee > cap {
            return Err(ChainError::FeeTooHigh { base_fee, cap });
        }
        let max = estimate.max_fee_per_gas.min(cap);
        Ok(Fees { max, priority: estimate.max_priority_fee_per_gas.min(max) })
    }

    async fn sign(&self, flight: &mut Flight) -> Result<(), ChainError> {
        let request = self
            .request(flight.to, &flight.input)
            .with_chain_id(self.chain_id)
            .with_nonce(flight.nonce)
            .with_gas_limit(flight.gas)
            .with_max_fee_per_gas(flight.fees.max)
            .with_max_priority_fee_per_gas(flight.fees.priority);
        let signed: TxEnvelope =
            request.build(&self.wallet).await.map_err(|e| ChainError::Signing(e.to_string()))?;
        debug!(call = flight.call, hash = %signed.tx_hash(), nonce = signed.nonce(), "signed");
        flight.hashes.push(*signed.tx_hash());
        flight.raw = signed.encoded_2718().into();
        Ok(())
    }

    async fn broadcast(&self, call: &'static str, flight: &Flight) -> Broadcast {
        let sending = self.rpc.provider().send_raw_transaction(&flight.raw);
        let error = match self.rpc.ask_raw(sending).await {
            Ok(Ok(_)) => return Broadcast::Sent,
            Ok(Err(e)) => e,
            Err(timeout) => return Broadcast::Unclear(timeout),
        };
        let ours = self.rpc.error("eth_sendRawTransaction", &error);
        let Some(payload) = error.as_error_resp() else { return Broadcast::Unclear(ours) };
        let text = payload.message.to_lowercase();
        if text.contains("already known") || text.contains("already imported") {
            Broadcast::Sent
        } else if text.contains("nonce too low") {
            Broadcast::Mined
        } else if text.contains("replacement transaction underpriced") {
            Broadcast::Occupied
        } else if lacks_money(&error) {
            let have = self.rpc.balance(self.address).await.unwrap_or(0);
            let need = flight.fees.max.saturating_mul(u128::from(flight.gas));
            Broadcast::Refused(ChainError::GasMoney { call, address: self.address, have, need })
        } else {
            Broadcast::Refused(ours)
        }
    }

    /// Why a mined transaction failed: the call is run again on its block.
    async fn failure(&self, order: &TxRequest, receipt: &TransactionReceipt) -> ChainError {
        let block = receipt.block_number.map_or(BlockNumberOrTag::Latest, BlockNumberOrTag::Number);
        let replay = self.rpc.provider().call(self.request(order.to, &order.input)).block(block.into());
        let why = match self.rpc.ask_raw(replay).await {
            Ok(Err(e)) => revert(&e),
            _ => None,
        };
        let (name, text) =
            why.unwrap_or_else(|| (UNKNOWN.into(), "the reason cannot be reproduced now".into()));
        ChainError::Failed { call: order.call, hash: receipt.transaction_hash, name, text }
    }
}

/// The contract's error in an RPC error, by name and in words.
pub(super) fn revert(error: &TransportError) -> Option<(String, String)> {
    let payload = error.as_error_resp()?;
    match payload.as_revert_data() {
        Some(data) => {
            let decoded = sublet_contracts::decode_revert(&data);
            Some(
                decoded.map_or_else(
                    || (UNKNOWN.into(), clip(&payload.message)),
                    |d| (d.name.to_owned(), d.text),
                ),
            )
        }
        None => payload.message.contains("revert").then(|| (UNKNOWN.into(), clip(&payload.message))),
    }
}

fn lacks_money(error: &TransportError) -> bool {
    error.as_error_resp().is_some_and(|payload| {
        let text = payload.message.to_lowercase();
        text.contains("insufficient funds") || text.contains("gas required exceeds allowance")
    })
}
