//! The Rust rules and lease arithmetic against the committed contract on a real EVM: the same orders and histories,
//! valid and broken, must get the same verdicts, reasons down to their values, and amounts.
//!
//! Rust's side is `sublet_market`: `check_settle`, `OrderSignature`, `Signed::signer`, `Lease`, `Flows` and `Points`.
//! It has no model of who may settle or cancel, of ids that were used before (`NotSettler`, `LeaseExists`), and of
//! `cancel`, `bumpEpoch`, `setOperator`, deposits, withdrawals and `flushBurn`: there the contract is compared with
//! the books that these tests keep (`world.rs`, `bank.rs`), because what those calls leave behind decides over the
//! ones that Rust knows. `depositWithPermit` is not made here, nor are the token's own refusals.
//!
//! `SUBLET_DIFFERENTIAL_TIMES=10` runs ten times as many cases, `SUBLET_DIFFERENTIAL_SEED=7` others.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod bank;
mod evm;
mod histories;
mod orders;
mod refusals;
mod signatures;
mod tampered;
mod world;

use std::{collections::BTreeMap, fmt::Display};

use alloy::primitives::Bytes;

/// A small generator whose numbers are the same everywhere (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `least..=most`.
    pub(crate) fn within(&mut self, least: u64, most: u64) -> u64 {
        let width = most - least;
        if width == u64::MAX { self.next_u64() } else { least + self.next_u64() % (width + 1) }
    }

    pub(crate) fn within32(&mut self, least: u32, most: u32) -> u32 {
        u32::try_from(self.within(least.into(), most.into())).expect("within 32 bits")
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.within(1, times) == 1
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let last = u64::try_from(of.len() - 1).expect("a length");
        &of[usize::try_from(self.within(0, last)).expect("an index")]
    }
}

/// Least cases that all of these tests compare in one run.
const LEAST_CASES: u64 = 10_000;
const _: () = assert!(orders::CASES + signatures::CASES + histories::LEAST_CASES >= LEAST_CASES);

/// How often each verdict was seen: a test that only ever sees one proves little.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// Counts a case in which both sides said the same, down to the values of a refusal, and gives the
    /// verdict: the name of a call or an error. Nothing else counts a case.
    pub(crate) fn agree<A, B>(
        &mut self,
        call: &'static str,
        ours: &Result<A, Bytes>,
        theirs: &Result<B, Bytes>,
        case: &dyn Display,
    ) -> &'static str {
        let verdict = match (ours, theirs) {
            (Ok(_), Ok(_)) => call,
            (Ok(_), Err(data)) => {
                panic!("{case}: {call} goes through in Rust; the contract: {}", words(data))
            }
            (Err(no), Ok(_)) => panic!("{case}: {call} went through; Rust: {}", words(no)),
            (Err(no), Err(data)) => {
                assert_eq!(no, data, "{case}: Rust: {}; the contract: {}", words(no), words(data));
                revert_name(data)
            }
        };
        *self.0.entry(verdict).or_default() += 1;
        verdict
    }

    /// Fails unless `least` cases were compared, and each of `wanted` was seen at least `times` times.
    pub(crate) fn demand(&self, least: u64, wanted: &[&str], times: u64) {
        let all: u64 = self.0.values().sum();
        println!("{all} cases: {:?}", self.0);
        assert!(all >= least, "{all} cases only");
        for name in wanted {
            let seen = self.0.get(name).copied().unwrap_or(0);
            assert!(seen >= times, "{name} was seen {seen} times only; all: {:?}", self.0);
        }
    }
}

/// The name of the contract's error.
pub(crate) fn revert_name(data: &Bytes) -> &'static str {
    sublet_contracts::decode_revert(data).unwrap_or_else(|| panic!("a revert without a name: {data}")).name
}

fn words(data: &Bytes) -> String {
    sublet_contracts::decode_revert(data).map_or_else(|| data.to_string(), |revert| revert.to_string())
}

pub(crate) fn seed() -> u64 {
    number("SUBLET_DIFFERENTIAL_SEED", 20_261_121)
}

pub(crate) fn times() -> u64 {
    number("SUBLET_DIFFERENTIAL_TIMES", 1)
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}
