//! Sends transactions: one at a time for one key, so that nonces never race.
//!
//! In goes a contract call. It is simulated on the pending state first, so that what the contract would refuse
//! costs nothing. Then nonce, gas and fees are read afresh, the transaction is signed once, and from there on the
//! sender only ever broadcasts versions of *that* nonce: the same bytes again, or the same call with a higher fee
//! when it is stuck. Whatever the RPC says in between, at most one of them can be mined. Out comes the receipt, or
//! an error that says whether the call may still be carried out.

use std::time::{Duration, Instant};

use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::{BlockId, BlockNumberOrTag, eip2718::Encodable2718 as _},
    network::{EthereumWallet, NetworkTransactionBuilder as _, TransactionBuilder as _},
    providers::Provider as _,
    rpc::types::{TransactionReceipt, TransactionRequest},
    transports::TransportError,
};
use alloy_primitives::{Address, B256, Bytes, TxKind};
use sublet_adapter::failpoint;
use tokio::sync::Mutex;
use tracing::{debug, warn};

use super::{
    error::ChainError,
    rpc::{Rpc, clip},
};
use crate::keys::WalletSigner;

/// The name of a revert that carries no error of ours.
const UNKNOWN: &str = "unknown";
/// How often a transaction is set up at most, because somebody else took the nonce in between.
const NONCE_ATTEMPTS: usize = 3;
/// A replacement must pay at least 10 % more (geth and its kin); 12.5 % leaves room for rounding.
const BUMP_NUMERATOR: u128 = 9;
const BUMP_DENOMINATOR: u128 = 8;
/// How long a receipt may lag behind the nonce before the nonce counts as taken by another transaction: load
/// balanced RPCs do not answer both from the same node.
const RECEIPT_GRACE: Duration = Duration::from_secs(10);
/// How long the transaction before this one, taken back by a reorganisation, may take to come into a block again.
const GAP_GRACE: Duration = Duration::from_secs(10);

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
pub(crate) struct Order {
    /// The function, for messages.
    pub(crate) call: &'static str,
    /// The contract, or a creation.
    pub(crate) to: TxKind,
    /// Call data or creation code.
    pub(crate) input: Bytes,
}

/// Fees in wei per gas (EIP-1559).
#[derive(Debug, Clone, Copy)]
struct Fees {
    max: u128,
    priority: u128,
}

/// A signed transaction and all the hashes that it has had.
struct Flight {
    nonce: u64,
    gas: u64,
    fees: Fees,
    raw: Vec<u8>,
    hashes: Vec<B256>,
}

/// What a broadcast came to.
enum Broadcast {
    /// Taken, or already known.
    Sent,
    /// A transaction with this nonce is mined. It may be this one: an answer that is lost on its way has the same bytes sent
    /// again.
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
    turn: Mutex<()>,
}

impl Sender {
    pub(crate) fn new(rpc: Rpc, signer: WalletSigner, chain_id: u64, options: SendOptions) -> Self {
        let address = signer.address();
        Self { rpc, wallet: EthereumWallet::new(signer), address, chain_id, options, turn: Mutex::new(()) }
    }

    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Carries out one call and returns the receipt of its success.
    pub(crate) async fn send(&self, order: &Order) -> Result<TransactionReceipt, ChainError> {
        let _turn = self.turn.lock().await;
        self.simulate(order).await?;
        for attempt in 1..=NONCE_ATTEMPTS {
            let mut flight = self.prepare(order).await?;
            failpoint::reach(&["sender", order.call, "signed"]);
            let mut gone = false;
            match self.broadcast(order, &flight).await {
                Broadcast::Sent => {}
                Broadcast::Unclear(e) => {
                    warn!(call = order.call, error = %e, "the broadcast is unclear: watching for the receipt")
                }
                Broadcast::Refused(e) => return Err(e),
                Broadcast::Mined => gone = true,
                Broadcast::Occupied if attempt < NONCE_ATTEMPTS => {
                    tokio::time::sleep(self.options.receipt_poll).await;
                    continue;
                }
                Broadcast::Occupied => return Err(self.superseded(order, flight.nonce)),
            }
            failpoint::reach(&["sender", order.call, "sent"]);
            let receipt = match self.land(order, &mut flight).await {
                Err(ChainError::Superseded { .. }) if gone && attempt < NONCE_ATTEMPTS => continue,
                landed => landed?,
            };
            failpoint::reach(&["sender", order.call, "mined"]);
            return if receipt.status() { Ok(receipt) } else { Err(self.failure(order, &receipt).await) };
        }
        // The last attempt of the loop returns.
        Err(self.superseded(order, 0))
    }

