//! Books in which ninety-nine of a hundred offers are cheap and nearly fit, from a few makers and from many;
//! or fit, all at one price, so that the whole of them has to be put in order.

use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use serde_json::{Map, Value, json};
use sublet_market::{Bid, Book, Maker, Offer, Resources, Spec, Traits};

use crate::world::{self, CTK, Dice, NOW, World, domain};
use crate::{QUOTES, latencies, micros, report};

const FLOOD: u64 = 100_000;
const HONEST: u64 = 1_000;
/// As many as of the searches without a flood.
const RUNS: usize = 5;

pub(crate) fn measure(world: &World) {
    let (mut slowest, mut p99, mut found) = (Duration::ZERO, Map::new(), Map::new());
    for (name, makers, fits) in
        [("100_makers", 100, false), ("6000_makers", 6_000, false), ("6000_makers_one_price", 6_000, true)]
    {
        let book = flooded(world, makers, fits);
        let bids: Vec<(Bid, Spec)> = (0..300).map(wanted).collect();
        let (_, time) = latencies(&book, &bids, RUNS);
        slowest = slowest.max(time);
        p99.insert(name.to_owned(), json!(micros(time)));
        let answers = bids.iter().filter(|(bid, spec)| !book.best(bid, spec, NOW, QUOTES).is_empty()).count();
        found.insert(name.to_owned(), json!(answers as f64 / bids.len() as f64));
    }
    report("best_adversarial_p99_us", &json!(micros(slowest)));
    report("best_adversarial_p99_us_by_flood", &Value::Object(p99));
    report("best_adversarial_found", &Value::Object(found));
}

/// Between the levels of the index: 3,500 MiB, where the flood has 3,072 to 3,499.
fn wanted(number: u64) -> (Bid, Spec) {
    let unit = Resources { vcpus: 2, memory_mib: 3_500, ..Resources::default() };
    let traits = Traits::new(["arch=x86_64"]).unwrap();
    let spec = Spec { unit, units: 1, traits, manifest: B256::from(U256::from(number)) };
    let bid = Bid {
        min_bond_seconds: 0,
        min_points: 0,
        duration: 3_600,
        ..world::bid(&spec, world::price(&unit) * 3, &mut Dice::new(number))
    };
    (bid, spec)
}

fn flooded(world: &World, makers: u64, fits: bool) -> Book {
    let mut book = Book::new(domain(), world::limits());
    let rich = Maker { free: CTK * 1_000_000, points: 0, epoch: 0 };
    book.set_maker(world::buyer(), rich);
    let mut dice = Dice::new(9);
    for number in 0..FLOOD + HONEST {
        let honest = number % 101 == 0;
        let maker = if honest { 1_000_000 + number } else { number % makers };
        let provider = Address::from_word(B256::from(U256::from(maker * 0x9_0000_0001 + 7)));
        book.set_maker(provider, rich);
        let memory_mib = if honest || fits { 4_096 } else { 3_072 + u32::try_from(dice.below(428)).unwrap() };
        let disk_gib = 10 + u32::try_from(dice.below(100_000)).unwrap();
        let unit = Resources { vcpus: 2, memory_mib, disk_gib, ..Resources::default() };
        let price = world::price(&Resources { disk_gib: 0, ..unit });
        let own = format!("own=t{number}");
        let offer = Offer {
            provider,
            unit,
            price_per_second: match (honest, fits) {
                (true, _) => price,
                (false, true) => price / 100,
                (false, false) => price / 100 + dice.below(1_000_000),
            },
            bond_seconds: 0,
            min_duration: 300,
            max_duration: 86_400,
            traits: Traits::new(["arch=x86_64", &own]).unwrap(),
            series: number,
            ..world.offer(number)
        };
        book.insert(world.signed(offer), provider, NOW).unwrap();
    }
    book
}
