//! The set of orders at one moment, sorted for comparison. Made at most once a second however many peers ask, and
//! never so often that making it takes more than a tenth of the time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use negentropy::{Bound, Error, Id, Item, NegentropyStorageBase, NegentropyStorageVector};
use sublet_market::Shard;

use super::Orders;

/// A set that is younger serves again.
const MIN_AGE: Duration = Duration::from_secs(1);

/// A set that took a while to make serves for so many times as long.
const AGE_PER_COST: u32 = 10;

/// A sorted set of (`valid_until`, digest).
#[derive(Debug, Clone)]
pub(super) struct Snapshot(Arc<NegentropyStorageVector>);

impl Snapshot {
    pub(super) fn new(items: impl IntoIterator<Item = (u64, B256)>) -> Result<Self, Error> {
        let items = items.into_iter();
        let mut set = NegentropyStorageVector::with_capacity(items.size_hint().0);
        for (time, digest) in items {
            set.insert(time, Id::from_byte_array(digest.0))?;
        }
        set.seal()?;
        Ok(Self(Arc::new(set)))
    }
}

impl NegentropyStorageBase for Snapshot {
    fn size(&self) -> Result<usize, Error> {
        self.0.size()
    }

    fn get_item(&self, index: usize) -> Result<Option<Item>, Error> {
        self.0.get_item(index)
    }

    fn iterate(
        &self,
        begin: usize,
        end: usize,
        visit: &mut dyn FnMut(Item, usize) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.0.iterate(begin, end, visit)
    }

    fn find_lower_bound(&self, first: usize, last: usize, value: &Bound) -> usize {
        self.0.find_lower_bound(first, last, value)
    }
}

/// Makes snapshots of a book.
pub(crate) struct Snapshots {
    orders: Arc<dyn Orders>,
    newest: Mutex<Option<Kept>>,
}

struct Kept {
    /// One for each shard, in their order.
    of_shards: Vec<Snapshot>,
    until: Instant,
}

impl Snapshots {
    pub(crate) fn new(orders: Arc<dyn Orders>) -> Self {
        Self { orders, newest: Mutex::new(None) }
    }

    pub(super) fn orders(&self) -> &Arc<dyn Orders> {
        &self.orders
    }

    /// A shard's set as it is, or was a moment ago. Takes milliseconds for a large book: not for the network task.
    pub(super) fn get(&self, shard: Shard) -> Result<Snapshot, Error> {
        // Held while the set is made, so that it is made once for all who wait.
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        if let Some(kept) = newest.as_ref().filter(|kept| start < kept.until) {
            return Ok(kept.of_shards[shard.index()].clone());
        }
        let mut items = vec![Vec::new(); Shard::COUNT];
        for (shard, until, digest) in self.orders.items() {
            items[shard.index()].push((until, digest));
        }
        let of_shards = items.into_iter().map(Snapshot::new).collect::<Result<Vec<_>, _>>()?;
        let snapshot = of_shards[shard.index()].clone();
        let end = Instant::now();
        let until = end + MIN_AGE.max((end - start) * AGE_PER_COST);
        *newest = Some(Kept { of_shards, until });
        Ok(snapshot)
    }
}
