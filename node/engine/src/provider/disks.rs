//! Disks that outlive their machines: kept for a while after the end of a lease, for a later lease of the same buyer.
//!
//! Nothing here is remembered. The adapter lists the disks that it keeps, the chain tells whose they were and
//! when their leases ended, and the open promises which of them are wanted; so a lost database loses no disk.
//! Kept disks never take space that a paid machine needs: the oldest are removed first.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use sublet_adapter::{KeptDisk, LeaseOrder};
use sublet_market::{Decline, DeclineCode, Manifest, Spec};
use sublet_store::ChainLease;

use super::{
    Provider,
    ask::{busy, decline},
    commitments::Commitments,
};
use crate::EngineError;

impl Provider {
    /// The trait by which offers tell for how long disks are kept, if they are.
    pub(super) fn disk_trait(&self) -> Option<String> {
        self.keeps_disks().then(|| format!("disk-kept={}s", self.config.keep_disk_for.as_secs()))
    }

    fn keeps_disks(&self) -> bool {
        self.adapter.keeps_disks() && !self.config.keep_disk_for.is_zero()
    }

    /// Removes a machine; its disk stays if it has ever been paid for.
    pub(super) async fn remove_machine(&self, id: B256) -> Result<(), EngineError> {
        let lease = self.core.store.find::<ChainLease>(id.as_slice())?;
        let had_tenant = lease.is_some_and(|lease| lease.started_at().is_some());
        if had_tenant && self.keeps_disks() {
            self.adapter.retire(id).await?;
            tracing::info!(lease = %id, "the machine is removed, its disk is kept");
        } else {
            self.adapter.deprovision(id).await?;
            tracing::info!(lease = %id, "the machine is removed");
        }
        Ok(())
    }

    /// Removes the disks whose time is over.
    pub(super) async fn tend_disks(self: &Arc<Self>) -> Result<(), EngineError> {
        // Before the newest blocks are read, a lease may seem unknown.
        if !self.adapter.keeps_disks() || self.is_reading() {
            return Ok(());
        }
        let kept = self.adapter.kept().await?;
        let commitments = Commitments::read(&self.core.store)?;
        for KeptDisk { lease, .. } in kept {
            if commitments.takes_disk(lease) || self.is_in_grace(lease)? {
                continue;
            }
            tracing::info!(%lease, "a disk was kept for long enough and is removed");
            let adapter = Arc::clone(&self.adapter);
            self.try_for(lease, "cannot remove the disk; trying again", async move {
                Ok(adapter.deprovision(lease).await?)
            });
        }
        Ok(())
    }

    fn is_in_grace(&self, lease: B256) -> Result<bool, EngineError> {
        let Some(lease) = self.core.store.find::<ChainLease>(lease.as_slice())? else { return Ok(false) };
        let grace = self.config.keep_disk_for.as_secs();
        // One that is not over on chain may still be read again.
        Ok(lease.end.is_none_or(|end| self.core.now() < end.at.saturating_add(grace)))
    }

    /// Whether the disk that a manifest names may be had: kept here, of a lease of this buyer that is over, promised to
    /// nobody else, and no larger than what is ordered.
    pub(super) async fn check_disk(
        &self,
        buyer: Address,
        manifest: &Manifest,
        sold: &Spec,
        commitments: &Commitments,
    ) -> Result<(), Decline> {
        let Some(old) = manifest.disk_of else { return Ok(()) };
        let no = |detail: &str| Err(decline(DeclineCode::Manifest, detail));
        let lease = self.core.store.find::<ChainLease>(old.as_slice()).map_err(|e| busy(&e))?;
        if lease
            .is_none_or(|lease| lease.view.buyer != buyer || lease.view.provider != self.core.account.maker())
        {
            return no("the disk that the manifest names belongs to no lease of this buyer here");
        }
        let kept = self.adapter.kept().await.map_err(|e| busy(&e))?;
        let Some(disk) = kept.into_iter().find(|disk| disk.lease == old) else {
            return no("the disk that the manifest names is not kept here, or no longer");
        };
        if disk.image != manifest.image {
            return no(&format!("the disk that the manifest names belongs to the image {}", disk.image));
        }
        if sold.total().is_none_or(|total| total.disk_gib < disk.disk_gib) {
            return no(&format!(
                "the disk that the manifest names has {} GiB: ask for as much",
                disk.disk_gib
            ));
        }
        if commitments.takes_disk(old) {
            return no("the disk that the manifest names is reserved for another lease");
        }
        Ok(())
    }

    /// Lets kept disks go, the oldest first, until machines and kept disks together fit the capacity.
    pub(super) async fn make_room(&self, order: &LeaseOrder) -> Result<(), EngineError> {
        if !self.adapter.keeps_disks() {
            return Ok(());
        }
        let kept = self.adapter.kept().await?;
        if kept.is_empty() {
            return Ok(());
        }
        let commitments = Commitments::read(&self.core.store)?;
        // The machine that is ordered is among those that promises explain.
        let machines = commitments.held().map_or(u32::MAX, |held| held.disk_gib);
        let machines = machines.saturating_add(self.unexplained().disk_gib);
        let room = self.adapter.capacity().await?.disk_gib.saturating_sub(machines);
        let ended_at = |disk: &KeptDisk| -> Result<u64, EngineError> {
            let lease = self.core.store.find::<ChainLease>(disk.lease.as_slice())?;
            Ok(lease.and_then(|lease| lease.end).map_or(0, |end| end.at))
        };
        let mut free = Vec::new();
        for disk in kept {
            if Some(disk.lease) != order.manifest.disk_of && !commitments.takes_disk(disk.lease) {
                free.push((ended_at(&disk)?, disk));
            }
        }
        for disk in to_let_go(free, room) {
            tracing::warn!(lease = %disk, "removing a kept disk to make space for a machine");
            self.adapter.deprovision(disk).await?;
        }
        Ok(())
    }
}

/// Which disks go so that the rest fits `room`: those of the leases that ended first.
fn to_let_go(mut disks: Vec<(u64, KeptDisk)>, room: u32) -> Vec<B256> {
    disks.sort();
    let mut taken: u64 = disks.iter().map(|(_, disk)| u64::from(disk.disk_gib)).sum();
    let mut gone = Vec::new();
    for (_, disk) in disks {
        if taken <= u64::from(room) {
            break;
        }
        taken -= u64::from(disk.disk_gib);
        gone.push(disk.lease);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disks_that_ended_first_give_way_and_no_more_of_them_than_needed() {
        let disk = |n: u8, ended: u64, disk_gib| {
            (ended, KeptDisk { lease: B256::repeat_byte(n), image: "a".into(), disk_gib })
        };
        let disks = vec![disk(1, 30, 4), disk(2, 10, 2), disk(3, 20, 2)];
        let gone = |room| to_let_go(disks.clone(), room).iter().map(|id| id[0]).collect::<Vec<_>>();
        assert_eq!(gone(8), Vec::<u8>::new());
        assert_eq!(gone(7), [2]);
        assert_eq!(gone(5), [2, 3]);
        assert_eq!(gone(3), [2, 3, 1]);
        assert_eq!(gone(0), [2, 3, 1]);
    }
}
