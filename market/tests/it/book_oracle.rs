//! The book against an oracle that keeps everything in lists and answers by looking at all of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256, keccak256};
use proptest::collection::vec;
use proptest::prelude::*;
use sublet_market::{
    Bid, BidEntry, Book, BookLimits, Maker, MatchContext, Offer, Order, OrderMessage, OrderSignature, Rule,
    Signed, Spec, first_miss, misses,
};

use crate::book_steps::{PARTIES, Step, bid, operator, party, step};
use crate::orders;
use crate::strategies::{domain, signed};

const FLOOR: u128 = 1_000;
const LIMITS: BookLimits =
    BookLimits { floor: FLOOR, max_orders: 1_000, base_orders_per_maker: 1_000, max_orders_per_maker: 1_000 };
/// Greatest life of an offer, and the slack, in seconds.
const OFFER_REACH: u64 = 3_630;
/// Greatest life of a bid, and the slack, in seconds.
const BID_REACH: u64 = 630;
const START: u64 = 1_000_000;

/// An offer that was ever taken in.
#[derive(Clone)]
struct Taken {
    offer: Offer,
    digest: B256,
    signer: Address,
    at: u64,
    revoked: bool,
}

struct TakenBid {
    bid: Bid,
    spec: Spec,
    digest: B256,
    signer: Address,
}

#[derive(Default)]
struct Oracle {
    offers: Vec<Taken>,
    bids: Vec<TakenBid>,
    closed: Vec<(B256, u64)>,
    makers: BTreeMap<Address, Maker>,
    operators: BTreeSet<Address>,
    now: u64,
}

impl Oracle {
    fn maker(&self, address: Address) -> Maker {
        self.makers.get(&address).copied().unwrap_or_default()
    }

    fn signs(&self, maker: Address, signer: Address) -> bool {
        signer == maker || self.operators.contains(&maker)
    }

    fn newest(&self, provider: Address, series: u64) -> Option<&Taken> {
        let same = |taken: &&Taken| taken.offer.provider == provider && taken.offer.series == series;
        self.offers.iter().filter(same).max_by_key(|taken| (taken.offer.seq, taken.digest))
    }

    fn takes_offer(&self, offer: &Offer, digest: B256, signer: Address) -> bool {
        let in_time = (self.now..=self.now + OFFER_REACH).contains(&offer.valid_until);
        let bond = u128::from(offer.price_per_second) * u128::from(offer.bond_seconds);
        let room = match self.newest(offer.provider, offer.series) {
            Some(newest) => (offer.seq, digest) > (newest.offer.seq, newest.digest),
            None => self.maker(offer.provider).free >= bond.max(FLOOR),
        };
        in_time && self.signs(offer.provider, signer) && self.makers.contains_key(&offer.provider) && room
    }

    fn takes_bid(&self, bid: &Bid, digest: B256, signer: Address) -> bool {
        let in_time = (self.now..=self.now + BID_REACH).contains(&bid.valid_until);
        let known =
            self.bids.iter().any(|bid| bid.digest == digest) || self.closed.iter().any(|c| c.0 == digest);
        let maker = self.maker(bid.buyer);
        let budget = u128::from(bid.max_rate) * u128::from(bid.duration);
        in_time
            && !known
            && self.signs(bid.buyer, signer)
            && self.makers.contains_key(&bid.buyer)
            && maker.epoch == bid.epoch
            && maker.free >= budget.max(FLOOR)
    }

    fn expire(&mut self) {
        let now = self.now;
        self.offers.retain(|taken| now <= taken.at + OFFER_REACH);
        self.bids.retain(|bid| now <= bid.bid.valid_until);
        self.closed.retain(|(_, until)| now <= *until);
    }

    fn revoke(&mut self, maker: Address) {
        if self.operators.remove(&maker) {
            let revoked = |order: Address, signer: Address| order == maker && signer == operator();
            for taken in self.offers.iter_mut().filter(|taken| revoked(taken.offer.provider, taken.signer)) {
                taken.revoked = true;
            }
            self.bids.retain(|bid| !revoked(bid.bid.buyer, bid.signer));
        }
    }

    fn newest_ones(&self) -> impl Iterator<Item = &Taken> {
        self.offers.iter().filter(|taken| {
            let newest = self.newest(taken.offer.provider, taken.offer.series);
            newest.is_some_and(|newest| newest.digest == taken.digest)
        })
    }

