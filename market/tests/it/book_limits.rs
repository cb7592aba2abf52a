//! A book that is full and makers who have their fill, most of the time: who is refused, who gives way and to
//! whom, what is forgotten and who, against a list; and the counters say it.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{TestCaseResult, TestRunner};
use sublet_market::{
    Bid, Book, BookLimits, Counters, Ignored, Maker, Offer, Order, OrderMessage, OrderSignature, Signed, Spec,
};

use crate::book_steps::{PARTIES, party};
use crate::orders;
use crate::strategies::{domain, signed};

const FLOOR: u128 = 1_000;
const LIMITS: BookLimits =
    BookLimits { floor: FLOOR, max_orders: 6, base_orders_per_maker: 1, max_orders_per_maker: 4 };
const START: u64 = 1_000_000;
const MOST_STEPS: usize = 80;
/// So that in all steps together nothing is remembered for so long that it may be forgotten.
const MOST_SECONDS: u64 = 40;

/// Times are relative to the present.
#[derive(Clone, Debug)]
enum Step {
    Offer(Offer),
    Bid(Bid),
    Maker(u8, u128),
    Own(u8),
    /// Only this maker is wanted.
    Retain(u8),
    Remove(Index),
    Wait(u64),
    Expire,
}

fn offer() -> impl Strategy<Value = Offer> {
    (0..PARTIES, 0..6_u64, 0..4_u64, 0..4_u32, 1..4_u64, select(vec![0, 600]), 0..150_u64).prop_map(
        |(provider, series, seq, units, price_per_second, bond_seconds, valid_until)| Offer {
            provider: party(provider),
            series,
            seq,
            units,
            price_per_second,
            bond_seconds,
            valid_until,
            ..orders::offer()
        },
    )
}

