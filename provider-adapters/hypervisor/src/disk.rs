//! A machine's disk: made new, kept when the machine is removed, and taken by the machine of a later lease.
//!
//! A kept disk is taken by a second name for its file (a hard link) in the new machine's folder; the first
//! name goes when the folder is complete. So whatever moment the node dies at, the disk is in one of the two
//! or, for a moment, in both.

use std::path::Path;

use alloy_primitives::B256;
use sublet_adapter::{AdapterError, KeptDisk, LeaseOrder};
use sublet_base::failpoint;

use crate::image::Image;
use crate::qemu::{self, BASE, DISK};
use crate::shared::Shared;
use crate::state::{StateDir, link_or_copy};

impl Shared {
    /// Removes the machine and keeps its disk.
    pub(crate) async fn retire(&self, lease: B256) -> Result<(), AdapterError> {
        let _guard = self.locks.lock(lease).await;
        self.end_for_good(lease).await?;
        self.blocking("keep a lease's disk", move |state| state.retire(lease, &[DISK, BASE])).await
    }

    /// The disks without a machine.
    pub(crate) async fn kept(&self) -> Result<Vec<KeptDisk>, AdapterError> {
        let kept = self.blocking("list the kept disks", StateDir::kept).await?;
        let disk = |(lease, record): (B256, Option<crate::state::Record>)| match record {
            Some(record) => KeptDisk { lease, disk_gib: record.total().disk_gib, image: record.image },
            None => KeptDisk { lease, image: String::new(), disk_gib: 0 },
        };
        Ok(kept.into_iter().map(disk).collect())
    }

    /// Whether the disk that an order names can be taken: it is here, of the same image, and not larger than
    /// the new one. Gives the lease of which it is kept: the order's own, if that ended and goes on after
    /// all, before any other.
    pub(crate) async fn check_kept(
        &self,
        order: &LeaseOrder,
        disk_gib: u32,
    ) -> Result<Option<B256>, AdapterError> {
        let all = self.kept().await?;
        let own = all.iter().any(|disk| disk.lease == order.lease).then_some(order.lease);
        let Some(old) = own.or(order.manifest.disk_of) else { return Ok(None) };
        let kept = all.into_iter().find(|disk| disk.lease == old);
        let problem = match kept {
            None => format!("the disk of lease {old} is not kept here, or no longer"),
            Some(disk) if disk.image != order.manifest.image => {
                format!("the disk of lease {old} is of the image {:?}", disk.image)
            }
            Some(disk) if disk.disk_gib > disk_gib => {
                format!("the disk of lease {old} has {} GiB, the order {disk_gib}", disk.disk_gib)
            }
            Some(_) => return Ok(Some(old)),
        };
        Err(AdapterError::permanent(
            problem,
            "order a machine with a new disk, or one that the old disk fits",
        ))
    }

    /// Lets go of the kept disk that the machine of an order has by now. The caller holds the order's lock.
    pub(crate) async fn release_kept(&self, order: &LeaseOrder) -> Result<(), AdapterError> {
        let own = order.lease;
        self.blocking("remove a disk's old folder", move |state| state.remove_kept(own)).await?;
        let Some(old) = order.manifest.disk_of else { return Ok(()) };
        failpoint::reach(&["hypervisor.disk.taken"]);
        let _guard = self.locks.lock(old).await;
        self.blocking("remove a disk's old folder", move |state| state.remove_kept(old)).await
    }
}

/// Puts the disk of a new machine into its folder: the one that is kept in `kept`, or an empty one over the image.
pub(crate) async fn place(
    config: &crate::config::HypervisorConfig,
    dir: &Path,
    kept: Option<&Path>,
    image: &Image,
    size_gib: u32,
) -> std::io::Result<()> {
    let Some(kept) = kept else {
        link_or_copy(&image.base, &dir.join(BASE))?;
        return qemu::create_disk(config, dir, size_gib).await;
    };
    for file in [BASE, DISK] {
        link_or_copy(&kept.join(file), &dir.join(file))?;
    }
    // Larger, if more is paid for; the same size is a change of nothing.
    qemu::grow_disk(config, dir, size_gib).await
}
