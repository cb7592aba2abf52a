//! The book: every order that a peer knows and that may still come to a trade.
//!
//! In flow orders whose signature and structure have been checked ([`Book::insert`]), what the chain says of their makers
//! ([`Book::set_maker`], [`Book::set_operator`], [`Book::remove_bid`]) and the passing of time ([`Book::expire`]).
//! Out flow the best offers for a bid, the bids that an offer fits, and why offers do not fit.
//!
//! The answers depend on the orders that were taken in, the makers, the bid and the time, not on the order of arrival:
//! - of one series the greatest (`seq`, digest) counts, and a cancelled or replaced version stays known for as long as
//!   anything older could still be valid, so that no late copy revives it;
//! - an order of a maker whose balance falls stays, does not count, and counts again when the balance returns;
//! - equal prices are ordered by points, then by `keccak256(bid ‖ provider)`, then by digest.
//!
//! Two things do depend on it: what a full book took in ([`BookLimits::max_orders`]), and an answer that says that it is not
//! complete ([`Best::complete`]).

mod best;
mod bids;
mod block;
mod explain;
mod holders;
mod index;
mod levels;
mod limits;
mod makers;
mod offers;
mod outcome;
mod pages;
mod serve;
mod traitsets;

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};

pub use best::{Best, FAIR_TESTS, Quote, SEARCH_TESTS, TIED_PROVIDERS};
pub use bids::BidEntry;
pub use explain::{Explanation, NearestMiss};
pub use limits::{BookLimits, Counters};
pub use outcome::{Ignored, Inserted};

use crate::eip712::Domain;
use crate::limits::{MAX_BID_LIFE_SECONDS, MAX_OFFER_LIFE_SECONDS};
use crate::message::OrderMessage;
use crate::orders::{Bid, Offer, Spec};
use crate::rule::{Maker, MatchContext};
use crate::signature::Signed;
use bids::Bids;
use makers::{Kind, Makers};
use offers::Offers;

