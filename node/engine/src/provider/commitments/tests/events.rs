//! What happens in the property test, and how often.

use proptest::prelude::*;

use super::{BUYERS, CONFIRMATIONS};

/// Something happens.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// The first half of an ask: what the chain says is read.
    Ask {
        units: u32,
        series: u64,
        buyer: u8,
    },
    /// The second half of the oldest ask that waits: the commitments is asked, and the accept signed.
    Answer,
    Settle(usize),
    /// The home bids itself, for so many units.
    Bid(u32),
    /// A bid of the home's own is settled.
    SettleBid(usize),
    /// The lease of a bid of its own ends.
    EndBid(usize),
    /// Its buyer or the contract's deadline ends it.
    End(usize),
    /// The operator gives it up, and the node dies before it does anything.
    GiveUp(usize),
    /// So many blocks come, so many seconds each.
    Blocks(usize, u64),
    /// So many of the newest blocks are replaced by empty ones.
    Reorg(usize),
    /// The watcher reads what is deep enough.
    Read,
    /// The engine's pass: the next step of each promise.
    Pass,
    /// A pass of which only one step comes to its end.
    HalfPass(usize),
    /// The process dies, and is started again.
    Crash,
}

pub(super) fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1u32..3, 0u64..2, 0..BUYERS).prop_map(|(units, series, buyer)| Event::Ask { units, series, buyer }),
        4 => Just(Event::Answer),
        4 => (0usize..6).prop_map(Event::Settle),
        2 => (1u32..3).prop_map(Event::Bid),
        2 => (0usize..4).prop_map(Event::SettleBid),
        1 => (0usize..4).prop_map(Event::EndBid),
        2 => (0usize..6).prop_map(Event::End),
        1 => (0usize..6).prop_map(Event::GiveUp),
        3 => (1usize..4, 1u64..30).prop_map(|(blocks, seconds)| Event::Blocks(blocks, seconds)),
        2 => (1usize..=CONFIRMATIONS).prop_map(Event::Reorg),
        4 => Just(Event::Read),
        5 => Just(Event::Pass),
        3 => (0usize..6).prop_map(Event::HalfPass),
        1 => Just(Event::Crash),
    ]
}