    fn live(&self) -> impl Iterator<Item = &Taken> {
        self.newest_ones().filter(|taken| taken.offer.units > 0 && !taken.revoked)
    }

    fn missed(&self, offer: &Offer, bid: &Bid, spec: &Spec) -> Vec<Rule> {
        let (provider, buyer) = (self.maker(offer.provider), self.maker(bid.buyer));
        let context = MatchContext { now: self.now, provider: &provider, buyer: &buyer, floor: FLOOR };
        let missed = misses(offer, bid, spec, &context);
        assert_eq!(missed.is_empty(), self.fits(offer, bid, spec), "the rules, written twice, agree");
        assert_eq!(missed.first().copied(), first_miss(offer, bid, spec, &context));
        missed
    }

    fn fits(&self, offer: &Offer, bid: &Bid, spec: &Spec) -> bool {
        let (provider, buyer) = (self.maker(offer.provider), self.maker(bid.buyer));
        let rate = offer.price_per_second * u64::from(spec.units);
        let bond = u128::from(rate) * u128::from(offer.bond_seconds);
        let budget = u128::from(bid.max_rate) * u128::from(bid.duration);
        let has = offer.unit.fields().map(|(_, value)| value);
        let needs = spec.unit.fields().map(|(_, value)| value);
        has.iter().zip(needs).all(|(has, needs)| *has >= needs)
            && spec.traits.iter().all(|wanted| offer.traits.iter().any(|own| own == wanted))
            && offer.units >= spec.units
            && rate <= bid.max_rate
            && offer.bond_seconds >= bid.min_bond_seconds
            && bid.duration >= offer.min_duration
            && bid.duration <= offer.max_duration
            && provider.points >= bid.min_points
            && self.now <= offer.valid_until.min(bid.valid_until)
            && bid.epoch == buyer.epoch
            && offer.provider != bid.buyer
            && provider.free >= bond.max(FLOOR)
            && buyer.free >= budget.max(FLOOR)
    }

    fn best(&self, bid: &Bid, spec: &Spec) -> Vec<B256> {
        let bid_digest = bid.digest(&domain());
        let mut fits: Vec<_> =
            self.live().filter(|taken| self.missed(&taken.offer, bid, spec).is_empty()).collect();
        fits.sort_by_key(|Taken { offer, digest, .. }| {
            let spread = keccak256([bid_digest.as_slice(), offer.provider.as_slice()].concat());
            (offer.price_per_second, Reverse(self.maker(offer.provider).points), spread, *digest)
        });
        fits.into_iter().map(|taken| taken.digest).collect()
    }

    fn bids_for(&self, offer: &Offer) -> Vec<B256> {
        let mut fits: Vec<&TakenBid> =
            self.bids.iter().filter(|bid| self.fits(offer, &bid.bid, &bid.spec)).collect();
        fits.sort_by_key(|bid| (Reverse(bid.bid.max_rate), bid.digest));
        fits.into_iter().map(|bid| bid.digest).collect()
    }

    fn covers_offer(&self, offer: &Offer) -> bool {
        let bond = u128::from(offer.price_per_second) * u128::from(offer.bond_seconds);
        self.maker(offer.provider).free >= bond.max(FLOOR)
    }

    fn covers_bid(&self, bid: &Bid) -> bool {
        let (maker, budget) = (self.maker(bid.buyer), u128::from(bid.max_rate) * u128::from(bid.duration));
        maker.epoch == bid.epoch && maker.free >= budget.max(FLOOR)
    }

    fn counted_bids(&self) -> impl Iterator<Item = &TakenBid> {
        self.bids.iter().filter(|taken| self.covers_bid(&taken.bid))
    }

    /// Digests of what counts or has to be passed on, among what [`Oracle::expire`] left.
    fn sum(&self, dropped_until: u64) -> B256 {
        let offers = self.newest_ones().filter(|taken| {
            (taken.offer.units == 0 || !taken.revoked)
                && dropped_until <= taken.offer.valid_until
                && self.covers_offer(&taken.offer)
        });
        let digests = offers.map(|taken| taken.digest).chain(self.counted_bids().map(|bid| bid.digest));
        digests.map(|digest| U256::from_be_bytes(digest.0)).fold(U256::ZERO, U256::wrapping_add).into()
    }
}

fn digests(bids: Vec<&BidEntry>) -> Vec<B256> {
    bids.iter().map(|entry| entry.digest).collect()
}

