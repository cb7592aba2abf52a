//! One lock per lease, so that calls for the same lease take turns while others go on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use alloy_primitives::B256;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The locks that somebody holds or waits for; the others cost nothing.
#[derive(Debug, Default)]
pub struct LeaseLocks {
    locks: Mutex<HashMap<B256, Weak<AsyncMutex<()>>>>,
}

/// Holding it is the right to change a lease's machine.
pub type LeaseGuard = OwnedMutexGuard<()>;

impl LeaseLocks {
    /// Waits for the lease's turn.
    pub async fn lock(&self, lease: B256) -> LeaseGuard {
        self.of(lease).lock_owned().await
    }

    /// The lock, if nobody has it.
    pub fn try_lock(&self, lease: B256) -> Option<LeaseGuard> {
        self.of(lease).try_lock_owned().ok()
    }

    fn of(&self, lease: B256) -> Arc<AsyncMutex<()>> {
        // Nothing panics while it is held, so a poisoned map is still sound.
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(&lease).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(AsyncMutex::new(()));
        locks.insert(lease, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn leases_do_not_wait_for_each_other_and_nothing_is_kept() {
        let locks = LeaseLocks::default();
        let (a, b) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let held = locks.lock(a).await;
        assert!(locks.try_lock(a).is_none());
        drop(locks.try_lock(b).expect("another lease"));
        drop(held);
        drop(locks.try_lock(a).expect("free again"));
        drop(locks.lock(b).await);
        assert!(locks.locks.lock().unwrap().len() <= 1);
    }
}
