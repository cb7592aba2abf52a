//! Which orders a full book keeps, and which a search finds in a flooded one.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, keccak256};
use sublet_market::book::{FAIR_TESTS, SEARCH_TESTS, TIED_PROVIDERS};
use sublet_market::{
    Bid, Book, BookLimits, Ignored, Inserted, Maker, Offer, Order, OrderMessage, OrderSignature, Resources,
    Signed, Spec, Traits,
};

use crate::book_volume::{Dice, FLOOR, maker, roomy};
use crate::orders;
use crate::strategies::{domain, signed};

fn signature() -> OrderSignature {
    signed(orders::bid()).signature
}

fn insert(book: &mut Book, offer: &Offer, signature: OrderSignature) -> Result<(), Ignored> {
    let message = OrderMessage::Offer(Signed { order: offer.clone(), signature, operator: None });
    book.insert(message, offer.provider, 1_000).map(drop)
}

/// Hashing takes most of the time of a flood: its digests are numbers.
fn flood_with(book: &mut Book, offer: Offer, number: u64, signature: OrderSignature) -> B256 {
    let digest = keccak256(number.to_be_bytes());
    let provider = offer.provider;
    let message = OrderMessage::Offer(Signed { order: offer, signature, operator: None });
    book.insert_checked(message, digest, provider, 1_000).unwrap();
    digest
}

fn has(book: &Book, offer: &Offer) -> bool {
    book.offer(&offer.digest(&domain())).is_some()
}

fn account(floors: u128) -> Maker {
    Maker { free: FLOOR * floors, points: 0, epoch: 0 }
}

fn full_book() -> (Book, Offer) {
    let limits =
        BookLimits { floor: FLOOR, max_orders: 6, base_orders_per_maker: 9, max_orders_per_maker: 9 };
    let mut book = Book::new(domain(), limits);
    let offer = Offer { bond_seconds: 0, ..orders::offer() };
    for (number, floors, count) in [(1, 10, 3), (2, 4, 2), (3, 1, 1)] {
        book.set_maker(maker(number), account(floors));
        for series in 0..count {
            let provider = maker(number);
            let valid_until = 1_600 - series;
            insert(&mut book, &Offer { provider, series, valid_until, ..offer.clone() }, signature())
                .unwrap();
        }
    }
    (book, offer)
}

#[test]
fn a_full_book_makes_room_at_the_cost_of_who_has_most_for_its_balance() {
    let (mut book, offer) = full_book();
    let of =
        |number, series, valid_until| Offer { provider: maker(number), series, valid_until, ..offer.clone() };
    // One order for one floor: as crowded as a newcomer with one floor would be.
    book.set_maker(maker(4), account(1));
    assert_eq!(insert(&mut book, &of(4, 0, 1_600), signature()), Err(Ignored::Full));
    assert_eq!(book.counters().refused_full, 1);
    book.set_maker(maker(4), account(2));
    insert(&mut book, &of(4, 0, 1_600), signature()).unwrap();
    assert!(!has(&book, &of(3, 0, 1_600)), "maker 3 had one order for each floor, nobody had more");
    // Now maker 2 (two for four) and maker 4 (one for two) are the most crowded; both orders of maker 2 may go.
    book.set_maker(maker(2), account(0));
    book.set_maker(maker(5), account(3));
    insert(&mut book, &of(5, 0, 1_600), signature()).unwrap();
    assert!(book.offer(&of(2, 1, 1_599).digest(&domain())).is_none(), "the one that ends soonest goes");
    assert_eq!((book.counters().evicted_offers, book.offer_count()), (2, 5));
    book.set_maker(maker(2), account(1));
    assert!(has(&book, &of(2, 0, 1_600)), "the other one was kept aside");
    book.set_maker(maker(2), account(0));
    assert!(book.contains(&of(2, 1, 1_599).digest(&domain())), "a copy of it does not come back");
    let renewal = Offer { seq: 2, ..of(2, 1, 1_599) };
    assert_eq!(insert(&mut book, &renewal, signature()), Err(Ignored::Full), "it has no balance");
}

