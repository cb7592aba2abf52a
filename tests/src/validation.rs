//! How many orders a second one core checks as a node checks those from gossip, beside bare recoveries of the same
//! signatures.
//!
//! The check is the node's own, from the bytes to an order that is good and new: with its memory of what it
//! has seen, and with a book that is asked whether it knows the order. The way to a worker and back is not in
//! it.

use std::{hint::black_box, sync::Arc, time::Instant};

use alloy_primitives::{Address, B256};
use anyhow::ensure;
use sublet_market::{
    Book, BookLimits, Maker, Offer, OrderKey, OrderMessage, OrderSignature, Resources, Shard, Signed, Traits,
    amount::BASE_UNITS_PER_CTK, codec,
};
use sublet_p2p::{SharedBook, measuring::GossipCheck};

use crate::samples::domain;

const NOW: u64 = 2_000_000_000;
/// Offers that are live in the book; none is among those that are checked.
const LIVE: u64 = 100_000;
/// Orders that are checked, each once: a second copy would be known.
const CHECKED: u64 = 14_000;
/// Orders that are timed at once: some five milliseconds of work.
const SLICE: usize = 100;

/// What was measured: medians over slices of all orders.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// Signatures recovered in a second, and nothing else done.
    pub recover_per_s: f64,
    /// Orders checked in a second.
    pub validate_per_s: f64,
    /// The second beside the first, of the same slice.
    pub validate_per_recover: f64,
}

/// An order as it comes, and what a bare recovery takes of it.
struct Arrival {
    bytes: Vec<u8>,
    shard: Shard,
    digest: B256,
    signature: OrderSignature,
}

/// Recovers and checks slice by slice, one beside the other, so that whatever else the machine does weighs on
/// both alike.
pub fn measure() -> anyhow::Result<Validated> {
    let key = OrderKey::from_bytes(&[9; 32])?;
    let check = GossipCheck::new(domain(), Arc::new(book(&key)?));
    let arrivals: Vec<Arrival> =
        (LIVE..LIVE + CHECKED).map(|n| arrival(n, &key)).collect::<anyhow::Result<_>>()?;
    let mut slices = Vec::new();
    for slice in arrivals.chunks_exact(SLICE) {
        let recover = per_second(slice, |order| black_box(order.signature.recover(order.digest)).is_ok())?;
        let validate = per_second(slice, |order| check.passes(&order.bytes, order.shard))?;
        slices.push([recover, validate, validate / recover]);
    }
    let median = |which: usize| {
        let mut values: Vec<f64> = slices.iter().map(|slice| slice[which]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Ok(Validated { recover_per_s: median(0), validate_per_s: median(1), validate_per_recover: median(2) })
}

fn per_second(slice: &[Arrival], good: impl Fn(&Arrival) -> bool) -> anyhow::Result<f64> {
    let start = Instant::now();
    let all = slice.iter().all(good);
    let seconds = start.elapsed().as_secs_f64();
    ensure!(all, "a valid order was not accepted");
    Ok(slice.len() as f64 / seconds)
}

/// All are of one maker, as the book takes them unchecked under one signature.
fn book(key: &OrderKey) -> anyhow::Result<SharedBook> {
    let most = usize::try_from(LIVE)?;
    let limits = BookLimits {
        max_orders: most,
        base_orders_per_maker: most,
        max_orders_per_maker: most,
        ..BookLimits::default()
    };
    let mut book = Book::new(domain(), limits);
    let maker = key.address();
    book.set_maker(maker, Maker { free: 1_000_000 * BASE_UNITS_PER_CTK, points: 0, epoch: 0 });
    let signature = key.sign(offer(0, maker)?, &domain()).signature;
    for n in 0..LIVE {
        let order = Signed { order: offer(n, maker)?, signature, operator: None };
        book.insert(order.into(), maker, NOW)?;
    }
    Ok(SharedBook::new(book, || NOW))
}

fn arrival(n: u64, key: &OrderKey) -> anyhow::Result<Arrival> {
    let signed = key.sign(offer(n, key.address())?, &domain());
    let (digest, signature) = (signed.digest(&domain()), signed.signature);
    let message = OrderMessage::from(signed);
    Ok(Arrival { bytes: codec::encode_order(&message), shard: Shard::of(&message), digest, signature })
}

/// With as many traits as the offers of the book's benchmark have on the mean.
fn offer(n: u64, provider: Address) -> anyhow::Result<Offer> {
    let (region, cpu, place) = (n % 24, n % 29, n % 11);
    let (region, cpu) = (format!("region=eu-{region}"), format!("cpu=model-{cpu}"));
    let place = format!("jurisdiction=j{place}");
    let traits = ["arch=x86_64", "accel=kvm", "storage=nvme", "image=debian-11", "image=debian-12"];
    let traits = traits.into_iter().chain([region.as_str(), &cpu, &place]);
    Ok(Offer {
        provider,
        node: B256::repeat_byte(3),
        unit: Resources { vcpus: 4, memory_mib: 8_192, disk_gib: 100, ..Resources::default() },
        units: 4,
        price_per_second: 1_000_000 + n,
        bond_seconds: 600,
        min_duration: 300,
        max_duration: 86_400,
        activate_within: 120,
        burn: false,
        traits: Traits::new(traits)?,
        series: n,
        seq: 1,
        valid_until: NOW + 600,
    })
}