fn bid() -> impl Strategy<Value = Bid> {
    (0..PARTIES, 1..4_u64, select(vec![300, 600]), 0..4_u64, 0..150_u64).prop_map(
        |(buyer, max_rate, duration, salt, valid_until)| Bid {
            buyer: party(buyer),
            max_rate,
            duration,
            salt,
            valid_until,
            ..orders::bid()
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let free = prop_oneof![1 => 0..FLOOR, 6 => FLOOR..6 * FLOOR, 1 => Just(1 << 70)];
    prop_oneof![
        24 => offer().prop_map(Step::Offer),
        16 => bid().prop_map(Step::Bid),
        8 => (0..PARTIES, free).prop_map(|(who, free)| Step::Maker(who, free)),
        2 => (0..PARTIES).prop_map(Step::Own),
        4 => (0..=PARTIES).prop_map(Step::Retain),
        1 => any::<Index>().prop_map(Step::Remove),
        4 => (0..=MOST_SECONDS).prop_map(Step::Wait),
        1 => Just(Step::Expire),
    ]
}

#[derive(Clone, Copy)]
enum Kind {
    Offers,
    Bids,
}

/// The maker and the last second of every live order: of offers, and of bids.
type Live = [BTreeMap<B256, (Address, u64)>; 2];

/// Orders, and floors of balance behind them.
type Crowding = (u128, u128);

/// Whose orders have less behind them: none has less than those with no floor at all, the more there are the less.
fn more_crowded(one: Crowding, other: Crowding) -> Ordering {
    match (one.1, other.1) {
        (0, 0) => one.0.cmp(&other.0),
        _ => (one.0 * other.1).cmp(&(other.0 * one.1)),
    }
}

/// What happened, so that it can be seen that it does.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    counters: Counters,
    /// Orders refused because their maker has its fill.
    quota: u64,
    /// Makers forgotten.
    makers: u64,
    /// Orders of others that gave way although ours had less behind them.
    spared: u64,
}

struct Small {
    book: Book,
    signature: OrderSignature,
    now: u64,
    makers: BTreeMap<Address, Maker>,
    /// Makers who were not wanted the last time.
    idle: BTreeSet<Address>,
    own: BTreeSet<Address>,
    /// `seq` and digest of the newest version of every series that is remembered.
    series: BTreeMap<(Address, u64), (u64, B256)>,
    /// As [`Small::live`] saw it after the last step.
    live: Live,
    seen: Seen,
}

impl Small {
    fn new() -> Self {
        let mut small = Self {
            book: Book::new(domain(), LIMITS),
            signature: signed(orders::bid()).signature,
            now: START,
            makers: BTreeMap::new(),
            idle: BTreeSet::new(),
            own: BTreeSet::new(),
            series: BTreeMap::new(),
            live: Live::default(),
            seen: Seen::default(),
        };
        (0..PARTIES - 1).for_each(|who| small.set_maker(party(who), FLOOR * u128::from(who + 1)));
        small
    }

    fn set_maker(&mut self, address: Address, free: u128) {
        let maker = Maker { free, points: 0, epoch: 0 };
        self.book.set_maker(address, maker);
        self.makers.insert(address, maker);
        self.idle.remove(&address);
    }

    /// A copy of the book in which all makers are rich, so that everything live counts.
    fn rich(&self) -> Book {
        let mut book = self.book.clone();
        for maker in self.makers.keys().copied().chain([party(PARTIES)]) {
            book.set_maker(maker, Maker { free: 1 << 90, points: 0, epoch: 0 });
        }
        book
    }

    /// What is live, covered or not.
    fn live(&self) -> Live {
        let book = self.rich();
        let offers = book.offers().map(|(digest, offer)| (digest, offer.order));
        let bids = book.bids().map(|entry| (entry.digest, &entry.bid.order));
        [
            offers.map(|(digest, offer)| (digest, (offer.provider, offer.valid_until))).collect(),
            bids.map(|(digest, bid)| (digest, (bid.buyer, bid.valid_until))).collect(),
        ]
    }

    fn expire(&self, live: &mut Live) {
        live.iter_mut().for_each(|live| live.retain(|_, (_, until)| self.now <= *until));
    }

    fn check_quota(&mut self, maker: Address, count: usize) -> Result<(), Ignored> {
        let earned = usize::try_from(self.makers[&maker].free / FLOOR).unwrap_or(usize::MAX);
        if count < earned.saturating_add(LIMITS.base_orders_per_maker).min(LIMITS.max_orders_per_maker) {
            return Ok(());
        }
        self.seen.quota += 1;
        Err(Ignored::Quota)
    }

    /// Makes room for one more order of a maker; gives those of which one has to go.
    fn make_room(&mut self, maker: Address, kind: Kind, live: &mut Live) -> Result<BTreeSet<B256>, Ignored> {
        let full = |live: &Live| live[kind as usize].len() >= LIMITS.max_orders;
        if full(live) {
            self.expire(live);
        }
        if !full(live) {
            return Ok(BTreeSet::new());
        }
        let live = &live[kind as usize];
        let of = |maker: Address| live.iter().filter(move |(_, (of, _))| *of == maker);
        let crowding = |maker: Address, more: usize| -> Crowding {
            (u128::try_from(of(maker).count() + more).unwrap(), self.makers[&maker].free / FLOOR)
        };
        let mut all: Vec<Address> =
            self.makers.keys().copied().filter(|maker| of(*maker).count() > 0).collect();
        all.sort_by(|one, other| more_crowded(crowding(*one, 0), crowding(*other, 0)).reverse());
        let others: Vec<Address> = all.iter().copied().filter(|other| !self.own.contains(other)).collect();
        let most = others.first().map(|most| crowding(*most, 0)).filter(|most| {
            self.own.contains(&maker) || more_crowded(crowding(maker, 1), *most) == Ordering::Less
        });
        let Some(most) = most else {
            self.seen.counters.refused_full += 1;
            return Err(Ignored::Full);
        };
        let equal = others.iter().filter(|other| more_crowded(crowding(**other, 0), most) == Ordering::Equal);
        let soonest = |maker: &Address| of(*maker).min_by_key(|(digest, (_, until))| (*until, **digest));
        let candidates = equal.filter_map(soonest).map(|(digest, _)| *digest).collect();
        self.seen.spared += u64::from(more_crowded(crowding(all[0], 0), most) == Ordering::Greater);
        match kind {
            Kind::Offers => self.seen.counters.evicted_offers += 1,
            Kind::Bids => self.seen.counters.evicted_bids += 1,
        }
        Ok(candidates)
    }

    fn judge_offer(
        &mut self,
        offer: &Offer,
        digest: B256,
        live: &mut Live,
    ) -> Result<BTreeSet<B256>, Ignored> {
        let known = self.series.get(&(offer.provider, offer.series)).copied();
        if known.is_some_and(|(_, known)| known == digest) {
            return Err(Ignored::Known);
        }
        let maker = *self.makers.get(&offer.provider).ok_or(Ignored::UnknownMaker)?;
        if known.is_some_and(|known| known > (offer.seq, digest)) {
            return Err(Ignored::Superseded);
        }
        if known.is_none() {
            let bond = u128::from(offer.price_per_second) * u128::from(offer.bond_seconds);
            if maker.free < bond.max(FLOOR) {
                return Err(Ignored::Unfunded);
            }
            let count = self.series.keys().filter(|(of, _)| *of == offer.provider).count();
            self.check_quota(offer.provider, count)?;
        }
        let renews = known.is_some_and(|(_, known)| live[0].contains_key(&known));
        if renews || offer.units == 0 {
            return Ok(BTreeSet::new());
        }
        self.make_room(offer.provider, Kind::Offers, live)
    }

    fn judge_bid(&mut self, bid: &Bid, digest: B256, live: &mut Live) -> Result<BTreeSet<B256>, Ignored> {
        if self.book.contains(&digest) {
            return Err(Ignored::Known);
        }
        let maker = *self.makers.get(&bid.buyer).ok_or(Ignored::UnknownMaker)?;
        if maker.free < (u128::from(bid.max_rate) * u128::from(bid.duration)).max(FLOOR) {
            return Err(Ignored::Unfunded);
        }
        let count = live[1].values().filter(|(of, _)| *of == bid.buyer).count();
        self.check_quota(bid.buyer, count)?;
        self.make_room(bid.buyer, Kind::Bids, live)
    }

    fn offer(&mut self, offer: Offer, before: &Live) -> TestCaseResult {
        let (digest, key) = (offer.digest(&domain()), (offer.provider, offer.series));
        let mut live = before.clone();
        let judged = self.judge_offer(&offer, digest, &mut live);
        let (order, signature) = (offer.clone(), self.signature);
        let message = OrderMessage::Offer(Signed { order, signature, operator: None });
        let found = self.book.insert(message, offer.provider, self.now);
        prop_assert_eq!(found.map(drop), judged.clone().map(drop));
        let mut unseen = false;
        if judged.is_ok() {
            let old = self.series.insert(key, (offer.seq, digest)).map(|(_, old)| old);
            // An ended version may have been forgotten for what expired, just before it was renewed.
            unseen = live != *before && old.is_some_and(|old| !before[0].contains_key(&old));
            live[0].retain(|digest, _| old != Some(*digest));
            if offer.units > 0 {
                live[0].insert(digest, (offer.provider, offer.valid_until));
            }
        }
        self.compare(live, &judged.unwrap_or_default(), unseen && !self.own.contains(&offer.provider))
    }

    fn bid(&mut self, bid: Bid, mut live: Live) -> TestCaseResult {
        let digest = bid.digest(&domain());
        let judged = self.judge_bid(&bid, digest, &mut live);
        let signed = Signed { order: bid.clone(), signature: self.signature, operator: None };
        let message = OrderMessage::Bid { bid: signed, spec: orders::spec() };
        let found = self.book.insert(message, bid.buyer, self.now);
        prop_assert_eq!(found.map(drop), judged.clone().map(drop));
        if judged.is_ok() {
            live[1].insert(digest, (bid.buyer, bid.valid_until));
        }
        self.compare(live, &judged.unwrap_or_default(), false)
    }

    fn retain(&mut self, kept: Address, live: &Live) {
        self.book.retain_makers(|maker| *maker == kept);
        let bids = live[1].values().map(|(of, _)| *of);
        let busy: BTreeSet<Address> = self.series.keys().map(|(of, _)| *of).chain(bids).collect();
        let wanted = |maker: &Address| *maker == kept || busy.contains(maker);
        let others: BTreeSet<Address> = self.makers.keys().copied().filter(|maker| !wanted(maker)).collect();
        for gone in others.intersection(&self.idle) {
            self.makers.remove(gone);
            self.seen.makers += 1;
        }
        self.idle = others;
    }

    fn take(&mut self, step: Step) -> TestCaseResult {
        let now = self.now;
        let mut live = self.live.clone();
        match step {
            Step::Offer(offer) => {
                return self.offer(Offer { valid_until: now + offer.valid_until, ..offer }, &live);
            }
            Step::Bid(bid) => return self.bid(Bid { valid_until: now + bid.valid_until, ..bid }, live),
            Step::Maker(who, free) => self.set_maker(party(who), free),
            Step::Own(who) => {
                self.book.set_own(party(who));
                self.own.insert(party(who));
            }
            Step::Retain(who) => self.retain(party(who), &live),
            Step::Remove(index) => {
                let bids: Vec<B256> = live[1].keys().copied().collect();
                if !bids.is_empty() {
                    prop_assert!(self.book.remove_bid(*index.get(&bids)));
                    live[1].remove(index.get(&bids));
                }
            }
            Step::Wait(seconds) => self.now += seconds,
            Step::Expire => {
                let count = live[0].len() + live[1].len();
                self.expire(&mut live);
                prop_assert_eq!(self.book.expire(now), count - live[0].len() - live[1].len());
            }
        }
        self.compare(live, &BTreeSet::new(), false)
    }

    /// What is live is what should be, but for one of those of which one has to go.
    fn compare(&mut self, mut live: Live, candidates: &BTreeSet<B256>, unseen: bool) -> TestCaseResult {
        let found = self.live();
        if !candidates.is_empty() {
            self.compare_answers(&found[0])?;
            let gone: Vec<B256> =
                candidates.iter().copied().filter(|one| found.iter().all(|f| !f.contains_key(one))).collect();
            prop_assert_eq!(gone.len(), 1, "one of {:?} gives way", candidates);
            live.iter_mut().for_each(|live| live.retain(|digest, _| *digest != gone[0]));
        }
        prop_assert_eq!(&found, &live);
        self.live = live;
        prop_assert!(found.iter().all(|found| found.len() <= LIMITS.max_orders));
        self.compare_memory(&found[0], unseen)?;
        prop_assert_eq!(self.book.counters(), self.seen.counters);
        let makers: BTreeMap<Address, Maker> = self.book.makers().map(|(of, maker)| (*of, *maker)).collect();
        prop_assert_eq!(&makers, &self.makers);
        Ok(())
    }

    /// What gave way is still remembered, and no answer to anybody.
    fn compare_answers(&self, live: &BTreeMap<B256, (Address, u64)>) -> TestCaseResult {
        let (book, spec) = (self.rich(), Spec { units: 1, ..orders::spec() });
        let bid = Bid {
            buyer: party(PARTIES),
            max_rate: 1_000,
            min_bond_seconds: 0,
            duration: 600,
            valid_until: u64::MAX,
            ..orders::bid()
        };
        for maker in self.makers.keys() {
            let found = book.search_of(*maker, &bid, &spec, self.now, usize::MAX).quotes;
            let found: BTreeSet<B256> = found.iter().map(|quote| quote.digest).collect();
            let there = live.iter().filter(|(_, (of, until))| of == maker && self.now <= *until);
            prop_assert_eq!(found, there.map(|(digest, _)| *digest).collect());
        }
        Ok(())
    }

    /// Of series that have ended no more are remembered than there may be live ones, but for ours, which all are.
    fn compare_memory(&mut self, live: &BTreeMap<B256, (Address, u64)>, unseen: bool) -> TestCaseResult {
        let count = self.series.len();
        let (book, own) = (&self.book, &self.own);
        self.series.retain(|(of, _), (_, digest)| book.contains(digest) || own.contains(of));
        prop_assert!(self.series.values().all(|(_, digest)| book.contains(digest)), "ours are not forgotten");
        let forgotten = u64::try_from(count - self.series.len()).unwrap() + self.seen.counters.forgotten;
        let told = book.counters().forgotten;
        prop_assert!(told == forgotten || (unseen && told == forgotten + 1), "{told} and not {forgotten}");
        let past = self.series.iter().filter(|(_, (_, digest))| !live.contains_key(digest));
        let (ours, others): (Vec<_>, Vec<_>) = past.partition(|((of, _), _)| own.contains(of));
        let past = ours.len() + others.len();
        prop_assert!(past <= LIMITS.max_orders || others.is_empty(), "{past} are remembered");
        // An older version of what has just come in may have been one of them.
        prop_assert!(told == self.seen.counters.forgotten || past + 1 >= LIMITS.max_orders, "in vain");
        self.seen.counters.forgotten = told;
        Ok(())
    }
}

#[test]
fn a_full_book_refuses_evicts_and_forgets_whom_it_should() {
    let mut runner =
        TestRunner::new(ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(96) });
    let all = Cell::new(Seen::default());
    let run = |steps: Vec<Step>| -> TestCaseResult {
        let mut small = Small::new();
        steps.into_iter().try_for_each(|step| small.take(step))?;
        let (seen, mut sum) = (small.seen, all.get());
        sum.counters.evicted_offers += seen.counters.evicted_offers;
        sum.counters.evicted_bids += seen.counters.evicted_bids;
        sum.counters.refused_full += seen.counters.refused_full;
        sum.counters.forgotten += seen.counters.forgotten;
        (sum.quota, sum.makers) = (sum.quota + seen.quota, sum.makers + seen.makers);
        sum.spared += seen.spared;
        all.set(sum);
        Ok(())
    };
    runner.run(&vec(step(), 1..MOST_STEPS), run).unwrap_or_else(|error| panic!("{error}"));
    println!("{:?}", all.get());
    let Seen { counters, quota, makers, spared } = all.get();
    let Counters { evicted_offers, evicted_bids, refused_full, forgotten } = counters;
    let least =
        [evicted_offers, evicted_bids, refused_full, forgotten, quota, makers, spared].into_iter().min();
    assert!(least >= Some(5), "too little happened: {:?}", all.get());
}
