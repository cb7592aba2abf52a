//! Single histories: what the generator once found, and what the property is about.

use super::{Event, SETTLE_WITHIN, World};

/// What the generator found: an ask that had read the balance before another's bond was locked took it for free.
#[test]
fn a_bond_that_was_locked_while_an_ask_waited_is_counted() {
    let mut world = World::new();
    let ask = |units, series, buyer| Event::Ask { units, series, buyer };
    for event in [ask(1, 0, 0), ask(2, 0, 1), ask(1, 1, 2), Event::Answer, Event::Settle(0), Event::Answer] {
        world.happen(&event);
    }
    for event in [Event::Blocks(2, 1), Event::Read, Event::Answer] {
        world.happen(&event);
        world.check();
    }
    assert_eq!(world.signed.len(), 2, "the third bond is not there");
}

#[test]
fn a_balance_is_promised_once_and_free_again_after_the_end() {
    let mut world = World::new();
    let ask = |series| Event::Ask { units: 2, series, buyer: 0 };
    for event in [ask(0), ask(1), Event::Answer, Event::Answer] {
        world.happen(&event);
    }
    assert_eq!(world.signed.len(), 1, "four units cost more than the buyer has");
    let over = [Event::Settle(0), Event::End(0), Event::Blocks(3, 2), Event::Read, Event::Pass];
    for event in over.iter().chain(&[ask(1), Event::Answer]) {
        world.happen(event);
    }
    assert_eq!(world.signed.len(), 2);
    world.check();
    world.wind_up();
}

/// What the generator found: the balance had the bond of a lease that had just ended, in a block that was taken back.
#[test]
fn a_bond_that_an_end_gave_back_is_not_promised_before_the_end_is_deep() {
    let mut world = World::new();
    let ask = |units, series| Event::Ask { units, series, buyer: 0 };
    for event in [ask(2, 0), Event::Answer, Event::Settle(0), Event::Blocks(2, 1), Event::Read, ask(1, 0)] {
        world.happen(&event);
    }
    for event in [Event::End(0), ask(1, 1), Event::Reorg(1), Event::Answer, Event::Answer] {
        world.happen(&event);
        world.check();
    }
    assert_eq!(world.signed.len(), 2, "the third bond is not there");
    world.wind_up();
}

/// A home that sells and buys: what its bids may cost is not there for bonds, and the other way round.
#[test]
fn one_balance_is_not_promised_as_a_bond_and_as_a_budget() {
    let mut world = World::new();
    let ask = |units, series| Event::Ask { units, series, buyer: 0 };
    // Three bonds' worth: a budget of two, and a bond of one.
    for event in [ask(1, 1), ask(2, 0), Event::Bid(2), Event::Answer, Event::Answer, Event::Bid(1)] {
        world.happen(&event);
        world.check();
    }
    assert_eq!((world.signed.len(), world.bids.len()), (1, 1));
    // It was locked before the balance is read anew, and lies in a block that is taken back.
    for event in [Event::SettleBid(0), Event::Settle(0), Event::Blocks(1, 1), ask(1, 0), Event::Answer] {
        world.happen(&event);
        world.check();
    }
    for event in [Event::Reorg(1), Event::SettleBid(0), Event::Settle(0)] {
        world.happen(&event);
        world.check();
    }
    assert_eq!(world.signed.len(), 1);
    world.wind_up();
}

/// What the generator found: a bid whose time was over, and which had been settled in its last second.
#[test]
fn a_budget_that_was_locked_in_the_bids_last_second_is_counted() {
    let mut world = World::new();
    let ask = |series| Event::Ask { units: 1, series, buyer: 0 };
    for event in [ask(0), ask(1), Event::Bid(2), Event::SettleBid(0), Event::Blocks(3, SETTLE_WITHIN)] {
        world.happen(&event);
    }
    for event in [Event::Answer, Event::Answer] {
        world.happen(&event);
        world.check();
    }
    assert_eq!(world.signed.len(), 1, "two thirds of the balance went into the bid");
    world.wind_up();
}

/// What the generator found: the balance had been read before a bid was settled, and its lease ended before the answer.
#[test]
fn a_budget_that_was_spent_while_an_ask_waited_is_counted() {
    let mut world = World::new();
    let ask = Event::Ask { units: 2, series: 0, buyer: 0 };
    for event in [Event::Bid(2), ask, Event::SettleBid(0), Event::Blocks(2, 1), Event::EndBid(0), Event::Read]
    {
        world.happen(&event);
    }
    world.happen(&Event::Answer);
    world.check();
    assert_eq!(world.signed.len(), 0, "two thirds of the balance went into the bid");
    world.wind_up();
}

/// The same, and the bid's file is closed before the answer: nothing on disk tells that the balance had its budget.
#[test]
fn an_ask_that_waited_while_a_bid_was_put_away_is_not_answered() {
    let mut world = World::new();
    let ask = Event::Ask { units: 2, series: 0, buyer: 0 };
    for event in [Event::Bid(2), ask, Event::SettleBid(0), Event::Blocks(2, 1), Event::EndBid(0)] {
        world.happen(&event);
    }
    for event in [Event::Blocks(3, 1), Event::Read, Event::Pass, Event::Answer] {
        world.happen(&event);
        world.check();
    }
    assert_eq!(world.signed.len(), 0);
    world.wind_up();
}
