//! Orders that tests of the network send around, told apart by their series.

use alloy_primitives::{Address, B256};
use sublet_market::{Domain, Offer, OrderKey, OrderMessage, Resources, Traits};

/// From here on a maker floods the network with versions that it has the money for.
pub const RICH_FLOOD: u64 = 1 << 32;
/// From here on makers have nothing.
pub const POOR: u64 = 1 << 40;

/// Whether the order is one of those that must reach everybody.
#[must_use]
pub fn is_honest(series: u64) -> bool {
    series < RICH_FLOOD
}

/// Whether its maker has money.
#[must_use]
pub fn is_funded(series: u64) -> bool {
    series < POOR
}

/// The market of the tests.
#[must_use]
pub fn domain() -> Domain {
    Domain { chain_id: 31_337, market: Address::repeat_byte(1), salt: B256::repeat_byte(2) }
}

/// An offer; each series has a maker of its own, but for those of [`RICH_FLOOD`].
#[must_use]
pub fn offer(series: u64) -> OrderMessage {
    let rich_flood = !is_honest(series) && is_funded(series);
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&if rich_flood { RICH_FLOOD } else { series }.to_be_bytes());
    secret[31] = 1;
    let key = OrderKey::from_bytes(&secret).unwrap_or_else(|_| unreachable!("below the order of the curve"));
    let offer = Offer {
        provider: key.address(),
        node: B256::repeat_byte(3),
        unit: Resources { vcpus: 1, memory_mib: 256, disk_gib: 1, ..Resources::default() },
        units: 4,
        price_per_second: 1_000_000,
        bond_seconds: 600,
        min_duration: 300,
        max_duration: 86_400,
        activate_within: 300,
        burn: false,
        traits: Traits::new(["arch=x86_64"]).unwrap_or_default(),
        series,
        seq: 1,
        valid_until: 2_000_000_000,
    };
    key.sign(offer, &domain()).into()
}
