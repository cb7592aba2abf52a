//! What becomes of single orders in a book, and what it says of them.

use alloy_primitives::{Address, B256};
use sublet_market::{
    Bid, Book, BookLimits, Ignored, Inserted, Known, Maker, Offer, Order, OrderMessage, Rule, Spec, misses,
};

use crate::orders;
use crate::strategies::{domain, signed};

const FLOOR: u128 = 1_000;
const LIMITS: BookLimits =
    BookLimits { floor: FLOOR, max_orders: 1_000, base_orders_per_maker: 1_000, max_orders_per_maker: 1_000 };

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
    assert_eq!(book.digest(), cancel.digest(&domain()));
    book.expire(1_101);
    assert_eq!(book.digest(), B256::ZERO, "a peer that met us now would not get it");
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

/// Two nodes that heard the same things of the chain have the same book, whether they were there before a maker
/// withdrew or came after it: who comes after it takes none of its orders.
#[test]
fn orders_leave_the_book_with_their_makers_balance_and_come_back_with_it() {
    let (mut before, mut after) = (book(), book());
    let (offer, bid) = (orders::offer(), orders::bid());
    let cancel = Offer { units: 0, series: 2, ..offer.clone() };
    insert(&mut before, &offer, 1_000).unwrap();
    insert(&mut before, &cancel, 1_000).unwrap();
    let bids = OrderMessage::Bid { bid: signed(bid.clone()), spec: orders::spec() };
    before.insert(bids.clone(), bid.buyer, 1_000).unwrap();
    let full = before.digest();
    for maker in [offer.provider, bid.buyer] {
        before.set_maker(maker, Maker::default());
        after.set_maker(maker, Maker::default());
    }
    assert_eq!(insert(&mut after, &offer, 1_000), Err(Ignored::Unfunded));
    assert_eq!(insert(&mut after, &cancel, 1_000), Err(Ignored::Unfunded));
    assert_eq!(after.insert(bids, bid.buyer, 1_000), Err(Ignored::Unfunded));
    assert_eq!(before.digest(), after.digest());
    assert_eq!((before.offers().count(), before.bids().count(), before.items(1_000).len()), (0, 0, 0));
    assert_eq!((before.offer_count(), before.bid_count()), (0, 0));
    let digest = offer.digest(&domain());
    assert!(before.offer(&digest).is_none() && before.bid(&bid.digest(&domain())).is_none());
    assert!(before.message(&cancel.digest(&domain())).is_none());
    // It is known: nobody has to hand it on again.
    assert!(before.contains(&digest));
    rich(&mut before, offer.provider);
    rich(&mut before, bid.buyer);
    assert_eq!(before.digest(), full);
    assert_eq!((before.offer_count(), before.bid_count(), before.items(1_000).len()), (1, 1, 3));
    before.set_maker(bid.buyer, Maker { free: 1_000_000_000, points: 0, epoch: 1 });
    assert_eq!(before.bid_count(), 0, "a bid of another epoch is none");
    before.expire(1_000_000);
    assert_eq!(before.digest(), B256::ZERO);
}

#[test]
fn a_replay_is_told_by_its_signature() {
    let mut book = book();
    let (offer, other) = (signed(orders::offer()), signed(orders::bid()).signature);
    let digest = offer.order.digest(&domain());
    assert_eq!(book.knows(&digest, &offer.signature), Known::No);
    insert(&mut book, &offer.order, 1_000).unwrap();
    assert_eq!(book.knows(&digest, &offer.signature), Known::Same);
    assert_eq!(book.knows(&digest, &other), Known::Other, "perhaps a forgery");
    book.expire(1_000_000);
    assert_eq!(book.knows(&digest, &offer.signature), Known::No);
    let bid = OrderMessage::Bid { bid: signed(orders::bid()), spec: orders::spec() };
    let digest = bid.digest(&domain());
    book.insert(bid, orders::bid().buyer, 1_000).unwrap();
    assert_eq!(book.knows(&digest, &other), Known::Same);
    assert_eq!(book.knows(&digest, &offer.signature), Known::Other);
    book.remove_bid(digest);
    assert_eq!(book.knows(&digest, &offer.signature), Known::Same, "no copy of it is of use any more");
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
    assert!(insert(&mut book, &Offer { seq: 9, ..series(1) }, 1_000).is_ok(), "a renewal needs no room");
    assert_eq!(book.counters().evicted_offers, 0);
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
    let late = Address::repeat_byte(0x55);
    book.retain_makers(|_| false);
    assert_eq!(book.makers().count(), 2, "an order of it may be on its way");
    rich(&mut book, late);
    book.retain_makers(|address| *address != late);
    assert!(book.maker(&late).is_some(), "it was read since");
    book.retain_makers(|_| false);
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
