//! The one commitments of what is sold: capacity that promises hold, and the money of both sides that the
//! chain has not locked yet.
//!
//! Nothing here is remembered: each answer is read from the promises and leases on disk, so a crash at any
//! moment changes none of them. A bond counts until the chain shows it as locked, and again from the end of
//! its lease until that end lies deep enough: whatever blocks a reorganisation reverts, the free balance
//! covers all that was signed.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use sublet_base::phase::ProviderPhase;
use sublet_market::LeaseState;
use sublet_market::{Decline, DeclineCode, Resources};
use sublet_store::{ChainLease, Promise, Store, StoreError};

use crate::reservations::LockedTrades;

/// What a bid wants to have promised.
pub(super) struct Want {
    /// Who bids.
    pub(super) buyer: Address,
    /// What it may cost in all, base units.
    pub(super) budget: u128,
    /// Our bond for it, base units.
    pub(super) bond: u128,
}

/// The promises that are not over, as of one moment.
pub(super) struct Commitments {
    promises: Vec<Promise>,
    /// What the chain shows of those that hold capacity.
    shown: BTreeMap<B256, LeaseState>,
}

impl Commitments {
    /// What is on disk now.
    pub(super) fn read(store: &Store) -> Result<Self, StoreError> {
        let promises = store.all::<Promise>()?;
        let mut shown = BTreeMap::new();
        for promise in promises.iter().filter(|promise| promise.holds_capacity()) {
            let lease = store.get::<ChainLease>(promise.id.as_slice())?;
            shown.insert(promise.id, lease.map_or(LeaseState::None, |lease| lease.view.state));
        }
        Ok(Self { promises, shown })
    }

    fn holding(&self) -> impl Iterator<Item = &Promise> {
        self.promises.iter().filter(|promise| promise.holds_capacity())
    }

    /// What promises hold of the capacity. `None` if that fits no integer.
    pub(super) fn held(&self) -> Option<Resources> {
        self.holding().try_fold(Resources::default(), |sum, promise| sum.checked_add(&promise.resources()))
    }

    /// Whether a promise that holds capacity explains this machine.
    pub(super) fn explains(&self, lease: B256) -> bool {
        self.holding().any(|promise| promise.id == lease)
    }

    /// Whether a promise that holds capacity takes the disk of this lease.
    pub(super) fn takes_disk(&self, lease: B256) -> bool {
        self.holding().any(|promise| promise.manifest.disk_of == Some(lease))
    }

    /// Units of a series that promises hold.
    pub(super) fn units_held(&self, series: u64) -> u32 {
        let of_series = self.holding().filter(|promise| promise.series == series);
        of_series.fold(0, |sum, promise| sum.saturating_add(promise.spec.units))
    }

    /// Whether this buyer let an accept lapse less than `backoff` seconds ago.
    pub(super) fn waits(&self, buyer: Address, backoff: u64, now: u64) -> bool {
        self.promises.iter().any(|promise| {
            promise.phase == ProviderPhase::Lapsed
                && promise.bid.order.buyer == buyer
                && promise.accept.order.settle_by.saturating_add(backoff) > now
        })
    }

    /// Whether both balances cover one more promise beside those that are given. `our_left` is what we have
    /// promised nobody. What was locked while the buyer's was read is gone from it; what was promised, or
    /// locked, since then may not be.
    pub(super) fn check_money(
        &self,
        locked: &LockedTrades,
        want: &Want,
        buyer_free: u128,
        our_left: u128,
    ) -> Result<(), Decline> {
        let shown = |p: &Promise| self.shown.get(&p.id).copied().unwrap_or(LeaseState::None);
        // One balance cannot hold the capacity for two bids. What an ended lease gave back is the buyer's again.
        let of_buyer = self.holding().filter(|p| p.bid.order.buyer == want.buyer);
        let of_buyer = of_buyer.filter(|p| !locked.was_before(p.id) || shown(p) == LeaseState::None);
        let reserved = of_buyer.fold(want.budget, |sum, p| sum.saturating_add(p.bid.order.budget()));
        if reserved > buyer_free {
            return Err(Decline::new(
                DeclineCode::BuyerFunds,
                "the buyer's free balance does not cover this bid beside those that are accepted already",
            ));
        }
        if want.bond > our_left {
            return Err(Decline::new(
                DeclineCode::ProviderFunds,
                "the provider's free balance does not cover the bond beside what is reserved already",
            ));
        }
        Ok(())
    }
}

/// What is left of `capacity` beside what is held and what `unexplained` machines take.
pub(super) fn free(capacity: Resources, commitments: &Commitments, unexplained: &Resources) -> Resources {
    let taken = commitments.held().and_then(|held| held.checked_add(unexplained));
    taken.and_then(|taken| capacity.checked_sub(&taken)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