    fn superseded(&self, order: &Order, nonce: u64) -> ChainError {
        ChainError::Superseded { call: order.call, address: self.address, nonce }
    }

    fn request(&self, order: &Order) -> TransactionRequest {
        let mut request =
            TransactionRequest::default().with_from(self.address).with_input(order.input.clone());
        request.set_kind(order.to);
        request
    }

    /// Runs the call without sending it; a refusal comes back decoded.
    async fn simulate(&self, order: &Order) -> Result<(), ChainError> {
        let call = self.rpc.provider().call(self.request(order)).block(BlockId::pending());
        match self.rpc.ask_raw(call).await? {
            Ok(_) => Ok(()),
            Err(e) => Err(self.refusal(order, "eth_call", &e)),
        }
    }

    fn refusal(&self, order: &Order, method: &'static str, error: &TransportError) -> ChainError {
        match revert(error) {
            Some((name, text)) => ChainError::Reverted { call: order.call, name, text },
            None => self.rpc.error(method, error),
        }
    }

    /// Reads nonce, gas and fees, checks the money and signs.
    async fn prepare(&self, order: &Order) -> Result<Flight, ChainError> {
        let provider = self.rpc.provider();
        let estimate = provider.estimate_gas(self.request(order)).block(BlockId::pending());
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
        let mut flight = Flight { nonce, gas, fees, raw: Vec::new(), hashes: Vec::new() };
        self.sign(order, &mut flight).await?;
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

    async fn sign(&self, order: &Order, flight: &mut Flight) -> Result<(), ChainError> {
        let request = self
            .request(order)
            .with_chain_id(self.chain_id)
            .with_nonce(flight.nonce)
            .with_gas_limit(flight.gas)
            .with_max_fee_per_gas(flight.fees.max)
            .with_max_priority_fee_per_gas(flight.fees.priority);
        let signed: TxEnvelope =
            request.build(&self.wallet).await.map_err(|e| ChainError::Signing(e.to_string()))?;
        debug!(call = order.call, hash = %signed.tx_hash(), nonce = signed.nonce(), "signed");
        flight.hashes.push(*signed.tx_hash());
        flight.raw = signed.encoded_2718();
        Ok(())
    }

    async fn broadcast(&self, order: &Order, flight: &Flight) -> Broadcast {
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
            Broadcast::Refused(ChainError::GasMoney { call: order.call, address: self.address, have, need })
        } else {
            Broadcast::Refused(ours)
        }
    }

    /// Waits for the receipt of any version of the transaction; broadcasts again what is stuck.
    async fn land(&self, order: &Order, flight: &mut Flight) -> Result<TransactionReceipt, ChainError> {
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
                return Err(self.superseded(order, flight.nonce));
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
                    call: order.call,
                    hash: flight.hashes.last().copied().unwrap_or_default(),
                    nonce: flight.nonce,
                    seconds: started.elapsed().as_secs(),
                });
            }
            if taken.is_none() && sent.elapsed() > self.options.resend_after {
                self.push(order, flight).await;
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
    async fn push(&self, order: &Order, flight: &mut Flight) {
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
            let before = flight.fees;
            flight.fees = Fees { max: market.max, priority: market.priority.min(market.max) };
            // A key that is elsewhere may not answer. The version that is out there may be mined all the same.
            if let Err(error) = self.sign(order, flight).await {
                flight.fees = before;
                warn!(call = order.call, %error, "cannot sign a dearer version: the old one is sent again");
            }
        }
        if let Broadcast::Refused(e) | Broadcast::Unclear(e) = self.broadcast(order, flight).await {
            // An earlier version may be mined all the same: only the receipt or the deadline ends the wait.
            warn!(call = order.call, nonce = flight.nonce, error = %e, "cannot broadcast again");
        }
    }

    /// Why a mined transaction failed: the call is run again on its block.
    async fn failure(&self, order: &Order, receipt: &TransactionReceipt) -> ChainError {
        let block = receipt.block_number.map_or(BlockNumberOrTag::Latest, BlockNumberOrTag::Number);
        let replay = self.rpc.provider().call(self.request(order)).block(block.into());
        let why = match self.rpc.ask_raw(replay).await {
            Ok(Err(e)) => revert(&e),
            _ => None,
        };
        let (name, text) =
            why.unwrap_or_else(|| (UNKNOWN.into(), "the reason is not reproducible now".into()));
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
