//! Orders by key, in blocks whose rows of bits tell which of them may fit.
//!
//! A walk goes over the blocks in the order of their keys, takes the AND of the rows that the query names, and shows the
//! visitor what is left. It ends when no later key can matter any more, or when its budget is spent.
//! A trait that few orders have is a list of these orders and has no rows: a walk for it looks at the list alone.
//! Of a common trait the index also knows the blocks in which it occurs, so that the others are passed over by one bit.

use super::block::{Block, Entry, SLOTS, ones};
use super::levels::Levels;
use super::traitsets::TraitSets;

/// Orders that a trait is listed for before it gets rows: as many as a walk can test in some ten microseconds.
const RARE: usize = 256;
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
    pub(super) levels: Levels,
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
    /// One order that may fit. Within a block orders come in any order.
    fn visit(&mut self, key: u64, id: u32);
}

#[derive(Clone, Debug)]
enum Holders {
    /// The orders themselves.
    Few(Vec<u32>),
    /// How many there are, and one bit for each block that has some.
    Many { count: usize, blocks: Vec<u64> },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Least (key, number) that belongs to each block, and the block: sorted. The first one takes whatever is lower.
    order: Vec<((u64, u32), u32)>,
    blocks: Vec<Block>,
    /// The highest levels of each block, side by side, so that most blocks without a match need no look at their rows.
    tops: Vec<Levels>,
    free: Vec<u32>,
    /// Block × 512 + place of each order.
    places: Vec<u32>,
    /// Who has each trait.
    holders: Vec<Holders>,
}

impl Index {
    /// Takes in an order that is not here.
    pub(super) fn insert(&mut self, entry: Entry, sets: &TraitSets) {
        let at = self.rank(&entry);
        let block = match self.order.get(at) {
            Some((_, block)) => *block,
            None => self.add_block(0, (0, 0)),
        };
        if self.blocks[block as usize].len() == SLOTS {
            self.split(at, sets);
            let at = self.rank(&entry);
            let block = self.order[at].1;
            self.place(block, entry, sets);
        } else {
            self.place(block, entry, sets);
        }
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
        self.merge(self.rank(&entry), sets);
        true
    }

    /// Gives an order new levels.
    pub(super) fn relevel(&mut self, id: u32, levels: Levels) {
        if let Some((block, place)) = self.place_of(id) {
            self.blocks[block as usize].relevel(place, levels);
            self.note_top(block);
        }
    }

    /// Whether the order is here.
    pub(super) fn has(&self, id: u32) -> bool {
        self.place_of(id).is_some()
    }

