//! What the book costs. One JSON object a line on stdout; times of searches are percentiles of thousands, and
//! of these the medians of several runs; what filling a book takes is the median of three. A key without a
//! size is that of the largest book, and of the worst flood.
//!
//! `cargo bench -p sublet-market --bench book` takes two to three minutes; with `-- quick`, books of up to
//! 100,000 offers only. What `naive_best_ms_10k` is compared with is of the same run.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

mod flood;
mod naive;
mod world;

use std::alloc::System;
use std::hint::black_box;
use std::time::{Duration, Instant};

use cap::Cap;
use serde_json::{Map, Value, json};
use sublet_market::{Bid, Book, Spec};

use world::{NOW, World};

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

const BIDS: u64 = 2_000;
/// Times that a book of each size is filled.
const FILLINGS: usize = 3;
/// Quotes that are asked for: as many as the node asks for in one round.
const QUOTES: usize = 8;

fn main() {
    // `cargo test --all-targets` runs this too, and is not meant to take minutes.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let quick = std::env::args().any(|arg| arg == "quick");
    let world = World::new();
    let bids: Vec<(Bid, Spec)> = (0..BIDS).map(|number| world.bid(number)).collect();
    let sizes: &[u64] = if quick { &[1_000, 10_000, 100_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    let mut rows: [(&str, Map<String, Value>); 8] = [
        ("insert_per_s_by_size", Map::new()),
        ("best_p50_us", Map::new()),
        ("best_p99_us", Map::new()),
        ("bids_answered", Map::new()),
        ("best_complete", Map::new()),
        ("best_bids_p50_us", Map::new()),
        ("explain_ms", Map::new()),
        ("bytes_per_offer_by_size", Map::new()),
    ];
    for size in sizes {
        let values = measure(&world, &bids, *size);
        rows.iter_mut().zip(values).for_each(|((_, row), value)| {
            row.insert(size.to_string(), value);
        });
    }
    for (name, row) in rows {
        if let (Some(name), Some(largest)) = (name.strip_suffix("_by_size"), sizes.last()) {
            report(name, &row[&largest.to_string()]);
        }
        report(name, &Value::Object(row));
    }
    report("bytes_per_bid", &bytes_per_bid(&world));
    flood::measure(&world);
    naive::measure(&world, &bids[..15]);
}

fn report(name: &str, value: &Value) {
    println!("{}", json!({ "name": name, "value": value }));
}

fn measure(world: &World, bids: &[(Bid, Spec)], size: u64) -> [Value; 8] {
    let mut inserts: Vec<f64> = (1..FILLINGS).map(|_| fill(world, size).1).collect();
    let (book, inserts_per_s, bytes) = fill(world, size);
    inserts.push(inserts_per_s);
    inserts.sort_by(f64::total_cmp);
    let (p50, p99) = latencies(&book, bids, 5);
    let complete = bids.iter().filter(|(bid, spec)| book.search(bid, spec, NOW, QUOTES).complete).count();
    let answered = bids.iter().filter(|(bid, spec)| !book.best(bid, spec, NOW, QUOTES).is_empty()).count();
    let served: Vec<_> = book.offers().take(200).map(|(_, offer)| offer.order).collect();
    let mut with_bids = book.clone();
    for (bid, spec) in bids {
        let _ = with_bids.insert(world.signed_bid(bid.clone(), spec.clone()), bid.buyer, NOW);
    }
    let serve = times(&served, |offer| drop(black_box(with_bids.best_bids(offer, NOW, QUOTES))));
    let explain = times(&bids[..5], |(bid, spec)| drop(black_box(book.explain(bid, spec, NOW))));
    [
        json!(inserts[FILLINGS / 2].round()),
        json!(micros(p50)),
        json!(micros(p99)),
        json!(answered as f64 / bids.len() as f64),
        json!(complete as f64 / bids.len() as f64),
        json!(micros(serve[serve.len() / 2])),
        json!(micros(explain[explain.len() / 2]) / 1_000.0),
        json!(bytes.round()),
    ]
}

/// A book of so many offers, how many it took in a second, and the bytes that each takes, which hardly differ from one
/// filling to another.
fn fill(world: &World, size: u64) -> (Book, f64, f64) {
    let before = MEMORY.allocated();
    let start = Instant::now();
    let book = world.book(size);
    let inserts = book.offer_count() as f64 / start.elapsed().as_secs_f64();
    let bytes = (MEMORY.allocated() - before) as f64 / book.offer_count() as f64;
    (book, inserts, bytes)
}

/// The bytes that each of a hundred thousand bids takes.
fn bytes_per_bid(world: &World) -> Value {
    let bids: Vec<(Bid, Spec)> = (0..100_000).map(|number| world.bid(number)).collect();
    let mut book = world.book(0);
    let before = MEMORY.allocated();
    for (number, (bid, spec)) in (0..).zip(&bids) {
        let bid = Bid { buyer: world::maker(number % world::MAKERS), ..bid.clone() };
        // A few are of makers that cannot fund them.
        let _ = book.insert(world.signed_bid(bid.clone(), spec.clone()), bid.buyer, NOW);
    }
    json!(((MEMORY.allocated() - before) as f64 / book.bid_count() as f64).round())
}

/// Medians, over the runs, of each run's median and 99th percentile.
fn latencies(book: &Book, bids: &[(Bid, Spec)], runs: usize) -> (Duration, Duration) {
    let runs = (0..runs).map(|_| {
        let times = times(bids, |(bid, spec)| drop(black_box(book.search(bid, spec, NOW, QUOTES))));
        (times[times.len() / 2], times[times.len() * 99 / 100])
    });
    let (mut p50, mut p99): (Vec<Duration>, Vec<Duration>) = runs.unzip();
    p50.sort_unstable();
    p99.sort_unstable();
    (p50[p50.len() / 2], p99[p99.len() / 2])
}

/// How long each one takes, sorted.
fn times<T>(list: &[T], action: impl Fn(&T)) -> Vec<Duration> {
    let mut times: Vec<Duration> = list
        .iter()
        .map(|item| {
            let start = Instant::now();
            action(item);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}

fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000_000.0).round() / 10.0
}