#[test]
fn our_own_orders_do_not_give_way() {
    let (mut book, offer) = full_book();
    book.set_own(maker(3));
    book.set_maker(maker(4), account(1_000));
    for series in 0..3 {
        let provider = maker(4);
        insert(&mut book, &Offer { provider, series, ..offer.clone() }, signature()).unwrap();
    }
    let own = Offer { provider: maker(3), series: 0, ..offer.clone() };
    assert!(has(&book, &own));
    assert!(insert(&mut book, &Offer { series: 1, ..own.clone() }, signature()).is_ok(), "ours find room");
    assert!(has(&book, &own));
    assert_eq!(book.offer_count(), 6);
}

fn bid_of(number: u64, salt: u64) -> Bid {
    Bid { buyer: maker(number), salt, max_rate: 1, duration: 600, ..orders::bid() }
}

fn insert_bid(book: &mut Book, bid: &Bid) -> Result<Inserted, Ignored> {
    let message = OrderMessage::Bid {
        bid: Signed { order: bid.clone(), signature: signature(), operator: None },
        spec: orders::spec(),
    };
    book.insert(message, bid.buyer, 1_000)
}

#[test]
fn our_own_bids_do_not_give_way_and_a_balance_that_falls_counts_for_bids_too() {
    let (mut book, _) = full_book();
    book.set_own(maker(2));
    (0..3).for_each(|salt| assert!(insert_bid(&mut book, &bid_of(2, salt)).is_ok()));
    (0..3).for_each(|salt| assert!(insert_bid(&mut book, &bid_of(1, salt)).is_ok()));
    book.set_maker(maker(4), account(1_000));
    // Of makers 1 and 2 the latter has more bids for its balance.
    assert!(insert_bid(&mut book, &bid_of(4, 0)).is_ok());
    let there = |book: &Book, number, salt| book.bid(&bid_of(number, salt).digest(&domain())).is_some();
    assert!((0..3).all(|salt| there(&book, 2, salt)));
    assert_eq!((0..3).filter(|salt| there(&book, 1, *salt)).count(), 2);
    // The newcomer has lost what it had and goes first.
    book.set_maker(maker(4), account(0));
    book.set_maker(maker(5), account(1_000));
    assert!(insert_bid(&mut book, &bid_of(5, 0)).is_ok());
    assert_eq!((0..3).filter(|salt| there(&book, 1, *salt)).count(), 2);
    assert!(!book.contains(&bid_of(4, 0).digest(&domain())));
}

/// Six series of maker 1 have ended, which is what is remembered.
fn book_of_memories() -> (Book, Offer) {
    let limits =
        BookLimits { floor: FLOOR, max_orders: 6, base_orders_per_maker: 99, max_orders_per_maker: 99 };
    let mut book = Book::new(domain(), limits);
    let offer = Offer { bond_seconds: 0, provider: maker(1), ..orders::offer() };
    book.set_maker(maker(1), account(10));
    for series in 0..6 {
        let cancel = Offer { units: 0, seq: 2, series, valid_until: 1_600 - series, ..offer.clone() };
        insert(&mut book, &cancel, signature()).unwrap();
    }
    (book, offer)
}

#[test]
fn a_memory_full_of_ended_series_refuses_nobody_and_forgets_whose_they_are() {
    let (mut book, offer) = book_of_memories();
    let other = Offer { provider: maker(2), ..offer.clone() };
    book.set_maker(maker(2), account(100));
    insert(&mut book, &other, signature()).unwrap();
    let cancel = Offer { units: 0, seq: 2, ..other.clone() };
    insert(&mut book, &cancel, signature()).unwrap();
    assert_eq!((book.counters().forgotten, book.counters().refused_full), (1, 0));
    assert_eq!(insert(&mut book, &other, signature()), Err(Ignored::Superseded), "it is not revived");
    // What has expired is remembered only to keep older versions out, and goes before a cancel that peers need.
    book.expire(1_598);
    let later = Offer { units: 0, series: 9, valid_until: 1_600, ..offer.clone() };
    insert(&mut book, &later, signature()).unwrap();
    assert!(book.contains(&later.digest(&domain())));
    assert_eq!((book.counters().forgotten, book.messages(1_000).count()), (2, 5));
}

