//! Reservations of the free balance that are not locked on chain yet: the bonds of accepts, and the budgets
//! of bids. A node that sells and buys has one balance for both.
//!
//! Nothing here is remembered: each answer is read from the disk, so a crash at any moment changes none of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use alloy_primitives::B256;
use sublet_base::phase::BuyerPhase;
use sublet_chain::{Chain, ChainError};
use sublet_market::LeaseState;
use sublet_market::{Maker, amount::format_amount};
use sublet_store::{ChainLease, Promise, Purchase, Store, StoreError};

use super::{Core, EngineError};

/// Trades that were settled, and what the chain says of them.
#[derive(Debug, Clone)]
pub(super) struct LockedTrades {
    /// As the store has it, before balances were read: their money was locked by then, and may have been given back.
    before: BTreeSet<B256>,
    /// What the chain says of them, after balances were read.
    seen: BTreeMap<B256, LeaseState>,
}

impl LockedTrades {
    pub(super) fn ids(&self) -> Vec<B256> {
        self.before.iter().copied().collect()
    }

    /// Whether the store knew of its settlement before balances were read.
    pub(super) fn was_before(&self, id: B256) -> bool {
        self.before.contains(&id)
    }

    /// The chain says in which state the lease is. The balances were read before.
    pub(super) fn see(&mut self, id: B256, state: LeaseState) {
        self.seen.insert(id, state);
    }

    /// Asks the chain about all of them. The balances were read before.
    pub(super) async fn see_all(&mut self, chain: &Chain) -> Result<(), ChainError> {
        let ids = self.ids();
        if ids.is_empty() {
            return Ok(());
        }
        let views = chain.leases(ids.clone()).await?;
        ids.into_iter().zip(views).for_each(|(id, view)| self.see(id, view.state));
        Ok(())
    }
}

fn is_locked(state: LeaseState) -> bool {
    matches!(state, LeaseState::Opened | LeaseState::Active)
}

/// A sum that may be locked any moment, base units. It is promised until the engine has put the trade away:
/// time alone does not tell whether it was locked in the last second.
enum Sum {
    Bond(u128),
    Budget(u128),
}

struct Trade {
    id: B256,
    sum: Sum,
    /// What the chain shows of it.
    shown: LeaseState,
    /// This node has seen its money locked, though the store may not show the lease yet.
    settled: bool,
}

/// All that is promised, as of one moment.
pub(super) struct Reservations(Vec<Trade>);

impl Reservations {
    /// What is on disk now.
    pub(super) fn read(store: &Store) -> Result<Self, StoreError> {
        let shown = |id: B256| {
            let lease = store.get::<ChainLease>(id.as_slice())?;
            Ok::<_, StoreError>(lease.map_or(LeaseState::None, |lease| lease.view.state))
        };
        let mut trades = Vec::new();
        for promise in store.all::<Promise>()?.iter().filter(|promise| promise.holds_capacity()) {
            let sum = Sum::Bond(promise.accept.order.bond());
            trades.push(Trade { id: promise.id, sum, shown: shown(promise.id)?, settled: false });
        }
        for purchase in store.all::<Purchase>()?.iter().filter(|purchase| purchase.is_open()) {
            let settled = purchase.phase == BuyerPhase::Settled && purchase.settle_tx.is_some();
            let sum = Sum::Budget(purchase.bid.order.budget());
            trades.push(Trade { id: purchase.id, sum, shown: shown(purchase.id)?, settled });
        }
        Ok(Self(trades))
    }

    /// The trades that are settled. Taken before balances are read, shown to the chain after, and handed to
    /// [`Reservations::total`].
    pub(super) fn locked(&self) -> LockedTrades {
        let settled = self.0.iter().filter(|trade| trade.settled || trade.shown != LeaseState::None);
        LockedTrades { before: settled.map(|trade| trade.id).collect(), seen: BTreeMap::new() }
    }

    /// What a balance that was read after `locked` was taken owes. What was locked by then is gone from it;
    /// what was promised, or locked, since then may not be, even if it has ended meanwhile. A bond that an
    /// end has given back may be taken again by a reorganisation: it counts until that end lies deep. What an
    /// ended lease gave back to its buyer is the buyer's at once.
    pub(super) fn total(&self, locked: &LockedTrades) -> u128 {
        let seen = |trade: &Trade| locked.seen.get(&trade.id).copied().unwrap_or(LeaseState::None);
        let owed = self.0.iter().map(|trade| match trade.sum {
            Sum::Bond(_) if is_locked(seen(trade)) && is_locked(trade.shown) => 0,
            Sum::Budget(_) if seen(trade) != LeaseState::None => 0,
            Sum::Bond(sum) | Sum::Budget(sum) => sum,
        });
        owed.fold(0, u128::saturating_add)
    }

    /// The same of a balance that was read just now, if the store knows all that the chain does.
    fn total_as_shown(&self) -> u128 {
        let mut locked = self.locked();
        for trade in self.0.iter().filter(|trade| locked.before.contains(&trade.id)) {
            let state = if trade.shown == LeaseState::None { LeaseState::Opened } else { trade.shown };
            locked.seen.insert(trade.id, state);
        }
        self.total(&locked)
    }
}

/// Our account, and what of its free balance is promised.
pub(super) struct Means {
    pub(super) account: Maker,
    pub(super) reserved: u128,
}

impl Means {
    /// What is promised to nobody.
    pub(super) fn left(&self) -> u128 {
        self.account.free.saturating_sub(self.reserved)
    }

