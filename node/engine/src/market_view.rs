//! What the engines know of the market: the order book, which the network shares.

use std::sync::{Arc, MutexGuard};

use sublet_market::Book;
use sublet_p2p::SharedBook;

/// The orders of all makers that count.
pub struct MarketView(Arc<SharedBook>);

impl MarketView {
    /// Over the book that the network shares.
    #[must_use]
    pub fn new(shared: Arc<SharedBook>) -> Self {
        Self(shared)
    }

    /// The order book. Hold it briefly, never across an await.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock()
    }

    /// The book as other peers see it.
    #[must_use]
    pub fn shared(&self) -> &Arc<SharedBook> {
        &self.0
    }
}
