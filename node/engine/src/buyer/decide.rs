//! What to do next for one purchase: a pure function of what is known, so that every case has a test.
//!
//! Phases of the purchase (on disk) and what moves them:
//!
//! ```text
//!            ┌── SeekAgain: not settled in time ◀─────────┐
//!            ▼                                            │
//!  Seeking ── Seek: a provider accepts ──▶ Accepted ── Settle ──▶ Settled ── NoteLeased: deep enough ──▶ Leased
//!     │                                                   ▲                                               │
//!     │ Expire: valid_until                               └── Settle: a reorganisation took it back ◀─────┤
//!     ▼                                                                                                   │
//!  Expired (or Cancelled, by its owner)                                                Conclude: Ended ───┴──▶ Done
//!
//!  while Leased:  Opened ── activate_by passed ── Abort
//!                 Active ── its owner wants the end ── End
//!                        ── out of reach for give_up_after ── Leave (the next passes: End)
//!                        ── funds low, budget left ── TopUp
//!                        ── address not asked for lately ── FetchAccess
//! ```

use sublet_base::phase::{BuyerPhase, OnFailure};
use sublet_chain::LeaseView;
use sublet_market::LeaseState;
use sublet_market::lease::{Action, Params, Party};
use sublet_store::Purchase;

use super::fund::due_top_up;

/// The next step for a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing now.
    Wait,
    /// Ask the best providers in the book.
    Seek,
    /// Nobody accepted in time.
    Expire,
    /// Lock the escrow.
    Settle,
    /// The accept was not settled in time: look for another.
    SeekAgain,
    /// The lease is on chain.
    NoteLeased,
    /// Ask the provider where the machine is.
    FetchAccess,
    /// The funds end soon, and there is a budget for more.
    TopUp,
    /// The provider did not start in time: take the money back.
    Abort,
    /// Its owner wants it to end, and it has not ended yet.
    End,
    /// The machine is not there: from now on the lease is to end.
    Leave,
    /// Over.
    Conclude,
}

impl Step {
    /// All that do something.
    pub(super) const ALL: [Self; 11] = [
        Self::Seek,
        Self::Expire,
        Self::Settle,
        Self::SeekAgain,
        Self::NoteLeased,
        Self::FetchAccess,
        Self::TopUp,
        Self::Abort,
        Self::End,
        Self::Leave,
        Self::Conclude,
    ];

    /// The name in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Seek => "seek",
            Self::Expire => "expire",
            Self::Settle => "settle",
            Self::SeekAgain => "seek_again",
            Self::NoteLeased => "note_leased",
            Self::FetchAccess => "fetch_access",
            Self::TopUp => "top_up",
            Self::Abort => "abort",
            Self::End => "end",
            Self::Leave => "leave",
            Self::Conclude => "conclude",
        }
    }
}

/// All that a decision stands on. Times are chain time in seconds.
pub(super) struct Facts<'a> {
    /// What we want.
    pub(super) purchase: &'a Purchase,
    /// What the chain said, if it has said anything at the wanted depth.
    pub(super) lease: Option<&'a LeaseView>,
    /// Now.
    pub(super) now: u64,
    /// The market's parameters.
    pub(super) params: &'a Params,
    /// All blocks up to this time have been read.
    pub(super) watched_until: u64,
    /// The chain has said at the wanted depth that the lease has ended.
    pub(super) ended: bool,
    /// The machine's address was not asked for lately.
    pub(super) access_due: bool,
    /// The machine has been out of reach for longer than its owner wants to pay for that.
    pub(super) lost: bool,
}

/// A bid or an accept with less time left than this is over: the transaction would come too late. Seconds.
pub(super) const SETTLE_MARGIN: u64 = 5;

/// The next step.
pub(super) fn decide(facts: &Facts<'_>) -> Step {
    let on_chain = facts.lease.filter(|lease| lease.state != LeaseState::None);
    match on_chain {
        None => before_settlement(facts),
        Some(lease) => on_the_chain(facts, lease),
    }
}

