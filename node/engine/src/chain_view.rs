//! What the engines know of the chain's progress: how far its events were applied, and who is party to recent leases.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_primitives::{Address, B256};

/// How far the chain was followed. The follower writes it, the engines read it.
#[derive(Default)]
pub struct ChainView {
    watched_until: AtomicU64,
    caught_up_at: AtomicU64,
    parties: Mutex<Parties>,
}

impl ChainView {
    /// The timestamp of the newest block whose events have all been taken in. What should have happened on
    /// chain before this time and is not in the store did not happen.
    pub fn watched_until(&self) -> u64 {
        self.watched_until.load(Ordering::Acquire)
    }

    /// Notes that all events up to the block with this timestamp are in the store. A reorganisation moves it back.
    pub fn set_watched_until(&self, timestamp: u64) {
        self.watched_until.store(timestamp, Ordering::Release);
    }

    /// The time of the last head below which every confirmed block had been taken in. With deep
    /// confirmations, the confirmed ones themselves are always old.
    pub fn caught_up_at(&self) -> u64 {
        self.caught_up_at.load(Ordering::Acquire)
    }

    /// Notes that all that the head with this timestamp confirms is in the store.
    pub fn set_caught_up_at(&self, timestamp: u64) {
        self.caught_up_at.store(timestamp, Ordering::Release);
    }

    /// The parties of recent leases. Hold it briefly.
    pub fn parties(&self) -> MutexGuard<'_, Parties> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who buys and who provides, of the leases opened lately: a bounded number, the oldest go first.
#[derive(Default)]
pub struct Parties {
    by_lease: HashMap<B256, (Address, Address)>,
    order: VecDeque<B256>,
}

impl Parties {
    /// 100 bytes each: a few MB.
    const MOST: usize = 50_000;

    /// Notes a lease.
    pub fn insert(&mut self, lease: B256, parties: (Address, Address)) {
        if self.by_lease.insert(lease, parties).is_none() {
            self.order.push_back(lease);
        }
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_lease.remove(&oldest);
        }
    }

    /// Buyer and provider of a lease.
    pub fn get(&self, lease: B256) -> Option<(Address, Address)> {
        self.by_lease.get(&lease).copied()
    }
}
