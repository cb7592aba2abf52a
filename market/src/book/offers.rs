//! The offers of a book: the newest version of every series, and the index of those that count.
//!
//! An offer is kept in two pieces: the 64 bytes that the rules look at, side by side for the walks, and the rest of it.
//! Its traits are a number. The signed offer is put together again when somebody asks for it.
//! An offer, or a cancel, whose provider cannot lock the bond of one unit is kept but does not count: a peer that met
//! us now would not take it, so it is neither in the index nor in the digest nor handed on until the balance returns.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use alloy_primitives::{Address, B256, U256};
use hashbrown::HashTable;

use super::block::Entry;
use super::index::Index;
use super::levels;
use super::makers::{Kind, MakerSlot, Makers};
use super::pages::{Ids, Pages};
use super::traitsets::TraitSets;
use super::{CLOCK_SLACK_SECONDS, Ignored};
use crate::fit::Terms;
use crate::limits::MAX_OFFER_LIFE_SECONDS;
use crate::orders::Offer;
use crate::signature::{OrderSignature, Signed};

/// What the rules look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hot {
    pub(super) terms: Terms,
    /// Number of its set of traits.
    pub(super) set: u32,
    /// Number of its provider.
    pub(super) maker: u32,
}

/// A version of a series outlives its offer, to keep older versions out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    /// The newest version is a cancel, which other peers need.
    Cancel,
    /// The offer expired, was evicted, or its key was revoked; or the cancel expired.
    Ended,
    /// Nothing: the number is free.
    Free,
}

#[derive(Clone, Debug)]
struct Cold {
    digest: B256,
    node: B256,
    provider: Address,
    signer: Address,
    signature: OrderSignature,
    burn: bool,
    state: State,
    /// Whether it is live or a cancel, and its provider can lock the bond of one unit.
    counts: bool,
    activate_within: u32,
    series: u64,
    seq: u64,
    /// Unix second after which no older version can be valid.
    forget_at: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Offers {
    ids: Ids,
    hot: Pages<Hot>,
    cold: Pages<Cold>,
    pub(super) sets: TraitSets,
    hasher: RandomState,
    by_digest: HashTable<u32>,
    by_series: HashTable<u32>,
    /// When each version ends, or is forgotten.
    timers: BTreeSet<(u64, u32)>,
    pub(super) index: Index,
    live: usize,
    /// Live offers that count.
    counted: usize,
    /// Sum of the digests of offers and cancels that count.
    sum: U256,
}

impl Offers {
    /// Whether an offer is newer than all that is known of its series; gives whether that is known at all, and is live.
    pub(super) fn check_newer(
        &self,
        maker: u32,
        offer: &Offer,
        digest: B256,
    ) -> Result<Option<bool>, Ignored> {
        let Some(id) = self.newest(maker, offer.series) else { return Ok(None) };
        let known = self.cold.get(id);
        if (known.seq, known.digest) >= (offer.seq, digest) {
            return Err(Ignored::Superseded);
        }
        Ok(Some(known.state == State::Live))
    }

    fn newest(&self, maker: u32, series: u64) -> Option<u32> {
        let same = |id: &u32| self.hot.get(*id).maker == maker && self.cold.get(*id).series == series;
        self.by_series.find(self.hasher.hash_one((maker, series)), same).copied()
    }

    fn find(&self, digest: &B256) -> Option<u32> {
        let same = |id: &u32| self.cold.get(*id).digest == *digest;
        self.by_digest.find(self.hasher.hash_one(digest), same).copied()
    }

    /// Takes in a version that is newer; gives the live one that it replaces.
    pub(super) fn insert(
        &mut self,
        digest: B256,
        offer: Signed<Offer>,
        signer: Address,
        now: u64,
        maker: u32,
        makers: &mut Makers,
    ) -> Option<B256> {
        let Signed { order: offer, signature, .. } = offer;
        let replaced = self.newest(maker, offer.series).and_then(|id| {
            let Cold { digest, state, .. } = *self.cold.get(id);
            self.forget(id, makers);
            (state == State::Live).then_some(digest)
        });
        let state = if offer.is_cancel() { State::Cancel } else { State::Live };
        let forget_at = now.saturating_add(MAX_OFFER_LIFE_SECONDS).saturating_add(CLOCK_SLACK_SECONDS);
        let Offer { provider, node, burn, activate_within, series, seq, valid_until, .. } = offer;
        let id = self.ids.take();
        self.hot.set(id, Hot { terms: Terms::of(&offer), set: self.sets.take(&offer.traits), maker });
        let terms = Cold {
            digest,
            node,
            provider,
            signer,
            signature,
            burn,
            state,
            counts: false,
            activate_within,
            series,
            seq,
            forget_at,
        };
        self.cold.set(id, terms);
        let (hasher, hot, cold) = (&self.hasher, &self.hot, &self.cold);
        let by_digest = |id: &u32| hasher.hash_one(cold.get(*id).digest);
        self.by_digest.insert_unique(hasher.hash_one(digest), id, by_digest);
        let by_series = |id: &u32| hasher.hash_one((hot.get(*id).maker, cold.get(*id).series));
        self.by_series.insert_unique(hasher.hash_one((maker, series)), id, by_series);
        makers.list(maker, Kind::Offers, id);
        if state == State::Live {
            self.live += 1;
            makers.count(maker, Kind::Offers, true);
        } else {
            makers.count(maker, Kind::Past, true);
        }
        self.timers.insert((valid_until, id));
        self.reindex(id, makers.slot(maker), makers.floor());
        self.debug_check();
        replaced
    }

