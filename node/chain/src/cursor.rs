//! How far the Market's log was read, with enough memory of block hashes to notice and undo a reorg.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use super::rpc::Head;

/// How many blocks back the hashes are remembered. Deeper reorgs than this make the watcher start over from the
/// deployment; none was seen on a public proof-of-stake chain.
pub const REMEMBERED_BLOCKS: u64 = 64;

/// A block and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockMark {
    /// The height.
    pub number: u64,
    /// The hash.
    pub hash: B256,
}

impl From<Head> for BlockMark {
    fn from(head: Head) -> Self {
        Self { number: head.number, hash: head.hash }
    }
}

/// Everything up to and including the newest mark was delivered. Store it together with what it brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The next block to read.
    next: u64,
    /// Marks of blocks that were read, oldest first; not every height has one.
    marks: Vec<BlockMark>,
}

impl Cursor {
    /// A cursor whose next block is `block`.
    #[must_use]
    pub fn starting_at(block: u64) -> Self {
        Self { next: block, marks: Vec::new() }
    }

    /// The next block to read; everything below it was delivered.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The newest block that was read, if any.
    #[must_use]
    pub fn newest(&self) -> Option<BlockMark> {
        self.marks.last().copied()
    }

    /// The remembered blocks, newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = BlockMark> {
        self.marks.iter().rev().copied()
    }

    /// Moves on: everything up to `mark` was read. Blocks that are not above what was read are ignored.
    pub(crate) fn advance(&mut self, mark: BlockMark) {
        self.remember(mark);
        self.next = self.next.max(mark.number.saturating_add(1));
    }

    /// Remembers the hash of a block on the way to the next [`Cursor::advance`]; in ascending order.
    pub(crate) fn remember(&mut self, mark: BlockMark) {
        if self.newest().is_none_or(|newest| newest.number < mark.number) {
            self.marks.push(mark);
            let oldest = mark.number.saturating_sub(REMEMBERED_BLOCKS);
            self.marks.retain(|m| m.number > oldest || m.number == mark.number);
        }
    }

    /// Goes back to `mark`, or to before `start` when no remembered block is left on the chain.
    pub(crate) fn rewind(&mut self, mark: Option<BlockMark>, start: u64) {
        match mark {
            Some(mark) => {
                self.marks.retain(|m| m.number <= mark.number);
                self.next = mark.number.saturating_add(1);
            }
            None => *self = Self::starting_at(start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u64) -> BlockMark {
        BlockMark { number, hash: B256::with_last_byte(u8::try_from(number % 256).unwrap()) }
    }

    #[test]
    fn it_remembers_a_bounded_past() {
        let mut cursor = Cursor::starting_at(5);
        for number in 5..300 {
            cursor.advance(mark(number));
        }
        assert_eq!(cursor.next(), 300);
        assert_eq!(u64::try_from(cursor.marks.len()).unwrap(), REMEMBERED_BLOCKS);
        assert_eq!(cursor.newest(), Some(mark(299)));
        assert_eq!(cursor.marks.first(), Some(&mark(236)));
    }

    #[test]
    fn it_rewinds_to_a_mark_or_to_the_start() {
        let mut cursor = Cursor::starting_at(5);
        for number in [7, 9, 10] {
            cursor.advance(mark(number));
        }
        cursor.rewind(Some(mark(9)), 5);
        assert_eq!((cursor.next(), cursor.newest()), (10, Some(mark(9))));
        cursor.rewind(None, 5);
        assert_eq!(cursor, Cursor::starting_at(5));
    }

    #[test]
    fn it_survives_its_own_json() {
        let mut cursor = Cursor::starting_at(5);
        cursor.advance(mark(7));
        let json = serde_json::to_string(&cursor).unwrap();
        assert_eq!(serde_json::from_str::<Cursor>(&json).unwrap(), cursor);
    }
}