/// How much further ahead than its greatest life an order may end, in seconds: two nodes may see chain time differently.
pub const CLOCK_SLACK_SECONDS: u64 = 30;

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
        // A newer version takes no more room than the older one, so that it is taken in whatever its maker's balance is:
        // otherwise the older one would go on counting.
        let known = self.offers.check_newer(maker, &offer.order, digest)?;
        if known.is_none() {
            if account.free < offer.order.bond(1).max(self.limits.floor) {
                return Err(Ignored::Unfunded);
            }
            self.check_quota(maker, Kind::Offers)?;
        }
        if known.is_none() {
            self.check_memory(now)?;
        }
        if known != Some(true) && !cancel {
            self.make_room(maker, Kind::Offers, now)?;
        }
        let replaced = self.offers.insert(digest, offer, signer, now, maker, &mut self.makers);
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

    /// Series that are over take memory too until their older versions have expired; as many as may be live.
    fn check_memory(&mut self, now: u64) -> Result<(), Ignored> {
        let most = self.limits.max_orders.saturating_mul(2);
        if self.offers.series_count() >= most {
            self.expire(now);
        }
        if self.offers.series_count() < most {
            return Ok(());
        }
        self.counters.refused_full += 1;
        Err(Ignored::Full)
    }

    /// Finds room for one more live order of a maker: what has expired goes first, then an order of the maker who has the
    /// most orders for its balance.
    fn make_room(&mut self, maker: u32, kind: Kind, now: u64) -> Result<(), Ignored> {
        if self.has_room(kind) {
            return Ok(());
        }
        self.expire(now);
        if self.has_room(kind) {
            return Ok(());
        }
        let Self { offers, bids, makers, counters, .. } = self;
        let most = makers.most_crowded(maker, kind);
        let evicted = most.is_some_and(|most| match kind {
            Kind::Offers => offers.evict(most, makers),
            Kind::Bids => bids.evict(most, makers),
        });
        if !evicted {
            counters.refused_full += 1;
            return Err(Ignored::Full);
        }
        match kind {
            Kind::Offers => counters.evicted_offers += 1,
            Kind::Bids => counters.evicted_bids += 1,
        }
        Ok(())
    }

    fn has_room(&self, kind: Kind) -> bool {
        match kind {
            Kind::Offers => self.offers.live_count() < self.limits.max_orders,
            Kind::Bids => self.bids.len() < self.limits.max_orders,
        }
    }

    /// Whether the order is here, or is remembered although it has ended. Asked before a signature is recovered.
    pub fn contains(&self, digest: &B256) -> bool {
        self.offers.contains(digest) || self.bids.contains(digest)
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

    /// Forgets the makers that have no order here and that `keep` does not want.
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

    /// Drops what has expired by `now`, and what was remembered only to keep older versions out. Gives the number of orders.
    pub fn expire(&mut self, now: u64) -> usize {
        self.latest = self.latest.max(now);
        self.offers.expire(now, &mut self.makers) + self.bids.expire(now, &mut self.makers)
    }

    /// Takes out a bid that was settled or cancelled on chain; a late copy is not taken in again. Gives whether it was here.
    pub fn remove_bid(&mut self, digest: B256) -> bool {
        let forget_at = self.latest.saturating_add(MAX_BID_LIFE_SECONDS).saturating_add(CLOCK_SLACK_SECONDS);
        self.bids.close(digest, forget_at, &mut self.makers)
    }

    /// The best `k` offers that fit a bid: by price, then points, then `keccak256(bid ‖ provider)`, then digest.
    pub fn best(&self, bid: &Bid, spec: &Spec, now: u64, k: usize) -> Vec<Quote> {
        self.search(bid, spec, now, k).quotes
    }

    /// [`Book::best`], and whether a flood of offers that nearly fit kept the search from looking at all of them.
    pub fn search(&self, bid: &Bid, spec: &Spec, now: u64, k: usize) -> Best {
        best::best(self, bid, spec, now, k, None)
    }

    /// [`Book::search`] among the offers of one provider.
    pub fn search_of(&self, provider: Address, bid: &Bid, spec: &Spec, now: u64, k: usize) -> Best {
        best::best(self, bid, spec, now, k, Some(provider))
    }

    /// The bids that an offer fits, best paying first.
    pub fn bids_for(&self, offer: &Offer, now: u64) -> Vec<&BidEntry> {
        serve::bids_for(self, offer, now, usize::MAX)
    }

    /// The `k` best paying bids that an offer fits.
    pub fn best_bids(&self, offer: &Offer, now: u64, k: usize) -> Vec<&BidEntry> {
        serve::bids_for(self, offer, now, k)
    }

    /// Why the offers of the book fit a bid or do not.
    pub fn explain(&self, bid: &Bid, spec: &Spec, now: u64) -> Explanation {
        explain::explain(self, bid, spec, now)
    }

    /// All offers, in the order of their digests; cancelled ones are not among them.
    pub fn offers(&self) -> impl ExactSizeIterator<Item = (B256, Signed<Offer>)> {
        let mut ids: Vec<(B256, u32)> = self.offers.live().map(|id| (self.offers.digest(id), id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(digest, id)| (digest, self.offers.signed(id)))
    }

    /// How many offers there are.
    pub fn offer_count(&self) -> usize {
        self.offers.live_count()
    }

    /// All bids, in the order of their digests.
    pub fn bids(&self) -> impl ExactSizeIterator<Item = &BidEntry> {
        self.bids.iter()
    }

    /// How many bids there are.
    pub fn bid_count(&self) -> usize {
        self.bids.len()
    }

    /// One offer.
    pub fn offer(&self, digest: &B256) -> Option<Signed<Offer>> {
        self.offers.get(digest)
    }

    /// One bid.
    pub fn bid(&self, digest: &B256) -> Option<&BidEntry> {
        self.bids.get(digest)
    }

    /// All messages that another peer should have: offers, cancels and bids that have not expired by `now`.
    pub fn messages(&self, now: u64) -> impl Iterator<Item = OrderMessage> {
        let offers = self.offers().map(|(_, offer)| offer).chain(self.offers.cancels());
        let bids = self.bids.iter().map(BidEntry::message);
        offers.map(OrderMessage::Offer).chain(bids).filter(move |message| now <= message.valid_until())
    }

    /// The sum, modulo 2^256, of the digests of all offers, cancels and bids: equal for equal books, whatever came first.
    /// It is for comparing books of peers that mean well, not a commitment: a maker can search for orders that even out.
    pub fn digest(&self) -> B256 {
        self.offers.sum().wrapping_add(self.bids.sum()).into()
    }

    /// What became of orders that there was no room for.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What a fit of these two makers depends on. A maker that the chain has not told of has nothing.
    fn context(&self, provider: Address, buyer: Address, now: u64) -> MatchContext<'_> {
        const NOTHING: &Maker = &Maker { free: 0, points: 0, epoch: 0 };
        let maker = |address| self.makers.get(address).unwrap_or(NOTHING);
        MatchContext { now, provider: maker(&provider), buyer: maker(&buyer), floor: self.limits.floor }
    }
}