fn before_settlement(facts: &Facts<'_>) -> Step {
    let purchase = facts.purchase;
    let bid_over = facts.now.saturating_add(2 * SETTLE_MARGIN) >= purchase.bid.order.valid_until;
    match purchase.phase {
        BuyerPhase::Seeking if bid_over => Step::Expire,
        BuyerPhase::Seeking => Step::Seek,
        BuyerPhase::Accepted => match &purchase.accept {
            Some(accept) if facts.now.saturating_add(SETTLE_MARGIN) < accept.order.settle_by => Step::Settle,
            // A settlement that was sent and not seen may sit in a block that was not read yet.
            Some(accept) if facts.watched_until <= accept.order.settle_by => Step::Wait,
            _ => Step::SeekAgain,
        },
        BuyerPhase::Settled | BuyerPhase::Leased => unseen_settlement(facts),
        BuyerPhase::Done | BuyerPhase::Expired | BuyerPhase::Cancelled => Step::Wait,
    }
}

/// A settlement that the chain does not show is on its way, or was taken back by a reorganisation. It is named by the
/// lease, so that it can be sent again and is carried out once all the same.
fn unseen_settlement(facts: &Facts<'_>) -> Step {
    let purchase = facts.purchase;
    let settle_by = purchase.accept.as_ref().map_or(0, |accept| accept.order.settle_by);
    let taken_back = facts.lease.is_some() || facts.watched_until > purchase.settled_at;
    if taken_back && facts.now.saturating_add(SETTLE_MARGIN) < settle_by {
        Step::Settle
    } else if facts.watched_until > settle_by && facts.now > settle_by {
        Step::SeekAgain
    } else {
        Step::Wait
    }
}

