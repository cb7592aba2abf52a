//! Queries of a book: the best offers, the bids that an offer fits, and listings.

use alloy_primitives::{Address, B256};

use super::Book;
use super::best::{self, Best, Quote};
use super::bids::BidEntry;
use super::explain::{self, Explanation};
use super::serve::{self, Served};
use super::traitsets::TraitSets;
use crate::message::OrderMessage;
use crate::orders::{Bid, Offer, Spec};
use crate::shard::Shard;
use crate::signature::Signed;

impl Book {
    /// The best `k` offers that fit a bid: by price, then points, then `keccak256(bid ‖ provider)`, then digest.
    pub fn best(&self, bid: &Bid, spec: &Spec, now: u64, k: usize) -> Vec<Quote> {
        self.search(bid, spec, now, k).quotes
    }

    /// [`Book::best`], and whether a flood of offers that nearly fit kept the search from looking at all of them.
    pub fn search(&self, bid: &Bid, spec: &Spec, now: u64, k: usize) -> Best {
        best::best(self, bid, spec, now, k, None)
    }

    /// [`Book::search`] among the offers of one provider.
    pub fn search_of(&self, provider: Address, bid: &Bid, spec: &Spec, now: u64, k: usize) -> Best {
        best::best(self, bid, spec, now, k, Some(provider))
    }

    /// The bids that an offer fits, best paying first: all of them, as far as one search looks.
    pub fn bids_for(&self, offer: &Offer, now: u64) -> Vec<&BidEntry> {
        self.best_bids(offer, now, usize::MAX)
    }

    /// The `k` best paying bids that an offer fits.
    pub fn best_bids(&self, offer: &Offer, now: u64, k: usize) -> Vec<&BidEntry> {
        self.search_bids(offer, now, (k, usize::MAX), &|_| true).bids
    }

    /// The `k` best paying bids that an offer fits and that are `wanted`, of one buyer no more than `each`; and whether
    /// a flood of bids kept the search from looking at all of them.
    pub fn search_bids(
        &self,
        offer: &Offer,
        now: u64,
        (k, each): (usize, usize),
        wanted: &dyn Fn(&BidEntry) -> bool,
    ) -> Served<'_> {
        serve::search(self, offer, now, (k, each), wanted)
    }

    /// Why the offers that are known fit a bid or do not, those among them that their providers' balances do not cover.
    pub fn explain(&self, bid: &Bid, spec: &Spec, now: u64) -> Explanation {
        explain::explain(self, bid, spec, now)
    }

    /// All offers, in the order of their digests; cancelled ones are not among them.
    pub fn offers(&self) -> impl ExactSizeIterator<Item = (B256, Signed<Offer>)> {
        let live = self.offers.counted().filter(|id| self.offers.is_live(*id));
        let mut ids: Vec<(B256, u32)> = live.map(|id| (self.offers.digest(id), id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(digest, id)| (digest, self.offers.signed(id)))
    }

    /// How many offers there are.
    pub fn offer_count(&self) -> usize {
        self.offers.counted_count()
    }

    /// All bids, in the order of their digests.
    pub fn bids(&self) -> impl Iterator<Item = &BidEntry> {
        self.bids.counted().map(|(entry, _)| entry)
    }

    /// How many bids there are.
    pub fn bid_count(&self) -> usize {
        self.bids.counted_count()
    }

    /// One offer.
    pub fn offer(&self, digest: &B256) -> Option<Signed<Offer>> {
        let id = self.offers.find_counted(digest).filter(|id| self.offers.is_live(*id))?;
        Some(self.offers.signed(id))
    }

    /// One bid.
    pub fn bid(&self, digest: &B256) -> Option<&BidEntry> {
        self.bids.get(digest)
    }

    /// One of [`Book::items`], as it travels.
    pub fn message(&self, digest: &B256) -> Option<OrderMessage> {
        match self.offers.find_counted(digest) {
            Some(id) => Some(OrderMessage::Offer(self.offers.signed(id))),
            None => self.bids.get(digest).map(BidEntry::message),
        }
    }

    /// Shard, last second of life and digest of all that another peer should have: offers, cancels and bids that have
    /// not expired by `now`.
    pub fn items(&self, now: u64) -> Vec<(Shard, u64, B256)> {
        let mut shards = Shards::new(&self.offers.sets);
        let offers = self.offers.counted().map(|id| {
            let hot = self.offers.hot(id);
            (hot.set, hot.terms.valid_until, self.offers.digest(id))
        });
        let mut items: Vec<_> = offers
            .filter(|(_, until, _)| now <= *until)
            .map(|(set, until, digest)| (shards.of(set), until, digest))
            .collect();
        let mut shards = Shards::new(&self.bids.sets);
        let bids = self.bids.counted().map(|(entry, set)| (set, entry.bid.order.valid_until, entry.digest));
        let live = bids.filter(|(_, until, _)| now <= *until);
        items.extend(live.map(|(set, until, digest)| (shards.of(set), until, digest)));
        items
    }

    /// All messages that another peer should have: those of [`Book::items`].
    pub fn messages(&self, now: u64) -> impl Iterator<Item = OrderMessage> {
        let items = self.items(now).into_iter();
        items.filter_map(|(.., digest)| self.message(&digest))
    }

    /// The sum, modulo 2^256, of the digests of all offers, cancels and bids: equal for equal books, whatever came
    /// first. It is for comparing books of peers that mean well, not a commitment: a maker can search for orders that
    /// even out.
    pub fn digest(&self) -> B256 {
        self.offers.sum().wrapping_add(self.bids.sum()).into()
    }
}

/// The shards of sets of traits: a book has few of them many times, and each takes a hash.
struct Shards<'a> {
    sets: &'a TraitSets,
    known: Vec<Option<Shard>>,
}

impl<'a> Shards<'a> {
    fn new(sets: &'a TraitSets) -> Self {
        Self { sets, known: vec![None; sets.bound()] }
    }

    fn of(&mut self, set: u32) -> Shard {
        *self.known[set as usize].get_or_insert_with(|| Shard::of_traits(&self.sets.traits(set)))
    }
}
