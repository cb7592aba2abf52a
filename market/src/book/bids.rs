//! The bids of a book, and the digests of those that were settled or cancelled on chain.

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
    /// Bids that the best paying come first in; their traits are not looked at.
    pub(super) index: Index,
    /// A set without traits, for the index.
    none: TraitSets,
    pub(super) sets: TraitSets,
    sum: U256,
}

impl Bids {
    pub(super) fn insert(&mut self, entry: BidEntry, maker: u32, makers: &mut Makers) {
        let id = self.ids.take();
        let set = self.sets.take(&entry.spec.traits);
        self.by_digest.insert(entry.digest, id);
        self.timers.insert((entry.bid.order.valid_until, id));
        self.sum = self.sum.wrapping_add(entry.digest.into());
        self.slots.set(id, Some(Slot { entry, set, maker }));
        makers.list(maker, Kind::Bids, id);
        makers.count(maker, Kind::Bids, true);
        self.reindex(id, makers.slot(maker), makers.floor());
        self.debug_check();
    }

    /// A bid that its buyer cannot pay, or of another epoch, is kept but is not in the index.
    fn reindex(&mut self, id: u32, maker: &MakerSlot, floor: u128) {
        let Some(Slot { entry, .. }) = self.slots.get(id) else { return };
        let bid = &entry.bid.order;
        let counts = bid.epoch == maker.maker.epoch && maker.maker.free >= bid.budget().max(floor);
        if !counts {
            self.index.remove(id, &self.none);
        } else if !self.index.has(id) {
            let levels = levels::of_bid(bid, &entry.spec);
            let entry = Entry { key: u64::MAX - bid.max_rate, id, set: 0, levels };
            self.index.insert(entry, &self.none);
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
        self.index.remove(id, &self.none);
        let Some(Slot { entry, set, maker }) = self.slots.get_mut(id).take() else { return false };
        self.by_digest.remove(&entry.digest);
        self.timers.remove(&(entry.bid.order.valid_until, id));
        self.sum = self.sum.wrapping_sub(entry.digest.into());
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

    pub(super) fn get(&self, digest: &B256) -> Option<&BidEntry> {
        self.by_digest.get(digest).and_then(|id| self.slot(*id)).map(|(entry, _)| entry)
    }

    /// A bid, and the number of its set of traits.
    pub(super) fn slot(&self, id: u32) -> Option<(&BidEntry, u32)> {
        self.slots.get(id).as_ref().map(|slot| (&slot.entry, slot.set))
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &BidEntry> {
        // Every number that is listed has its slot.
        let slots = self.by_digest.values().map(|id| self.slots.get(*id).as_ref());
        let entries: Vec<&BidEntry> = slots.flatten().map(|slot| &slot.entry).collect();
        entries.into_iter()
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