#[test]
fn our_own_ended_series_are_not_forgotten_and_our_own_orders_not_refused() {
    let (mut book, offer) = book_of_memories();
    book.set_own(maker(1));
    for series in 10..20 {
        insert(&mut book, &Offer { series, units: 0, ..offer.clone() }, signature()).unwrap();
    }
    assert_eq!(insert(&mut book, &offer, signature()), Err(Ignored::Superseded));
    let newcomer = Offer { provider: maker(2), units: 0, ..offer.clone() };
    book.set_maker(maker(2), account(1));
    insert(&mut book, &newcomer, signature()).unwrap();
    assert!(!book.contains(&newcomer.digest(&domain())), "others' memories go before ours");
    assert_eq!(book.messages(1_000).count(), 16);
}

#[test]
fn bids_make_room_too() {
    let (mut book, _) = full_book();
    let (bid, insert) = (bid_of, insert_bid);
    (0..6).for_each(|salt| assert!(insert(&mut book, &bid(2, salt)).is_ok()));
    assert_eq!(insert(&mut book, &bid(2, 6)), Err(Ignored::Full), "nobody pushes out its own");
    assert!(insert(&mut book, &bid(1, 0)).is_ok());
    assert_eq!((book.bid_count(), book.counters().evicted_bids), (6, 1));
}

#[test]
fn what_expired_makes_room_first_and_is_never_an_answer() {
    let (mut book, offer) = full_book();
    let provider = maker(4);
    book.set_maker(provider, account(1));
    book.set_maker(orders::bid().buyer, account(1_000));
    let spec = Spec { units: 1, ..orders::spec() };
    let bid = Bid { min_bond_seconds: 0, valid_until: 2_000, ..orders::bid() };
    assert_eq!(book.best(&bid, &spec, 1_599, 9).len(), 5, "one is over at 1,598");
    assert_eq!(book.best(&bid, &spec, 1_601, 9).len(), 0, "nobody called expire");
    let late = Offer { provider, valid_until: 2_000, ..offer };
    let message = OrderMessage::Offer(Signed { order: late, signature: signature(), operator: None });
    assert!(book.insert(message, provider, 1_600).is_ok());
    assert_eq!((book.counters().evicted_offers, book.offer_count()), (0, 4));
}

/// Wants what lies between two levels of the index, 640 and 704 MiB: 700, where the flood has 640 to 699.
fn wanted(salt: u64) -> (Bid, Spec) {
    let unit = Resources { vcpus: 1, memory_mib: 700, ..Resources::default() };
    let spec = Spec { unit, units: 1, ..orders::spec() };
    let bid = Bid {
        spec: spec.hash_struct(),
        max_rate: 1_000_000,
        min_bond_seconds: 0,
        duration: 600,
        salt,
        ..orders::bid()
    };
    (bid, spec)
}

const HONEST: u64 = 40;

/// Cheap offers that nearly fit, more than a search may test, and a few dear ones that do fit.
fn flooded(flood: u64, makers: u64) -> (Book, BTreeSet<B256>) {
    let mut book = Book::new(domain(), roomy());
    book.set_maker(orders::bid().buyer, account(1_000_000));
    let signature = signature();
    let mut dice = Dice(5);
    for series in 0..flood {
        let provider = maker(series % makers);
        if series < makers {
            book.set_maker(provider, account(1_000));
        }
        let memory_mib = 640 + dice.small(60);
        let unit = Resources { memory_mib, disk_gib: dice.small(1 << 20), ..orders::offer().unit };
        let price_per_second = 1 + dice.below(1_000);
        let offer = Offer { provider, unit, price_per_second, series, bond_seconds: 0, ..orders::offer() };
        flood_with(&mut book, offer, series, signature);
    }
    let honest = (0..HONEST).map(|number| {
        let provider = maker(1_000_000 + number * 1_000_003);
        book.set_maker(provider, account(1));
        let price_per_second = 100_000 + number;
        let offer = Offer { provider, price_per_second, bond_seconds: 0, ..orders::offer() };
        flood_with(&mut book, offer, flood + number, signature)
    });
    let honest = honest.collect();
    (book, honest)
}

