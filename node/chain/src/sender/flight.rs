//! A transaction in flight, from its signature until its nonce is used, and its record in the journal.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use alloy_primitives::{Address, B256, Bytes, TxKind};
use serde::{Deserialize, Serialize};

/// Fees in wei per gas (EIP-1559).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fees {
    /// The most that is paid, the tip included.
    #[serde(with = "sublet_market::text_number")]
    pub max: u128,
    /// The tip.
    #[serde(with = "sublet_market::text_number")]
    pub priority: u128,
}

/// A signed transaction and all the hashes that it has had: all that is needed to wait for it, and to replace
/// it by a dearer one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// The chain it is for.
    pub chain_id: u64,
    /// Who sends it.
    pub from: Address,
    /// Its place among the sender's transactions.
    pub nonce: u64,
    /// The function, for messages.
    pub call: String,
    /// The contract, or a creation.
    pub to: TxKind,
    /// Call data or creation code.
    pub input: Bytes,
    /// The most gas that it may use.
    pub gas: u64,
    /// What the newest version pays.
    pub fees: Fees,
    /// The newest version, signed.
    pub raw: Bytes,
    /// The hash of each version, the newest last.
    pub hashes: Vec<B256>,
}

/// Where transactions are written down before they are sent, so that a process that starts again waits for
/// those of the one before, and replaces them when they are stuck. The text of an error is for people.
pub trait Journal: std::fmt::Debug + Send + Sync {
    /// All that are written down.
    fn flights(&self) -> Result<Vec<Flight>, String>;
    /// Writes one down, durably, in place of another one with its sender and nonce.
    fn note(&self, flight: &Flight) -> Result<(), String>;
    /// Forgets one whose nonce is used, or that is given up.
    fn forget(&self, flight: &Flight) -> Result<(), String>;
}

/// A journal that ends with the process: for commands whose user sees how their transaction ends.
#[derive(Debug, Default)]
pub(crate) struct Unwritten(Mutex<BTreeMap<(Address, u64), Flight>>);

impl Unwritten {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<(Address, u64), Flight>) -> T) -> Result<T, String> {
        Ok(work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Journal for Unwritten {
    fn flights(&self) -> Result<Vec<Flight>, String> {
        self.with(|flights| flights.values().cloned().collect())
    }

    fn note(&self, flight: &Flight) -> Result<(), String> {
        self.with(|flights| drop(flights.insert((flight.from, flight.nonce), flight.clone())))
    }

    fn forget(&self, flight: &Flight) -> Result<(), String> {
        self.with(|flights| drop(flights.remove(&(flight.from, flight.nonce))))
    }
}