    /// Lets what the chain says of the provider count for one offer.
    fn reindex(&mut self, id: u32, maker: &MakerSlot, floor: u128) {
        let (hot, state) = (*self.hot.get(id), self.cold.get(id).state);
        let funded = is_funded(&hot.terms, maker.maker.free, floor);
        self.set_counts(id, funded && matches!(state, State::Live | State::Cancel));
        if !funded || state != State::Live {
            self.index.remove(id, &self.sets);
            return;
        }
        let units = fundable(&hot.terms, maker.maker.free, floor);
        let measure = levels::of_offer(&hot.terms, units, maker.maker.points);
        if self.index.has(id) {
            self.index.relevel(id, measure);
        } else {
            self.index.insert(Entry { key: hot.terms.price, id, set: hot.set, measure }, &self.sets);
        }
    }

    fn set_counts(&mut self, id: u32, counts: bool) {
        let cold = self.cold.get_mut(id);
        if std::mem::replace(&mut cold.counts, counts) == counts {
            return;
        }
        let (digest, live) = (U256::from_be_bytes(cold.digest.0), usize::from(cold.state == State::Live));
        if counts {
            self.sum = self.sum.wrapping_add(digest);
            self.counted += live;
        } else {
            self.sum = self.sum.wrapping_sub(digest);
            self.counted -= live;
        }
    }

    /// Lets what the chain says of a provider count for its offers.
    pub(super) fn update_maker(&mut self, maker: u32, makers: &Makers) {
        let slot = makers.slot(maker);
        slot.orders[Kind::Offers as usize].iter().for_each(|id| self.reindex(*id, slot, makers.floor()));
    }

    /// Drops offers that have expired, and versions that nothing older can follow. Gives the number of offers.
    pub(super) fn expire(&mut self, now: u64, makers: &mut Makers) -> usize {
        let mut count = 0;
        while let Some((_, id)) = self.timers.first().copied().filter(|(at, _)| *at < now) {
            match self.cold.get(id).state {
                State::Live => {
                    self.end(id, makers);
                    count += 1;
                }
                // Nobody hands it on any more: if it counted on, books of peers that missed it would differ
                // for an hour.
                State::Cancel => self.end(id, makers),
                State::Ended | State::Free => self.forget(id, makers),
            }
        }
        self.debug_check();
        count
    }

    pub(super) fn remove_signed_by(&mut self, maker: u32, key: Address, makers: &mut Makers) {
        for id in makers.slot(maker).orders[Kind::Offers as usize].clone() {
            let cold = self.cold.get(id);
            if cold.signer == key && cold.state == State::Live {
                self.end(id, makers);
            }
        }
        self.debug_check();
    }

    /// Drops the offer of a maker that ends soonest; gives whether there was one.
    pub(super) fn evict(&mut self, maker: u32, makers: &mut Makers) -> bool {
        let listed = makers.slot(maker).orders[Kind::Offers as usize].iter().copied();
        let live = listed.filter(|id| self.cold.get(*id).state == State::Live);
        let soonest = live.min_by_key(|id| (self.hot.get(*id).terms.valid_until, self.cold.get(*id).digest));
        soonest.inspect(|id| self.end(*id, makers)).is_some()
    }

    /// Forgets what is remembered of a maker's series that ended: of those that nobody hands on, the one that would be
    /// forgotten first, else the cancel that ends soonest. Gives whether there was one.
    pub(super) fn forget_one(&mut self, maker: u32, makers: &mut Makers) -> bool {
        let listed = makers.slot(maker).orders[Kind::Offers as usize].iter().copied();
        let past = listed.filter_map(|id| {
            let cold = self.cold.get(id);
            match cold.state {
                State::Ended => Some((false, cold.forget_at, id)),
                State::Cancel => Some((true, self.hot.get(id).terms.valid_until, id)),
                State::Live | State::Free => None,
            }
        });
        let first = past.min().map(|(.., id)| id);
        first.inspect(|id| self.forget(*id, makers)).is_some()
    }

