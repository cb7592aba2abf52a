//! Broken variations of real messages, the same on every run: no clock and no system randomness.

/// Of a larger message one variation is kept: the corpora are committed.
const LARGE: usize = 4_096;

/// xorshift64*, seeded by a name (Vigna 2016, "An experimental exploration of Marsaglia's xorshift generators").
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(name: &str) -> Self {
        // FNV-1a, and never zero.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// Below `end`, which is not zero.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap_or_default() % end.max(1)
    }
}

/// What a message becomes when it is cut off, goes on, or claims another length or kind.
pub(crate) fn variations(seed: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    if seed.len() > LARGE {
        return vec![mutate(seed, random)];
    }
    let half = seed[..seed.len() / 2].to_vec();
    let longer = [seed, &[random.byte()]].concat();
    vec![half, longer, mutate(seed, random), mutate(seed, random)]
}

/// One to four changes: a bit, a byte, a run of large or small bytes, a cut, an insertion, a repetition.
pub(crate) fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let run = (1 + random.below(8)).min(bytes.len() - at);
        match random.below(7) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.byte()),
            2 => bytes[at..at + run].fill(0xff),
            3 => bytes[at..at + run].fill(0),
            4 => bytes.truncate(at),
            5 => bytes.insert(at, [0x00, 0x7f, 0x80, 0xfb, 0xfd, 0xff, b'"', b'9'][random.below(8)]),
            _ => bytes.extend_from_within(at..at + run),
        }
    }
    bytes
}
