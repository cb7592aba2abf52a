//! Any interleaving of asks, settlements, ends, reorganisations and crashes: never oversold, never leaked.
//!
//! Real are the commitments, the decisions and the store (a `redb` file that is dropped and opened again).
//! Fakes are the chain (a stack of blocks, each the balances and leases of [`Fake`] after it), the clock (a
//! number) and the machines (a set of names): they play by the contract's and the adapter's rules and do
//! nothing else.

mod bids;
mod cases;
mod events;
mod fake_chain;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use proptest::prelude::*;
use sublet_adapter::InstanceState;
use sublet_base::phase::ProviderPhase;
use sublet_market::LeaseState;
use sublet_market::{Resources, lease::Params};
use sublet_store::{ChainLease, LeaseEnd, Promise, Purchase, Store};

use self::{
    events::{Event, events},
    fake_chain::{Block, Fake, Short},
};
use super::{Commitments, LockedTrades, Want, free};
use crate::{
    provider::decide::{Facts, Step, Worth, decide},
    reservations::Reservations,
    samples,
};

const PARAMS: Params = Params { fee_bps: 100, hold: 60, notice: 5, half_life_days: 90 };
const UNIT: Resources =
    Resources { vcpus: 1, memory_mib: 256, disk_gib: 1, gpus: 0, disk_iops: 0, net_mbps: 0 };
/// Four units, of which each of two offers wants to sell three.
const CAPACITY: Resources =
    Resources { vcpus: 4, memory_mib: 1_024, disk_gib: 4, gpus: 0, disk_iops: 0, net_mbps: 0 };
const OFFERED: u32 = 3;
const RATE: u64 = 10;
const BOND_SECONDS: u32 = 10;
const BOND: u128 = RATE as u128 * BOND_SECONDS as u128;
/// The bonds of less than what the capacity would take.
const OUR_FUNDS: u128 = 3 * BOND;
const BUYERS: u8 = 3;
/// What three units cost: with four to be had, it is less than what a buyer can ask for.
const BUYER_FUNDS: u128 = 3 * RATE as u128 * DURATION as u128;
const DURATION: u64 = 600;
const ACTIVATE_WITHIN: u64 = 60;
const SETTLE_WITHIN: u64 = 40;
const BACKOFF: u64 = 30;
/// Blocks that a settlement must be deep before it counts.
const CONFIRMATIONS: usize = 2;

/// An ask between what it has read of the chain and its turn.
struct Waiting {
    series: u64,
    units: u32,
    locked: LockedTrades,
    our_free: u128,
    archived: usize,
    buyer: Address,
    buyer_free: u128,
}

struct World {
    dir: tempfile::TempDir,
    store: Option<Store>,
    chain: Fake,
    machines: BTreeSet<B256>,
    watched_until: u64,
    waiting: Vec<Waiting>,
    asked: u64,
    /// All that was ever signed.
    signed: Vec<Promise>,
    /// All bids of our own.
    bids: Vec<Purchase>,
    /// How many trades were put away.
    archived: usize,
    /// What an end gave back to a buyer, and was promised anew, may have been taken from it again.
    reorganised: bool,
}

