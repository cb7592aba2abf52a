//! A block of the index: up to 512 orders of neighbouring keys, and rows with one bit for each of them.
//!
//! There is a row for each level of each number, set where the order has at least that level. (Those of
//! common traits are kept by trait, in [`holders`](super::holders).) The orders that may fit are the AND of
//! the rows that a query names: eight words at a time, whatever the block holds.

use super::levels::{DIMS, Measure};

/// Orders of a block at most.
pub(super) const SLOTS: usize = 512;

/// One bit for each place of a block.
pub(super) type Row = [u64; SLOTS / 64];

pub(super) const EMPTY: Row = [0; SLOTS / 64];

/// An order as the index knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    /// What orders are sorted by, least first.
    pub(super) key: u64,
    /// The order's number.
    pub(super) id: u32,
    /// The number of its set of traits.
    pub(super) set: u32,
    pub(super) measure: Measure,
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    live: Row,
    /// By place; those of free places are stale.
    entries: Vec<Entry>,
    levels: [Vec<Row>; DIMS],
    /// The greatest size here.
    size: u32,
}

impl Block {
    pub(super) fn new() -> Self {
        Self { live: EMPTY, entries: Vec::new(), levels: Default::default(), size: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.live.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn entry(&self, place: usize) -> &Entry {
        &self.entries[place]
    }

    /// The places that are taken.
    pub(super) fn live(&self) -> Row {
        self.live
    }

    /// The highest level here of each number, and the greatest size.
    pub(super) fn top(&self) -> Measure {
        // There are 178 levels at most.
        let levels = std::array::from_fn(|dim| u8::try_from(self.levels[dim].len()).unwrap_or(u8::MAX));
        Measure { levels, size: self.size }
    }

    /// Puts an order into a free place and gives that; `None` if the block is full. Its traits are noted apart.
    pub(super) fn put(&mut self, entry: Entry) -> Option<usize> {
        let word = self.live.iter().position(|word| *word != u64::MAX)?;
        let place = word * 64 + self.live[word].trailing_ones() as usize;
        set(&mut self.live, place);
        match self.entries.get_mut(place) {
            Some(stale) => *stale = entry,
            None => {
                // The first free place is one behind the last entry at most.
                reserve(&mut self.entries);
                self.entries.push(entry);
            }
        }
        for (rows, level) in self.levels.iter_mut().zip(entry.measure.levels) {
            raise(rows, 0, level.into(), place);
        }
        self.size = self.size.max(entry.measure.size);
        Some(place)
    }

    /// Frees a place. Its traits are cleared apart.
    pub(super) fn take(&mut self, place: usize) -> Entry {
        let entry = self.entries[place];
        clear(&mut self.live, place);
        for (rows, level) in self.levels.iter_mut().zip(entry.measure.levels) {
            lower(rows, 0, level.into(), place);
        }
        if entry.measure.size == self.size {
            self.size = ones(self.live).map(|place| self.entries[place].measure.size).max().unwrap_or(0);
        }
        entry
    }

    /// Gives an order new levels; its size stays.
    pub(super) fn relevel(&mut self, place: usize, measure: Measure) {
        let old = std::mem::replace(&mut self.entries[place].measure, measure);
        debug_assert_eq!(old.size, measure.size, "an order's size stays");
        for (rows, (old, new)) in self.levels.iter_mut().zip(old.levels.into_iter().zip(measure.levels)) {
            raise(rows, old.into(), new.into(), place);
            lower(rows, new.into(), old.into(), place);
        }
    }

    /// Those of these places whose orders have at least these levels.
    pub(super) fn matching(&self, mut mask: Row, wanted: &Measure) -> Option<Row> {
        for (rows, level) in self.levels.iter().zip(wanted.levels) {
            if let Some(row) = usize::from(level).checked_sub(1) {
                and(&mut mask, rows.get(row)?);
                if mask == EMPTY {
                    return None;
                }
            }
        }
        Some(mask)
    }
}

/// The places of a row's bits.
pub(super) fn ones(row: Row) -> impl Iterator<Item = usize> {
    row.into_iter().enumerate().flat_map(|(index, word)| {
        let rest = |word: u64| (word != 0).then_some(word);
        let words = std::iter::successors(rest(word), move |word| rest(word & (word - 1)));
        words.map(move |word| index * 64 + word.trailing_zeros() as usize)
    })
}

/// Sets a place's bit in the rows of the levels above `old` up to `new`.
fn raise(rows: &mut Vec<Row>, old: usize, new: usize, place: usize) {
    if new > rows.len() {
        rows.reserve_exact(new - rows.len());
        rows.resize(new, EMPTY);
    }
    rows.iter_mut().take(new).skip(old).for_each(|row| set(row, place));
}

/// Clears a place's bit in the rows of the levels above `new` up to `old`; rows without a bit go.
fn lower(rows: &mut Vec<Row>, new: usize, old: usize, place: usize) {
    rows.iter_mut().take(old).skip(new).for_each(|row| clear(row, place));
    while rows.last() == Some(&EMPTY) {
        rows.pop();
    }
}

/// Room for one more, without the doubling that would leave half of a block's memory idle.
fn reserve<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(16);
    }
}

pub(super) fn and(mask: &mut Row, row: &Row) {
    mask.iter_mut().zip(row).for_each(|(mask, row)| *mask &= row);
}

pub(super) fn set(row: &mut Row, place: usize) {
    row[place / 64] |= 1 << (place % 64);
}

pub(super) fn clear(row: &mut Row, place: usize) {
    row[place / 64] &= !(1 << (place % 64));
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Measure = Measure { levels: [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0], size: 20 };

    fn entry(id: u32, first: u8, tenth: u8) -> Entry {
        let mut measure = Measure { size: u32::from(first) * 10, ..Measure::default() };
        (measure.levels[0], measure.levels[10]) = (first, tenth);
        Entry { key: 1, id, set: 0, measure }
    }

    fn ids(block: &Block) -> Vec<u32> {
        let mask = block.matching(block.live(), &WANTED).unwrap_or(EMPTY);
        ones(mask).map(|place| block.entry(place).id).collect()
    }

    #[test]
    fn rows_hold_neither_more_nor_less_than_what_matches() {
        let mut block = Block::new();
        let places = [(1, 2, 3), (2, 9, 9), (3, 1, 9), (4, 9, 2)]
            .map(|(id, first, tenth)| block.put(entry(id, first, tenth)).unwrap());
        assert_eq!((ids(&block), block.top().levels[0], block.top().levels[10]), (vec![1, 2], 9, 9));
        block.relevel(places[1], entry(2, 9, 1).measure);
        block.relevel(places[3], entry(4, 9, 3).measure);
        assert_eq!((ids(&block), block.top().levels[10]), (vec![1, 4], 9));
        block.take(places[2]);
        assert_eq!(block.top().levels[10], 3, "levels that nobody has any more are gone");
        assert_eq!(block.top().size, 90);
        block.take(places[1]);
        assert_eq!(block.top().size, 90, "two had it");
        block.take(places[3]);
        assert_eq!(block.top().size, 20);
    }

    #[test]
    fn places_are_used_again_and_a_full_block_takes_nothing() {
        let mut block = Block::new();
        (0..512).for_each(|id| assert!(block.put(entry(id, 2, 3)).is_some()));
        assert_eq!((block.put(entry(600, 2, 3)), block.len()), (None, 512));
        assert_eq!(block.take(77).id, 77);
        assert_eq!((block.put(entry(600, 2, 3)), ids(&block)[77]), (Some(77), 600));
    }
}
