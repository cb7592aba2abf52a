//! Who has a trait: a list while they are few, and then the blocks in which some are.

/// Orders that a trait is listed for before it gets rows: as many as a walk can test in some ten microseconds.
pub(super) const RARE: usize = 256;

#[derive(Clone, Debug)]
pub(super) enum Holders {
    /// The orders themselves.
    Few(Vec<u32>),
    /// How many there are, and the blocks that have some.
    Many { count: usize, blocks: Bits },
}

/// Numbers of blocks, one bit each.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn has(&self, bit: u32) -> bool {
        self.0.get(bit as usize / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    pub(super) fn set(&mut self, bit: u32) {
        let word = bit as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (bit % 64);
    }

    pub(super) fn clear(&mut self, bit: u32) {
        if let Some(word) = self.0.get_mut(bit as usize / 64) {
            *word &= !(1 << (bit % 64));
        }
    }

    fn and(&mut self, other: &Bits) {
        self.0.truncate(other.0.len());
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }
}

/// The blocks in which every one of these traits occurs; `None` for no traits.
pub(super) fn common_blocks(holders: &[&Holders]) -> Option<Bits> {
    let mut sets = holders.iter().filter_map(|holders| match holders {
        Holders::Many { blocks, .. } => Some(blocks),
        Holders::Few(_) => None,
    });
    let first = sets.next()?.clone();
    Some(sets.fold(first, |mut common, set| {
        common.and(set);
        common
    }))
}
