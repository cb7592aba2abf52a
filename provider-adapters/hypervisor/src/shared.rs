//! What all steps of the adapter share: settings, the state folder, and what keeps steps out of each other's way.

use sublet_adapter::support::LeaseLocks;
use tokio::sync::{Mutex, OnceCell, Semaphore};

use crate::config::{Accel, HypervisorConfig};
use crate::state::StateDir;

/// One adapter's state; its steps are implemented beside what they are about.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: HypervisorConfig,
    pub(crate) state: StateDir,
    pub(crate) boots: Semaphore,
    pub(crate) locks: LeaseLocks,
    /// Held from counting what is free to having taken it.
    pub(crate) room: Mutex<()>,
    pub(crate) accel: OnceCell<Accel>,
}