fn on_the_chain(facts: &Facts<'_>, lease: &LeaseView) -> Step {
    let noted = facts.purchase.phase == BuyerPhase::Leased;
    match lease.state {
        // A block that a reorganisation drops must not close the file.
        LeaseState::Ended if !facts.ended => Step::Wait,
        LeaseState::Ended => Step::Conclude,
        _ if !noted => Step::NoteLeased,
        LeaseState::Opened if lease.allows(Action::Abort, Party::Buyer, facts.now, facts.params) => {
            Step::Abort
        }
        LeaseState::Active if facts.purchase.ending.is_some() => Step::End,
        LeaseState::Active
            if facts.lost && facts.purchase.on_failure != OnFailure::Keep && lease.is_paid(facts.now) =>
        {
            Step::Leave
        }
        LeaseState::Active if due_top_up(facts.purchase, lease, facts.now) > 0 => Step::TopUp,
        LeaseState::Active if facts.access_due && lease.is_paid(facts.now) => Step::FetchAccess,
        _ => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        samples::ACTIVATE_BY, samples::PARAMS, samples::SETTLE_BY, samples::VALID_UNTIL, samples::purchase,
        samples::view,
    };
    use sublet_store::Ending;

    fn step(phase: BuyerPhase, state: Option<LeaseState>, now: u64) -> Step {
        let lease = state.map(view);
        let purchase = purchase(phase);
        let lease = lease.as_ref();
        decide(&Facts {
            purchase: &purchase,
            lease,
            now,
            watched_until: now,
            params: &PARAMS,
            ended: true,
            access_due: true,
            lost: false,
        })
    }

    #[test]
    fn it_seeks_until_the_bid_is_over() {
        let margin = 2 * SETTLE_MARGIN;
        assert_eq!(step(BuyerPhase::Seeking, None, VALID_UNTIL - margin - 1), Step::Seek);
        assert_eq!(step(BuyerPhase::Seeking, None, VALID_UNTIL - margin), Step::Expire);
    }

    #[test]
    fn an_accept_is_settled_in_time_or_another_is_sought() {
        assert_eq!(step(BuyerPhase::Accepted, None, SETTLE_BY - SETTLE_MARGIN - 1), Step::Settle);
        assert_eq!(
            step(BuyerPhase::Accepted, None, SETTLE_BY - SETTLE_MARGIN),
            Step::Wait,
            "too late to be mined"
        );
        assert_eq!(
            step(BuyerPhase::Accepted, None, SETTLE_BY),
            Step::Wait,
            "it may sit in a block not yet read"
        );
        assert_eq!(step(BuyerPhase::Accepted, None, SETTLE_BY + 1), Step::SeekAgain);
    }

    #[test]
    fn a_settlement_is_sent_again_only_when_it_was_taken_back() {
        let in_time = SETTLE_BY - SETTLE_MARGIN - 1;
        let settled = |settled_at, watched_until| {
            let purchase = Purchase { settled_at, ..purchase(BuyerPhase::Settled) };
            let facts = Facts {
                purchase: &purchase,
                lease: None,
                now: in_time,
                watched_until,
                params: &PARAMS,
                ended: false,
                access_due: true,
                lost: false,
            };
            decide(&facts)
        };
        assert_eq!(settled(in_time, in_time), Step::Wait, "its block was not read yet");
        assert_eq!(settled(in_time, in_time + 1), Step::Settle, "its block was read, and it is not there");
        for phase in [BuyerPhase::Settled, BuyerPhase::Leased] {
            assert_eq!(step(phase, Some(LeaseState::None), in_time), Step::Settle);
            assert_eq!(step(phase, Some(LeaseState::None), SETTLE_BY - 1), Step::Wait);
            assert_eq!(step(phase, Some(LeaseState::None), SETTLE_BY + 1), Step::SeekAgain);
        }
    }

    #[test]
    fn a_lease_that_its_owner_ended_is_ended_until_the_chain_agrees() {
        let purchase = Purchase { ending: Some(Ending::Close), ..purchase(BuyerPhase::Leased) };
        let at = |state| {
            let lease = view(state);
            let now = SETTLE_BY;
            let lease = Some(&lease);
            decide(&Facts {
                purchase: &purchase,
                lease,
                now,
                watched_until: now,
                params: &PARAMS,
                ended: true,
                access_due: true,
                lost: false,
            })
        };
        assert_eq!(at(LeaseState::Active), Step::End);
        assert_eq!(at(LeaseState::Ended), Step::Conclude);
    }

    #[test]
    fn a_machine_that_does_not_start_in_time_costs_nothing() {
        let opened = |now| step(BuyerPhase::Leased, Some(LeaseState::Opened), now);
        assert_eq!(opened(u64::from(ACTIVATE_BY)), Step::Wait);
        assert_eq!(opened(u64::from(ACTIVATE_BY) + 1), Step::Abort);
    }

    #[test]
    fn it_follows_the_lease_to_its_end() {
        assert_eq!(step(BuyerPhase::Settled, Some(LeaseState::Opened), SETTLE_BY), Step::NoteLeased);
        assert_eq!(step(BuyerPhase::Leased, Some(LeaseState::Active), SETTLE_BY), Step::FetchAccess);
        assert_eq!(step(BuyerPhase::Leased, Some(LeaseState::Ended), SETTLE_BY), Step::Conclude);
        assert_eq!(step(BuyerPhase::Accepted, Some(LeaseState::Ended), SETTLE_BY), Step::Conclude);
    }

    #[test]
    fn a_machine_that_is_lost_is_left_unless_its_owner_keeps_it() {
        let left = |on_failure, state| {
            let purchase = Purchase { on_failure, ..purchase(BuyerPhase::Leased) };
            let (lease, now) = (view(state), SETTLE_BY);
            let lease = Some(&lease);
            decide(&Facts {
                purchase: &purchase,
                lease,
                now,
                watched_until: now,
                params: &PARAMS,
                ended: false,
                access_due: false,
                lost: true,
            })
        };
        assert_eq!(left(OnFailure::End, LeaseState::Active), Step::Leave);
        assert_eq!(left(OnFailure::Rebid, LeaseState::Active), Step::Leave);
        assert_eq!(left(OnFailure::Keep, LeaseState::Active), Step::Wait);
        assert_eq!(left(OnFailure::End, LeaseState::Opened), Step::Wait, "nothing is billed yet");
    }
}
