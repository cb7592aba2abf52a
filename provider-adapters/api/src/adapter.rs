//! The trait itself.

use alloy_primitives::B256;
use async_trait::async_trait;
use sublet_market::{Manifest, Resources, Spec};

use crate::{AdapterError, Instance, KeptDisk, LeaseOrder};

/// A backend that runs one machine (or machine group) per lease.
///
/// All methods may be called concurrently, for the same lease too. A dropped future leaves a state from which the next
/// call goes on. Time is bounded in every method.
#[async_trait]
pub trait Adapter: Send + Sync + 'static {
    /// The backend's name, as in the trait `adapter=NAME`.
    fn kind(&self) -> &'static str;

    /// Facts (`key=value`) that an offer of this backend gets by itself, sorted. Complete once [`Adapter::check`] has
    /// succeeded; cheap, from memory or local disk.
    fn traits(&self) -> Vec<String>;

    /// Can this host run machines now?
    ///
    /// # Errors
    /// The first thing that is missing, with the remedy.
    async fn check(&self) -> Result<(), AdapterError>;

    /// All that leases may use together, whether in use now or not.
    ///
    /// # Errors
    /// When the backend cannot be asked.
    async fn capacity(&self) -> Result<Resources, AdapterError>;

    /// Would [`Adapter::provision`] take such an order on an otherwise idle host? Asked before an accept is signed.
    ///
    /// # Errors
    /// [`ErrorKind::Permanent`](crate::ErrorKind::Permanent) with what is wrong in the order; other kinds when the
    /// backend cannot tell.
    async fn validate(&self, spec: &Spec, manifest: &Manifest) -> Result<(), AdapterError>;

    /// Makes the lease's machine run and returns once its ssh port answers
    /// ([`InstanceState::Running`](crate::InstanceState::Running)).
    ///
    /// Idempotent by lease id: a second call finds the first one's instance. An instance that was stopped or
    /// has died is started again with its id, disk and host key.
    ///
    /// # Errors
    /// Within a bounded time; whatever was begun is found by [`Adapter::list`] and taken up by the next call.
    async fn provision(&self, order: &LeaseOrder) -> Result<Instance, AdapterError>;

    /// Makes a machine that is there run again, as [`Adapter::provision`] does, by what the backend knows of
    /// it alone: for a node that has lost the order.
    ///
    /// # Errors
    /// [`ErrorKind::Permanent`](crate::ErrorKind::Permanent) when there is no machine for the lease.
    async fn resume(&self, lease: B256) -> Result<Instance, AdapterError>;

    /// The lease's instance as it is now, `None` if there is none.
    ///
    /// # Errors
    /// When the backend cannot be asked.
    async fn describe(&self, lease: B256) -> Result<Option<Instance>, AdapterError>;

    /// Everything that this adapter ever started and has not deprovisioned, also by an earlier process,
    /// sorted by lease.
    ///
    /// # Errors
    /// When the backend cannot be asked.
    async fn list(&self) -> Result<Vec<Instance>, AdapterError>;

    /// The last `lines` lines of the machine's console, oldest first, without control characters.
    ///
    /// # Errors
    /// [`ErrorKind::Permanent`](crate::ErrorKind::Permanent) for an unknown lease.
    async fn logs(&self, lease: B256, lines: usize) -> Result<Vec<String>, AdapterError>;

    /// Stops the machine (politely first) and keeps its disk. Fine when it is stopped or unknown.
    ///
    /// # Errors
    /// When the machine could not be stopped; call again.
    async fn stop(&self, lease: B256) -> Result<(), AdapterError>;

    /// Removes the machine and everything that was kept for it, its disk too. Fine when the lease is unknown.
    ///
    /// # Errors
    /// When something is left; call again.
    async fn deprovision(&self, lease: B256) -> Result<(), AdapterError>;

    /// Whether a disk can outlive its machine.
    fn keeps_disks(&self) -> bool {
        false
    }

    /// Removes the machine and keeps its disk, until a later order takes it ([`Manifest::disk_of`]) or
    /// [`Adapter::deprovision`] removes it too. An order for the same lease, whose end was taken back, gets
    /// it again. Where disks cannot be kept, as `deprovision`. Fine when the lease is unknown.
    ///
    /// # Errors
    /// When the machine could not be removed; call again.
    async fn retire(&self, lease: B256) -> Result<(), AdapterError> {
        self.deprovision(lease).await
    }

    /// The disks that are kept, sorted by lease. They take nothing of the capacity: who calls makes room.
    ///
    /// # Errors
    /// When the backend cannot be asked.
    async fn kept(&self) -> Result<Vec<KeptDisk>, AdapterError> {
        Ok(Vec::new())
    }
}
