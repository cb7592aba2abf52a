//! The bids of a book, and the digests of those that were settled or cancelled on chain.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};

use crate::message::OrderMessage;
use crate::orders::{Bid, Spec};
use crate::signature::Signed;

/// A bid in the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BidEntry {
    /// The bid's digest.
    pub digest: B256,
    /// The bid.
    pub bid: Signed<Bid>,
    /// What it asks for.
    pub spec: Spec,
    /// Whose key signed it.
    pub signer: Address,
}

impl BidEntry {
    /// The message that carries the bid.
    pub fn message(&self) -> OrderMessage {
        OrderMessage::Bid { bid: self.bid.clone(), spec: self.spec.clone() }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Bids {
    live: BTreeMap<B256, BidEntry>,
    by_maker: BTreeSet<(Address, B256)>,
    /// Bids that are over on chain, and the Unix second after which no copy of them can be valid.
    closed: BTreeMap<B256, u64>,
}

impl Bids {
    pub(super) fn insert(&mut self, entry: BidEntry) {
        self.by_maker.insert((entry.bid.order.buyer, entry.digest));
        self.live.insert(entry.digest, entry);
        self.debug_check();
    }

    /// Takes out a bid for good; gives whether it was here.
    pub(super) fn close(&mut self, digest: B256, forget_at: u64) -> bool {
        self.closed.insert(digest, forget_at);
        self.remove(&digest)
    }

    /// Drops bids that have expired; gives their number.
    pub(super) fn expire(&mut self, now: u64) -> usize {
        self.closed.retain(|_, forget_at| now <= *forget_at);
        self.remove_all(|entry| now > entry.bid.order.valid_until)
    }

    pub(super) fn remove_signed_by(&mut self, maker: Address, key: Address) {
        self.remove_all(|entry| entry.signer == key && entry.bid.order.buyer == maker);
    }

    fn remove_all(&mut self, dead: impl Fn(&BidEntry) -> bool) -> usize {
        let dead: Vec<B256> =
            self.live.values().filter(|entry| dead(entry)).map(|entry| entry.digest).collect();
        dead.iter().filter(|digest| self.remove(digest)).count()
    }

    fn remove(&mut self, digest: &B256) -> bool {
        let Some(entry) = self.live.remove(digest) else { return false };
        self.by_maker.remove(&(entry.bid.order.buyer, *digest));
        self.debug_check();
        true
    }

    pub(super) fn contains(&self, digest: &B256) -> bool {
        self.live.contains_key(digest) || self.closed.contains_key(digest)
    }

    pub(super) fn get(&self, digest: &B256) -> Option<&BidEntry> {
        self.live.get(digest)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &BidEntry> {
        self.live.values()
    }

    /// How many bids a buyer has here.
    pub(super) fn count_of(&self, buyer: Address) -> usize {
        self.by_maker.range((buyer, B256::ZERO)..=(buyer, B256::repeat_byte(0xff))).count()
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    fn debug_check(&self) {
        debug_assert_eq!(self.live.len(), self.by_maker.len(), "every bid is listed with its maker once");
    }
}
