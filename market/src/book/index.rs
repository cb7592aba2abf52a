//! Orders by key, in blocks whose rows of bits tell which of them may fit.
//!
//! Prices follow sizes: the cheapest thousands of a book are small machines. So orders of a size have a lane
//! of their own (octaves of processors, with or without graphics), in which the blocks are sorted by their
//! keys. A walk goes over the blocks of the lanes that may fit in the order of their keys, takes the AND of
//! the rows that the query names, and shows the visitor what is left. It ends when no later key can matter
//! any more, or when its budget is spent. A trait that few orders have is a list of these orders and has no
//! rows: a walk for it looks at the list alone. Of a common trait the index also knows the blocks in which it
//! occurs, so that the others are passed over by one bit.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::block::{Block, Entry, SLOTS, ones};
use super::holders::{Holders, RARE, Rows, Wanted};
use super::levels::Measure;
use super::traitsets::TraitSets;

/// Octaves of processors, each with and without graphics processors.
const LANES: usize = 24;
/// Two neighbouring blocks become one when they have no more orders than this together.
const MERGED: usize = SLOTS / 2;
/// What looking at a block's rows costs, in tests of one order.
const BLOCK_TESTS: usize = 8;
/// Bits of a place's number within its block.
const SLOT_BITS: u32 = SLOTS.ilog2();
/// Where an order is that the index does not have.
const NOWHERE: u32 = u32::MAX;

/// What a walk looks for.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub(super) measure: Measure,
    /// Numbers of the traits that are wanted.
    pub(super) traits: &'a [u32],
}

/// How much work a walk may do, in tests of one order.
#[derive(Debug)]
pub(super) struct Budget(pub(super) usize);

impl Budget {
    #[inline]
    pub(super) fn spend(&mut self, tests: usize) -> bool {
        let enough = self.0 >= tests;
        self.0 = self.0.saturating_sub(tests);
        enough
    }
}

/// Who is shown the orders that may fit.
pub(super) trait Visitor {
    /// The greatest key that still matters.
    fn limit(&self) -> u64;
    /// One order that may fit. Within a block orders come in any order. Gives what it cost, in tests of one order.
    fn visit(&mut self, key: u64, id: u32) -> usize;
}

/// A block in its lane: nothing in it has a lower (key, number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stop {
    least: (u64, u32),
    block: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// The blocks of orders of one size, sorted. The first block of a lane takes whatever is lower.
    lanes: [Vec<Stop>; LANES],
    blocks: Vec<Block>,
    /// The highest levels of each block and its greatest size, side by side: most blocks without a match need
    /// no look at their rows.
    tops: Vec<Measure>,
    free: Vec<u32>,
    /// Block × 512 + place of each order.
    places: Vec<u32>,
    /// Who has each trait.
    holders: Vec<Holders>,
}

impl Index {
    /// Takes in an order that is not here.
    pub(super) fn insert(&mut self, entry: Entry, sets: &TraitSets) {
        let key = (entry.key, entry.id);
        let lane = lane_of(&entry.measure);
        if self.lanes[lane].is_empty() {
            self.add_block(lane, 0, key);
        }
        let mut at = self.rank(lane, &entry);
        if self.blocks[self.lanes[lane][at].block as usize].len() == SLOTS {
            self.split(lane, at, sets);
            at = self.rank(lane, &entry);
        }
        let stop = &mut self.lanes[lane][at];
        stop.least = key.min(stop.least);
        let block = stop.block;
        self.place(block, entry, sets);
        for id in sets.ids(entry.set) {
            self.hold(*id, entry.id);
        }
    }

    /// Takes out an order; gives whether it was here.
    pub(super) fn remove(&mut self, id: u32, sets: &TraitSets) -> bool {
        let Some((block, place)) = self.place_of(id) else { return false };
        let entry = *self.blocks[block as usize].entry(place);
        for id in sets.ids(entry.set) {
            self.unhold(*id, entry.id, block, place);
        }
        self.blocks[block as usize].take(place);
        self.note_top(block);
        self.places[id as usize] = NOWHERE;
        let lane = lane_of(&entry.measure);
        self.merge(lane, self.rank(lane, &entry), sets);
        true
    }

    /// Gives an order new levels; those of its size must be the same.
    pub(super) fn relevel(&mut self, id: u32, measure: Measure) {
        if let Some((block, place)) = self.place_of(id) {
            debug_assert_eq!(
                lane_of(&measure),
                lane_of(&self.blocks[block as usize].entry(place).measure),
                "an order stays in its lane"
            );
            self.blocks[block as usize].relevel(place, measure);
            self.note_top(block);
        }
    }

