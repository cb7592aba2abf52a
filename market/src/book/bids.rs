//! The bids of a book, and the digests of those that were settled or cancelled on chain.
//!
//! A bid that its buyer cannot pay, or of another epoch, is kept but does not count: it is neither in the index nor in
//! the digest nor handed on.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256};

use super::block::Entry;
use super::index::Index;
use super::levels;
use super::makers::{Kind, MakerSlot, Makers};
use super::pages::{Ids, Pages};
use super::traitsets::TraitSets;
use crate::message::OrderMessage;
use crate::orders::{Bid, Spec};
use crate::signature::{OrderSignature, Signed};

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

#[derive(Clone, Debug)]
struct Slot {
    entry: BidEntry,
    /// Number of the spec's set of traits.
    set: u32,
    /// Number of the buyer.
    maker: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Bids {
    ids: Ids,
    slots: Pages<Option<Slot>>,
    by_digest: BTreeMap<B256, u32>,
    timers: BTreeSet<(u64, u32)>,
    /// Bids that are over on chain, and the Unix second after which no copy of them can be valid.
    closed: BTreeMap<B256, u64>,
    forget: BTreeSet<(u64, B256)>,
    /// The bids that count, the best paying first; their traits are not looked at.
    pub(super) index: Index,
    /// A set without traits, for the index.
    none: TraitSets,
    pub(super) sets: TraitSets,
    /// How many count, and the sum of their digests.
    counted: usize,
    sum: U256,
}

impl Bids {
    pub(super) fn insert(&mut self, entry: BidEntry, maker: u32, makers: &mut Makers) {
        let id = self.ids.take();
        let set = self.sets.take(&entry.spec.traits);
        self.by_digest.insert(entry.digest, id);
        self.timers.insert((entry.bid.order.valid_until, id));
        self.slots.set(id, Some(Slot { entry, set, maker }));
        makers.list(maker, Kind::Bids, id);
        makers.count(maker, Kind::Bids, true);
        self.reindex(id, makers.slot(maker), makers.floor());
        self.debug_check();
    }

    /// Lets what the chain says of the buyer count for one bid.
    fn reindex(&mut self, id: u32, maker: &MakerSlot, floor: u128) {
        let Some(Slot { entry, .. }) = self.slots.get(id) else { return };
        let bid = &entry.bid.order;
        let counts = bid.epoch == maker.maker.epoch && maker.maker.free >= bid.budget().max(floor);
        if !counts {
            self.leave(id);
        } else if !self.index.has(id) {
            self.sum = self.sum.wrapping_add(entry.digest.into());
            self.counted += 1;
            let measure = levels::of_bid(bid, &entry.spec);
            let entry = Entry { key: u64::MAX - bid.max_rate, id, set: 0, measure };
            self.index.insert(entry, &self.none);
        }
    }

    /// The bid no longer counts.
    fn leave(&mut self, id: u32) {
        let Some(Slot { entry, .. }) = self.slots.get(id) else { return };
        if self.index.remove(id, &self.none) {
            self.sum = self.sum.wrapping_sub(entry.digest.into());
            self.counted -= 1;
        }
    }

    /// Lets what the chain says of a buyer count for its bids.
    pub(super) fn update_maker(&mut self, maker: u32, makers: &Makers) {
        let slot = makers.slot(maker);
        slot.orders[Kind::Bids as usize].iter().for_each(|id| self.reindex(*id, slot, makers.floor()));
    }

    /// Takes out a bid for good; gives whether it was here.
    pub(super) fn close(&mut self, digest: B256, forget_at: u64, makers: &mut Makers) -> bool {
        if let Some(old) = self.closed.insert(digest, forget_at) {
            self.forget.remove(&(old, digest));
        }
        self.forget.insert((forget_at, digest));
        self.by_digest.get(&digest).copied().is_some_and(|id| self.remove(id, makers))
    }

    /// Drops bids that have expired; gives their number.
    pub(super) fn expire(&mut self, now: u64, makers: &mut Makers) -> usize {
        while let Some((at, digest)) = self.forget.first().copied().filter(|(at, _)| *at < now) {
            self.forget.remove(&(at, digest));
            self.closed.remove(&digest);
        }
        let mut count = 0;
        while let Some((_, id)) = self.timers.first().copied().filter(|(at, _)| *at < now) {
            self.remove(id, makers);
            count += 1;
        }
        count
    }

    pub(super) fn remove_signed_by(&mut self, maker: u32, key: Address, makers: &mut Makers) {
        for id in makers.slot(maker).orders[Kind::Bids as usize].clone() {
            if self.slots.get(id).as_ref().is_some_and(|slot| slot.entry.signer == key) {
                self.remove(id, makers);
            }
        }
    }

    /// Drops the bid of a maker that ends soonest; gives whether there was one.
    pub(super) fn evict(&mut self, maker: u32, makers: &mut Makers) -> bool {
        let listed = makers.slot(maker).orders[Kind::Bids as usize].iter();
        let slots = listed.filter_map(|id| self.slots.get(*id).as_ref().map(|slot| (id, &slot.entry)));
        let soonest = slots.min_by_key(|(_, entry)| (entry.bid.order.valid_until, entry.digest));
        soonest.map(|(id, _)| *id).is_some_and(|id| self.remove(id, makers))
    }

    fn remove(&mut self, id: u32, makers: &mut Makers) -> bool {
        self.leave(id);
        let Some(Slot { entry, set, maker }) = self.slots.get_mut(id).take() else { return false };
        self.by_digest.remove(&entry.digest);
        self.timers.remove(&(entry.bid.order.valid_until, id));
        self.sets.give(set);
        makers.unlist(maker, Kind::Bids, id);
        makers.count(maker, Kind::Bids, false);
        self.ids.give(id);
        self.debug_check();
        true
    }

    pub(super) fn contains(&self, digest: &B256) -> bool {
        self.by_digest.contains_key(digest) || self.closed.contains_key(digest)
    }

    /// The bid of that digest, if it counts.
    pub(super) fn get(&self, digest: &B256) -> Option<&BidEntry> {
        let counted = self.by_digest.get(digest).filter(|id| self.index.has(**id));
        counted.and_then(|id| self.slot(*id)).map(|(entry, _)| entry)
    }

    /// The signature of the bid with that digest, whether it counts or not.
    pub(super) fn signature(&self, digest: &B256) -> Option<OrderSignature> {
        let slot = self.by_digest.get(digest).and_then(|id| self.slot(*id));
        slot.map(|(entry, _)| entry.bid.signature)
    }

    /// Whether the bid of that digest was settled or cancelled on chain.
    pub(super) fn is_closed(&self, digest: &B256) -> bool {
        self.closed.contains_key(digest)
    }

    /// A bid, and the number of its set of traits.
    pub(super) fn slot(&self, id: u32) -> Option<(&BidEntry, u32)> {
        self.slots.get(id).as_ref().map(|slot| (&slot.entry, slot.set))
    }

    /// The bids that count, with the numbers of their sets of traits, in the order of their digests.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&BidEntry, u32)> {
        let counted = self.by_digest.values().filter(|id| self.index.has(**id));
        counted.filter_map(|id| self.slot(*id))
    }

    pub(super) fn counted_count(&self) -> usize {
        self.counted
    }

    pub(super) fn len(&self) -> usize {
        self.by_digest.len()
    }

    pub(super) fn sum(&self) -> U256 {
        self.sum
    }

    fn debug_check(&self) {
        debug_assert_eq!(self.timers.len(), self.by_digest.len(), "every bid ends at some time");
    }
}
