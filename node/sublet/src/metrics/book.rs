//! Metrics of the order book.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use sublet_engine::counters::Register;
use sublet_market::{Book, Counters};

use super::values::{raise_to, whole};

/// The metrics.
pub(super) struct BookMetrics {
    book: IntGaugeVec,
    evicted: IntCounterVec,
    refused_full: IntCounter,
    forgotten: IntCounter,
    makers: IntGauge,
}

impl BookMetrics {
    pub(super) fn new(new: Register<'_>) -> prometheus::Result<Self> {
        let metrics = Self {
            book: new.gauges("sublet_book_orders", "Orders in the book.", &["kind"])?,
            evicted: new.counters(
                "sublet_book_evicted_total",
                "Orders evicted in favour of a maker with fewer orders for its balance.",
                &["kind"],
            )?,
            refused_full: new
                .counter("sublet_book_refused_full_total", "Orders refused because the book is full.")?,
            forgotten: new.counter(
                "sublet_book_forgotten_total",
                "Series that had ended and were forgotten before their older versions had expired, for lack \
                 of space.",
            )?,
            makers: new.gauge("sublet_book_makers", "Makers whose accounts the book follows.")?,
        };
        metrics.show_book(0, 0);
        metrics.show_room(&Counters::default());
        Ok(metrics)
    }

    pub(super) fn show(&self, book: &Book) {
        self.show_book(book.offer_count(), book.bid_count());
        self.show_room(&book.counters());
        self.makers.set(whole(book.makers().count()));
    }

    fn show_book(&self, offers: usize, bids: usize) {
        self.book.with_label_values(&["offer"]).set(whole(offers));
        self.book.with_label_values(&["bid"]).set(whole(bids));
    }

    fn show_room(&self, counters: &Counters) {
        let &Counters { evicted_offers, evicted_bids, refused_full, forgotten } = counters;
        raise_to(&self.evicted.with_label_values(&["offer"]), evicted_offers);
        raise_to(&self.evicted.with_label_values(&["bid"]), evicted_bids);
        raise_to(&self.refused_full, refused_full);
        raise_to(&self.forgotten, forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_book_has_no_room_for_is_shown() {
        let registry = prometheus::Registry::new();
        let metrics = BookMetrics::new(Register(&registry)).unwrap();
        metrics.show_room(&Counters { evicted_offers: 3, evicted_bids: 2, refused_full: 1, forgotten: 4 });
        let evicted = |kind| metrics.evicted.with_label_values(&[kind]).get();
        assert_eq!((evicted("offer"), evicted("bid"), metrics.refused_full.get()), (3, 2, 1));
        assert_eq!(metrics.forgotten.get(), 4);
    }
}
