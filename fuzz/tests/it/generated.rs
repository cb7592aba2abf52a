//! The committed corpora are those of today's messages.

use sublet_fuzz::{TARGETS, corpus};

/// All corpora together stay small enough to live in the repository.
const MOST_BYTES: usize = 1 << 20;

#[test]
fn the_corpora_are_made_of_the_messages_of_today() {
    let _alone = crate::alone();
    let mut bytes = 0;
    for target in TARGETS {
        let committed = corpus::read(target).unwrap();
        bytes += committed.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let seeds: Vec<_> = committed.into_iter().filter(|(name, _)| name.starts_with("seed-")).collect();
        let mut expected = corpus::generated(target);
        expected.sort();
        assert!(
            seeds == expected,
            "the corpus of {} is not of today: make fuzz-corpus, and commit it",
            target.name
        );
    }
    assert!(bytes < MOST_BYTES, "the corpora have {bytes} bytes: minimise what was found");
}
