//! What a book would cost that parses every offer for every demand.

use std::hint::black_box;

use alloy_primitives::B256;
use serde_json::json;
use sublet_market::{Bid, Maker, MatchContext, Offer, Order, OrderMessage, Spec, codec, first_miss};

use crate::world::{CTK, NOW, World};
use crate::{micros, report, times};

pub(crate) fn measure(world: &World, bids: &[(Bid, Spec)]) {
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
            .map(|offer: Offer| (offer.price_per_second, offer.hash_struct()))
            .collect();
        fits.sort_unstable();
        black_box(fits);
    });
    report("naive_best_ms_10k", &json!(micros(times[times.len() / 2]) / 1_000.0));
}
