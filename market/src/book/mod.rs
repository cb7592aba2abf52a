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

mod bids;
mod explain;
mod offers;
mod outcome;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, keccak256};

pub use bids::BidEntry;
pub use explain::{Explanation, NearestMiss};
pub use outcome::{Ignored, Inserted};

use crate::amount::BASE_UNITS_PER_CTK;
use crate::eip712::Domain;
use crate::fit::first_miss;
use crate::limits::{MAX_BID_LIFE_SECONDS, MAX_OFFER_LIFE_SECONDS};
use crate::message::OrderMessage;
use crate::orders::{Bid, Offer, Order, Spec};
use crate::rule::{Maker, MatchContext};
use crate::signature::Signed;
use bids::Bids;
use offers::Offers;

/// How much further ahead than its greatest life an order may end, in seconds: two nodes may see chain time differently.
pub const CLOCK_SLACK_SECONDS: u64 = 30;

/// How much a book takes, and from whom: node policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLimits {
    /// Least free balance of a maker whose orders count, in base units.
    pub floor: u128,
    /// Most orders of one kind in the whole book.
    pub max_orders: usize,
    /// Orders of one kind that every funded maker may have.
    pub base_orders_per_maker: usize,
    /// Most orders of one kind of one maker; between the two, each further one takes a floor of free balance.
    pub max_orders_per_maker: usize,
}

impl Default for BookLimits {
    fn default() -> Self {
        Self {
            floor: BASE_UNITS_PER_CTK,
            // About 1 kB each: 100 MB of memory at most.
            max_orders: 100_000,
            base_orders_per_maker: 16,
            max_orders_per_maker: 1_024,
        }
    }
}

impl BookLimits {
    /// Orders of one kind that a maker may have: grows with its free balance.
    fn quota(&self, maker: &Maker) -> usize {
        let floors = maker.free / self.floor.max(1);
        let earned = usize::try_from(floors).unwrap_or(usize::MAX);
        self.base_orders_per_maker.saturating_add(earned).min(self.max_orders_per_maker)
    }
}

/// An offer that fits a bid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The offer's digest.
    pub digest: B256,
    /// The offer.
    pub offer: Signed<Offer>,
    /// Its provider's points.
    pub points: u64,
    /// Price × units of the bid, in base units per second.
    pub rate: u64,
}

