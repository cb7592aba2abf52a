//! Every committed input, and what is near to it, on the ordinary toolchain.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use sublet_fuzz::{TARGETS, corpus};

/// Inputs that are tried around each committed one.
const NEIGHBOURS: u64 = 100;
/// No input takes so long, on a busy machine and without optimisation. Most take microseconds.
const LONGEST: Duration = Duration::from_secs(5);

#[test]
fn every_property_holds_on_the_corpora_and_around_them() {
    let _alone = crate::alone();
    for target in TARGETS {
        let read = target.real().iter().filter(|message| target.run(message)).count();
        assert!(read * 2 > target.real().len(), "{} reads only {read} of its real messages", target.name);
        let (mut tried, mut slowest) = (0_u64, Duration::ZERO);
        let files = corpus::read(target).unwrap();
        assert!(files.len() >= 5, "{} has a corpus of {} files: make fuzz-corpus", target.name, files.len());
        for (name, bytes) in files {
            for input in std::iter::once(bytes.clone()).chain(target.neighbours(&bytes, NEIGHBOURS)) {
                let start = Instant::now();
                let held = catch_unwind(AssertUnwindSafe(|| target.run(&input)));
                assert!(held.is_ok(), "{} broke near {name} on {}", target.name, hex::encode(&input));
                slowest = slowest.max(start.elapsed());
                tried += 1;
            }
        }
        println!("{:16} {tried} inputs, the slowest took {slowest:?}", target.name);
        assert!(slowest < LONGEST, "{} took {slowest:?}", target.name);
    }
}
