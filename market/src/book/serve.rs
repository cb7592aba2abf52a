//! The bids that an offer fits, best paying first.
//!
//! The counterpart of the [best offers for a bid](super::best), with the same budget and the same way out of a flood:
//! who fills the book with bids that the offer nearly fits hides nobody, and the answer says that it may not be
//! complete.

use std::collections::{BinaryHeap, HashMap};

use alloy_primitives::Address;

use super::Book;
use super::best::SEARCH_TESTS;
use super::bids::BidEntry;
use super::fair::in_turns;
use super::index::{Budget, Filter, Visitor};
use super::levels;
use super::makers::Kind;
use super::offers::fundable;
use super::traitsets::includes;
use crate::fit::{Pair, Terms};
use crate::orders::{Offer, Order as _};
use crate::rule::{Maker, MatchContext};

/// The bids that an offer fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served<'a> {
    /// The best paying, then by digest.
    pub bids: Vec<&'a BidEntry>,
    /// Whether every bid that could be among them was looked at. If not, there may be better ones.
    pub complete: bool,
}

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
    /// Bids of one buyer at most.
    each: usize,
    wanted: &'o dyn Fn(&BidEntry) -> bool,
    /// The k least keys that fit so far, of each buyer no more than it may have: the bids that pay most.
    least: BinaryHeap<u64>,
    /// How many of a buyer's are counted, if that matters.
    counted: HashMap<Address, usize>,
    fits: Vec<&'a BidEntry>,
}

impl Search<'_, '_> {
    /// Whether one more bid of this buyer may be among the answers, whatever else is found. If so, it is counted.
    fn has_room(&mut self, buyer: Address) -> bool {
        if self.each >= self.k {
            return true;
        }
        let counted = self.counted.entry(buyer).or_default();
        *counted += 1;
        *counted <= self.each
    }
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
        if pair.fits() && (self.wanted)(entry) {
            self.fits.push(entry);
            // Those that are counted could be the answer, so what comes after the last of them cannot be in a better
            // one.
            if self.has_room(bid.buyer) {
                self.least.push(key);
            }
            if self.least.len() > self.k {
                self.least.pop();
            }
        }
        1
    }
}

/// The k best paying bids that an offer fits and that are wanted, of one buyer no more than `each`.
pub(super) fn search<'a>(
    book: &'a Book,
    offer: &Offer,
    now: u64,
    (k, each): (usize, usize),
    wanted: &dyn Fn(&BidEntry) -> bool,
) -> Served<'a> {
    let provider = book.makers.get(&offer.provider).copied().unwrap_or_default();
    let terms = Terms::of(offer);
    let units = fundable(&terms, provider.free, book.limits.floor);
    if k == 0 || each == 0 || units == 0 {
        return Served { bids: Vec::new(), complete: true };
    }
    let filter = Filter { measure: levels::served_by(&terms, units, provider.points), traits: &[] };
    let mut search = Search {
        book,
        offer,
        terms,
        provider,
        now,
        traits: book.bids.sets.known(&offer.traits),
        has_sets: vec![None; book.bids.sets.bound()],
        k,
        each,
        wanted,
        least: BinaryHeap::new(),
        counted: HashMap::new(),
        fits: Vec::new(),
    };
    let complete = book.bids.index.walk(&filter, &mut Budget(SEARCH_TESTS), &mut search);
    if !complete {
        search_fairly(&mut search);
    }
    Served { bids: rank(search.fits, k, each), complete }
}

/// One bid of each buyer in turn, in an order that the offer's digest picks.
fn search_fairly(search: &mut Search<'_, '_>) {
    let book = search.book;
    // What was found so far may be found again, and must not count twice.
    search.least.clear();
    search.counted.clear();
    let counts = |id| book.bids.index.has(id);
    in_turns(&book.makers, Kind::Bids, search.offer.digest(&book.domain), counts, |id| {
        let Some((entry, _)) = book.bids.slot(id) else { return 1 };
        let key = u64::MAX - entry.bid.order.max_rate;
        if key <= search.limit() { search.visit(key, id) } else { 1 }
    });
}

/// Leaves the k best paying, in order, of each buyer no more than it may have.
fn rank(mut fits: Vec<&BidEntry>, k: usize, each: usize) -> Vec<&BidEntry> {
    fits.sort_unstable_by_key(|entry| (u64::MAX - entry.bid.order.max_rate, entry.digest));
    // What was found in order may have been found in turn as well.
    fits.dedup_by_key(|entry| entry.digest);
    if each < k {
        let mut counts: HashMap<Address, usize> = HashMap::new();
        fits.retain(|entry| {
            let count = counts.entry(entry.bid.order.buyer).or_default();
            *count += 1;
            *count <= each
        });
    }
    fits.truncate(k);
    fits
}
