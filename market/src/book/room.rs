//! Eviction from a full book: which orders are dropped, and what is forgotten.

use super::makers::Kind;
use super::{Book, Counters, Ignored};

impl Book {
    /// Finds room for one more live order of a maker: what has expired goes first, then an order of the maker who has
    /// the most orders for its balance.
    pub(super) fn make_room(&mut self, maker: u32, kind: Kind, now: u64) -> Result<(), Ignored> {
        if self.has_room(kind) {
            return Ok(());
        }
        self.expire(now);
        if self.has_room(kind) {
            return Ok(());
        }
        if self.give_way(self.makers.most_crowded(maker, kind), kind) {
            return Ok(());
        }
        self.counters.refused_full += 1;
        Err(Ignored::Full)
    }

    /// Takes something of this maker out; gives whether there was anything.
    fn give_way(&mut self, maker: Option<u32>, kind: Kind) -> bool {
        let (Some(maker), Self { offers, bids, makers, counters, .. }) = (maker, self) else { return false };
        let (gone, count) = match kind {
            Kind::Offers => (offers.evict(maker, makers), &mut counters.evicted_offers),
            Kind::Bids => (bids.evict(maker, makers), &mut counters.evicted_bids),
            Kind::Past => (offers.forget_one(maker, makers), &mut counters.forgotten),
        };
        *count += u64::from(gone);
        gone
    }

    fn has_room(&self, kind: Kind) -> bool {
        let count = match kind {
            Kind::Offers => self.offers.live_count(),
            Kind::Bids => self.bids.len(),
            Kind::Past => self.offers.past_count(),
        };
        count < self.limits.max_orders
    }

    /// Series that are over take memory until their older versions have expired; as many as there may be live ones.
    /// Nobody is refused for that: the oldest memory goes of who has the most of it for its balance, never our own.
    pub(super) fn forget_too_many(&mut self) {
        while self.offers.past_count() > self.limits.max_orders {
            if !self.give_way(self.makers.first_to_go(Kind::Past), Kind::Past) {
                return;
            }
        }
    }

    /// What became of orders that there was no room for.
    pub fn counters(&self) -> Counters {
        self.counters
    }
}
