//! The watch over machines while a starting node cannot reach the chain.
//!
//! A node before this one has left them running. What the store says of their leases is all there is: that is
//! enough to stop what its funds do not cover any more, and everything once the chain has not been seen for
//! `max_offline`. Stopped machines keep their disks; the engine starts again what turns out to be paid for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use sublet_adapter::Adapter;
use sublet_base::wall;
use sublet_market::LeaseState;
use sublet_store::{ChainLease, Store};

use super::timed::Timed;
use crate::{EngineError, follower::LAST_SEEN_KEY};

/// How often the machines are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The watch.
pub struct OfflineGuard {
    store: Store,
    adapter: Arc<dyn Adapter>,
    max_offline: Duration,
    since: Instant,
}

impl OfflineGuard {
    /// A watch over what `adapter` runs, by what `store` knows.
    pub fn new(store: Store, adapter: Arc<dyn Adapter>, max_offline: Duration) -> Self {
        Self { store, adapter: Timed::over(adapter), max_offline, since: Instant::now() }
    }

    /// Whether anything runs.
    pub async fn is_needed(&self) -> Result<bool, EngineError> {
        Ok(self.running().await?.next().is_some())
    }

    /// Watches for ever. A look that fails is tried again.
    pub async fn keep(&self) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "cannot check the machines; trying again");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&self) -> Result<(), EngineError> {
        let seen = self.store.meta::<u64>(LAST_SEEN_KEY)?;
        let now = self.now(seen, wall::unix_seconds());
        let offline =
            Duration::from_secs(seen.map_or(0, |seen| now.saturating_sub(seen))).max(self.since.elapsed());
        for id in self.running().await? {
            let lease = self.store.find::<ChainLease>(id.as_slice())?;
            let Some(why) = why_to_stop(lease.as_ref(), now, offline > self.max_offline) else { continue };
            match self.adapter.stop(id).await {
                Ok(()) => {
                    tracing::warn!(lease = %id, "{why}: the machine is stopped until the chain answers")
                }
                Err(error) => tracing::warn!(lease = %id, %error, "{why}, and the machine cannot be stopped"),
            }
        }
        Ok(())
    }

    /// The chain's time, as far as it can be told without the chain: by the wall clock, unless that says less
    /// than has passed since the chain was seen.
    fn now(&self, seen: Option<u64>, wall: u64) -> u64 {
        wall.max(seen.unwrap_or(0).saturating_add(self.since.elapsed().as_secs()))
    }

    async fn running(&self) -> Result<impl Iterator<Item = B256>, EngineError> {
        let machines = self.adapter.list().await?.into_iter();
        Ok(machines.filter(|machine| machine.state.is_up()).map(|machine| machine.lease))
    }
}

/// Why a machine must not run on. `now` is in seconds of chain time.
fn why_to_stop(lease: Option<&ChainLease>, now: u64, offline: bool) -> Option<&'static str> {
    match lease {
        Some(lease) if lease.end.is_some() || lease.view.state == LeaseState::Ended => {
            Some("the lease is over")
        }
        Some(lease)
            if lease.view.state == LeaseState::Active && now >= u64::from(lease.view.funded_until) =>
        {
            Some("the lease's funds are used up")
        }
        _ if offline => Some("no new block of the chain for too long"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use sublet_adapter::fake::FakeAdapter;
    use sublet_market::Resources;

    use super::*;
    use crate::{samples::FUNDED_UNTIL, samples::view};

    fn lease(state: LeaseState) -> ChainLease {
        ChainLease { id: B256::ZERO, view: view(state), changed_at: None, events: Vec::new(), end: None }
    }

    #[test]
    fn what_is_paid_for_runs_until_its_funds_end_or_the_chain_is_away_for_too_long() {
        let end = u64::from(FUNDED_UNTIL);
        let active = lease(LeaseState::Active);
        assert_eq!(why_to_stop(Some(&active), end - 1, false), None);
        assert_eq!(why_to_stop(Some(&active), end, false), Some("the lease's funds are used up"));
        assert_eq!(why_to_stop(Some(&active), end - 1, true), Some("no new block of the chain for too long"));
        assert_eq!(why_to_stop(Some(&lease(LeaseState::Ended)), 0, false), Some("the lease is over"));
        assert_eq!(why_to_stop(Some(&lease(LeaseState::Opened)), end, false), None, "it is being started");
        assert_eq!(why_to_stop(None, end, false), None, "the store was lost: the chain may know it");
        assert!(why_to_stop(None, end, true).is_some());
    }

    #[test]
    fn a_clock_that_was_put_back_does_not_stop_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        let nothing = Arc::new(FakeAdapter::new(Resources::default()));
        let guard = OfflineGuard::new(store, nothing, Duration::from_secs(60));
        assert_eq!(guard.now(Some(1_000), 400), 1_000);
        assert_eq!(guard.now(Some(1_000), 1_400), 1_400);
    }
}