fn assert_found(book: &Book, honest: &BTreeSet<B256>, bids: u64) {
    for salt in 0..bids {
        let (bid, spec) = wanted(salt);
        let best = book.search(&bid, &spec, 1_000, 4);
        assert!(!best.complete, "the search says that it did not see everything");
        assert_eq!(best.quotes.len(), 4);
        assert!(best.quotes.iter().all(|quote| honest.contains(&quote.digest)));
        assert!(best.quotes.is_sorted_by_key(|quote| quote.rate));
    }
}

#[test]
fn a_flood_of_one_maker_hides_nobody() {
    let flood = u64::try_from(SEARCH_TESTS + 1_000).unwrap();
    let (mut book, honest) = flooded(flood, 1);
    assert_found(&book, &honest, 3);
    // All providers get every turn that they can use, so that the best ones are found even so.
    let (bid, spec) = wanted(0);
    let rates: Vec<u64> = book.best(&bid, &spec, 1_000, 4).iter().map(|quote| quote.rate).collect();
    assert_eq!(rates, [100_000, 100_001, 100_002, 100_003]);
    // What is found before the budget is spent, and then again, counts once.
    for number in 1..3 {
        let provider = maker(2_000_000 + number);
        book.set_maker(provider, account(1));
        let cheap = Offer { provider, price_per_second: 1, bond_seconds: 0, ..orders::offer() };
        flood_with(&mut book, cheap, 2 * flood + number, signature());
    }
    let rates: Vec<u64> = book.best(&bid, &spec, 1_000, 4).iter().map(|quote| quote.rate).collect();
    assert_eq!(rates, [1, 1, 100_000, 100_001]);
}

#[test]
fn a_flood_of_many_makers_hides_nobody() {
    let flood = u64::try_from(SEARCH_TESTS + 1_000).unwrap();
    let makers = u64::try_from(FAIR_TESTS / 2).unwrap();
    let (book, honest) = flooded(flood, makers);
    assert_found(&book, &honest, 3);
}

#[test]
fn a_smaller_flood_is_looked_at_to_the_end() {
    let (book, _) = flooded(3_000, 100);
    let (bid, spec) = wanted(0);
    let best = book.search(&bid, &spec, 1_000, 4);
    assert!(best.complete);
    assert_eq!(best.quotes.first().map(|quote| quote.rate), Some(100_000));
}

#[test]
fn a_flood_at_one_price_is_ordered_as_far_as_the_bound_goes() {
    let mut book = Book::new(domain(), roomy());
    book.set_maker(orders::bid().buyer, account(1_000_000));
    let signature = signature();
    let providers = u64::try_from(TIED_PROVIDERS).unwrap() + 1;
    for number in 0..providers {
        book.set_maker(maker(number), account(1));
        let offer = Offer { provider: maker(number), bond_seconds: 0, ..orders::offer() };
        flood_with(&mut book, offer, number, signature);
        let (bid, spec) = wanted(0);
        if number + 2 >= providers {
            let best = book.search(&bid, &spec, 1_000, 4);
            assert_eq!((best.quotes.len(), best.complete), (4, number + 2 == providers));
        }
    }
    let firsts = (0..20).map(|salt| {
        let (bid, spec) = wanted(salt);
        book.best(&bid, &spec, 1_000, 1)[0].offer.order.provider
    });
    assert!(firsts.collect::<BTreeSet<Address>>().len() > 15, "each bid has its own favourites");
}

