//! The chain of the property test: balances and leases that change by the contract's rules, block after block.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use sublet_chain::LeaseView;
use sublet_market::LeaseState;
use sublet_store::{Promise, Purchase};

use super::{ACTIVATE_WITHIN, BUYER_FUNDS, CONFIRMATIONS, DURATION};
use crate::samples;

/// The chain after a block.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) time: u64,
    pub(super) our_free: u128,
    /// What buyers have locked.
    pub(super) escrows: BTreeMap<Address, u128>,
    pub(super) leases: BTreeMap<B256, LeaseView>,
}

impl Block {
    pub(super) fn free_of(&self, buyer: Address) -> u128 {
        BUYER_FUNDS - self.escrows.get(&buyer).copied().unwrap_or_default()
    }
}

/// Whose balance does not cover a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    Provider,
    Buyer,
}

/// A chain of blocks; the last one is being built.
pub(super) struct Fake(pub(super) Vec<Block>);

impl Fake {
    pub(super) fn head(&mut self) -> &mut Block {
        self.0.last_mut().unwrap()
    }

    pub(super) fn now(&self) -> u64 {
        self.0.last().unwrap().time
    }

    pub(super) fn view(&self, id: B256) -> LeaseView {
        let head = self.0.last().unwrap();
        head.leases.get(&id).cloned().unwrap_or_else(|| samples::view(LeaseState::None))
    }

    /// The newest block that is deep enough.
    pub(super) fn confirmed(&self) -> &Block {
        &self.0[self.0.len().saturating_sub(1 + CONFIRMATIONS)]
    }

    pub(super) fn blocks(&mut self, count: usize, seconds: u64) {
        for _ in 0..count {
            let next = Block { time: self.now() + seconds, ..self.0.last().unwrap().clone() };
            self.0.push(next);
        }
    }

    /// What was confirmed stays; the times of the blocks that take their place are the same.
    pub(super) fn reorg(&mut self, depth: usize) {
        let depth = depth.min(self.0.len() - 1);
        let times: Vec<u64> = self.0.split_off(self.0.len() - depth).iter().map(|block| block.time).collect();
        for time in times {
            let next = Block { time, ..self.0.last().unwrap().clone() };
            self.0.push(next);
        }
    }

    /// The contract's settle. Says who could not pay, if one could not; a late one is refused by its own rule.
    pub(super) fn settle(&mut self, promise: &Promise) -> Result<(), Short> {
        let (buyer, budget) = (promise.bid.order.buyer, promise.bid.order.budget());
        let bond = promise.accept.order.bond();
        let head = self.head();
        if head.time > promise.accept.order.settle_by || head.leases.contains_key(&promise.id) {
            return Ok(());
        }
        if head.our_free < bond {
            return Err(Short::Provider);
        }
        if head.free_of(buyer) < budget {
            return Err(Short::Buyer);
        }
        head.our_free -= bond;
        *head.escrows.entry(buyer).or_default() += budget;
        let activate_by = u32::try_from(head.time + ACTIVATE_WITHIN).unwrap();
        let view = LeaseView { activate_by, ..samples::view(LeaseState::Opened) };
        head.leases.insert(promise.id, view);
        Ok(())
    }

    /// The contract's settle of a bid of our own. Says whether we could pay.
    pub(super) fn settle_bid(&mut self, purchase: &Purchase) -> Result<(), Short> {
        let bid = &purchase.bid.order;
        let head = self.head();
        if head.time > bid.valid_until || head.leases.contains_key(&purchase.id) {
            return Ok(());
        }
        head.our_free = head.our_free.checked_sub(bid.budget()).ok_or(Short::Buyer)?;
        head.leases.insert(purchase.id, samples::view(LeaseState::Opened));
        Ok(())
    }

    /// The lease of a bid of our own ends, all paid: nothing comes back, so that nothing can be taken again.
    pub(super) fn end_bid(&mut self, id: B256) {
        if let Some(view) = self.head().leases.get_mut(&id) {
            view.state = LeaseState::Ended;
        }
    }

    pub(super) fn activate(&mut self, id: B256) {
        let head = self.head();
        let now = u32::try_from(head.time).unwrap();
        let Some(view) = head.leases.get_mut(&id) else { return };
        if view.state == LeaseState::Opened && now <= view.activate_by {
            view.state = LeaseState::Active;
            view.paid_until = now;
            view.funded_until = now + u32::try_from(DURATION).unwrap();
        }
    }

    /// Any end: escrow and bond come back. (Where they go to the other there is less to hand out, which is
    /// the easier case.)
    pub(super) fn end(&mut self, promise: &Promise) {
        let head = self.head();
        let Some(view) = head.leases.get_mut(&promise.id) else { return };
        if view.state != LeaseState::Ended {
            view.state = LeaseState::Ended;
            head.our_free += promise.accept.order.bond();
            *head.escrows.entry(promise.bid.order.buyer).or_default() -= promise.bid.order.budget();
        }
    }
}
