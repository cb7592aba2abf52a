//! A book of thousands of offers, so that blocks split and merge and traits become common and rare again,
//! against a list that is filtered and sorted.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256, keccak256};
use sublet_market::{
    Bid, Book, BookLimits, Inserted, Maker, MatchContext, Offer, Order, OrderMessage, OrderSignature,
    Resources, Signed, Spec, Traits, first_miss,
};

use crate::orders;
use crate::strategies::{domain, signed};

pub(crate) const FLOOR: u128 = 1_000;
const NOW: u64 = 1_000_000;
const MAKERS: u64 = 40;
const PRICES: u64 = 60;

/// SplitMix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn small(&mut self, bound: u64) -> u32 {
        u32::try_from(self.below(bound)).unwrap()
    }
}

pub(crate) fn maker(number: u64) -> Address {
    Address::from_word(B256::from(U256::from(number + 1)))
}

pub(crate) fn roomy() -> BookLimits {
    BookLimits {
        floor: FLOOR,
        max_orders: 1_000_000,
        base_orders_per_maker: 1_000_000,
        max_orders_per_maker: 1_000_000,
    }
}

struct Market {
    book: Book,
    live: BTreeMap<(Address, u64), (B256, Offer)>,
    makers: BTreeMap<Address, Maker>,
    signature: OrderSignature,
    dice: Dice,
    seq: u64,
}

impl Market {
    fn new(seed: u64) -> Self {
        let book = Book::new(domain(), roomy());
        let signature = signed(orders::bid()).signature;
        let mut market = Self {
            book,
            live: BTreeMap::new(),
            makers: BTreeMap::new(),
            signature,
            dice: Dice(seed),
            seq: 0,
        };
        (0..MAKERS).for_each(|number| market.set_maker(number, 100_000, number % 3));
        market
    }

    fn set_maker(&mut self, number: u64, free: u128, points: u64) {
        let account = Maker { free, points, epoch: 0 };
        self.book.set_maker(maker(number), account);
        self.makers.insert(maker(number), account);
    }

    fn offer(&mut self, rare_from: u64) {
        let dice = &mut self.dice;
        let mut texts = vec![format!("region=r{}", dice.below(3))];
        if dice.below(100) < 5 {
            texts.push(format!("rare=r{}", rare_from + dice.below(2)));
        }
        let min_duration = [300, 600, 900][dice.small(3) as usize];
        let unit = Resources {
            vcpus: 1 << dice.below(4),
            memory_mib: 512 * (1 + dice.small(5)),
            gpus: u32::from(dice.below(10) == 0),
            ..Resources::default()
        };
        self.seq += 1;
        let offer = Offer {
            provider: maker(dice.below(MAKERS)),
            unit,
            units: 1 + dice.small(4),
            price_per_second: 1 + dice.below(PRICES),
            bond_seconds: 300 * dice.small(3),
            min_duration,
            max_duration: min_duration + 600 * dice.small(5),
            traits: Traits::new(texts).unwrap(),
            series: dice.below(400),
            seq: self.seq,
            valid_until: NOW + 100 + dice.below(3_000),
            ..orders::offer()
        };
        let digest = offer.digest(&domain());
        let message =
            OrderMessage::Offer(Signed { order: offer.clone(), signature: self.signature, operator: None });
        if self.book.insert(message, offer.provider, NOW).is_ok() {
            self.live.insert((offer.provider, offer.series), (digest, offer));
        }
    }

    fn cancel_some(&mut self, share: u64) {
        let dice = &mut self.dice;
        let gone: Vec<_> = self.live.keys().filter(|_| dice.below(100) < share).copied().collect();
        for key in gone {
            let Some((digest, offer)) = self.live.remove(&key) else { continue };
            self.seq += 1;
            let cancel = Offer { units: 0, seq: self.seq, ..offer };
            let message =
                OrderMessage::Offer(Signed { order: cancel, signature: self.signature, operator: None });
            let done = self.book.insert(message, key.0, NOW).unwrap();
            assert!(matches!(done, Inserted::Cancel { replaced: Some(replaced), .. } if replaced == digest));
        }
    }

