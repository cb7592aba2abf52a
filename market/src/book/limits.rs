//! The limits of a book: orders in all, and for each maker.

use crate::amount::BASE_UNITS_PER_CTK;
use crate::rule::Maker;

/// How much a book takes, and from whom: node policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLimits {
    /// Least free balance of a maker whose orders count, in base units.
    pub floor: u128,
    /// Most live orders of one kind in the whole book. When it is full, a newcomer takes the place of an
    /// order of the maker who has the most orders for its free balance (the order that ends soonest), unless
    /// that is the newcomer's own maker. As many series again are remembered that have ended; if there are
    /// more, what is remembered of the maker goes that has the most of them for its free balance.
    pub max_orders: usize,
    /// Orders of one kind that every funded maker may have.
    pub base_orders_per_maker: usize,
    /// Most orders of one kind of one maker; between the two, each further one takes a floor of free balance.
    pub max_orders_per_maker: usize,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self {
            floor: BASE_UNITS_PER_CTK,
            // Under 600 bytes each, 1.5 kB for bids: 200 MB of memory at most.
            max_orders: 100_000,
            base_orders_per_maker: 16,
            max_orders_per_maker: 1_024,
        }
    }
}

impl BookLimits {
    /// Orders of one kind that a maker may have: grows with its free balance.
    pub(super) fn quota(&self, maker: &Maker) -> usize {
        let floors = maker.free.checked_div(self.floor).unwrap_or(maker.free);
        let earned = usize::try_from(floors).unwrap_or(usize::MAX);
        self.base_orders_per_maker.saturating_add(earned).min(self.max_orders_per_maker)
    }
}

/// What became of orders that there was no room for, since the book was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Offers that gave way to one of a maker with fewer orders for its balance.
    pub evicted_offers: u64,
    /// Bids that gave way.
    pub evicted_bids: u64,
    /// Orders that were refused because the book is full.
    pub refused_full: u64,
    /// Series that had ended and were forgotten before their older versions had expired.
    pub forgotten: u64,
}