    /// Takes out a live offer, or a cancel, and keeps its version in mind.
    fn end(&mut self, id: u32, makers: &mut Makers) {
        self.set_counts(id, false);
        let hot = self.hot.get(id);
        let cold = self.cold.get_mut(id);
        let was = std::mem::replace(&mut cold.state, State::Ended);
        self.timers.remove(&(hot.terms.valid_until, id));
        self.timers.insert((cold.forget_at, id));
        if was == State::Live {
            self.index.remove(id, &self.sets);
            self.live -= 1;
            makers.count(hot.maker, Kind::Offers, false);
            makers.count(hot.maker, Kind::Past, true);
        }
    }

    /// Takes out a version, live or not.
    fn forget(&mut self, id: u32, makers: &mut Makers) {
        if matches!(self.cold.get(id).state, State::Live | State::Cancel) {
            self.end(id, makers);
        }
        let (hot, cold) = (*self.hot.get(id), self.cold.get(id));
        self.timers.remove(&(cold.forget_at, id));
        let same = |other: &u32| *other == id;
        if let Ok(entry) = self.by_digest.find_entry(self.hasher.hash_one(cold.digest), same) {
            entry.remove();
        }
        if let Ok(entry) = self.by_series.find_entry(self.hasher.hash_one((hot.maker, cold.series)), same) {
            entry.remove();
        }
        self.cold.get_mut(id).state = State::Free;
        makers.count(hot.maker, Kind::Past, false);
        self.sets.give(hot.set);
        makers.unlist(hot.maker, Kind::Offers, id);
        self.ids.give(id);
    }

    pub(super) fn contains(&self, digest: &B256) -> bool {
        self.find(digest).is_some()
    }

    /// The live offer of that digest, whether it counts or not.
    pub(super) fn get(&self, digest: &B256) -> Option<Signed<Offer>> {
        self.find(digest).filter(|id| self.is_live(*id)).map(|id| self.signed(id))
    }

    /// The number of the offer or cancel of that digest, if it counts.
    pub(super) fn find_counted(&self, digest: &B256) -> Option<u32> {
        self.find(digest).filter(|id| self.cold.get(*id).counts)
    }

    /// The signature of the version with that digest, whatever has become of it.
    pub(super) fn signature(&self, digest: &B256) -> Option<OrderSignature> {
        self.find(digest).map(|id| self.cold.get(id).signature)
    }

    pub(super) fn is_live(&self, id: u32) -> bool {
        self.cold.get(id).state == State::Live
    }

    #[inline]
    pub(super) fn hot(&self, id: u32) -> &Hot {
        self.hot.get(id)
    }

    pub(super) fn digest(&self, id: u32) -> B256 {
        self.cold.get(id).digest
    }

    /// The offer as its maker signed it.
    pub(super) fn signed(&self, id: u32) -> Signed<Offer> {
        let (Hot { terms, set, .. }, cold) = (self.hot.get(id), self.cold.get(id));
        let order = Offer {
            provider: cold.provider,
            node: cold.node,
            unit: terms.unit,
            units: terms.units,
            price_per_second: terms.price,
            bond_seconds: terms.bond_seconds,
            min_duration: terms.min_duration,
            max_duration: terms.max_duration,
            activate_within: cold.activate_within,
            burn: cold.burn,
            traits: self.sets.traits(*set),
            series: cold.series,
            seq: cold.seq,
            valid_until: terms.valid_until,
        };
        Signed::by(cold.signer, order, cold.signature)
    }

    /// Numbers of all live offers, in no order.
    pub(super) fn live(&self) -> impl Iterator<Item = u32> {
        // By number, which is how they lie in memory.
        (0..self.ids.bound()).filter(|id| self.is_live(*id))
    }

    /// Numbers of all live offers and cancels that count, in no order.
    pub(super) fn counted(&self) -> impl Iterator<Item = u32> {
        (0..self.ids.bound()).filter(|id| self.cold.get(*id).counts)
    }

    pub(super) fn live_count(&self) -> usize {
        self.live
    }

    pub(super) fn counted_count(&self) -> usize {
        self.counted
    }

    /// How many series are remembered that have ended, cancels included.
    pub(super) fn past_count(&self) -> usize {
        self.by_series.len() - self.live
    }

    pub(super) fn sum(&self) -> U256 {
        self.sum
    }

    fn debug_check(&self) {
        debug_assert_eq!(self.by_digest.len(), self.by_series.len(), "every version has a series");
        debug_assert_eq!(self.timers.len(), self.by_series.len(), "every version ends at some time");
    }
}

/// Whether the provider can lock the bond of one unit and has the least balance.
fn is_funded(terms: &Terms, free: u128, floor: u128) -> bool {
    free >= terms.bond(1).max(floor)
}

/// Units whose bond the provider can lock; none without the least balance.
pub(super) fn fundable(terms: &Terms, free: u128, floor: u128) -> u32 {
    if free < floor {
        return 0;
    }
    let funded = free.checked_div(terms.bond(1)).unwrap_or(u128::MAX);
    u32::try_from(funded).unwrap_or(u32::MAX).min(terms.units)
}