/// The book, the oracle, and until when both were told to drop what has expired.
struct Both {
    book: Book,
    oracle: Oracle,
    signature: OrderSignature,
    dropped_until: u64,
}

impl Both {
    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        let now = self.oracle.now;
        let (book, oracle) = (&mut self.book, &mut self.oracle);
        let signature = self.signature;
        match step {
            Step::Offer(offer, by_operator) => {
                let offer = Offer { valid_until: now + offer.valid_until - 50, ..offer };
                let digest = offer.digest(&domain());
                let signer = if by_operator { operator() } else { offer.provider };
                let expected = oracle.takes_offer(&offer, digest, signer);
                let message = OrderMessage::Offer(Signed { order: offer.clone(), signature, operator: None });
                prop_assert_eq!(book.insert(message, signer, now).is_ok(), expected);
                if expected {
                    oracle.offers.push(Taken { offer, digest, signer, at: now, revoked: false });
                }
            }
            Step::Bid(bid, spec, by_operator) => {
                let bid = Bid { valid_until: now + bid.valid_until - 50, ..bid };
                let digest = bid.digest(&domain());
                let signer = if by_operator { operator() } else { bid.buyer };
                let expected = oracle.takes_bid(&bid, digest, signer);
                let signed = Signed { order: bid.clone(), signature, operator: None };
                let message = OrderMessage::Bid { bid: signed, spec: spec.clone() };
                prop_assert_eq!(book.insert(message, signer, now).is_ok(), expected);
                if expected {
                    oracle.bids.push(TakenBid { bid, spec, digest, signer });
                }
            }
            Step::Maker(who, maker) => {
                book.set_maker(party(who), maker);
                oracle.makers.insert(party(who), maker);
            }
            Step::Operator(who, approved) => {
                book.set_operator(party(who), operator(), approved);
                if approved {
                    oracle.operators.insert(party(who));
                } else {
                    oracle.revoke(party(who));
                }
            }
            Step::Wait(seconds) => oracle.now += seconds,
            Step::Expire => self.expire(),
            Step::Remove(index) if !oracle.bids.is_empty() => {
                let digest = oracle.bids.remove(index.index(oracle.bids.len())).digest;
                oracle.closed.push((digest, now + BID_REACH));
                self.expire();
                self.book.remove_bid(digest);
            }
            Step::Remove(_) => {}
        }
        Ok(())
    }

    fn expire(&mut self) {
        self.book.expire(self.oracle.now);
        self.oracle.expire();
        self.dropped_until = self.oracle.now;
    }

    fn compare(&self, bid: &Bid, spec: &Spec, k: usize) -> Result<(), TestCaseError> {
        let Self { book, oracle, .. } = self;
        let now = oracle.now;
        let expected = oracle.best(bid, spec);
        let found = book.search(bid, spec, now, k);
        let digests: Vec<B256> = found.quotes.iter().map(|quote| quote.digest).collect();
        prop_assert_eq!(&digests, &expected[..k.min(expected.len())]);
        prop_assert!(found.complete);
        for quote in &found.quotes {
            let taken = oracle.offers.iter().find(|taken| taken.digest == quote.digest).unwrap();
            prop_assert_eq!(&quote.offer.order, &taken.offer, "it comes out as it went in");
            let rate = taken.offer.price_per_second * u64::from(spec.units);
            prop_assert_eq!((quote.rate, quote.points), (rate, oracle.maker(taken.offer.provider).points));
        }
        let known: Vec<&Taken> =
            oracle.live().filter(|taken| self.dropped_until <= taken.offer.valid_until).collect();
        let missed: Vec<Vec<Rule>> =
            known.iter().map(|taken| oracle.missed(&taken.offer, bid, spec)).collect();
        let explanation = book.explain(bid, spec, now);
        let counts = Rule::ALL.map(|rule| (rule, missed.iter().filter(|all| all.contains(&rule)).count()));
        prop_assert_eq!(explanation.offers, known.len());
        prop_assert_eq!(explanation.fit, expected.len());
        prop_assert_eq!(
            explanation.failed,
            counts.into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>()
        );
        let nearest = known
            .iter()
            .zip(&missed)
            .min_by_key(|(taken, missed)| (missed.len(), taken.offer.price_per_second, taken.digest));
        let nearest = nearest.filter(|(_, missed)| !missed.is_empty());
        prop_assert_eq!(
            explanation.nearest.map(|nearest| (nearest.offer, nearest.rule)),
            nearest.map(|(taken, missed)| (taken.digest, missed[0]))
        );
        Ok(())
    }

    /// Among the offers of one provider: of each in turn, and of somebody whom the book has never heard of.
    fn compare_of_one(&self, bid: &Bid, spec: &Spec, k: usize) -> Result<(), TestCaseError> {
        let Self { book, oracle, .. } = self;
        let all = book.search(bid, spec, oracle.now, usize::MAX).quotes;
        prop_assert_eq!(all.iter().map(|quote| quote.digest).collect::<Vec<_>>(), oracle.best(bid, spec));
        for provider in (0..=PARTIES).map(party) {
            let found = book.search_of(provider, bid, spec, oracle.now, k);
            let of_one = all.iter().filter(|quote| quote.offer.order.provider == provider);
            prop_assert_eq!(found.quotes, of_one.take(k).cloned().collect::<Vec<_>>());
            prop_assert!(found.complete);
        }
        Ok(())
    }

    /// Of one buyer one bid, and none whose digest is even.
    fn compare_fair_bids(&self, offer: &Offer, k: usize) -> Result<(), TestCaseError> {
        let Self { book, oracle, .. } = self;
        let wanted = |digest: &B256| digest[31] % 2 == 1;
        let buyer =
            |digest: &B256| oracle.bids.iter().find(|bid| bid.digest == *digest).map(|bid| bid.bid.buyer);
        let mut buyers = BTreeSet::new();
        let mut expected: Vec<B256> = oracle.bids_for(offer);
        expected.retain(|digest| wanted(digest) && buyers.insert(buyer(digest)));
        expected.truncate(k);
        let served = book.search_bids(offer, oracle.now, (k, 1), &|entry| wanted(&entry.digest));
        prop_assert!(served.complete);
        prop_assert_eq!(digests(served.bids), expected);
        Ok(())
    }

    fn compare_offers(&self, k: usize) -> Result<(), TestCaseError> {
        let Self { book, oracle, .. } = self;
        let mut live: Vec<B256> = oracle
            .live()
            .filter(|taken| {
                self.dropped_until <= taken.offer.valid_until && oracle.covers_offer(&taken.offer)
            })
            .map(|taken| taken.digest)
            .collect();
        live.sort_unstable();
        prop_assert_eq!(book.offers().map(|(digest, _)| digest).collect::<Vec<_>>(), live.clone());
        let mut bids: Vec<B256> = oracle.counted_bids().map(|bid| bid.digest).collect();
        bids.sort_unstable();
        prop_assert_eq!(book.bids().map(|entry| entry.digest).collect::<Vec<_>>(), bids.clone());
        prop_assert_eq!((book.offer_count(), book.bid_count()), (live.len(), bids.len()));
        prop_assert_eq!(book.digest(), oracle.sum(self.dropped_until));
        // What is handed on is what the digest is of, but for what has expired since.
        let items = book.items(self.dropped_until).into_iter();
        let sum = items.map(|(.., digest)| U256::from_be_bytes(digest.0));
        prop_assert_eq!(B256::from(sum.fold(U256::ZERO, U256::wrapping_add)), book.digest());
        prop_assert_eq!(book.messages(oracle.now).count(), book.items(oracle.now).len());
        for Taken { offer, .. } in oracle.live() {
            let expected = oracle.bids_for(offer);
            prop_assert_eq!(&digests(book.bids_for(offer, oracle.now)), &expected);
            let few = digests(book.best_bids(offer, oracle.now, k));
            prop_assert_eq!(&few, &expected[..k.min(expected.len())]);
            self.compare_fair_bids(offer, k)?;
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_book_answers_as_the_oracle_does(
        steps in vec(step(), 1..120), queries in vec(bid(), 1..8), k in 0..5_usize,
    ) {
        let mut both = Both {
            book: Book::new(domain(), LIMITS),
            oracle: Oracle { now: START, ..Oracle::default() },
            signature: signed(orders::bid()).signature,
            dropped_until: 0,
        };
        for who in 0..PARTIES - 1 {
            both.take(Step::Maker(who, Maker { free: 20_000, points: u64::from(who), epoch: 0 }))?;
        }
        for step in steps {
            both.take(step)?;
        }
        for (bid, spec) in queries {
            let bid = Bid { valid_until: both.oracle.now + bid.valid_until.saturating_sub(20), ..bid };
            both.compare(&bid, &spec, k)?;
            both.compare_of_one(&bid, &spec, k)?;
        }
        both.compare_offers(k)?;
    }
}
