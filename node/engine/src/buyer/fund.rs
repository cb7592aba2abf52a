//! Keeping a lease funded: by hand, or by itself within a budget; and the warning before the funds end.

use std::{
    collections::{HashMap, HashSet},
    sync::PoisonError,
};

use alloy_primitives::B256;
use sublet_base::phase::BuyerPhase;
use sublet_chain::{Call, LeaseView, TxReport};
use sublet_market::LeaseState;
use sublet_market::amount::format_amount;
use sublet_store::{ChainLease, Purchase};

use super::Buyer;
use crate::{EngineError, follower};

/// The buyer is warned at a tenth of the time that was paid for, and at so many seconds at the latest.
const LEAST_WARNING: u64 = 60;
/// A top-up with less time left would come too late. Seconds.
const TOP_UP_MARGIN: u64 = 5;

/// Seconds left of an active lease, if they are so few that the buyer should know.
pub fn ending_in(lease: &LeaseView, duration: u32, now: u64) -> Option<u64> {
    if lease.state != LeaseState::Active {
        return None;
    }
    let left = u64::from(lease.funded_until).saturating_sub(now);
    (left > 0 && left <= (u64::from(duration) / 10).max(LEAST_WARNING)).then_some(left)
}

/// How near the end of its funds a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    /// A tenth of the time that was paid for is left.
    Tenth,
    /// A minute is left.
    Minute,
}

/// The leases whose end was told, how near it was, and when the funds were to end: a top-up begins anew.
#[derive(Default)]
pub(super) struct Told(HashMap<B256, (Nearness, u32)>);

impl Told {
    /// Whether the owner was told before that the end is so near. From now on it was.
    fn tell(&mut self, id: B256, lease: &LeaseView, left: u64) -> bool {
        let near = if left <= LEAST_WARNING { Nearness::Minute } else { Nearness::Tenth };
        let told = self.0.insert(id, (near, lease.funded_until));
        told.is_some_and(|(before, end)| end == lease.funded_until && before >= near)
    }
}

/// How many seconds the engine should buy now; 0 if it should not, or may not.
pub(super) fn due_top_up(purchase: &Purchase, lease: &LeaseView, now: u64) -> u32 {
    let duration = purchase.bid.order.duration;
    match ending_in(lease, duration, now) {
        Some(left) if left > TOP_UP_MARGIN && purchase.phase == BuyerPhase::Leased => {}
        _ => return 0,
    }
    let affordable = purchase.top_up_budget.checked_div(u128::from(lease.rate)).unwrap_or(0);
    let affordable = u32::try_from(affordable).unwrap_or(u32::MAX);
    duration.min(affordable).min(lease.max_end.saturating_sub(lease.funded_until))
}

impl Buyer {
    /// Warns of leases whose funds end soon: at a tenth of the time, and again at a minute. `open` are the
    /// purchases with what the chain has said of them.
    pub(super) fn warn_of_ends(&self, open: &[(Purchase, Option<ChainLease>)]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ending = HashSet::new();
        for (purchase, lease) in open {
            let Some(lease) = lease.as_ref().map(|lease| &lease.view) else { continue };
            let left = ending_in(lease, purchase.bid.order.duration, self.core.now());
            let Some(left) = left.filter(|_| purchase.ending.is_none()) else { continue };
            ending.insert(purchase.id);
            if !told.tell(purchase.id, lease, left) {
                let id = purchase.id;
                tracing::warn!(
                    lease = %id,
                    "the lease's funds end in {left} s: run `sublet lease top-up {id} --for 10m`"
                );
            }
        }
        self.core.counters.leases_ending(ending.len());
        told.0.retain(|id, _| ending.contains(id));
    }