impl World {
    fn new() -> Self {
        // In memory where that is possible: what is tested is not the disk.
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let store = Some(Store::open(&dir.path().join("db")).unwrap());
        let first =
            Block { time: 1_000_000, our_free: OUR_FUNDS, escrows: BTreeMap::new(), leases: BTreeMap::new() };
        Self {
            dir,
            store,
            chain: Fake(vec![first; CONFIRMATIONS + 1]),
            machines: BTreeSet::new(),
            watched_until: 0,
            waiting: Vec::new(),
            asked: 0,
            signed: Vec::new(),
            bids: Vec::new(),
            archived: 0,
            reorganised: false,
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn commitments(&self) -> Commitments {
        Commitments::read(self.store()).unwrap()
    }

    /// What machines take that no promise holds capacity for, as the engine counts it.
    fn unexplained(&self, commitments: &Commitments) -> Resources {
        let machines = self.machines.iter().filter(|id| !commitments.explains(**id));
        machines.fold(Resources::default(), |sum, id| sum.checked_add(&self.total_of(*id)).unwrap())
    }

    fn total_of(&self, id: B256) -> Resources {
        self.signed.iter().find(|promise| promise.id == id).unwrap().resources()
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Ask { units, series, buyer } => {
                let buyer = Address::with_last_byte(buyer);
                let (locked, our_free) = self.ask_the_chain();
                let buyer_free = self.chain.head().free_of(buyer);
                let archived = self.archived;
                self.waiting.push(Waiting { series, units, locked, our_free, archived, buyer, buyer_free });
            }
            Event::Answer => self.answer(),
            Event::Settle(at) => {
                if let Some(promise) = self.signed.get(at % self.signed.len().max(1)).cloned() {
                    let short = self.chain.settle(&promise).err();
                    let excused = short.is_none() || (short == Some(Short::Buyer) && self.reorganised);
                    assert!(excused, "an accept that the free balances do not cover: {short:?}");
                }
            }
            Event::End(at) => {
                if let Some(promise) = self.signed.get(at % self.signed.len().max(1)) {
                    self.chain.end(promise);
                }
            }
            Event::GiveUp(at) => {
                if let Some(promise) = self.signed.get(at % self.signed.len().max(1)) {
                    let noted = self.store().update::<Promise>(promise.id.as_slice(), |p| p.closing = true);
                    noted.unwrap();
                }
            }
            Event::Bid(units) => self.bid(units),
            Event::SettleBid(at) => self.settle_bid(at),
            Event::EndBid(at) => self.end_bid(at),
            Event::Blocks(count, seconds) => self.chain.blocks(count, seconds),
            Event::Reorg(depth) => {
                self.chain.reorg(depth);
                self.reorganised = true;
                self.watched_until = 0;
                for lease in self.store().all::<ChainLease>().unwrap() {
                    self.refresh(lease.id);
                }
            }
            Event::Read => self.read(),
            Event::Pass => self.pass(None),
            Event::HalfPass(only) => self.pass(Some(only)),
            Event::Crash => {
                self.store = None;
                self.store = Some(Store::open(&self.dir.path().join("db")).unwrap());
                self.waiting.clear();
                self.watched_until = 0;
            }
        }
    }

    /// What is locked, and what is free then.
    fn ask_the_chain(&mut self) -> (LockedTrades, u128) {
        let mut locked = self.reserved().locked();
        let our_free = self.chain.head().our_free;
        locked.ids().into_iter().for_each(|id| locked.see(id, self.chain.view(id).state));
        (locked, our_free)
    }

    fn reserved(&self) -> Reservations {
        Reservations::read(self.store()).unwrap()
    }

    fn answer(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let Waiting { series, units, locked, our_free, archived, buyer, buyer_free } = self.waiting.remove(0);
        if self.archived != archived {
            return;
        }
        let commitments = self.commitments();
        let mut promise = self.promise(series, units, buyer);
        let want = Want { buyer, budget: promise.bid.order.budget(), bond: promise.accept.order.bond() };
        let fits = free(CAPACITY, &commitments, &self.unexplained(&commitments)).covers(&promise.resources())
            && OFFERED.saturating_sub(commitments.units_held(series)) >= units;
        let our_left = our_free.saturating_sub(self.reserved().total(&locked));
        if !fits || commitments.check_money(&locked, &want, buyer_free, our_left).is_err() {
            return;
        }
        self.asked += 1;
        promise.id = B256::from(alloy_primitives::U256::from(self.asked));
        self.store().put(&promise).unwrap();
        self.signed.push(promise);
    }

    fn promise(&self, series: u64, units: u32, buyer: Address) -> Promise {
        let mut promise = samples::promise(ProviderPhase::Held);
        promise.series = series;
        promise.offer.order.unit = UNIT;
        promise.spec.units = units;
        promise.bid.order.buyer = buyer;
        promise.bid.order.max_rate = RATE * u64::from(units);
        promise.bid.order.duration = u32::try_from(DURATION).unwrap();
        promise.accept.order.rate = RATE * u64::from(units);
        promise.accept.order.bond_seconds = BOND_SECONDS;
        promise.accept.order.settle_by = self.chain.now() + SETTLE_WITHIN;
        promise
    }

    /// As the follower does: events of what is deep enough, states of the head.
    fn read(&mut self) {
        let confirmed = self.chain.confirmed().clone();
        for (id, view) in &confirmed.leases {
            if self.store().find::<ChainLease>(id.as_slice()).unwrap().is_none() {
                let view = self.chain.view(*id);
                let lease = ChainLease { id: *id, view, changed_at: None, events: Vec::new(), end: None };
                self.store().put(&lease).unwrap();
            }
            let end = (view.state == LeaseState::Ended)
                .then_some(LeaseEnd { reason: sublet_market::EndReason::Closed, at: confirmed.time });
            self.store().update::<ChainLease>(id.as_slice(), |lease| lease.end = end).unwrap();
            self.refresh(*id);
        }
        self.watched_until = confirmed.time;
    }

    fn refresh(&self, id: B256) {
        let view = self.chain.view(id);
        self.store().update::<ChainLease>(id.as_slice(), |lease| lease.view = view).unwrap();
    }

    fn pass(&mut self, only: Option<usize>) {
        for (at, promise) in self.store().all::<Promise>().unwrap().into_iter().enumerate() {
            if only.is_none_or(|only| only == at) {
                let step = self.next(&promise);
                self.take(step, &promise);
            }
        }
        self.close_bids();
    }

    fn next(&self, promise: &Promise) -> Step {
        let lease = self.store().get::<ChainLease>(promise.id.as_slice()).unwrap();
        decide(&Facts {
            promise,
            lease: lease.as_ref().map(|lease| &lease.view),
            instance: self.machines.contains(&promise.id).then_some(&InstanceState::Running),
            now: self.chain.now(),
            watched_until: self.watched_until,
            offline: false,
            params: &PARAMS,
            ended: lease.as_ref().is_some_and(|lease| lease.end.is_some()),
            worth: Worth { seconds: u64::MAX, amount: 0 },
            backoff: BACKOFF,
        })
    }

    fn take(&mut self, step: Step, promise: &Promise) {
        let id = promise.id;
        let change = |change: fn(&mut Promise)| {
            self.store().update::<Promise>(id.as_slice(), change).unwrap();
        };
        match step {
            Step::Wait | Step::Claim | Step::Pause => {}
            Step::Lapse => change(|p| p.phase = ProviderPhase::Lapsed),
            Step::NoteLeased => change(|p| p.phase = ProviderPhase::Leased),
            Step::Provision => {
                change(|p| p.instance = Some("a machine".into()));
                self.machines.insert(id);
            }
            Step::Activate => self.chain.activate(id),
            Step::Abort | Step::Finish | Step::GiveUp => self.chain.end(promise),
            Step::Remove => {
                self.machines.remove(&id);
            }
            Step::Conclude => {
                change(|p| p.phase = ProviderPhase::Done);
                self.archived += 1;
                self.store().archive::<Promise>(id.as_slice()).unwrap();
                self.store().archive::<ChainLease>(id.as_slice()).unwrap();
            }
            Step::Retire => self.store().archive::<Promise>(id.as_slice()).unwrap(),
        }
        self.refresh(id);
    }

    fn check(&self) {
        let commitments = self.commitments();
        let held = commitments.held().unwrap().checked_add(&self.unexplained(&commitments)).unwrap();
        assert!(CAPACITY.covers(&held), "oversold: {held:?} of {CAPACITY:?}");
        for series in 0..2 {
            assert!(commitments.units_held(series) <= OFFERED, "series {series} is oversold");
        }
        let head = self.chain.0.last().unwrap();
        let open = self.signed.iter().filter(|promise| {
            promise.accept.order.settle_by >= head.time && !head.leases.contains_key(&promise.id)
        });
        let bonds: u128 = open.map(|promise| promise.accept.order.bond()).sum();
        let budgets = self.budgets();
        let free = head.our_free;
        assert!(
            bonds + budgets <= free,
            "bonds of {bonds} and budgets of {budgets} are promised, {free} is free"
        );
    }

    /// Everything ends, and everything is free again.
    fn wind_up(&mut self) {
        for promise in self.signed.clone() {
            self.chain.end(&promise);
        }
        self.bids.iter().for_each(|bid| self.chain.end_bid(bid.id));
        for _ in 0..40 {
            self.happen(&Event::Blocks(2, 15));
            self.happen(&Event::Read);
            self.happen(&Event::Pass);
            self.check();
        }
        assert!(self.machines.is_empty(), "machines are left: {:?}", self.machines);
        let open = self.store().all::<Promise>().unwrap();
        assert!(open.is_empty(), "promises are left: {open:#?}");
        let commitments = self.commitments();
        assert_eq!(
            free(CAPACITY, &commitments, &self.unexplained(&commitments)),
            CAPACITY,
            "capacity has leaked"
        );
        assert!(self.store().all::<Purchase>().unwrap().is_empty(), "bids are left");
        assert_eq!(self.reserved().total(&self.reserved().locked()), 0);
        assert_eq!(self.chain.head().our_free + self.spent(), OUR_FUNDS);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn never_oversold_never_leaked(events in prop::collection::vec(events(), 10..80)) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
            world.check();
        }
        world.wind_up();
    }
}

/// The generator reaches what the property is about: otherwise it would hold for nothing.
#[test]
fn trades_come_about() {
    let mut world = World::new();
    let (ask, blocks) = (Event::Ask { units: 2, series: 0, buyer: 0 }, Event::Blocks(3, 2));
    for event in [ask.clone(), ask, Event::Answer, Event::Answer, Event::Settle(0), blocks, Event::Read] {
        world.happen(&event);
    }
    assert_eq!(world.signed.len(), 1, "the second finds one unit of this series");
    for _ in 0..3 {
        world.happen(&Event::Pass);
    }
    assert_eq!(world.machines.len(), 1);
    assert_eq!(world.chain.view(world.signed[0].id).state, LeaseState::Active);
    world.check();
    world.wind_up();
}
