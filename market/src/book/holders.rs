//! Who has a trait: a list while they are few, and then a row of bits for each block in which some are.
//!
//! The rows are kept by trait, not by block: a walk wants the rows of two or three traits in hundreds of
//! blocks, and finds them side by side.

use super::block::{EMPTY, Row, and, clear, set};

/// Orders that a trait is listed for before it gets rows: as many as a walk can test in some ten microseconds.
pub(super) const RARE: usize = 256;
/// Blocks whose rows are kept together.
const GROUP: usize = 64;

#[derive(Clone, Debug)]
pub(super) enum Holders {
    /// The orders themselves.
    Few(Vec<u32>),
    /// How many there are, and where in the blocks.
    Many { count: usize, rows: Rows },
}

/// A row for each block in which there is a holder.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows(Vec<Group>);

#[derive(Clone, Debug, Default)]
struct Group {
    /// The blocks that have a row, one bit each.
    blocks: u64,
    /// Their rows, in the order of the blocks.
    rows: Vec<Row>,
}

impl Group {
    /// Where the block's row is, or where it would be.
    fn find(&self, block: u32) -> Result<usize, usize> {
        let rank = (self.blocks & (bit(block) - 1)).count_ones() as usize;
        if self.blocks & bit(block) != 0 { Ok(rank) } else { Err(rank) }
    }

    fn remove(&mut self, block: u32, rank: usize) {
        self.rows.remove(rank);
        self.blocks &= !bit(block);
    }
}

fn group(block: u32) -> usize {
    block as usize / GROUP
}

fn bit(block: u32) -> u64 {
    1 << (block as usize % GROUP)
}

impl Rows {
    /// The places of a block that hold the trait; `None` if none does.
    pub(super) fn get(&self, block: u32) -> Option<&Row> {
        let group = self.0.get(group(block))?;
        group.rows.get(group.find(block).ok()?)
    }

    pub(super) fn set(&mut self, block: u32, place: usize) {
        if group(block) >= self.0.len() {
            self.0.reserve_exact(group(block) + 1 - self.0.len());
            self.0.resize_with(group(block) + 1, Group::default);
        }
        let group = &mut self.0[group(block)];
        let rank = group.find(block).unwrap_or_else(|rank| {
            group.blocks |= bit(block);
            group.rows.reserve_exact(1);
            group.rows.insert(rank, EMPTY);
            rank
        });
        set(&mut group.rows[rank], place);
    }

    pub(super) fn clear(&mut self, block: u32, place: usize) {
        let Some(group) = self.0.get_mut(group(block)) else { return };
        let Ok(rank) = group.find(block) else { return };
        clear(&mut group.rows[rank], place);
        if group.rows[rank] == EMPTY {
            group.remove(block, rank);
        }
    }

    /// Nobody in this block holds the trait any more.
    pub(super) fn clear_block(&mut self, block: u32) {
        let Some(group) = self.0.get_mut(group(block)) else { return };
        if let Ok(rank) = group.find(block) {
            group.remove(block, rank);
        }
    }
}

/// Common traits that a query wants together, the rarest first: most blocks are done with after two rows.
pub(super) struct Wanted<'a> {
    rows: Vec<&'a Rows>,
    /// The blocks in which each of them occurs, one bit each.
    blocks: Vec<u64>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(holders: &[&'a Holders]) -> Self {
        let many = holders.iter().filter_map(|holders| match holders {
            Holders::Many { count, rows } => Some((*count, rows)),
            Holders::Few(_) => None,
        });
        let mut many: Vec<(usize, &Rows)> = many.collect();
        many.sort_by_key(|(count, _)| *count);
        let rows: Vec<&Rows> = many.into_iter().map(|(_, rows)| rows).collect();
        let groups = rows.iter().map(|rows| rows.0.len()).min().unwrap_or(0);
        let common = |at: usize| rows.iter().fold(u64::MAX, |blocks, rows| blocks & rows.0[at].blocks);
        Self { blocks: (0..groups).map(common).collect(), rows }
    }

    /// Whether each of the traits occurs in this block.
    pub(super) fn may_be_in(&self, block: u32) -> bool {
        self.rows.is_empty() || self.blocks.get(group(block)).is_some_and(|blocks| blocks & bit(block) != 0)
    }

    /// The places of a block that hold all of the traits; `None` if there are none. `live` gives all that are
    /// taken: the block itself is looked at only where no trait is wanted.
    pub(super) fn places(&self, block: u32, live: impl FnOnce() -> Row) -> Option<Row> {
        let Some((rarest, others)) = self.rows.split_first() else { return Some(live()) };
        let mut places = *rarest.get(block)?;
        for rows in others {
            and(&mut places, rows.get(block)?);
            if places == EMPTY {
                return None;
            }
        }
        Some(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::block::ones;

    fn many(places: &[(u32, usize)]) -> Holders {
        let mut rows = Rows::default();
        places.iter().for_each(|(block, place)| rows.set(*block, *place));
        Holders::Many { count: places.len(), rows }
    }

    fn places(holders: &[&Holders], block: u32) -> Vec<usize> {
        let found = Wanted::new(holders).places(block, || [u64::MAX; 8]);
        found.map_or(Vec::new(), |row| ones(row).collect())
    }

    #[test]
    fn rows_are_found_whatever_came_first() {
        let holders = many(&[(200, 1), (3, 2), (70, 5), (64, 511), (70, 64), (0, 0)]);
        for (block, there) in
            [(0, vec![0]), (3, vec![2]), (64, vec![511]), (70, vec![5, 64]), (200, vec![1]), (1, vec![])]
        {
            assert_eq!(places(&[&holders], block), there, "block {block}");
            assert_eq!(Wanted::new(&[&holders]).may_be_in(block), !there.is_empty());
        }
        assert!(!Wanted::new(&[&holders]).may_be_in(9_999));
    }

    #[test]
    fn a_row_goes_with_its_last_holder() {
        let Holders::Many { mut rows, .. } = many(&[(3, 2), (3, 7), (5, 1)]) else { unreachable!() };
        rows.clear(3, 2);
        assert!(rows.get(3).is_some());
        rows.clear(3, 7);
        rows.clear(3, 7);
        assert_eq!((rows.get(3), rows.0[0].rows.len()), (None, 1));
        rows.clear_block(5);
        rows.clear_block(5);
        rows.clear_block(500);
        assert_eq!((rows.get(5), rows.0[0].rows.len()), (None, 0));
    }

    #[test]
    fn traits_are_wanted_together() {
        let (one, two) = (many(&[(3, 2), (3, 7), (5, 1), (90, 1)]), many(&[(3, 7), (3, 8), (5, 2)]));
        assert_eq!((places(&[&one, &two], 3), places(&[&one, &two], 5)), (vec![7], vec![]));
        let wanted = Wanted::new(&[&one, &two]);
        assert_eq!([3, 5, 90].map(|block| wanted.may_be_in(block)), [true, true, false]);
        assert_eq!(places(&[], 3).len(), 512, "nothing is asked for");
    }
}
