//! Orders for tests of everything above this crate (feature `test-support`): one place for a new field. What
//! a test is about it says itself: `Offer { units: 0, ..samples::offer_of(&key, 1) }`.

#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "constants that are valid")]

use alloy_primitives::{Address, B256};

use crate::{Bid, Domain, Offer, OrderKey, OrderMessage, Resources, Spec, Traits};

/// The end of all sample orders, Unix time: long after any test.
pub const VALID_UNTIL: u64 = 2_000_000_000;

/// The market of the samples.
#[must_use]
pub fn domain() -> Domain {
    Domain { chain_id: 31_337, market: Address::repeat_byte(1), salt: B256::repeat_byte(2) }
}

/// The key whose secret has this byte throughout; 0 is none.
#[must_use]
pub fn key(seed: u8) -> OrderKey {
    OrderKey::from_bytes(&[seed; 32]).unwrap()
}

/// A small machine.
#[must_use]
pub fn unit() -> Resources {
    Resources { vcpus: 1, memory_mib: 256, disk_gib: 1, ..Resources::default() }
}

/// An offer of four small machines; `series` tells those of one maker apart.
#[must_use]
pub fn offer_of(maker: &OrderKey, series: u64) -> Offer {
    Offer {
        provider: maker.address(),
        node: B256::repeat_byte(3),
        unit: unit(),
        units: 4,
        price_per_second: 1_000_000,
        bond_seconds: 600,
        min_duration: 300,
        max_duration: 86_400,
        activate_within: 300,
        burn: false,
        traits: Traits::new(["arch=x86_64"]).unwrap(),
        series,
        seq: 1,
        valid_until: VALID_UNTIL,
    }
}

/// Such an offer, signed.
#[must_use]
pub fn offer(maker: &OrderKey, series: u64) -> OrderMessage {
    maker.sign(offer_of(maker, series), &domain()).into()
}

/// A spec of one small machine.
#[must_use]
pub fn spec() -> Spec {
    Spec { unit: unit(), units: 1, traits: Traits::default(), manifest: B256::repeat_byte(1) }
}

/// A bid for what `spec` says; `salt` tells those of one maker apart.
#[must_use]
pub fn bid_of(maker: &OrderKey, spec: &Spec, salt: u64) -> Bid {
    Bid {
        buyer: maker.address(),
        settler: maker.address(),
        spec: spec.hash_struct(),
        node: B256::repeat_byte(4),
        max_rate: 1_000_000,
        min_bond_seconds: 0,
        min_points: 0,
        duration: 600,
        valid_until: VALID_UNTIL,
        epoch: 0,
        salt,
    }
}