    /// The step of the engine: on disk first that the budget is spent, then the transaction. A crash in between costs
    /// budget, never more money than the budget.
    pub(super) async fn top_up_by_itself(&self, id: B256) -> Result<(), EngineError> {
        let purchase = self.purchase_of(id)?;
        let lease = self.core.chain.lease(id).await?;
        let means = self.core.means().await?;
        let wanted = due_top_up(&purchase, &lease, self.core.now());
        let affordable = u32::try_from(means.left() / u128::from(lease.rate.max(1))).unwrap_or(u32::MAX);
        let secs = wanted.min(affordable);
        if secs == 0 {
            // The store was behind the chain, or there is nothing left to pay with: then the warning stands.
            follower::refresh_lease(&self.core, id).await?;
            if wanted == 0 {
                return Ok(());
            }
            return Err(EngineError::Funds(format!(
                "cannot top up the lease, nothing is free in the Market{}: run `sublet wallet deposit {}`",
                means.beside(),
                format_amount(u128::from(lease.rate) * u128::from(wanted)).trim_end_matches(" CTK")
            )));
        }
        let cost = u128::from(lease.rate) * u128::from(secs);
        self.update(id, |p| p.top_up_budget = p.top_up_budget.saturating_sub(cost))?;
        match self.core.account.execute(Call::TopUp { id, secs }).await {
            Ok(report) => {
                tracing::info!(lease = %id, tx = %report.hash, secs, cost = format_amount(cost), "topped up");
                self.update(id, |p| p.trouble = None)?;
            }
            Err(error) if error.is_unclear() => return Err(error.into()),
            Err(error) => {
                self.update(id, |p| p.top_up_budget = p.top_up_budget.saturating_add(cost))?;
                return Err(error.into());
            }
        }
        follower::refresh_lease(&self.core, id).await
    }

    /// Buys more time for a lease, as its owner asks.
    pub async fn top_up(&self, id: B256, secs: u32) -> Result<TxReport, EngineError> {
        let lease = self.core.chain.lease(id).await?;
        if !lease.is_paid(self.core.now()) {
            return Err(EngineError::Invalid(format!(
                "the lease {id} is not running: only a running lease can be topped up"
            )));
        }
        let most = lease.max_end.saturating_sub(lease.funded_until);
        if secs > most {
            return Err(EngineError::Invalid(format!(
                "{secs} s are more than the {most} s that the provider's terms still allow: top up by less, \
                 or rent again later"
            )));
        }
        let cost = u128::from(lease.rate) * u128::from(secs);
        let means = self.core.means().await?;
        if means.left() < cost {
            return Err(EngineError::Funds(format!(
                "{secs} s cost {}, and {} is free in the Market{}: run `sublet wallet deposit {}` first",
                format_amount(cost),
                format_amount(means.left()),
                means.beside(),
                format_amount(cost - means.left()).trim_end_matches(" CTK")
            )));
        }
        let report = self.core.account.execute(Call::TopUp { id, secs }).await?;
        follower::refresh_lease(&self.core, id).await?;
        self.core.wake.buyer.notify_one();
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{samples::FUNDED_UNTIL, samples::purchase, samples::view};

    const END: u64 = FUNDED_UNTIL as u64;

    #[test]
    fn the_warning_comes_at_a_tenth_of_the_time_or_a_minute() {
        let active = view(LeaseState::Active);
        assert_eq!(ending_in(&active, 3_600, END - 361), None);
        assert_eq!(ending_in(&active, 3_600, END - 360), Some(360));
        assert_eq!(ending_in(&active, 300, END - 61), None);
        assert_eq!(ending_in(&active, 300, END - 60), Some(60));
        assert_eq!(ending_in(&active, 300, END), None);
        assert_eq!(ending_in(&view(LeaseState::Opened), 300, END - 60), None);
    }

    #[test]
    fn each_warning_is_given_once_and_again_after_a_top_up() {
        let (mut told, lease) = (Told::default(), view(LeaseState::Active));
        let mut told = |lease: &LeaseView, left| told.tell(B256::ZERO, lease, left);
        assert!(!told(&lease, 360));
        assert!(told(&lease, 359));
        assert!(!told(&lease, 60));
        assert!(told(&lease, 59));
        let later = LeaseView { funded_until: FUNDED_UNTIL + 600, ..lease };
        assert!(!told(&later, 59));
        assert!(told(&later, 58));
    }

    #[test]
    fn a_top_up_stays_within_the_budget_the_terms_and_the_time() {
        let lease = view(LeaseState::Active);
        let mut bought = purchase(BuyerPhase::Leased);
        let duration = bought.bid.order.duration;
        assert_eq!(due_top_up(&bought, &lease, END - 30), 0, "nobody asked for it");
        bought.top_up_budget = u128::from(lease.rate) * 100_000_000;
        assert_eq!(due_top_up(&bought, &lease, END - 30), duration);
        assert_eq!(due_top_up(&bought, &lease, END - 5), 0, "too late");
        assert_eq!(due_top_up(&bought, &lease, 1_000_500), 0, "too early");
        let near_the_end = LeaseView { max_end: FUNDED_UNTIL + 7, ..lease.clone() };
        assert_eq!(due_top_up(&bought, &near_the_end, END - 30), 7);
        bought.top_up_budget = u128::from(lease.rate) * 9 + 1;
        assert_eq!(due_top_up(&bought, &lease, END - 30), 9);
    }
}
