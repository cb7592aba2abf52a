//! The book against an oracle that keeps everything in lists and answers by looking at all of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, keccak256};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use sublet_market::{
    Bid, Book, BookLimits, Ignored, Inserted, Maker, Offer, Order, OrderMessage, OrderSignature, Rule,
    Signed, Spec, misses,
};

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

#[derive(Clone, Debug)]
enum Step {
    Offer(Offer),
    Bid(Bid),
    Maker(u8, Maker),
    Wait(u64),
    Expire,
    Remove(Index),
}

fn party(number: u8) -> Address {
    Address::repeat_byte(number + 1)
}

/// Times are relative to the present and are made absolute when the step is taken.
fn step() -> impl Strategy<Value = Step> {
    let offer = (0..4_u8, 0..2_u64, 0..5_u64, 0..4_u32, 1..4_u64, 0..4_000_u64, any::<bool>());
    let bid = (0..4_u8, 2..12_u64, 0..3_u64, 1..3_u32, 0..700_u64, 0..2_u32);
    let free = prop_oneof![1 => Just(0), 1 => Just(1_500), 8 => 5_000..20_000_u128];
    let maker = (0..4_u8, free, 0..3_u64, prop_oneof![9 => Just(0_u32), 1 => Just(1)]);
    prop_oneof![
        8 => offer.prop_map(|(provider, series, seq, units, price_per_second, valid_until, long)| Step::Offer(Offer {
            provider: party(provider), series, seq, units, price_per_second, valid_until,
            max_duration: if long { 7_200 } else { 600 }, ..orders::offer()
        })),
        4 => bid.prop_map(|(buyer, max_rate, min_points, hours, valid_until, epoch)| Step::Bid(Bid {
            buyer: party(buyer), max_rate, min_points, duration: 600 * hours, valid_until, epoch, ..orders::bid()
        })),
        2 => maker.prop_map(|(who, free, points, epoch)| Step::Maker(who, Maker { free, points, epoch })),
        2 => prop_oneof![9 => 0..100_u64, 1 => 0..2_000_u64].prop_map(Step::Wait),
        1 => Just(Step::Expire),
        1 => any::<Index>().prop_map(Step::Remove),
    ]
}

/// Everything that was ever taken in, with the time of it.
#[derive(Default)]
struct Oracle {
    offers: Vec<(Offer, B256, u64)>,
    bids: Vec<(Bid, B256)>,
    closed: Vec<(B256, u64)>,
    makers: BTreeMap<Address, Maker>,
    now: u64,
}

impl Oracle {
    fn maker(&self, address: Address) -> Maker {
        self.makers.get(&address).copied().unwrap_or_default()
    }

    fn newest(&self, provider: Address, series: u64) -> Option<&(Offer, B256, u64)> {
        let same =
            self.offers.iter().filter(|(offer, ..)| offer.provider == provider && offer.series == series);
        same.max_by_key(|(offer, digest, _)| (offer.seq, *digest))
    }

    fn takes_offer(&self, offer: &Offer, digest: B256) -> bool {
        let in_time = (self.now..=self.now + OFFER_REACH).contains(&offer.valid_until);
        let bond = u128::from(offer.price_per_second) * u128::from(offer.bond_seconds);
        let room = match self.newest(offer.provider, offer.series) {
            Some((newest, newest_digest, _)) => (offer.seq, digest) > (newest.seq, *newest_digest),
            None => self.maker(offer.provider).free >= bond.max(FLOOR),
        };
        in_time && self.makers.contains_key(&offer.provider) && room
    }

    fn takes_bid(&self, bid: &Bid, digest: B256) -> bool {
        let in_time = (self.now..=self.now + BID_REACH).contains(&bid.valid_until);
        let known =
            self.bids.iter().any(|(_, known)| *known == digest) || self.closed.iter().any(|c| c.0 == digest);
        let maker = self.maker(bid.buyer);
        let budget = u128::from(bid.max_rate) * u128::from(bid.duration);
        in_time
            && !known
            && self.makers.contains_key(&bid.buyer)
            && maker.epoch == bid.epoch
            && maker.free >= budget.max(FLOOR)
    }

    fn expire(&mut self) {
        let now = self.now;
        self.offers.retain(|(.., taken)| now <= taken + OFFER_REACH);
        self.bids.retain(|(bid, _)| now <= bid.valid_until);
        self.closed.retain(|(_, until)| now <= *until);
    }

    fn live(&self) -> impl Iterator<Item = &(Offer, B256, u64)> {
        self.offers.iter().filter(|(offer, digest, _)| {
            let newest = self.newest(offer.provider, offer.series);
            offer.units > 0 && newest.is_some_and(|(_, newest, _)| newest == digest)
        })
    }