    fn bid(&mut self, rare_from: u64) -> (Bid, Spec) {
        let dice = &mut self.dice;
        let mut texts = Vec::new();
        if dice.below(2) == 0 {
            texts.push(format!("region=r{}", dice.below(3)));
        }
        if dice.below(4) == 0 {
            texts.push(format!("rare=r{}", rare_from.saturating_sub(1) + dice.below(3)));
        }
        let unit = Resources {
            vcpus: 1 + dice.small(8),
            memory_mib: 100 * (1 + dice.small(28)),
            gpus: u32::from(dice.below(6) == 0),
            ..Resources::default()
        };
        let traits = Traits::new(texts).unwrap();
        let spec = Spec { unit, units: 1 + dice.small(3), traits, ..orders::spec() };
        let bid = Bid {
            buyer: maker(dice.below(MAKERS)),
            max_rate: 1 + dice.below(PRICES * 3),
            min_bond_seconds: 300 * dice.small(2),
            min_points: dice.below(2),
            duration: [300, 600, 900, 1_500][dice.small(4) as usize],
            valid_until: NOW + 600,
            salt: dice.below(1_000_000),
            ..orders::bid()
        };
        (bid, spec)
    }

    fn fits(&self, offer: &Offer, bid: &Bid, spec: &Spec) -> bool {
        let (provider, buyer) = (&self.makers[&offer.provider], &self.makers[&bid.buyer]);
        let context = MatchContext { now: NOW, provider, buyer, floor: FLOOR };
        first_miss(offer, bid, spec, &context).is_none()
    }

    /// Asks for the best offers, and compares; gives how many there were.
    fn compare(&mut self, rare_from: u64) -> usize {
        let (bid, spec) = self.bid(rare_from);
        let k = usize::try_from(1 + self.dice.below(40)).unwrap();
        let bid_digest = bid.digest(&domain());
        let mut fits: Vec<_> =
            self.live.values().filter(|(_, offer)| self.fits(offer, &bid, &spec)).collect();
        fits.sort_by_cached_key(|(digest, offer)| {
            let spread = keccak256([bid_digest.as_slice(), offer.provider.as_slice()].concat());
            (offer.price_per_second, Reverse(self.makers[&offer.provider].points), spread, *digest)
        });
        let expected: Vec<B256> = fits.iter().map(|(digest, _)| *digest).take(k).collect();
        let found = self.book.search(&bid, &spec, NOW, k);
        assert!(found.complete);
        assert_eq!(found.quotes.iter().map(|quote| quote.digest).collect::<Vec<_>>(), expected);
        expected.len()
    }
}

#[test]
fn blocks_split_and_merge_and_traits_come_and_go() {
    let mut market = Market::new(3);
    let mut answered = 0;
    for (round, cancelled) in (0..).zip([50, 95, 80, 99]) {
        // Each round has rare traits of its own; the older ones fade.
        let rare_from = round * 3;
        (0..4_500).for_each(|_| market.offer(rare_from));
        (0..40).for_each(|_| answered += usize::from(market.compare(rare_from) > 0));
        for number in 0..MAKERS {
            let free = [0, 1_500, 20_000, 100_000][market.dice.small(4) as usize];
            let points = market.dice.below(5);
            market.set_maker(number, free, points);
        }
        (0..40).for_each(|_| answered += usize::from(market.compare(rare_from) > 0));
        market.cancel_some(cancelled);
        (0..40).for_each(|_| answered += usize::from(market.compare(rare_from) > 0));
        (0..MAKERS).for_each(|number| market.set_maker(number, 100_000, number % 3));
        (0..20).for_each(|_| answered += usize::from(market.compare(rare_from) > 0));
        assert_eq!(market.book.offer_count(), market.live.len());
    }
    assert!(answered > 150, "only {answered} of the queries had an answer to compare");
    market.book.expire(NOW + 5_000);
    assert_eq!((market.book.offer_count(), market.book.digest()), (0, B256::ZERO));
}

/// Takes in the same offers in another order.
#[test]
fn the_digest_of_a_book_does_not_depend_on_the_order_of_arrival() {
    let signature = signed(orders::bid()).signature;
    let offers: Vec<Offer> = (0..50)
        .map(|number| Offer { series: number, units: u32::try_from(number % 5).unwrap(), ..orders::offer() })
        .collect();
    let book = |offers: &mut dyn Iterator<Item = &Offer>| {
        let mut book = Book::new(domain(), roomy());
        book.set_maker(orders::offer().provider, Maker { free: 1_000_000, points: 0, epoch: 0 });
        for offer in offers {
            let message = OrderMessage::Offer(Signed { order: offer.clone(), signature, operator: None });
            book.insert(message, offer.provider, 1_000).unwrap();
        }
        book.digest()
    };
    let digest = book(&mut offers.iter());
    assert_eq!(digest, book(&mut offers.iter().rev()));
    assert_ne!(digest, book(&mut offers.iter().skip(1)));
    assert_ne!(digest, B256::ZERO);
}
