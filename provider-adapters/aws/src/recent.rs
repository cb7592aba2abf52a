//! Instances that this process has just launched, for the seconds in which EC2 does not show them yet.
//!
//! A help, not a memory: losing it costs precision for those seconds, never a machine.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use sublet_market::Resources;

/// After this time EC2 shows what it has; it usually takes a second or two.
const BLIND: Duration = Duration::from_secs(60);

/// A launch of this process.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The instance, once EC2 has answered; without, nobody knows whether there is one.
    pub(crate) id: Option<String>,
    total: Resources,
    at: Instant,
}

/// The launches of the last [`BLIND`] time.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<HashMap<B256, Launch>>);

impl Recent {
    /// Notes that a launch is about to be ordered.
    pub(crate) fn begin(&self, lease: B256, total: Resources) {
        self.lock().insert(lease, Launch { id: None, total, at: Instant::now() });
    }

    /// Notes what came of it.
    pub(crate) fn launched(&self, lease: B256, id: &str) {
        if let Some(launch) = self.lock().get_mut(&lease) {
            launch.id = Some(id.to_owned());
        }
    }

    /// Forgets a launch that did not happen, or whose machine is gone.
    pub(crate) fn forget(&self, lease: B256) {
        self.lock().remove(&lease);
    }

    /// The lease's launch, if it was a moment ago.
    pub(crate) fn get(&self, lease: B256) -> Option<Launch> {
        self.lock().get(&lease).cloned()
    }

    /// What the leases take that EC2 does not show yet.
    pub(crate) fn unseen(&self, seen: &[B256]) -> Vec<Resources> {
        let launches = self.lock();
        let unseen = launches.iter().filter(|(lease, _)| !seen.contains(lease));
        unseen.map(|(_, launch)| launch.total).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<B256, Launch>> {
        // Nothing panics while it is held, so a poisoned map is still sound.
        let mut launches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        launches.retain(|_, launch| launch.at.elapsed() < BLIND);
        launches
    }
}