/// Bids that pay more than all others and want a little more than the offer has, and honest ones that it fits.
fn flooded_with_bids(flood: u64, buyers: u64) -> (Book, Offer, BTreeSet<B256>) {
    let mut book = Book::new(domain(), roomy());
    let unit = Resources { vcpus: 1, memory_mib: 700, ..Resources::default() };
    let offer = Offer { unit, units: 1, bond_seconds: 0, ..orders::offer() };
    book.set_maker(offer.provider, account(1));
    let (signature, mut dice) = (signature(), Dice(7));
    // Made once: they are hashed.
    let (sample, spec) = (orders::bid(), Spec { units: 1, traits: Traits::default(), ..orders::spec() });
    let put = |book: &mut Book, buyer: Address, memory_mib: u32, max_rate: u64, number: u64| {
        // Between two levels of the index: it tells no difference.
        let spec = Spec { unit: Resources { memory_mib, ..unit }, ..spec.clone() };
        let bid = Bid { buyer, max_rate, min_bond_seconds: 0, duration: 600, salt: number, ..sample.clone() };
        let digest = keccak256(number.to_be_bytes());
        let bid = Signed { order: bid, signature, operator: None };
        book.insert_checked(OrderMessage::Bid { bid, spec }, digest, buyer, 1_000).unwrap();
        digest
    };
    for number in 0..flood {
        let buyer = maker(number % buyers);
        if number < buyers {
            book.set_maker(buyer, account(1_000_000_000));
        }
        put(&mut book, buyer, 701 + dice.small(3), 1_000_000 + dice.below(1_000), number);
    }
    let honest = (0..HONEST).map(|number| {
        let buyer = maker(1_000_000 + number * 1_000_003);
        book.set_maker(buyer, account(1_000_000_000));
        put(&mut book, buyer, 600, 100_000 - number, flood + number)
    });
    let honest = honest.collect();
    (book, offer, honest)
}

#[test]
fn a_flood_of_bids_that_nearly_fit_hides_no_buyer() {
    let flood = u64::try_from(SEARCH_TESTS + 1_000).unwrap();
    for buyers in [1, u64::try_from(FAIR_TESTS / 2).unwrap()] {
        let (book, offer, honest) = flooded_with_bids(flood, buyers);
        let served = book.search_bids(&offer, 1_000, (4, usize::MAX), &|_| true);
        assert!(!served.complete, "the search says that it did not see everything");
        assert_eq!(served.bids.len(), 4);
        assert!(served.bids.iter().all(|entry| honest.contains(&entry.digest)));
        let rates: Vec<u64> = served.bids.iter().map(|entry| entry.bid.order.max_rate).collect();
        assert_eq!(rates, [100_000, 99_999, 99_998, 99_997]);
    }
}

#[test]
fn a_smaller_flood_of_bids_is_looked_at_to_the_end() {
    let (book, offer, _) = flooded_with_bids(3_000, 100);
    assert!(book.search_bids(&offer, 1_000, (4, usize::MAX), &|_| true).complete);
}

#[test]
fn one_buyers_many_bids_leave_room_for_the_others() {
    let (mut book, offer, honest) = flooded_with_bids(0, 1);
    book.set_maker(maker(7), account(1_000_000_000));
    for number in 0..300 {
        // They all fit, and pay best.
        let spec = Spec { unit: offer.unit, units: 1, traits: Traits::default(), ..orders::spec() };
        let bid = Bid {
            buyer: maker(7),
            max_rate: 1_000_000,
            min_bond_seconds: 0,
            duration: 600,
            salt: number,
            ..orders::bid()
        };
        let bid = Signed { order: bid, signature: signature(), operator: None };
        let digest = keccak256((1_000_000 + number).to_be_bytes());
        book.insert_checked(OrderMessage::Bid { bid, spec }, digest, maker(7), 1_000).unwrap();
    }
    let alone = book.best_bids(&offer, 1_000, 32);
    assert!(alone.iter().all(|entry| entry.bid.order.buyer == maker(7)));
    let fair = book.search_bids(&offer, 1_000, (32, 4), &|_| true).bids;
    assert_eq!(fair.iter().filter(|entry| entry.bid.order.buyer == maker(7)).count(), 4);
    assert_eq!(fair.iter().filter(|entry| honest.contains(&entry.digest)).count(), 28);
}