/// Offers, bids and what is known of their makers, for one market.
#[derive(Clone, Debug)]
pub struct Book {
    domain: Domain,
    limits: BookLimits,
    offers: Offers,
    bids: Bids,
    makers: BTreeMap<Address, Maker>,
    operators: BTreeSet<(Address, Address)>,
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
            makers: BTreeMap::new(),
            operators: BTreeSet::new(),
            latest: 0,
        }
    }

    /// The market that the book is for.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Takes an order whose signature was recovered to `signer`.
    ///
    /// # Errors
    /// Why the order is not taken. None of the reasons is the forwarding peer's fault, but for [`Ignored::Structure`].
    pub fn insert(&mut self, message: OrderMessage, signer: Address, now: u64) -> Result<Inserted, Ignored> {
        self.latest = self.latest.max(now);
        message.check()?;
        let digest = message.digest(&self.domain);
        if self.contains(&digest) {
            return Err(Ignored::Known);
        }
        self.check_time(&message, now)?;
        let maker = self.check_maker(message.maker(), signer)?;
        match message {
            OrderMessage::Offer(offer) => self.insert_offer(digest, offer, signer, &maker, now),
            OrderMessage::Bid { bid, spec } => {
                self.insert_bid(BidEntry { digest, bid, spec, signer }, &maker)
            }
        }
    }

    fn insert_offer(
        &mut self,
        digest: B256,
        offer: Signed<Offer>,
        signer: Address,
        maker: &Maker,
        now: u64,
    ) -> Result<Inserted, Ignored> {
        let cancel = offer.order.is_cancel();
        // A newer version takes no more room than the older one, so that it is taken in whatever its maker's balance is:
        // otherwise the older one would go on counting.
        let known_series = self.offers.check_newer(&offer.order, digest)?;
        if !known_series && maker.free < offer.order.bond(1).max(self.limits.floor) {
            return Err(Ignored::Unfunded);
        }
        if !known_series {
            self.check_room(self.offers.series_of(offer.order.provider), self.offers.series_count(), maker)?;
        }
        let replaced = self.offers.insert(digest, offer, signer, now);
        Ok(if cancel { Inserted::Cancel { digest, replaced } } else { Inserted::Offer { digest, replaced } })
    }

    fn insert_bid(&mut self, entry: BidEntry, maker: &Maker) -> Result<Inserted, Ignored> {
        let bid = &entry.bid.order;
        if bid.epoch != maker.epoch {
            return Err(Ignored::Epoch);
        }
        if maker.free < bid.budget().max(self.limits.floor) {
            return Err(Ignored::Unfunded);
        }
        self.check_room(self.bids.count_of(bid.buyer), self.bids.len(), maker)?;
        let digest = entry.digest;
        self.bids.insert(entry);
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

    fn check_maker(&self, maker: Address, signer: Address) -> Result<Maker, Ignored> {
        if signer != maker && !self.operators.contains(&(maker, signer)) {
            return Err(Ignored::Signer);
        }
        self.makers.get(&maker).copied().ok_or(Ignored::UnknownMaker)
    }

    fn check_room(&self, own: usize, all: usize, maker: &Maker) -> Result<(), Ignored> {
        if own >= self.limits.quota(maker) {
            return Err(Ignored::Quota);
        }
        if all >= self.limits.max_orders { Err(Ignored::Full) } else { Ok(()) }
    }

    /// Whether the order is here, or is remembered although it has ended. Asked before a signature is recovered.
    pub fn contains(&self, digest: &B256) -> bool {
        self.offers.contains(digest) || self.bids.contains(digest)
    }

    /// Sets what the chain says of a maker.
    pub fn set_maker(&mut self, address: Address, maker: Maker) {
        self.makers.insert(address, maker);
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
        let (offers, bids) = (&self.offers, &self.bids);
        let has_orders = |address: &Address| offers.series_of(*address) + bids.count_of(*address) > 0;
        self.makers.retain(|address, _| keep(address) || has_orders(address));
    }

    /// Sets whether a maker approves an operator's key. Orders signed by a key that is no longer approved are dropped.
    pub fn set_operator(&mut self, maker: Address, key: Address, approved: bool) {
        if approved {
            self.operators.insert((maker, key));
        } else if self.operators.remove(&(maker, key)) {
            self.offers.remove_signed_by(maker, key);
            self.bids.remove_signed_by(maker, key);
        }
    }

    /// Drops what has expired by `now`, and what was remembered only to keep older versions out. Gives the number of orders.
    pub fn expire(&mut self, now: u64) -> usize {
        self.latest = self.latest.max(now);
        self.offers.expire(now) + self.bids.expire(now)
    }

    /// Takes out a bid that was settled or cancelled on chain; a late copy is not taken in again. Gives whether it was here.
    pub fn remove_bid(&mut self, digest: B256) -> bool {
        let forget_at = self.latest.saturating_add(MAX_BID_LIFE_SECONDS).saturating_add(CLOCK_SLACK_SECONDS);
        self.bids.close(digest, forget_at)
    }

    /// The best `k` offers that fit a bid: by price, then points, then `keccak256(bid ‖ provider)`, then digest.
    pub fn best(&self, bid: &Bid, spec: &Spec, now: u64, k: usize) -> Vec<Quote> {
        let bid_digest = bid.digest(&self.domain);
        let mut best: Vec<Quote> = Vec::new();
        let mut group: Vec<Quote> = Vec::new();
        for (price, digest) in self.offers.by_price() {
            let group_price = group.first().map(|quote| quote.offer.order.price_per_second);
            if group_price.is_some_and(|group_price| group_price != price) {
                append_group(&mut best, &mut group, bid_digest);
            }
            // Prices only rise from here: neither a better offer nor one within the top rate can follow.
            let affordable =
                price.checked_mul(u64::from(spec.units)).is_some_and(|rate| rate <= bid.max_rate);
            if best.len() >= k || !affordable {
                break;
            }
            group.extend(self.quote(digest, bid, spec, now));
        }
        append_group(&mut best, &mut group, bid_digest);
        best.truncate(k);
        best
    }

    fn quote(&self, digest: B256, bid: &Bid, spec: &Spec, now: u64) -> Option<Quote> {
        let offer = self.offers.get(&digest)?;
        let context = self.context(offer.order.provider, bid.buyer, now);
        let rate = offer.order.rate(spec.units)?;
        let fits = first_miss(&offer.order, bid, spec, &context).is_none();
        fits.then(|| Quote { digest, offer: offer.clone(), points: context.provider.points, rate })
    }

    /// The bids that an offer fits, best paying first.
    pub fn bids_for(&self, offer: &Offer, now: u64) -> Vec<&BidEntry> {
        let fits = |entry: &&BidEntry| {
            let context = self.context(offer.provider, entry.bid.order.buyer, now);
            first_miss(offer, &entry.bid.order, &entry.spec, &context).is_none()
        };
        let mut bids: Vec<&BidEntry> = self.bids.iter().filter(fits).collect();
        bids.sort_by_key(|entry| (Reverse(entry.bid.order.max_rate), entry.digest));
        bids
    }

    /// Why the offers of the book fit a bid or do not.
    pub fn explain(&self, bid: &Bid, spec: &Spec, now: u64) -> Explanation {
        explain::explain(self, bid, spec, now)
    }

    /// All offers, in the order of their digests; cancelled ones are not among them.
    pub fn offers(&self) -> impl Iterator<Item = (B256, &Signed<Offer>)> {
        self.offers.iter()
    }

    /// All bids, in the order of their digests.
    pub fn bids(&self) -> impl Iterator<Item = &BidEntry> {
        self.bids.iter()
    }

    /// One offer.
    pub fn offer(&self, digest: &B256) -> Option<&Signed<Offer>> {
        self.offers.get(digest)
    }

    /// One bid.
    pub fn bid(&self, digest: &B256) -> Option<&BidEntry> {
        self.bids.get(digest)
    }

    /// All messages that another peer should have: offers, cancels and bids that have not expired by `now`.
    pub fn messages(&self, now: u64) -> impl Iterator<Item = OrderMessage> {
        let offers = self.offers.iter().map(|(_, offer)| offer).chain(self.offers.cancels());
        let offers = offers.cloned().map(OrderMessage::Offer);
        let bids = self.bids.iter().map(BidEntry::message);
        offers.chain(bids).filter(move |message| now <= message.valid_until())
    }

    /// What a fit of these two makers depends on. A maker that the chain has not told of has nothing.
    fn context(&self, provider: Address, buyer: Address, now: u64) -> MatchContext<'_> {
        const NOTHING: &Maker = &Maker { free: 0, points: 0, epoch: 0 };
        let maker = |address| self.makers.get(&address).unwrap_or(NOTHING);
        MatchContext { now, provider: maker(provider), buyer: maker(buyer), floor: self.limits.floor }
    }
}

/// Moves offers of one price to the result, best first.
fn append_group(best: &mut Vec<Quote>, group: &mut Vec<Quote>, bid: B256) {
    group.sort_by_cached_key(|quote| {
        let provider = quote.offer.order.provider;
        let spread = keccak256([bid.as_slice(), provider.as_slice()].concat());
        (Reverse(quote.points), spread, quote.digest)
    });
    best.append(group);
}
