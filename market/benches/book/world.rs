//! A market as it might be: a few hundred kinds of machine, three thousand sets of traits, thousands of
//! makers, prices as they come.

use alloy_primitives::{Address, B256, U256};
use sublet_market::{
    Bid, Book, BookLimits, Domain, Maker, Offer, OrderKey, OrderMessage, OrderSignature, Resources, Signed,
    Spec, Traits,
};

pub(crate) const NOW: u64 = 1_000_000;
pub(crate) const CTK: u128 = 1_000_000_000_000_000_000;
const SHAPES: usize = 300;
const TRAIT_SETS: usize = 3_000;
pub(crate) const MAKERS: u64 = 5_000;

pub(crate) fn domain() -> Domain {
    Domain { chain_id: 1, market: Address::repeat_byte(1), salt: B256::repeat_byte(2) }
}

/// SplitMix64: the same market in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn small(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(bound.into())).unwrap()
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of them; the first ones come up more often.
    fn skewed<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let bound = 1 + self.below(list.len() as u64);
        &list[usize::try_from(self.below(bound)).unwrap()]
    }

    fn one<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

pub(crate) struct World {
    shapes: Vec<Resources>,
    gpu_shapes: Vec<Resources>,
    traits: Vec<Vec<String>>,
    gpu_traits: Vec<Vec<String>>,
    pub(crate) signature: OrderSignature,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut dice = Dice::new(1);
        let shapes = (0..SHAPES - 40).map(|_| shape(&mut dice, false)).collect();
        let gpu_shapes = (0..40).map(|_| shape(&mut dice, true)).collect();
        let traits = (0..TRAIT_SETS - 400).map(|_| trait_set(&mut dice, false)).collect();
        let gpu_traits = (0..400).map(|_| trait_set(&mut dice, true)).collect();
        let key = OrderKey::from_bytes(&[7; 32]).unwrap();
        let signature = key.sign(sample(), &domain()).signature;
        Self { shapes, gpu_shapes, traits, gpu_traits, signature }
    }

    pub(crate) fn offer(&self, number: u64) -> Offer {
        let mut dice = Dice::new(number << 8 | 2);
        let gpu = dice.percent(5);
        let (shapes, sets) =
            if gpu { (&self.gpu_shapes, &self.gpu_traits) } else { (&self.shapes, &self.traits) };
        let unit = *dice.skewed(shapes);
        let texts = dice.skewed(sets);
        let min_duration = *dice.skewed(&[300, 600, 3_600, 86_400]);
        Offer {
            provider: maker(dice.below(MAKERS)),
            node: B256::from(U256::from(dice.roll() | 1)),
            unit,
            units: *dice.skewed(&[1, 2, 4, 8, 16, 3, 32, 5, 12, 64]),
            price_per_second: price(&unit) / 1_000 * (500 + dice.below(2_000)) + dice.below(1_000_000),
            bond_seconds: *dice.one(&[600, 3_600, 0, 86_400, 300]),
            min_duration,
            max_duration: min_duration.max(*dice.skewed(&[2_592_000, 31_622_400, 604_800, 86_400, 7_200])),
            activate_within: 120,
            burn: false,
            traits: Traits::new(texts.iter().map(String::as_str)).unwrap(),
            series: number,
            seq: 1,
            valid_until: NOW + 600 + dice.below(3_000),
        }
    }

    pub(crate) fn signed(&self, offer: Offer) -> OrderMessage {
        OrderMessage::Offer(Signed { order: offer, signature: self.signature, operator: None })
    }

    pub(crate) fn signed_bid(&self, bid: Bid, spec: Spec) -> OrderMessage {
        OrderMessage::Bid { bid: Signed { order: bid, signature: self.signature, operator: None }, spec }
    }

    /// A book with makers and that many offers.
    pub(crate) fn book(&self, offers: u64) -> Book {
        let mut book = Book::new(domain(), limits());
        set_makers(&mut book);
        for number in 0..offers {
            let offer = self.offer(number);
            let provider = offer.provider;
            // A few are of makers that cannot fund them.
            let _ = book.insert(self.signed(offer), provider, NOW);
        }
        book
    }

    /// What buyers ask for: most want something usual, some something rare, and some pay less than anybody takes.
    pub(crate) fn bid(&self, number: u64) -> (Bid, Spec) {
        let mut dice = Dice::new(number << 8 | 3);
        let gpu = dice.percent(8);
        let (shapes, sets) =
            if gpu { (&self.gpu_shapes, &self.gpu_traits) } else { (&self.shapes, &self.traits) };
        let mut unit = *dice.skewed(shapes);
        if dice.percent(30) {
            unit.memory_mib = unit.memory_mib / 10 * 9;
            unit.disk_gib = unit.disk_gib / 10 * 7;
            unit.vcpus = unit.vcpus.div_ceil(2) + dice.small(unit.vcpus);
        }
        if dice.percent(70) {
            (unit.disk_iops, unit.net_mbps) = (0, 0);
        }
        let count = *dice.one(&[0_u64, 1, 1, 2, 2, 3, 5, 8]);
        let set = dice.one(sets);
        let mut texts: Vec<&str> = (0..count).map(|_| dice.one(set).as_str()).collect();
        let rare = format!("feature=f{}", dice.below(100));
        if dice.percent(5) {
            texts.push(&rare);
        }
        let units = *dice.one(&[1, 1, 1, 1, 2, 4, 8]);
        let generosity = if dice.percent(10) { 200 + dice.below(250) } else { 700 + dice.below(2_000) };
        let max_rate = price(&unit) / 1_000 * generosity * u64::from(units);
        let traits = Traits::new(texts).unwrap();
        let spec = Spec { unit, units, traits, manifest: B256::from(U256::from(number)) };
        (bid(&spec, max_rate, &mut dice), spec)
    }
}

