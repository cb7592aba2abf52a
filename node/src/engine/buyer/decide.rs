//! What to do next for one purchase: a pure function of what is known, so that every case has a test.

use crate::{
    chain::{LeaseState, LeaseView},
    store::{BuyerPhase, Purchase},
};

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
    /// The provider did not start in time: take the money back.
    Abort,
    /// Over.
    Conclude,
}

/// All that a decision stands on. Times are chain time in seconds.
pub(super) struct Sight<'a> {
    /// What we want.
    pub(super) purchase: &'a Purchase,
    /// What the chain said, if it has said anything at the wanted depth.
    pub(super) lease: Option<&'a LeaseView>,
    /// Now.
    pub(super) now: u64,
    /// All blocks up to this time have been read.
    pub(super) watched_until: u64,
}

/// The next step.
pub(super) fn decide(sight: &Sight<'_>) -> Step {
    let on_chain = sight.lease.filter(|lease| lease.state != LeaseState::None);
    match on_chain {
        None => before_settlement(sight),
        Some(lease) => on_the_chain(sight, lease),
    }
}

fn before_settlement(sight: &Sight<'_>) -> Step {
    let purchase = sight.purchase;
    let bid_over = sight.now >= purchase.bid.order.valid_until;
    match purchase.phase {
        BuyerPhase::Seeking if bid_over => Step::Expire,
        BuyerPhase::Seeking => Step::Seek,
        BuyerPhase::Accepted => match &purchase.accept {
            Some(accept) if sight.now < accept.order.settle_by => Step::Settle,
            // A settlement that was sent and not seen may sit in a block that was not read yet.
            Some(accept) if sight.watched_until <= accept.order.settle_by => Step::Wait,
            _ => Step::SeekAgain,
        },
        BuyerPhase::Settled => {
            let settle_by = purchase.accept.as_ref().map_or(0, |accept| accept.order.settle_by);
            // Only a reorganisation can make a settlement vanish.
            if sight.watched_until > settle_by && sight.now > settle_by {
                Step::SeekAgain
            } else {
                Step::Wait
            }
        }
        BuyerPhase::Leased | BuyerPhase::Done | BuyerPhase::Expired | BuyerPhase::Cancelled => Step::Wait,
    }
}

fn on_the_chain(sight: &Sight<'_>, lease: &LeaseView) -> Step {
    let noted = sight.purchase.phase == BuyerPhase::Leased;
    match lease.state {
        LeaseState::Ended => Step::Conclude,
        _ if !noted => Step::NoteLeased,
        LeaseState::Opened if sight.now > u64::from(lease.activate_by) => Step::Abort,
        LeaseState::Active
            if sight.purchase.access.is_none() && sight.now < u64::from(lease.funded_until) =>
        {
            Step::FetchAccess
        }
        _ => Step::Wait,
    }
}
