//! The best offers for a bid.
//!
//! A walk over the index ([`Index::walk`](super::index::Index::walk)) shows the offers that may fit, cheapest
//! block first; each is tested by the rules themselves. The walk ends when k fit and nothing cheaper or as
//! cheap can follow.
//!
//! Who floods the book with cheap offers that nearly fit can use up the walk's budget. Then every provider
//! gets the same number of tests, in turns that begin with another provider for each bid, so that the flood
//! cannot hide the others. The answer says that it may not be complete.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use alloy_primitives::{Address, B256, keccak256};

use super::Book;
use super::fair::in_turns;
use super::index::{Budget, Filter, Visitor};
use super::levels;
use super::makers::Kind;
use super::traitsets::includes;
use crate::fit::Pair;
use crate::orders::{Bid, Offer, Order, Spec};
use crate::rule::{Maker, MatchContext};
use crate::signature::Signed;

/// Offers that one search tests in the order of their prices; a block of the index counts as eight, an offer
/// that fits too.
pub const SEARCH_TESTS: usize = 32_768;
/// What an offer that fits costs, in tests: it has to be put in order with the others.
const FIT_TESTS: usize = 8;
/// Providers of one price and points whom one search puts in order.
pub const TIED_PROVIDERS: usize = 1_024;

/// An offer that fits a bid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The offer's digest.
    pub digest: B256,
    /// The offer.
    pub offer: Signed<Offer>,
    /// Its provider's points.
    pub points: u64,
    /// Price × units of the bid, in base units per second.
    pub rate: u64,
}

impl Quote {
    /// Where it stands among the quotes for the bid with this digest: the least is the best. The book's own order.
    pub fn standing(&self, bid: B256) -> (u64, Reverse<u64>, B256, B256) {
        (self.rate, Reverse(self.points), tie(bid, self.offer.order.provider), self.digest)
    }
}

/// What decides between providers at one rate and with equal points: stable for one bid, spread over bids.
fn tie(bid: B256, provider: Address) -> B256 {
    keccak256([bid.as_slice(), provider.as_slice()].concat())
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Best {
    /// The best offers that fit: by price, then points, then `keccak256(bid ‖ provider)`, then digest.
    pub quotes: Vec<Quote>,
    /// Whether every offer that could be among them was looked at. If not, there may be better ones.
    pub complete: bool,
}

/// An offer that fits; sorted as far as that goes without hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    price: u64,
    points: Reverse<u64>,
    id: u32,
}

impl Fit {
    fn tie(&self) -> (u64, Reverse<u64>) {
        (self.price, self.points)
    }
}

struct Search<'a> {
    book: &'a Book,
    bid: &'a Bid,
    spec: &'a Spec,
    now: u64,
    buyer: Maker,
    traits: Vec<u32>,
    k: usize,
    /// The greatest price within the bid's top rate.
    affordable: u64,
    /// The k least prices that fit so far.
    cheapest: BinaryHeap<u64>,
    fits: Vec<Fit>,
}

impl Search<'_> {
    fn fit(&self, id: u32) -> Option<Fit> {
        let hot = self.book.offers.hot(id);
        let provider = self.book.makers.slot(hot.maker);
        let context = MatchContext {
            now: self.now,
            provider: &provider.maker,
            buyer: &self.buyer,
            floor: self.book.limits.floor,
        };
        let pair = Pair {
            terms: &hot.terms,
            has_traits: || includes(self.book.offers.sets.ids(hot.set), &self.traits),
            provider: &provider.address,
            bid: self.bid,
            spec: self.spec,
            context: &context,
        };
        let points = Reverse(provider.maker.points);
        pair.fits().then_some(Fit { price: hot.terms.price, points, id })
    }
}

impl Visitor for Search<'_> {
    fn limit(&self) -> u64 {
        let kth = self.cheapest.peek().filter(|_| self.cheapest.len() >= self.k);
        kth.map_or(self.affordable, |price| *price)
    }

    fn visit(&mut self, price: u64, id: u32) -> usize {
        let Some(fit) = self.fit(id) else { return 1 };
        self.fits.push(fit);
        self.cheapest.push(price);
        if self.cheapest.len() > self.k {
            self.cheapest.pop();
        }
        FIT_TESTS
    }
}

