//! The home's own bids: what it sells and what it buys is paid of one balance.

use alloy_primitives::{B256, U256};
use sublet_base::phase::BuyerPhase;
use sublet_market::LeaseState;
use sublet_store::{ChainLease, Purchase};

use super::{SETTLE_WITHIN, World};
use crate::samples;

/// What a bid may cost for each unit is as much as a bond.
const RATE: u64 = 1;
const DURATION: u32 = 100;

impl World {
    pub(super) fn bid(&mut self, units: u32) {
        let (locked, our_free) = self.ask_the_chain();
        let mut purchase = samples::purchase(BuyerPhase::Accepted);
        purchase.bid.order.max_rate = RATE * u64::from(units);
        purchase.bid.order.duration = DURATION;
        purchase.bid.order.valid_until = self.chain.now() + SETTLE_WITHIN;
        let left = our_free.saturating_sub(self.reserved().total(&locked));
        if purchase.bid.order.budget() <= left {
            self.asked += 1;
            purchase.id = B256::from(U256::from(self.asked));
            self.store().put(&purchase).unwrap();
            self.bids.push(purchase);
        }
    }

    pub(super) fn settle_bid(&mut self, at: usize) {
        let Some(bid) = self.bids.get(at % self.bids.len().max(1)).cloned() else { return };
        assert_eq!(self.chain.settle_bid(&bid), Ok(()), "a bid that our own balance does not cover");
        // One that was over in the store is only settled again where a reorganisation took it back.
        let is_open = self.store().get::<Purchase>(bid.id.as_slice()).unwrap().is_some();
        if is_open && self.chain.view(bid.id).state != LeaseState::None {
            let settled = self.store().update::<Purchase>(bid.id.as_slice(), |purchase| {
                purchase.phase = BuyerPhase::Settled;
                purchase.settle_tx = Some(B256::ZERO);
            });
            settled.unwrap();
        }
    }

    pub(super) fn end_bid(&mut self, at: usize) {
        let Some(bid) = self.bids.get(at % self.bids.len().max(1)) else { return };
        self.chain.end_bid(bid.id);
    }

    /// The engine's pass over them: what has ended, and what came to nothing, is over.
    pub(super) fn close_bids(&mut self) {
        for bid in self.store().all::<Purchase>().unwrap() {
            let id = bid.id.as_slice();
            let lease = self.store().get::<ChainLease>(id).unwrap();
            let ended = lease.as_ref().is_some_and(|lease| lease.end.is_some());
            let unsettled = self.chain.view(bid.id).state == LeaseState::None
                && self.watched_until > bid.bid.order.valid_until;
            if ended || unsettled {
                self.archived += 1;
                self.store().update::<Purchase>(id, |bid| bid.phase = BuyerPhase::Done).unwrap();
                self.store().archive::<Purchase>(id).unwrap();
            }
        }
    }

    /// What bids that may still be settled would lock.
    pub(super) fn budgets(&self) -> u128 {
        let head = self.chain.0.last().unwrap();
        let open = self.bids.iter().filter(|purchase| {
            purchase.bid.order.valid_until >= head.time && !head.leases.contains_key(&purchase.id)
        });
        open.map(|purchase| purchase.bid.order.budget()).sum()
    }

    /// What those that were settled have cost.
    pub(super) fn spent(&self) -> u128 {
        let leases = &self.chain.0.last().unwrap().leases;
        let settled = self.bids.iter().filter(|purchase| leases.contains_key(&purchase.id));
        settled.map(|purchase| purchase.bid.order.budget()).sum()
    }
}