    /// What is promised, as part of a sentence about an amount; nothing if it is nothing.
    pub(super) fn beside(&self) -> String {
        match self.reserved {
            0 => String::new(),
            promised => format!(" beside {} for other bids and bonds of yours", format_amount(promised)),
        }
    }
}

/// One reservation at a time counts the free balance and the capacity; and how many trades were archived, which a count in
/// between must know.
#[derive(Default)]
pub(crate) struct Turns {
    turn: tokio::sync::Mutex<()>,
    archived: AtomicU64,
}

impl Turns {
    /// Waits for the turn; it is over when the guard goes.
    pub(super) async fn next(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Notes that a trade is about to be put away: what it has cost is gone from the balance for good.
    pub(super) fn note_archived(&self) {
        self.archived.fetch_add(1, Ordering::AcqRel);
    }

    /// How many were. If it changes, a balance that was read before may hold what one of them has cost, and
    /// nothing on disk tells so any more.
    pub(super) fn archived_count(&self) -> u64 {
        self.archived.load(Ordering::Acquire)
    }
}

impl Core {
    /// Our account as the chain has it now, and what of it is promised. Who then promises more holds
    /// [`Turns`].
    pub(super) async fn means(&self) -> Result<Means, EngineError> {
        let mut locked = Reservations::read(&self.store)?.locked();
        let account = self.refresh_maker(self.account.maker()).await?;
        locked.see_all(&self.chain).await?;
        let promised = Reservations::read(&self.store)?.total(&locked);
        Ok(Means { account, reserved: promised })
    }

    /// Refuses to take out of the Market what is promised.
    pub async fn check_withdrawal(&self, amount: u128) -> Result<(), EngineError> {
        let means = self.means().await?;
        if amount <= means.left() || amount > means.account.free {
            return Ok(());
        }
        Err(EngineError::Funds(format!(
            "{} of the {} free in the Market is reserved for bids and accepts that are not settled yet, or \
             for a lease that has just ended: withdraw at most {}, cancel the bids (`sublet bid cancel`), or \
             wait a little",
            format_amount(means.reserved),
            format_amount(means.account.free),
            format_amount(means.left())
        )))
    }

    /// What is promised of our free balance, as far as the store knows: nobody is asked.
    pub fn reserved(&self) -> Result<u128, EngineError> {
        Ok(Reservations::read(&self.store)?.total_as_shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use sublet_base::phase::ProviderPhase;

    /// What a store with this purchase owes, of a balance that was read just now.
    fn owed(purchase: &Purchase, state: LeaseState) -> u128 {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        store.put(purchase).unwrap();
        show(&store, purchase.id, state);
        Reservations::read(&store).unwrap().total_as_shown()
    }

    fn show(store: &Store, id: B256, state: LeaseState) {
        let view = samples::view(state);
        let lease = ChainLease { id, view, changed_at: None, events: Vec::new(), end: None };
        store.put(&lease).unwrap();
    }

    #[test]
    fn a_budget_is_promised_from_the_bid_to_the_settlement() {
        use {BuyerPhase as Phase, LeaseState as State};
        let budget = samples::purchase(Phase::Seeking).bid.order.budget();
        for (phase, shown, promised) in [
            (Phase::Seeking, State::None, budget),
            (Phase::Accepted, State::None, budget),
            (Phase::Settled, State::None, budget),
            // A reorganisation took it back: it is sent again.
            (Phase::Leased, State::None, budget),
            (Phase::Settled, State::Opened, 0),
            (Phase::Leased, State::Active, 0),
            (Phase::Leased, State::Ended, 0),
            (Phase::Done, State::None, 0),
            (Phase::Expired, State::None, 0),
            (Phase::Cancelled, State::None, 0),
        ] {
            assert_eq!(owed(&samples::purchase(phase), shown), promised, "{phase:?} {shown:?}");
        }
        let mined = Purchase { settle_tx: Some(B256::ZERO), ..samples::purchase(Phase::Settled) };
        assert_eq!(owed(&mined, State::None), 0, "its receipt was there before the balance was read");
    }

    #[test]
    fn bonds_and_budgets_are_promised_of_one_balance() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        let purchase = Purchase { id: B256::ZERO, ..samples::purchase(BuyerPhase::Seeking) };
        let promise = samples::promise(ProviderPhase::Held);
        store.put(&purchase).unwrap();
        store.put(&promise).unwrap();
        let promised = Reservations::read(&store).unwrap();
        let both = promise.accept.order.bond() + purchase.bid.order.budget();
        assert_eq!(promised.total(&promised.locked()), both);
    }

    #[test]
    fn what_was_locked_while_a_balance_was_read_may_still_be_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        let purchase = samples::purchase(BuyerPhase::Accepted);
        store.put(&purchase).unwrap();
        let mut before = Reservations::read(&store).unwrap().locked();
        let settled =
            Purchase { phase: BuyerPhase::Settled, settle_tx: Some(B256::ZERO), ..purchase.clone() };
        store.put(&settled).unwrap();
        before.ids().into_iter().for_each(|id| before.see(id, LeaseState::Opened));
        let now = Reservations::read(&store).unwrap();
        assert_eq!(now.total(&before), purchase.bid.order.budget());
        show(&store, purchase.id, LeaseState::Ended);
        let now = Reservations::read(&store).unwrap();
        assert_eq!(now.total(&before), purchase.bid.order.budget(), "nor does its end tell");
    }
}
