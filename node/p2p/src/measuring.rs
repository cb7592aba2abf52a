//! The workers' check of gossip, for the benchmark of the crate `sublet-tests`. Not part of the node's interface.

use std::sync::Arc;

use sublet_market::{Domain, Shard};

use super::{
    Orders,
    validation::{OrderChecker, Outcome},
};

/// Checks one order after the other as a worker does, and remembers them.
#[derive(Debug)]
pub struct GossipCheck(OrderChecker);

impl GossipCheck {
    /// Beside a book, which may know orders already.
    #[must_use]
    pub fn new(domain: Domain, orders: Arc<dyn Orders>) -> Self {
        Self(OrderChecker::new(domain, orders))
    }

    /// Whether an order that came on the topic of `shard` is good and new.
    #[must_use]
    pub fn passes(&self, data: &[u8], shard: Shard) -> bool {
        matches!(self.0.check(data, shard), Outcome::Valid(_))
    }
}