    /// Whether the order is here.
    pub(super) fn has(&self, id: u32) -> bool {
        self.place_of(id).is_some()
    }

    /// Shows the visitor the orders that may fit, lower keys first, block by block. Gives whether all were
    /// shown that matter.
    pub(super) fn walk(&self, filter: &Filter<'_>, budget: &mut Budget, visitor: &mut impl Visitor) -> bool {
        let holders: Vec<&Holders> =
            filter.traits.iter().filter_map(|id| self.holders.get(*id as usize)).collect();
        if holders.len() < filter.traits.len() {
            return true;
        }
        let few = holders.iter().filter_map(|holders| match holders {
            Holders::Few(list) => Some(list),
            Holders::Many { .. } => None,
        });
        match few.min_by_key(|list| list.len()) {
            Some(list) => self.walk_list(list, budget, visitor),
            None => self.walk_lanes(filter, &Wanted::new(&holders), budget, visitor),
        }
    }

    fn walk_list(&self, list: &[u32], budget: &mut Budget, visitor: &mut impl Visitor) -> bool {
        for id in list {
            let Some((block, place)) = self.place_of(*id) else { continue };
            let key = self.blocks[block as usize].entry(place).key;
            if key <= visitor.limit() && !budget.spend(visitor.visit(key, *id)) {
                return false;
            }
        }
        true
    }

    fn walk_lanes(
        &self,
        filter: &Filter<'_>,
        traits: &Wanted<'_>,
        budget: &mut Budget,
        visitor: &mut impl Visitor,
    ) -> bool {
        let may_fit = |stop: &Stop| {
            traits.may_be_in(stop.block) && filter.measure.is_within(&self.tops[stop.block as usize])
        };
        // The next block that may have a match, of each lane; the one with the least key comes out first.
        let next = |lane: usize, from: usize| {
            let skipped = self.lanes[lane][from..].iter().position(may_fit)?;
            Some(Reverse((self.lanes[lane][from + skipped], lane, from + skipped)))
        };
        let wanted = lane_of(&filter.measure);
        let mut heap: BinaryHeap<_> =
            (0..LANES).filter(|lane| serves(*lane, wanted)).filter_map(|lane| next(lane, 0)).collect();
        while let Some(Reverse((stop, lane, at))) = heap.pop() {
            if stop.least.0 > visitor.limit() {
                break;
            }
            if !budget.spend(BLOCK_TESTS) || !self.walk_block(stop.block, filter, traits, budget, visitor) {
                return false;
            }
            heap.extend(next(lane, at + 1));
        }
        true
    }

    fn walk_block(
        &self,
        number: u32,
        filter: &Filter<'_>,
        traits: &Wanted<'_>,
        budget: &mut Budget,
        visitor: &mut impl Visitor,
    ) -> bool {
        let block = &self.blocks[number as usize];
        let places = traits.places(number, || block.live());
        let Some(mask) = places.and_then(|places| block.matching(places, &filter.measure)) else {
            return true;
        };
        for place in ones(mask) {
            let entry = block.entry(place);
            if entry.key > visitor.limit() {
                continue;
            }
            let small = entry.measure.size < filter.measure.size;
            let tests = if small { 1 } else { visitor.visit(entry.key, entry.id) };
            if !budget.spend(tests) {
                return false;
            }
        }
        true
    }

    fn note_top(&mut self, block: u32) {
        self.tops[block as usize] = self.blocks[block as usize].top();
    }

    /// Which of a lane's blocks an order belongs to. The lane must have one.
    fn rank(&self, lane: usize, entry: &Entry) -> usize {
        let key = (entry.key, entry.id);
        self.lanes[lane].partition_point(|stop| stop.least <= key).saturating_sub(1)
    }

    fn place_of(&self, id: u32) -> Option<(u32, usize)> {
        let at = *self.places.get(id as usize)?;
        (at != NOWHERE).then_some((at >> SLOT_BITS, at as usize % SLOTS))
    }

    fn add_block(&mut self, lane: usize, at: usize, least: (u64, u32)) -> u32 {
        let block = self.free.pop().unwrap_or_else(|| {
            self.blocks.push(Block::new());
            self.tops.push(Default::default());
            // A million orders make some four thousand blocks.
            u32::try_from(self.blocks.len() - 1).unwrap_or(NOWHERE)
        });
        self.lanes[lane].insert(at, Stop { least, block });
        block
    }

