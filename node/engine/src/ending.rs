//! Ends of leases that their owners ask for.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy_primitives::B256;
use sublet_chain::{Call, TxReport};

use super::{Core, EngineError, follower};

/// The leases that a command is ending at this moment: the engine leaves them to it.
#[derive(Default)]
pub(super) struct UnderWay(Mutex<HashSet<B256>>);

impl UnderWay {
    pub(super) fn contains(&self, id: &B256) -> bool {
        self.lock().contains(id)
    }

    /// Sends the transaction that ends a lease. `note` writes down that the end is wanted, before, and that
    /// it is not, once it is certain that nothing comes of it. Where that is unclear the note stays, and the
    /// engine sees to it.
    pub(super) async fn send(
        &self,
        core: &Core,
        call: Call,
        id: B256,
        note: impl Fn(bool) -> Result<(), EngineError>,
    ) -> Result<TxReport, EngineError> {
        let _entry = Entry::new(self, id);
        note(true)?;
        match core.account.execute(call).await {
            Ok(report) => {
                follower::refresh_lease(core, id).await?;
                Ok(report)
            }
            Err(error) if error.is_unclear() => Err(error.into()),
            Err(error) => {
                note(false)?;
                Err(error.into())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<B256>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gone with the command, also with one that nobody waits for any more.
struct Entry<'a>(&'a UnderWay, B256);

impl<'a> Entry<'a> {
    fn new(under_way: &'a UnderWay, id: B256) -> Self {
        under_way.lock().insert(id);
        Self(under_way, id)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_dropped_is_under_way_no_more() {
        let (under_way, id) = (UnderWay::default(), B256::repeat_byte(1));
        let entry = Entry::new(&under_way, id);
        assert!(under_way.contains(&id));
        drop(entry);
        assert!(!under_way.contains(&id));
    }
}