    fn fits(&self, offer: &Offer, bid: &Bid, spec: &Spec) -> bool {
        let (provider, buyer) = (self.maker(offer.provider), self.maker(bid.buyer));
        let rate = offer.price_per_second * u64::from(spec.units);
        let bond = u128::from(rate) * u128::from(offer.bond_seconds);
        let budget = u128::from(bid.max_rate) * u128::from(bid.duration);
        offer.units >= spec.units
            && rate <= bid.max_rate
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
        let mut fits: Vec<_> = self.live().filter(|(offer, ..)| self.fits(offer, bid, spec)).collect();
        fits.sort_by_key(|(offer, digest, _)| {
            let spread = keccak256([bid_digest.as_slice(), offer.provider.as_slice()].concat());
            (offer.price_per_second, Reverse(self.maker(offer.provider).points), spread, *digest)
        });
        fits.into_iter().map(|(_, digest, _)| *digest).collect()
    }
}

fn dummy_signature() -> OrderSignature {
    signed(orders::bid()).signature
}

fn take(
    book: &mut Book,
    oracle: &mut Oracle,
    signature: OrderSignature,
    step: Step,
) -> Result<(), TestCaseError> {
    let now = oracle.now;
    match step {
        Step::Offer(offer) => {
            let offer = Offer { valid_until: now + offer.valid_until - 50, ..offer };
            let digest = offer.digest(&domain());
            let expected = oracle.takes_offer(&offer, digest);
            let maker = offer.provider;
            let message = OrderMessage::Offer(Signed { order: offer.clone(), signature });
            prop_assert_eq!(book.insert(message, maker, now).is_ok(), expected);
            if expected {
                oracle.offers.push((offer, digest, now));
            }
        }
        Step::Bid(bid) => {
            let bid = Bid { valid_until: now + bid.valid_until - 50, ..bid };
            let digest = bid.digest(&domain());
            let expected = oracle.takes_bid(&bid, digest);
            let signed = Signed { order: bid.clone(), signature };
            let message = OrderMessage::Bid { bid: signed, spec: orders::spec() };
            prop_assert_eq!(book.insert(message, bid.buyer, now).is_ok(), expected);
            if expected {
                oracle.bids.push((bid, digest));
            }
        }
        Step::Maker(who, maker) => {
            book.set_maker(party(who), maker);
            oracle.makers.insert(party(who), maker);
        }
        Step::Wait(seconds) => oracle.now += seconds,
        Step::Expire => {
            book.expire(now);
            oracle.expire();
        }
        Step::Remove(index) => {
            if !oracle.bids.is_empty() {
                let (_, digest) = oracle.bids.remove(index.index(oracle.bids.len()));
                book.expire(now);
                oracle.expire();
                book.remove_bid(digest);
                oracle.closed.push((digest, now + BID_REACH));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_book_answers_as_the_oracle_does(
        steps in vec(step(), 1..60), queries in vec((0..4_u8, 2..12_u64, 0..2_u64, prop_oneof![9 => Just(0_u32), 1 => Just(1)]), 1..6), k in 0..5_usize,
    ) {
        let signature = dummy_signature();
        let mut book = Book::new(domain(), LIMITS);
        let mut oracle = Oracle { now: START, ..Oracle::default() };
        for who in 0..3 {
            let funded = Maker { free: 20_000, points: u64::from(who), epoch: 0 };
            take(&mut book, &mut oracle, signature, Step::Maker(who, funded))?;
        }
        for step in steps {
            take(&mut book, &mut oracle, signature, step)?;
        }
        let now = oracle.now;
        let spec = orders::spec();
        for (buyer, max_rate, min_points, epoch) in queries {
            let bid = Bid {
                buyer: party(buyer), max_rate, min_points, epoch, duration: 600, valid_until: now + 60, ..orders::bid()
            };
            let expected = oracle.best(&bid, &spec);
            let found: Vec<B256> = book.best(&bid, &spec, now, k).iter().map(|quote| quote.digest).collect();
            prop_assert_eq!(&found, &expected[..k.min(expected.len())]);
            let explanation = book.explain(&bid, &spec, now);
            prop_assert_eq!(explanation.fit, expected.len());
            prop_assert_eq!(explanation.nearest.is_some(), explanation.fit == 0 && explanation.offers > 0);
        }
        for (offer, ..) in oracle.live() {
            let mut expected: Vec<_> =
                oracle.bids.iter().filter(|(bid, _)| oracle.fits(offer, bid, &spec)).collect();
            expected.sort_by_key(|(bid, digest)| (Reverse(bid.max_rate), *digest));
            let found: Vec<B256> = book.bids_for(offer, now).iter().map(|entry| entry.digest).collect();
            prop_assert_eq!(found, expected.into_iter().map(|(_, digest)| *digest).collect::<Vec<_>>());
        }
    }
}

fn rich(book: &mut Book, address: Address) {
    book.set_maker(address, Maker { free: 1_000_000_000, points: 0, epoch: 0 });
}

fn book() -> Book {
    let mut book = Book::new(domain(), LIMITS);
    rich(&mut book, orders::offer().provider);
    rich(&mut book, orders::bid().buyer);
    book
}

fn insert(book: &mut Book, offer: &Offer, now: u64) -> Result<Inserted, Ignored> {
    book.insert(OrderMessage::Offer(signed(offer.clone())), offer.provider, now)
}

#[test]
fn a_cancelled_offer_is_not_revived_by_a_late_copy() {
    let mut book = book();
    let offer = Offer { valid_until: 4_000, ..orders::offer() };
    let cancel = Offer { units: 0, seq: 2, valid_until: 1_100, ..offer.clone() };
    insert(&mut book, &offer, 1_000).unwrap();
    let replaced = Some(offer.digest(&domain()));
    assert_eq!(
        insert(&mut book, &cancel, 1_000),
        Ok(Inserted::Cancel { digest: cancel.digest(&domain()), replaced })
    );
    assert_eq!(book.messages(1_000).count(), 1, "peers need the cancel");
    book.expire(3_999);
    assert_eq!(insert(&mut book, &offer, 3_999), Err(Ignored::Superseded));
    book.expire(5_000);
    assert_eq!(book.offers().count(), 0);
    assert_eq!(insert(&mut book, &offer, 5_000), Err(Ignored::Expired));
}

#[test]
fn a_renewal_counts_once() {
    let mut book = book();
    let offer = orders::offer();
    insert(&mut book, &offer, 1_000).unwrap();
    assert_eq!(insert(&mut book, &offer, 1_000), Err(Ignored::Known));
    let renewal = Offer { seq: 2, units: 3, ..offer.clone() };
    let inserted = insert(&mut book, &renewal, 1_000).unwrap();
    assert_eq!(
        inserted,
        Inserted::Offer { digest: renewal.digest(&domain()), replaced: Some(offer.digest(&domain())) }
    );
    assert_eq!(book.best(&orders::bid(), &orders::spec(), 1_000, 9).len(), 1);
    assert_eq!(insert(&mut book, &offer, 1_000), Err(Ignored::Superseded));
}

#[test]
fn orders_of_strangers_and_of_unapproved_keys_are_ignored() {
    let mut book = book();
    let (offer, key) = (orders::offer(), Address::repeat_byte(0x77));
    let message = OrderMessage::Offer(signed(offer.clone()));
    assert_eq!(book.insert(message.clone(), key, 1_000), Err(Ignored::Signer));
    book.set_operator(offer.provider, key, true);
    assert!(book.insert(message.clone(), key, 1_000).is_ok());
    book.set_operator(offer.provider, key, false);
    assert_eq!(book.offers().count(), 0, "a revoked key's orders are dropped");
    let stranger = Offer { provider: Address::repeat_byte(0x66), ..offer };
    assert_eq!(insert(&mut book, &stranger, 1_000), Err(Ignored::UnknownMaker));
    book.set_maker(stranger.provider, Maker { free: 5_999, ..Maker::default() });
    assert_eq!(insert(&mut book, &stranger, 1_000), Err(Ignored::Unfunded));
    book.set_maker(stranger.provider, Maker { free: 6_000, ..Maker::default() });
    assert!(insert(&mut book, &stranger, 1_000).is_ok());
}

#[test]
fn quotas_grow_with_the_balance() {
    let limits =
        BookLimits { floor: 6_000, max_orders: 6, base_orders_per_maker: 1, max_orders_per_maker: 4 };
    let mut book = Book::new(domain(), limits);
    let series = |series| Offer { series, ..orders::offer() };
    let provider = orders::offer().provider;
    book.set_maker(provider, Maker { free: 12_000, ..Maker::default() });
    (1..=3).for_each(|number| assert!(insert(&mut book, &series(number), 1_000).is_ok()));
    assert_eq!(insert(&mut book, &series(4), 1_000), Err(Ignored::Quota));
    book.set_maker(provider, Maker { free: 1_000_000, ..Maker::default() });
    assert!(insert(&mut book, &series(4), 1_000).is_ok());
    assert_eq!(insert(&mut book, &series(5), 1_000), Err(Ignored::Quota));
    let other = Address::repeat_byte(9);
    rich(&mut book, other);
    let others = |number| Offer { provider: other, ..series(number) };
    (1..=2).for_each(|number| assert!(insert(&mut book, &others(number), 1_000).is_ok()));
    assert_eq!(insert(&mut book, &others(3), 1_000), Err(Ignored::Full));
    assert!(insert(&mut book, &Offer { seq: 9, ..series(1) }, 1_000).is_ok(), "a renewal needs no room");
}

#[test]
fn a_settled_bid_does_not_come_back() {
    let mut book = book();
    let message = OrderMessage::Bid { bid: signed(orders::bid()), spec: orders::spec() };
    let digest = message.digest(&domain());
    assert!(book.insert(message.clone(), orders::bid().buyer, 1_000).is_ok());
    assert!(book.remove_bid(digest));
    assert!(book.contains(&digest));
    assert_eq!(book.insert(message, orders::bid().buyer, 1_000), Err(Ignored::Known));
    assert_eq!(book.bids().count(), 0);
}

#[test]
fn makers_without_orders_can_be_forgotten() {
    let mut book = book();
    insert(&mut book, &orders::offer(), 1_000).unwrap();
    book.retain_makers(|_| false);
    assert_eq!(book.makers().map(|(address, _)| *address).collect::<Vec<_>>(), [orders::offer().provider]);
}

#[test]
fn explain_counts_rules_and_names_the_nearest_offer() {
    let mut book = book();
    let (bid, spec) = (orders::bid(), orders::spec());
    assert!(book.explain(&bid, &spec, 1_000).to_string().starts_with("the book has no offers"));
    let dear = Offer { price_per_second: 20, ..orders::offer() };
    let dear_and_short = Offer { price_per_second: 13, max_duration: 600, series: 2, ..orders::offer() };
    insert(&mut book, &dear, 1_000).unwrap();
    insert(&mut book, &dear_and_short, 1_000).unwrap();
    let explanation = book.explain(&bid, &spec, 1_000);
    assert_eq!((explanation.offers, explanation.fit), (2, 0));
    assert_eq!(explanation.failed, [(Rule::Price, 2), (Rule::Duration, 1)]);
    let nearest = explanation.nearest.clone().unwrap();
    assert_eq!((nearest.offer, nearest.rule), (dear.digest(&domain()), Rule::Price));
    assert_eq!(
        nearest.text,
        "it costs 0.00000000000000004 CTK/s, the bid pays 0.000000000000000025 CTK/s at most: raise the top rate"
    );
    let text = explanation.to_string();
    assert!(
        text.starts_with("0 of 2 offers fit; the others fail on price 2, duration 1; nearest is 0x"),
        "{text}"
    );
}

#[test]
fn every_rule_can_fail_alone() {
    let (offer, bid, spec) = (orders::offer(), orders::bid(), orders::spec());
    let rich = Maker { free: 1_000_000, points: 5, epoch: 0 };
    let poor = Maker { free: 999, ..rich };
    let missed = |offer: &Offer, bid: &Bid, spec: &Spec, provider: &Maker, buyer: &Maker| {
        let context = sublet_market::MatchContext { now: 1_000, provider, buyer, floor: FLOOR };
        let all = misses(offer, bid, spec, &context);
        assert_eq!(all.first().copied(), sublet_market::first_miss(offer, bid, spec, &context));
        all.iter().for_each(|rule| {
            assert!(!sublet_market::fit::describe(*rule, offer, bid, spec, &context).is_empty())
        });
        all
    };
    let by_offer = |offer: Offer| missed(&offer, &bid, &spec, &rich, &rich);
    let by_bid = |bid: Bid| missed(&offer, &bid, &spec, &rich, &rich);
    assert_eq!(by_offer(offer.clone()), []);
    assert_eq!(by_offer(Offer { unit: Default::default(), ..offer.clone() }), [Rule::Resources]);
    assert_eq!(by_offer(Offer { traits: Default::default(), ..offer.clone() }), [Rule::Traits]);
    assert_eq!(by_offer(Offer { units: 1, ..offer.clone() }), [Rule::Units]);
    assert_eq!(by_offer(Offer { price_per_second: 13, ..offer.clone() }), [Rule::Price]);
    assert_eq!(by_offer(Offer { bond_seconds: 299, ..offer.clone() }), [Rule::Bond]);
    assert_eq!(by_offer(Offer { min_duration: 3_601, ..offer.clone() }), [Rule::Duration]);
    assert_eq!(by_bid(Bid { min_points: 6, ..bid.clone() }), [Rule::Points]);
    assert_eq!(by_offer(Offer { valid_until: 999, ..offer.clone() }), [Rule::Time]);
    assert_eq!(by_bid(Bid { valid_until: 999, ..bid.clone() }), [Rule::Time]);
    assert_eq!(by_bid(Bid { epoch: 1, ..bid.clone() }), [Rule::Epoch]);
    assert_eq!(by_bid(Bid { buyer: offer.provider, ..bid.clone() }), [Rule::Distinct]);
    assert_eq!(missed(&offer, &bid, &spec, &poor, &rich), [Rule::ProviderFunded]);
    assert_eq!(missed(&offer, &bid, &spec, &rich, &poor), [Rule::BuyerFunded]);
}
