//! The bids that an offer fits, best paying first.

use std::collections::BinaryHeap;

use super::Book;
use super::bids::BidEntry;
use super::index::{Budget, Filter, Visitor};
use super::levels;
use super::offers::fundable;
use super::traitsets::includes;
use crate::fit::{Pair, Terms};
use crate::orders::Offer;
use crate::rule::{Maker, MatchContext};

struct Search<'a, 'o> {
    book: &'a Book,
    offer: &'o Offer,
    terms: Terms,
    provider: Maker,
    now: u64,
    /// The offer's traits, as far as some bid wants them.
    traits: Vec<u32>,
    /// Whether the offer has all of a set of traits, once that is known.
    has_sets: Vec<Option<bool>>,
    k: usize,
    /// The k least keys that fit so far: the bids that pay most.
    least: BinaryHeap<u64>,
    fits: Vec<&'a BidEntry>,
}

impl Visitor for Search<'_, '_> {
    fn limit(&self) -> u64 {
        let kth = self.least.peek().filter(|_| self.least.len() >= self.k);
        kth.map_or(u64::MAX, |key| *key)
    }

    fn visit(&mut self, key: u64, id: u32) -> usize {
        let book = self.book;
        let Some((entry, set)) = book.bids.slot(id) else { return 1 };
        let has_traits = *self.has_sets[set as usize]
            .get_or_insert_with(|| includes(&self.traits, book.bids.sets.ids(set)));
        let bid = &entry.bid.order;
        let context = MatchContext {
            provider: &self.provider,
            ..book.context(self.offer.provider, bid.buyer, self.now)
        };
        let pair = Pair {
            terms: &self.terms,
            has_traits: || has_traits,
            provider: &self.offer.provider,
            bid,
            spec: &entry.spec,
            context: &context,
        };
        if pair.fits() {
            self.fits.push(entry);
            self.least.push(key);
            if self.least.len() > self.k {
                self.least.pop();
            }
        }
        1
    }
}

/// Needs k above 0.
pub(super) fn bids_for<'a>(book: &'a Book, offer: &Offer, now: u64, k: usize) -> Vec<&'a BidEntry> {
    let provider = book.makers.get(&offer.provider).copied().unwrap_or_default();
    let terms = Terms::of(offer);
    let units = fundable(&terms, provider.free, book.limits.floor);
    if k == 0 || units == 0 {
        return Vec::new();
    }
    let filter = Filter { levels: levels::served_by(&terms, units, provider.points), traits: &[] };
    let mut search = Search {
        book,
        offer,
        terms,
        provider,
        now,
        traits: book.bids.sets.known(&offer.traits),
        has_sets: vec![None; book.bids.sets.bound()],
        k,
        least: BinaryHeap::new(),
        fits: Vec::new(),
    };
    // A book holds a bounded number of bids, and each costs one test at most.
    book.bids.index.walk(&filter, &mut Budget(usize::MAX), &mut search);
    let mut fits = search.fits;
    fits.sort_unstable_by_key(|entry| (u64::MAX - entry.bid.order.max_rate, entry.digest));
    fits.truncate(k);
    fits
}