    /// Shows the visitor the orders that may fit, lower keys first, block by block. Gives whether all were shown that matter.
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
        if let Some(list) = few.min_by_key(|list| list.len()) {
            return self.walk_list(list, budget, visitor);
        }
        let blocks = common_blocks(&holders);
        for ((least, _), block) in &self.order {
            if *least > visitor.limit() {
                break;
            }
            let without_traits = blocks.as_ref().is_some_and(|blocks| !has_bit(blocks, *block));
            if without_traits || !reaches(&self.tops[*block as usize], &filter.levels) {
                continue;
            }
            if !budget.spend(BLOCK_TESTS) || !self.walk_block(*block, filter, budget, visitor) {
                return false;
            }
        }
        true
    }

    fn walk_list(&self, list: &[u32], budget: &mut Budget, visitor: &mut impl Visitor) -> bool {
        for id in list {
            let Some((block, place)) = self.place_of(*id) else { continue };
            if !budget.spend(1) {
                return false;
            }
            let key = self.blocks[block as usize].entry(place).key;
            if key <= visitor.limit() {
                visitor.visit(key, *id);
            }
        }
        true
    }

    fn walk_block(
        &self,
        block: u32,
        filter: &Filter<'_>,
        budget: &mut Budget,
        visitor: &mut impl Visitor,
    ) -> bool {
        let block = &self.blocks[block as usize];
        let Some(mask) = block.matching(&filter.levels, filter.traits) else { return true };
        for place in ones(mask) {
            let entry = block.entry(place);
            if entry.key > visitor.limit() {
                continue;
            }
            if !budget.spend(1) {
                return false;
            }
            visitor.visit(entry.key, entry.id);
        }
        true
    }

    fn note_top(&mut self, block: u32) {
        self.tops[block as usize] = self.blocks[block as usize].top();
    }

    /// Which of the ordered blocks a key belongs to.
    fn rank(&self, entry: &Entry) -> usize {
        let key = (entry.key, entry.id);
        self.order.partition_point(|(least, _)| *least <= key).saturating_sub(1)
    }

    fn place_of(&self, id: u32) -> Option<(u32, usize)> {
        let at = *self.places.get(id as usize)?;
        (at != NOWHERE).then_some((at >> SLOT_BITS, at as usize % SLOTS))
    }

    fn add_block(&mut self, at: usize, least: (u64, u32)) -> u32 {
        let block = self.free.pop().unwrap_or_else(|| {
            self.blocks.push(Block::new());
            self.tops.push(Levels::default());
            // Half a million orders make two thousand blocks.
            u32::try_from(self.blocks.len() - 1).unwrap_or(NOWHERE)
        });
        self.order.insert(at, (least, block));
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
            if let Some(Holders::Many { blocks, .. }) = self.holders.get_mut(*id as usize)
                && self.blocks[block as usize].set_trait(*id, place)
            {
                set_bit(blocks, block);
            }
        }
    }

    /// Empties a block, but for what the holders count.
    fn clear(&mut self, block: u32) -> Vec<Entry> {
        let old = std::mem::replace(&mut self.blocks[block as usize], Block::new());
        for id in old.traits() {
            if let Some(Holders::Many { blocks, .. }) = self.holders.get_mut(*id as usize) {
                clear_bit(blocks, block);
            }
        }
        let mut entries: Vec<Entry> = old.places().map(|place| *old.entry(place)).collect();
        entries.sort_unstable_by_key(|entry| (entry.key, entry.id));
        entries
    }

    /// Makes two blocks of one, at the middle of its keys.
    fn split(&mut self, at: usize, sets: &TraitSets) {
        let lower = self.order[at].1;
        let entries = self.clear(lower);
        let (low, high) = entries.split_at(entries.len() / 2);
        let Some(first) = high.first() else { return };
        let upper = self.add_block(at + 1, (first.key, first.id));
        low.iter().for_each(|entry| self.place(lower, *entry, sets));
        high.iter().for_each(|entry| self.place(upper, *entry, sets));
    }

    /// Makes one block of this one and the next or the last, if they have few orders together.
    fn merge(&mut self, at: usize, sets: &TraitSets) {
        let size = |at: usize| self.order.get(at).map(|(_, block)| self.blocks[*block as usize].len());
        let small = |at: usize| size(at).zip(size(at + 1)).is_some_and(|(one, two)| one + two <= MERGED);
        let Some(at) = [Some(at), at.checked_sub(1)].into_iter().flatten().find(|at| small(*at)) else {
            return;
        };
        let (into, (_, from)) = (self.order[at].1, self.order.remove(at + 1));
        self.clear(from).into_iter().for_each(|entry| self.place(into, entry, sets));
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
        let mut bits = Vec::new();
        for order in orders {
            let Some((block, place)) = self.place_of(*order) else { continue };
            if self.blocks[block as usize].set_trait(id, place) {
                set_bit(&mut bits, block);
            }
        }
        self.holders[id as usize] = Holders::Many { count: orders.len(), blocks: bits };
    }

    fn unhold(&mut self, id: u32, order: u32, block: u32, place: usize) {
        match self.holders.get_mut(id as usize) {
            Some(Holders::Few(list)) => list.retain(|held| *held != order),
            Some(Holders::Many { count, blocks }) => {
                *count -= 1;
                if self.blocks[block as usize].clear_trait(id, place) {
                    clear_bit(blocks, block);
                }
                // A trait that was common once keeps its rows until nobody has it: their number falls with its holders'.
                if *count == 0 {
                    self.holders[id as usize] = Holders::Few(Vec::new());
                }
            }
            None => {}
        }
    }
}

/// The blocks in which every one of these traits occurs; `None` for no traits.
fn common_blocks(holders: &[&Holders]) -> Option<Vec<u64>> {
    let mut sets = holders.iter().filter_map(|holders| match holders {
        Holders::Many { blocks, .. } => Some(blocks),
        Holders::Few(_) => None,
    });
    let mut common = sets.next()?.clone();
    for set in sets {
        common.truncate(set.len());
        common.iter_mut().zip(set).for_each(|(word, other)| *word &= other);
    }
    Some(common)
}

fn reaches(top: &Levels, levels: &Levels) -> bool {
    top.iter().zip(levels).all(|(top, level)| top >= level)
}

fn has_bit(words: &[u64], bit: u32) -> bool {
    words.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
}

fn set_bit(words: &mut Vec<u64>, bit: u32) {
    let word = bit as usize / 64;
    if word >= words.len() {
        words.resize(word + 1, 0);
    }
    words[word] |= 1 << (bit % 64);
}

fn clear_bit(words: &mut [u64], bit: u32) {
    if let Some(word) = words.get_mut(bit as usize / 64) {
        *word &= !(1 << (bit % 64));
    }
}
