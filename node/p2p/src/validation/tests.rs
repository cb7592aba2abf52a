//! What is called invalid, what a duplicate, and what is not looked at.

use sublet_market::{
    Book, BookLimits, Maker, Offer, Signed, Traits,
    amount::BASE_UNITS_PER_CTK,
    samples::{domain, key, offer_of},
};

use super::*;
use crate::{NoOrders, SharedBook};

fn offer() -> Signed<Offer> {
    key(1).sign(Offer { valid_until: 1, ..offer_of(&key(1), 1) }, &domain())
}

fn encoded(offer: Signed<Offer>) -> Vec<u8> {
    codec::encode_order(&offer.into())
}

#[test]
fn a_copy_with_a_broken_signature_does_not_hide_the_good_one() {
    let validator = OrderChecker::new(domain(), Arc::new(NoOrders));
    let signature = key(2).sign(offer().order, &domain()).signature;
    let forged = encoded(Signed { signature, ..offer() });
    for _ in 0..2 {
        let outcome = validator.check(&forged, Shard::MAIN);
        assert!(matches!(outcome, Outcome::Invalid(Fault::Forged { .. })), "{outcome:?}");
    }
    assert!(matches!(validator.check(&encoded(offer()), Shard::MAIN), Outcome::Valid(_)));
    let late = validator.check(&forged, Shard::MAIN);
    assert!(matches!(late, Outcome::Invalid(Fault::Forged { .. })), "a forgery is one when it is late, too");
    assert!(matches!(validator.check(&encoded(offer()), Shard::MAIN), Outcome::Duplicate));
}

#[test]
fn copies_of_one_order_under_endless_signatures_cost_a_bounded_number_of_recoveries() {
    let validator = OrderChecker::new(domain(), Arc::new(NoOrders));
    assert!(matches!(validator.check(&encoded(offer()), Shard::MAIN), Outcome::Valid(_)));
    let signature = key(2).sign(offer().order, &domain()).signature;
    let forged = encoded(Signed { signature, ..offer() });
    let start = Instant::now();
    let outcomes: Vec<_> = (0..2_000).map(|_| validator.check(&forged, Shard::MAIN)).collect();
    let granted = f64::from(SECOND_LOOKS) * (8.0 + start.elapsed().as_secs_f64());
    let caught = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Invalid(Fault::Forged { .. })));
    let caught = caught.count();
    assert!(caught >= 512, "forgers are found: {caught}");
    assert!(caught as f64 <= granted.ceil(), "{caught} of {granted}");
    assert!(outcomes.iter().all(|outcome| !matches!(outcome, Outcome::Valid(_))));
}

#[test]
fn a_replay_of_what_the_book_knows_costs_no_recovery_however_late_it_comes() {
    let mut book = Book::new(domain(), BookLimits::default());
    book.set_maker(key(1).address(), Maker { free: BASE_UNITS_PER_CTK, points: 0, epoch: 0 });
    book.insert(offer().into(), key(1).address(), 0).unwrap();
    // It has seen nothing of late: only the book can tell that this is a copy.
    let validator = OrderChecker::new(domain(), Arc::new(SharedBook::new(book, || 0)));
    assert!(matches!(validator.check(&encoded(offer()), Shard::MAIN), Outcome::Duplicate));
    let signature = key(2).sign(offer().order, &domain()).signature;
    let forged = validator.check(&encoded(Signed { signature, ..offer() }), Shard::MAIN);
    assert!(matches!(forged, Outcome::Invalid(Fault::Forged { .. })), "a forgery is still told from it");
}

#[test]
fn an_order_is_judged_once_unless_it_came_to_nothing() {
    let validator = OrderChecker::new(domain(), Arc::new(NoOrders));
    let Outcome::Valid(order) = validator.check(&encoded(offer()), Shard::MAIN) else {
        panic!("a good offer")
    };
    assert!(matches!(validator.check(&encoded(offer()), Shard::MAIN), Outcome::Duplicate));
    validator.forget(order.seen);
    assert!(matches!(validator.check(&encoded(offer()), Shard::MAIN), Outcome::Valid(_)));
}

