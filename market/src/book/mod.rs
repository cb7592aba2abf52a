//! The book: every order that a peer knows and that may still come to a trade.
//!
//! Inputs: orders whose signature and structure have been checked ([`Book::insert`]), what the chain says of
//! their makers ([`Book::set_maker`], [`Book::set_operator`], [`Book::remove_bid`]) and the passing of time
//! ([`Book::expire`]). Outputs: the best offers for a bid, the bids that an offer fits, and why offers do not
//! fit.
//!
//! The answers depend on the orders that were taken in, the makers, the bid and the time, not on the order of arrival:
//! - of one series the greatest (`seq`, digest) counts, and a cancelled or replaced version stays known for as long as
//!   anything older could still be valid, so that no late copy revives it;
//! - an order of a maker whose balance no longer covers it leaves the book at once: it is in no answer, in no list and
//!   not in the digest. It is kept aside, and is back when the balance is;
//! - equal prices are ordered by points, then by `keccak256(bid ‖ provider)`, then by digest.
//!
//! Three things do depend on it: what a full book took in ([`BookLimits::max_orders`]), which orders a maker has here
//! that signed more than its quota, and an answer that says that it is not complete ([`Best::complete`]).

mod best;
mod bids;
mod block;
mod explain;
mod fair;
mod holders;
mod index;
mod levels;
#[deny(clippy::arithmetic_side_effects)]
mod limits;
#[deny(clippy::arithmetic_side_effects)]
mod makers;
mod offers;
mod outcome;
mod pages;
mod room;
mod serve;
mod traitsets;
mod views;

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};

pub use best::{Best, Quote, SEARCH_TESTS, TIED_PROVIDERS};
pub use bids::BidEntry;
pub use explain::{Explanation, NearestMiss};
pub use fair::FAIR_TESTS;
pub use limits::{BookLimits, Counters};
pub use outcome::{Ignored, Inserted};
pub use serve::Served;

use crate::eip712::Domain;
use crate::limits::{MAX_BID_LIFE_SECONDS, MAX_OFFER_LIFE_SECONDS};
use crate::message::OrderMessage;
use crate::orders::Offer;
use crate::rule::{Maker, MatchContext};
use crate::signature::{OrderSignature, Signed};
use bids::Bids;
use makers::{Kind, Makers};
use offers::Offers;

/// How much further ahead than its greatest life an order may end, in seconds: two nodes may see chain time
/// differently.
pub const CLOCK_SLACK_SECONDS: u64 = 30;

/// What [`Book::knows`] of a copy of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The order is new.
    No,
    /// The order is here, and another copy of no use to anybody.
    Same,
    /// The order is here under another signature: the maker's second, or a forgery.
    Other,
}

/// Offers, bids and what is known of their makers, for one market.
#[derive(Clone, Debug)]
pub struct Book {
    domain: Domain,
    limits: BookLimits,
    offers: Offers,
    bids: Bids,
    makers: Makers,
    operators: BTreeSet<(Address, Address)>,
    counters: Counters,
    /// The latest time that was given, for [`Book::remove_bid`], which comes without one.
    latest: u64,
}

impl Book {
    /// An empty book.
    pub fn new(domain: Domain, limits: BookLimits) -> Self {
        Self {
            domain,
            limits,
            offers: Offers::default(),
            bids: Bids::default(),
            makers: Makers::new(limits.floor),
            operators: BTreeSet::new(),
            counters: Counters::default(),
            latest: 0,
        }
    }

    /// The market that the book is for.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Says that a maker is this node's own: its orders never give way to others'.
    pub fn set_own(&mut self, maker: Address) {
        self.makers.set_own(maker);
    }

    /// Takes an order whose signature was recovered to `signer`.
    ///
    /// # Errors
    /// Why the order is not taken. None of the reasons is the forwarding peer's fault, but for [`Ignored::Structure`].
    pub fn insert(&mut self, message: OrderMessage, signer: Address, now: u64) -> Result<Inserted, Ignored> {
        message.check()?;
        let digest = message.digest(&self.domain);
        self.insert_checked(message, digest, signer, now)
    }

    /// [`Book::insert`] for an order that passed its check and whose digest for this market is known already.
    ///
    /// # Errors
    /// Why the order is not taken.
    pub fn insert_checked(
        &mut self,
        message: OrderMessage,
        digest: B256,
        signer: Address,
        now: u64,
    ) -> Result<Inserted, Ignored> {
        self.latest = self.latest.max(now);
        if self.contains(&digest) {
            return Err(Ignored::Known);
        }
        self.check_time(&message, now)?;
        let maker = self.check_maker(message.maker(), signer)?;
        match message {
            OrderMessage::Offer(offer) => self.insert_offer(digest, offer, signer, maker, now),
            OrderMessage::Bid { bid, spec } => {
                self.insert_bid(BidEntry { digest, bid, spec, signer }, maker, now)
            }
        }
    }

    fn insert_offer(
        &mut self,
        digest: B256,
        offer: Signed<Offer>,
        signer: Address,
        maker: u32,
        now: u64,
    ) -> Result<Inserted, Ignored> {
        let account = self.makers.slot(maker).maker;
        let cancel = offer.order.is_cancel();
        // A newer version takes no more room than the older one, so that it is taken in whatever its maker's
        // balance is: otherwise the older one would go on counting.
        let known = self.offers.check_newer(maker, &offer.order, digest)?;
        if known.is_none() {
            if account.free < offer.order.bond(1).max(self.limits.floor) {
                return Err(Ignored::Unfunded);
            }
            self.check_quota(maker, Kind::Offers)?;
        }
        if known != Some(true) && !cancel {
            self.make_room(maker, Kind::Offers, now)?;
        }
        let replaced = self.offers.insert(digest, offer, signer, now, maker, &mut self.makers);
        self.forget_too_many();
        Ok(if cancel { Inserted::Cancel { digest, replaced } } else { Inserted::Offer { digest, replaced } })
    }