pub(crate) fn bid(spec: &Spec, max_rate: u64, dice: &mut Dice) -> Bid {
    Bid {
        buyer: buyer(),
        settler: buyer(),
        spec: spec.hash_struct(),
        node: B256::repeat_byte(4),
        max_rate,
        min_bond_seconds: *dice.skewed(&[0, 300, 3_600]),
        min_points: *dice.skewed(&[0, 10, 1_000]),
        duration: *dice.skewed(&[3_600, 7_200, 86_400, 604_800]),
        valid_until: NOW + 600,
        epoch: 0,
        salt: dice.roll(),
    }
}

pub(crate) fn limits() -> BookLimits {
    BookLimits {
        floor: CTK,
        max_orders: 2_000_000,
        base_orders_per_maker: 100_000,
        max_orders_per_maker: 100_000,
    }
}

pub(crate) fn buyer() -> Address {
    Address::repeat_byte(0xbb)
}

pub(crate) fn maker(number: u64) -> Address {
    Address::from_word(B256::from(U256::from(number * 0x1_0000_0001 + 1_000)))
}

pub(crate) fn set_makers(book: &mut Book) {
    book.set_maker(buyer(), Maker { free: u128::MAX, points: 0, epoch: 0 });
    for number in 0..MAKERS {
        let mut dice = Dice::new(number << 8 | 4);
        let free = if dice.percent(3) { CTK } else { CTK * u128::from(1 + dice.below(1_000)) };
        let points = *dice.skewed(&[0, 50, 5_000, 100_000]) * dice.below(100);
        book.set_maker(maker(number), Maker { free, points, epoch: 0 });
    }
}

/// What such a machine costs on the average, in base units per second.
pub(crate) fn price(unit: &Resources) -> u64 {
    let (vcpus, memory, disk) = (u64::from(unit.vcpus), u64::from(unit.memory_mib), u64::from(unit.disk_gib));
    (vcpus * 1_000 + memory / 4 + disk * 5 + u64::from(unit.gpus) * 50_000) * 1_000_000_000
}

fn shape(dice: &mut Dice, gpu: bool) -> Resources {
    let vcpus = *dice.one(&[1, 2, 4, 8, 16, 32, 48, 64, 96, 128]);
    let memory_mib = vcpus * *dice.one(&[512, 1_024, 2_048, 3_584, 4_096, 8_192]);
    Resources {
        vcpus,
        memory_mib,
        disk_gib: *dice.one(&[10, 20, 25, 40, 50, 80, 100, 160, 200, 500, 1_000, 4_000]),
        gpus: if gpu { *dice.skewed(&[1, 2, 4, 8]) } else { 0 },
        disk_iops: *dice.one(&[0, 0, 1_000, 3_000, 16_000]),
        net_mbps: *dice.one(&[0, 100, 1_000, 10_000, 25_000]),
    }
}

fn trait_set(dice: &mut Dice, gpu: bool) -> Vec<String> {
    let regions: Vec<String> = (0..24).map(|i| format!("region={}-{i}", ["eu", "us", "ap"][i % 3])).collect();
    let mut texts = vec![
        dice.skewed(&regions).clone(),
        format!("arch={}", dice.skewed(&["x86_64", "aarch64"])),
        format!("accel={}", dice.skewed(&["kvm", "none"])),
        format!("cpu=model-{}", dice.small(30)),
        format!("storage={}", dice.skewed(&["nvme", "ssd", "hdd"])),
        format!("jurisdiction=j{}", dice.small(12)),
    ];
    let images = 1 + dice.below(4);
    texts.extend((0..images).map(|_| format!("image=debian-{}", dice.below(8))));
    if gpu {
        texts.push(format!("gpu=model-{}", dice.small(12)));
    }
    if dice.percent(3) {
        texts.push(format!("feature=f{}", dice.small(100)));
    }
    if dice.percent(20) {
        texts.push(format!("cert=c{}", dice.small(6)));
    }
    texts
}

fn sample() -> Offer {
    let unit = Resources { vcpus: 1, ..Resources::default() };
    Offer {
        provider: maker(0),
        node: B256::repeat_byte(3),
        unit,
        units: 1,
        price_per_second: 1,
        bond_seconds: 0,
        min_duration: 300,
        max_duration: 300,
        activate_within: 300,
        burn: false,
        traits: Traits::default(),
        series: 1,
        seq: 1,
        valid_until: NOW,
    }
}