#[test]
fn an_operators_order_is_judged_beside_its_makers() {
    let validator = OrderChecker::new(domain(), Arc::new(NoOrders));
    // Whether key 2 is an operator of key 1 is not told by the message.
    let operated = key(2).sign(offer().order, &domain());
    assert_eq!(operated.operator, Some(key(2).address()));
    let Outcome::Valid(order) = validator.check(&encoded(operated.clone()), Shard::MAIN) else {
        panic!("well signed")
    };
    assert_eq!(order.signer, key(2).address());
    assert!(matches!(validator.check(&encoded(offer()), Shard::MAIN), Outcome::Valid(_)), "it hides nothing");
    assert!(matches!(validator.check(&encoded(operated.clone()), Shard::MAIN), Outcome::Duplicate));
    let named = Signed { operator: Some(key(3).address()), ..operated };
    assert!(matches!(validator.check(&encoded(named), Shard::MAIN), Outcome::Invalid(Fault::Forged { .. })));
}

#[test]
fn our_own_orders_are_not_judged_when_they_come_back() {
    let validator = OrderChecker::new(domain(), Arc::new(NoOrders));
    validator.remember(&offer().into());
    assert!(matches!(validator.check(&encoded(offer()), Shard::MAIN), Outcome::Duplicate));
}

#[test]
fn an_order_on_a_strange_shard_is_no_honest_peers() {
    let validator = OrderChecker::new(domain(), Arc::new(NoOrders));
    let mut regional = offer().order;
    regional.traits = Traits::new(["region=eu-north-1"]).unwrap();
    let regional = encoded(key(1).sign(regional, &domain()));
    let home = Shard::of_region("eu-north-1");
    for shard in Shard::all().filter(|shard| *shard != home) {
        let outcome = validator.check(&regional, shard);
        assert!(matches!(outcome, Outcome::Invalid(Fault::WrongShard(..))), "{shard}: {outcome:?}");
    }
    assert!(matches!(validator.check(&regional, home), Outcome::Valid(_)), "and the good copy is not hidden");
    assert!(matches!(validator.check(&regional, Shard::MAIN), Outcome::Invalid(_)), "known or not");
    assert!(matches!(validator.check(&encoded(offer()), home), Outcome::Invalid(Fault::WrongShard(..))));
}

#[test]
fn an_answer_holds_only_what_was_asked_for() {
    let validator = OrderChecker::new(domain(), Arc::new(NoOrders));
    let digest = offer().digest(&domain());
    let asked = HashSet::from([digest]);
    let mut other = offer().order;
    other.series = 2;
    let other = encoded(key(1).sign(other, &domain()));
    let fault = validator.check_promised(&[encoded(offer()), other], Shard::MAIN, &asked).unwrap_err();
    assert!(matches!(fault, Fault::NotAsked(_)), "{fault}");
    let signature = key(2).sign(offer().order, &domain()).signature;
    let forged = encoded(Signed { signature, ..offer() });
    assert!(matches!(validator.check_promised(&[forged], Shard::MAIN, &asked), Err(Fault::Forged { .. })));
    // What came with the bad ones was not taken for known.
    let good = validator.check_promised(&[encoded(offer())], Shard::MAIN, &asked).unwrap();
    assert_eq!(good.into_iter().map(|order| order.digest).collect::<Vec<_>>(), [digest]);
}

#[tokio::test]
async fn what_has_waited_too_long_is_not_looked_at() {
    let mut pool =
        Pool::start(Workers::new(OrderChecker::new(domain(), Arc::new(NoOrders)), CancellationToken::new()));
    let Some(long_ago) = Instant::now().checked_sub(CHECK_LIMIT + Duration::from_secs(1)) else { return };
    for received in [long_ago, Instant::now()] {
        let id = MessageId::new(b"1");
        assert!(pool.offer(Job {
            from: PeerId::random(),
            id,
            shard: Shard::MAIN,
            data: encoded(offer()),
            received
        }));
    }
    assert!(matches!(pool.next().await.unwrap().outcome, Outcome::Late));
    assert!(matches!(pool.next().await.unwrap().outcome, Outcome::Valid(_)));
}

#[test]
fn the_network_keeps_a_core_where_there_are_more_than_two() {
    assert_eq!([1, 2, 3, 8, 64].map(worker_count), [1, 2, 2, 7, MAX_WORKERS]);
}