    fn insert_bid(&mut self, entry: BidEntry, maker: u32, now: u64) -> Result<Inserted, Ignored> {
        let (bid, account) = (&entry.bid.order, self.makers.slot(maker).maker);
        if bid.epoch != account.epoch {
            return Err(Ignored::Epoch);
        }
        if account.free < bid.budget().max(self.limits.floor) {
            return Err(Ignored::Unfunded);
        }
        self.check_quota(maker, Kind::Bids)?;
        self.make_room(maker, Kind::Bids, now)?;
        let digest = entry.digest;
        self.bids.insert(entry, maker, &mut self.makers);
        Ok(Inserted::Bid { digest })
    }

    fn check_time(&self, message: &OrderMessage, now: u64) -> Result<(), Ignored> {
        let life = match message {
            OrderMessage::Offer(_) => MAX_OFFER_LIFE_SECONDS,
            OrderMessage::Bid { .. } => MAX_BID_LIFE_SECONDS,
        };
        if now > message.valid_until() {
            return Err(Ignored::Expired);
        }
        let latest = now.saturating_add(life).saturating_add(CLOCK_SLACK_SECONDS);
        if message.valid_until() > latest { Err(Ignored::TooFarAhead) } else { Ok(()) }
    }

    fn check_maker(&self, maker: Address, signer: Address) -> Result<u32, Ignored> {
        if signer != maker && !self.is_operator(maker, signer) {
            return Err(Ignored::Signer);
        }
        self.makers.id(&maker).ok_or(Ignored::UnknownMaker)
    }

    fn check_quota(&self, maker: u32, kind: Kind) -> Result<(), Ignored> {
        let slot = self.makers.slot(maker);
        let full = slot.orders[kind as usize].len() >= self.limits.quota(&slot.maker);
        if full { Err(Ignored::Quota) } else { Ok(()) }
    }

    /// Whether the order is here, kept aside, or remembered although it has ended.
    pub fn contains(&self, digest: &B256) -> bool {
        self.offers.contains(digest) || self.bids.contains(digest)
    }

    /// Whether an order is one of those that [`Book::contains`] knows. Asked before a signature is recovered. Of a bid
    /// that is over on chain no signature is kept: no copy of it is of use to anybody.
    pub fn knows(&self, digest: &B256, signature: &OrderSignature) -> Known {
        match self.offers.signature(digest).or_else(|| self.bids.signature(digest)) {
            _ if self.bids.is_closed(digest) => Known::Same,
            Some(known) if known == *signature => Known::Same,
            Some(_) => Known::Other,
            None => Known::No,
        }
    }

    /// Sets what the chain says of a maker. Its orders count, or no longer count, from now on.
    pub fn set_maker(&mut self, address: Address, maker: Maker) {
        let id = self.makers.set(address, maker);
        self.offers.update_maker(id, &self.makers);
        self.bids.update_maker(id, &self.makers);
    }

    /// What the chain was last known to say of a maker.
    pub fn maker(&self, address: &Address) -> Option<&Maker> {
        self.makers.get(address)
    }

    /// All makers that are known.
    pub fn makers(&self) -> impl Iterator<Item = (&Address, &Maker)> {
        self.makers.iter()
    }

    /// Forgets the makers that have no order here and that `keep` does not want, if that was so the last time too and
    /// [`Book::set_maker`] has said nothing of them since: an order may be on its way that the account was read for.
    pub fn retain_makers(&mut self, keep: impl Fn(&Address) -> bool) {
        self.makers.retain(keep);
    }

    /// Whether a maker is known to approve an operator's key.
    pub fn is_operator(&self, maker: Address, key: Address) -> bool {
        self.operators.contains(&(maker, key))
    }

    /// Sets whether a maker approves an operator's key. Orders signed by a key that is no longer approved are dropped.
    pub fn set_operator(&mut self, maker: Address, key: Address, approved: bool) {
        if approved {
            self.operators.insert((maker, key));
        } else if self.operators.remove(&(maker, key))
            && let Some(id) = self.makers.id(&maker)
        {
            self.offers.remove_signed_by(id, key, &mut self.makers);
            self.bids.remove_signed_by(id, key, &mut self.makers);
        }
    }

    /// Drops what has expired by `now`, and what was remembered only to keep older versions out. Gives the
    /// number of orders.
    pub fn expire(&mut self, now: u64) -> usize {
        self.latest = self.latest.max(now);
        let count = self.offers.expire(now, &mut self.makers) + self.bids.expire(now, &mut self.makers);
        self.forget_too_many();
        count
    }

    /// Takes out a bid that was settled or cancelled on chain; a late copy is not taken in again. Gives
    /// whether it was here.
    pub fn remove_bid(&mut self, digest: B256) -> bool {
        let forget_at = self.latest.saturating_add(MAX_BID_LIFE_SECONDS).saturating_add(CLOCK_SLACK_SECONDS);
        self.bids.close(digest, forget_at, &mut self.makers)
    }

    /// What a fit of these two makers depends on. A maker that the chain has not told of has nothing.
    fn context(&self, provider: Address, buyer: Address, now: u64) -> MatchContext<'_> {
        const NOTHING: &Maker = &Maker { free: 0, points: 0, epoch: 0 };
        let maker = |address| self.makers.get(address).unwrap_or(NOTHING);
        MatchContext { now, provider: maker(&provider), buyer: maker(&buyer), floor: self.limits.floor }
    }
}
