//! What a live offer takes in memory, all in: its own pieces, its traits, the index, the tables that find it, its
//! maker.
//!
//! A binary of its own beside `tests/it`, with this one test: its allocator counts what the whole process takes.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "this is a test")]

#[path = "../benches/book/world.rs"]
#[allow(dead_code, reason = "shared with the benchmark")]
mod world;

use std::alloc::System;

use alloy_primitives::{B256, U256};
use cap::Cap;
use sublet_market::Book;

use world::{NOW, World, domain, limits, set_makers};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Enough for the blocks of the index to be full; a book of a million takes a little less for each.
const OFFERS: u64 = 50_000;

/// What the documentation promises.
const BYTES_PER_OFFER: f64 = 600.0;

#[test]
fn an_offer_takes_no_more_than_600_bytes() {
    let world = World::new();
    let before = MEMORY.allocated();
    let mut book = Book::new(domain(), limits());
    set_makers(&mut book);
    for number in 0..OFFERS {
        let offer = world.offer(number);
        let provider = offer.provider;
        // Hashing takes most of the time without optimisation, and no memory.
        let digest = B256::from(U256::from(number).wrapping_mul(U256::MAX / U256::from(7)));
        let _ = book.insert_checked(world.signed(offer), digest, provider, NOW);
    }
    let count = book.offer_count();
    assert!(count > 45_000, "{count}: a few are of makers that cannot fund them");
    let bytes = (MEMORY.allocated() - before) as f64 / count as f64;
    assert!(bytes <= BYTES_PER_OFFER, "{bytes:.0} bytes for each of {count} offers");
    // Nor when they are renewed: what is replaced is given back.
    for number in 0..OFFERS {
        let offer = sublet_market::Offer { seq: 2, ..world.offer(number) };
        let provider = offer.provider;
        let digest = B256::from(U256::from(number).wrapping_mul(U256::MAX / U256::from(5)));
        let _ = book.insert_checked(world.signed(offer), digest, provider, NOW);
    }
    let bytes = (MEMORY.allocated() - before) as f64 / book.offer_count() as f64;
    assert!(bytes <= BYTES_PER_OFFER, "{bytes:.0} bytes after all of them were renewed");
}