    /// Puts an order into a block that has room.
    fn place(&mut self, block: u32, entry: Entry, sets: &TraitSets) {
        let Some(place) = self.blocks[block as usize].put(entry) else {
            debug_assert!(false, "the block has room");
            return;
        };
        self.note_top(block);
        let id = entry.id as usize;
        if id >= self.places.len() {
            self.places.resize(id + 1, NOWHERE);
        }
        self.places[id] = (block << SLOT_BITS) + u32::try_from(place).unwrap_or(0);
        for id in sets.ids(entry.set) {
            if let Some(Holders::Many { rows, .. }) = self.holders.get_mut(*id as usize) {
                rows.set(block, place);
            }
        }
    }

    /// Empties a block, but for what the holders count; gives its orders, sorted.
    fn clear(&mut self, block: u32, sets: &TraitSets) -> Vec<Entry> {
        let old = std::mem::replace(&mut self.blocks[block as usize], Block::new());
        let mut entries: Vec<Entry> = ones(old.live()).map(|place| *old.entry(place)).collect();
        let mut traits: Vec<u32> = entries.iter().flat_map(|entry| sets.ids(entry.set)).copied().collect();
        traits.sort_unstable();
        traits.dedup();
        for id in traits {
            if let Some(Holders::Many { rows, .. }) = self.holders.get_mut(id as usize) {
                rows.clear_block(block);
            }
        }
        entries.sort_unstable_by_key(|entry| (entry.key, entry.id));
        entries
    }

    /// Makes two blocks of one, at the middle of its keys.
    fn split(&mut self, lane: usize, at: usize, sets: &TraitSets) {
        let lower = self.lanes[lane][at].block;
        let entries = self.clear(lower, sets);
        let (low, high) = entries.split_at(entries.len() / 2);
        let Some(first) = high.first() else { return };
        let upper = self.add_block(lane, at + 1, (first.key, first.id));
        low.iter().for_each(|entry| self.place(lower, *entry, sets));
        high.iter().for_each(|entry| self.place(upper, *entry, sets));
    }

    /// Makes one block of this one and the next or the last, if they have few orders together.
    fn merge(&mut self, lane: usize, at: usize, sets: &TraitSets) {
        let size = |at: usize| self.lanes[lane].get(at).map(|stop| self.blocks[stop.block as usize].len());
        let small = |at: usize| size(at).zip(size(at + 1)).is_some_and(|(one, two)| one + two <= MERGED);
        let Some(at) = [Some(at), at.checked_sub(1)].into_iter().flatten().find(|at| small(*at)) else {
            return;
        };
        let (into, from) = (self.lanes[lane][at].block, self.lanes[lane].remove(at + 1).block);
        self.clear(from, sets).into_iter().for_each(|entry| self.place(into, entry, sets));
        self.note_top(from);
        self.free.push(from);
    }

    /// Counts an order that is placed among those that have a trait.
    fn hold(&mut self, id: u32, order: u32) {
        if id as usize >= self.holders.len() {
            self.holders.resize(id as usize + 1, Holders::Few(Vec::new()));
        }
        match &mut self.holders[id as usize] {
            Holders::Many { count, .. } => *count += 1,
            Holders::Few(list) => {
                list.push(order);
                if list.len() > RARE {
                    let list = std::mem::take(list);
                    self.make_common(id, &list);
                }
            }
        }
    }

    fn make_common(&mut self, id: u32, orders: &[u32]) {
        let mut rows = Rows::default();
        for (block, place) in orders.iter().filter_map(|order| self.place_of(*order)) {
            rows.set(block, place);
        }
        self.holders[id as usize] = Holders::Many { count: orders.len(), rows };
    }

    fn unhold(&mut self, id: u32, order: u32, block: u32, place: usize) {
        match self.holders.get_mut(id as usize) {
            Some(Holders::Few(list)) => list.retain(|held| *held != order),
            Some(Holders::Many { count, rows }) => {
                *count -= 1;
                rows.clear(block, place);
                // A trait that was common once keeps its rows until nobody has it: their number falls with
                // its holders'.
                if *count == 0 {
                    self.holders[id as usize] = Holders::Few(Vec::new());
                }
            }
            None => {}
        }
    }
}

/// The lane of such orders.
fn lane_of(measure: &Measure) -> usize {
    measure.octave().min(LANES / 2 - 1) * 2 + usize::from(measure.has_gpus())
}

/// Whether a lane may have orders with at least the levels of the wanted one.
fn serves(lane: usize, wanted: usize) -> bool {
    lane / 2 >= wanted / 2 && lane % 2 >= wanted % 2
}
