//! What it costs to check orders, beside bare recoveries and beside a book that parses every offer for every demand.

use std::hint::black_box;
use std::time::Instant;

use alloy_primitives::B256;
use serde_json::json;
use sublet_market::{
    Bid, Maker, MatchContext, Offer, Order, OrderKey, OrderMessage, OrderSignature, Spec, codec, first_miss,
};

use crate::world::{CTK, NOW, World, domain};
use crate::{micros, report, times};

const ORDERS: u64 = 2_000;
const RUNS: usize = 7;
/// Orders that are timed at once: some four milliseconds of work.
const SLICE: usize = 100;

pub(crate) fn measure(world: &World, bids: &[(Bid, Spec)]) {
    naive(world, &bids[..15]);
    let key = OrderKey::from_bytes(&[9; 32]).unwrap();
    let signed = (0..ORDERS).map(|number| {
        let order = Offer { provider: key.address(), ..world.offer(number) };
        key.sign(order, &domain())
    });
    let signed: Vec<_> = signed.collect();
    let bare: Vec<(B256, OrderSignature)> =
        signed.iter().map(|offer| (offer.digest(&domain()), offer.signature)).collect();
    let bytes: Vec<Vec<u8>> =
        signed.into_iter().map(|offer| codec::encode_order(&OrderMessage::Offer(offer))).collect();
    // In small slices and one beside the other, so that whatever else the machine does weighs on both alike.
    let slices = (0..RUNS).flat_map(|_| bare.chunks(SLICE).zip(bytes.chunks(SLICE)));
    let rates: Vec<[f64; 3]> = slices
        .map(|(bare, bytes)| {
            let recover = per_second(|| {
                for (digest, signature) in bare {
                    black_box(signature.recover(*digest).unwrap());
                }
            });
            let validate = per_second(|| {
                for bytes in bytes {
                    black_box(validate(bytes));
                }
            });
            [recover, validate, validate / recover]
        })
        .collect();
    let median = |which: usize| {
        let mut rates: Vec<f64> = rates.iter().map(|rates| rates[which]).collect();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    report("recover_bare_per_s", &json!(median(0).round()));
    report("validate_per_s", &json!(median(1).round()));
    report("validate_per_recover", &json!((median(2) * 1_000.0).round() / 1_000.0));
}

/// Everything that can be told from the bytes: what the node does with an order from gossip.
fn validate(bytes: &[u8]) -> B256 {
    let message = codec::decode_order(bytes).unwrap();
    message.check().unwrap();
    let digest = message.digest(&domain());
    let signer = message.recover(digest).unwrap();
    assert_eq!(signer, message.maker());
    digest
}

/// For every demand, each offer is parsed from its bytes and tested.
fn naive(world: &World, bids: &[(Bid, Spec)]) {
    let offers = (0..10_000).map(|number| codec::encode_order(&world.signed(world.offer(number))));
    let offers: Vec<Vec<u8>> = offers.collect();
    let rich = Maker { free: CTK * 1_000_000, points: 1_000_000, epoch: 0 };
    let context = MatchContext { now: NOW, provider: &rich, buyer: &rich, floor: CTK };
    let times = times(bids, |(bid, spec)| {
        let messages = offers.iter().map(|bytes| codec::decode_order(bytes).unwrap());
        let mut fits: Vec<(u64, B256)> = messages
            .filter_map(|message| match message {
                OrderMessage::Offer(offer) => Some(offer.order),
                OrderMessage::Bid { .. } => None,
            })
            .filter(|offer| first_miss(offer, bid, spec, &context).is_none())
            .map(|offer| (offer.price_per_second, offer.hash_struct()))
            .collect();
        fits.sort_unstable();
        black_box(fits);
    });
    report("naive_best_ms_10k", &json!(micros(times[times.len() / 2]) / 1_000.0));
}

fn per_second(action: impl FnOnce()) -> f64 {
    let start = Instant::now();
    action();
    SLICE as f64 / start.elapsed().as_secs_f64()
}
