//! A lease that failed its buyer is bid for again, without the provider that failed, for what is left of the time.

use alloy_primitives::B256;
use sublet_base::phase::OnFailure;
use sublet_market::{BidTerms, EndReason};
use sublet_store::{ChainLease, Purchase};

use super::{Buyer, NewBid};
use crate::EngineError;

/// The shortest lease that the contract knows, seconds.
const SHORTEST: u32 = 300;
/// How long such a bid stands, seconds.
const VALID_FOR: u32 = 600;

impl Buyer {
    /// Posts the bid that takes the place of a failed one, if its owner wants that and there is time left.
    /// What prevents it is noted; the failed one is closed either way.
    pub(super) async fn rebid(&self, id: B256) -> Result<(), EngineError> {
        let purchase = self.purchase_of(id)?;
        let Some(lease) = self.core.store.get::<ChainLease>(id.as_slice())? else { return Ok(()) };
        if purchase.on_failure != OnFailure::Rebid || !has_failed(&purchase, &lease) {
            return Ok(());
        }
        let left = time_left(&purchase, &lease);
        if left < SHORTEST {
            tracing::info!(bid = %id, left, "too little time is left to bid again");
            return Ok(());
        }
        // A crash may have come after the new one was stored.
        if self.core.store.all_and_past::<Purchase>()?.iter().any(|p| p.continues == Some(id)) {
            return Ok(());
        }
        match self.post_bid(again(&purchase, &lease, left)).await {
            Ok((new, _)) => {
                tracing::info!(bid = %id, new = %new.id, left, "the lease failed: bidding again without its provider");
                Ok(())
            }
            // The chain, the key or the disk may be back in a moment: until then the file stays open.
            Err(error) if error.is_passing() => Err(error),
            Err(error) => {
                tracing::warn!(bid = %id, %error, "the lease failed and cannot be bid for again");
                self.update(id, |p| p.trouble = Some(format!("not bid for again: {error}")))
            }
        }
    }
}

/// Whether the lease ended by somebody's failure, not by its buyer's wish or its time.
fn has_failed(purchase: &Purchase, lease: &ChainLease) -> bool {
    let given_up = match lease.end.as_ref().map(|end| end.reason) {
        Some(EndReason::Aborted | EndReason::ProviderClosed) => true,
        None | Some(EndReason::Cancelled | EndReason::Closed | EndReason::Rejected | EndReason::Finished) => {
            false
        }
    };
    purchase.failure.is_some() || (given_up && purchase.ending.is_none())
}

/// Seconds of the duration that were not had.
fn time_left(purchase: &Purchase, lease: &ChainLease) -> u32 {
    let duration = purchase.bid.order.duration;
    let never_answered = purchase.failure.is_some() && !purchase.reached;
    let (Some(started), Some(end), false) = (lease.started_at(), &lease.end, never_answered) else {
        return duration;
    };
    let had = u32::try_from(end.at.saturating_sub(started)).unwrap_or(u32::MAX);
    duration.saturating_sub(had)
}

fn again(purchase: &Purchase, lease: &ChainLease, duration: u32) -> NewBid {
    let mut avoid = purchase.avoid.clone();
    avoid.push(lease.view.provider);
    NewBid { continues: Some(purchase.id), avoid, ..like(purchase, duration) }
}

/// A bid on the terms of an earlier one, with a new disk.
pub(super) fn like(purchase: &Purchase, duration: u32) -> NewBid {
    let bid = &purchase.bid.order;
    let terms = BidTerms {
        unit: purchase.spec.unit,
        units: purchase.spec.units,
        traits: purchase.spec.traits.clone(),
        max_rate: bid.max_rate,
        min_bond_seconds: bid.min_bond_seconds,
        min_points: bid.min_points,
        duration,
        valid_for: VALID_FOR,
        image: purchase.manifest.image.clone(),
        ssh_authorized_keys: purchase.manifest.ssh_authorized_keys.clone(),
    };
    NewBid {
        terms,
        top_up_budget: purchase.top_up_budget,
        on_failure: purchase.on_failure,
        continues: None,
        disk_of: None,
        avoid: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{samples::purchase, samples::view};
    use sublet_base::phase::BuyerPhase;
    use sublet_market::LeaseState;
    use sublet_store::{Ending, LeaseEnd};

    fn ended(reason: EndReason) -> ChainLease {
        let end = Some(LeaseEnd { reason, at: 1_000_500 });
        let (view, id) = (view(LeaseState::Ended), B256::ZERO);
        ChainLease { id, view, changed_at: None, events: Vec::new(), end }
    }

    #[test]
    fn only_a_failure_is_bid_for_again() {
        let mut bought = purchase(BuyerPhase::Leased);
        assert!(
            has_failed(&bought, &ended(EndReason::Aborted))
                && has_failed(&bought, &ended(EndReason::ProviderClosed))
        );
        assert!(
            !has_failed(&bought, &ended(EndReason::Finished))
                && !has_failed(&bought, &ended(EndReason::Closed))
        );
        bought.ending = Some(Ending::Close);
        assert!(!has_failed(&bought, &ended(EndReason::Closed)), "its owner wanted it");
        bought.failure = Some("the machine is gone".into());
        assert!(has_failed(&bought, &ended(EndReason::Closed)));
    }

    #[test]
    fn the_provider_that_failed_is_avoided_and_the_terms_stay() {
        let bought = purchase(BuyerPhase::Leased);
        let lease = ended(EndReason::Aborted);
        assert_eq!(time_left(&bought, &lease), bought.bid.order.duration, "it never ran");
        let new = again(&bought, &lease, 300);
        let terms = (new.terms.duration, new.terms.max_rate, new.continues);
        assert_eq!(terms, (300, bought.bid.order.max_rate, Some(bought.id)));
        assert_eq!(new.avoid, [lease.view.provider]);
    }
}