pub(super) fn best(book: &Book, bid: &Bid, spec: &Spec, now: u64, k: usize, of: Option<Address>) -> Best {
    let nothing = Best { quotes: Vec::new(), complete: true };
    let traits = book.offers.sets.known(&spec.traits);
    let buyer = book.makers.get(&bid.buyer).copied().unwrap_or_default();
    if k == 0 || traits.len() < spec.traits.len() || now > bid.valid_until || bid.epoch != buyer.epoch {
        return nothing;
    }
    let mut search = Search {
        book,
        bid,
        spec,
        now,
        buyer,
        traits: traits.clone(),
        k,
        affordable: bid.max_rate.checked_div(spec.units.into()).unwrap_or(u64::MAX),
        cheapest: BinaryHeap::new(),
        fits: Vec::new(),
    };
    let mut complete = true;
    if let Some(provider) = of {
        // A maker has few offers: they are looked at one by one.
        let own =
            book.makers.id(&provider).map(|id| book.makers.slot(id).orders[Kind::Offers as usize].as_slice());
        let live = own.unwrap_or_default().iter().filter(|id| book.offers.is_live(**id));
        search.fits.extend(live.filter_map(|id| search.fit(*id)).collect::<Vec<_>>());
    } else {
        let filter = Filter { measure: levels::wanted_by(bid, spec), traits: &traits };
        complete = book.offers.index.walk(&filter, &mut Budget(SEARCH_TESTS), &mut search);
        if !complete {
            search_fairly(&mut search);
        }
    }
    let Search { mut fits, .. } = search;
    complete &= rank(book, bid, &mut fits, k);
    let quotes = fits.into_iter().map(|fit| quote(book, spec, fit)).collect();
    Best { quotes, complete }
}

/// One offer of each provider in turn, in an order that the bid's digest picks.
fn search_fairly(search: &mut Search<'_>) {
    let book = search.book;
    // What was found so far may be found again, and must not count twice.
    search.cheapest.clear();
    let counts = |id| book.offers.index.has(id);
    in_turns(&book.makers, Kind::Offers, search.bid.digest(&book.domain), counts, |id| {
        let price = book.offers.hot(id).terms.price;
        if price <= search.limit() { search.visit(price, id) } else { 1 }
    });
}

/// Leaves the k best, in order. Gives whether none was left out because too many providers are tied.
fn rank(book: &Book, bid: &Bid, fits: &mut Vec<Fit>, k: usize) -> bool {
    fits.sort_unstable();
    // What was found in order may have been found in turn as well.
    fits.dedup();
    if let Some(kth) = fits.get(k - 1).map(Fit::tie) {
        fits.truncate(fits.partition_point(|fit| fit.tie() <= kth));
    }
    let mut complete = true;
    if fits.array_windows().any(|[one, two]| one.tie() == two.tie()) {
        let digest = bid.digest(&book.domain);
        let groups = fits.chunk_by(|one, two| one.tie() == two.tie());
        let sorted: Vec<Fit> =
            groups.flat_map(|group| break_tie(book, digest, group, k, &mut complete)).collect();
        *fits = sorted;
    }
    fits.truncate(k);
    complete
}

/// The first k offers of one price and points, by `keccak256(bid ‖ provider)`, then by digest.
fn break_tie(book: &Book, bid: B256, group: &[Fit], k: usize, complete: &mut bool) -> Vec<Fit> {
    let mut fits: Vec<(u32, Fit)> = group.iter().map(|fit| (book.offers.hot(fit.id).maker, *fit)).collect();
    fits.sort_unstable();
    let address = |fits: &[(u32, Fit)]| {
        fits.first().map_or(Address::ZERO, |(maker, _)| book.makers.slot(*maker).address)
    };
    let mut providers: Vec<&[(u32, Fit)]> = fits.chunk_by(|(one, _), (two, _)| one == two).collect();
    if providers.len() > TIED_PROVIDERS {
        // As good as any choice that nobody can prepare for: the digest of the bid was not known to them.
        let far = |fits: &&[(u32, Fit)]| {
            let address = address(fits);
            std::array::from_fn::<u8, 20, _>(|i| address[i] ^ bid[i])
        };
        providers.select_nth_unstable_by_key(TIED_PROVIDERS, far);
        providers.truncate(TIED_PROVIDERS);
        *complete = false;
    }
    providers.sort_by_cached_key(|fits| tie(bid, address(fits)));
    let by_digest = providers.into_iter().flat_map(|fits| {
        let mut fits: Vec<Fit> = fits.iter().map(|(_, fit)| *fit).collect();
        fits.sort_by_cached_key(|fit| book.offers.digest(fit.id));
        fits
    });
    by_digest.take(k).collect()
}

fn quote(book: &Book, spec: &Spec, fit: Fit) -> Quote {
    Quote {
        digest: book.offers.digest(fit.id),
        offer: book.offers.signed(fit.id),
        points: fit.points.0,
        rate: fit.price.saturating_mul(spec.units.into()),
    }
}
