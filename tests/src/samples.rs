//! Orders that tests of the network send around, told apart by their series.

pub use sublet_market::samples::domain;
use sublet_market::{OrderKey, OrderMessage, samples};

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

/// An offer; each series has a maker of its own, but for those of [`RICH_FLOOD`].
#[must_use]
pub fn offer(series: u64) -> OrderMessage {
    let rich_flood = !is_honest(series) && is_funded(series);
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&if rich_flood { RICH_FLOOD } else { series }.to_be_bytes());
    secret[31] = 1;
    let key = OrderKey::from_bytes(&secret).unwrap_or_else(|_| unreachable!("below the order of the curve"));
    samples::offer(&key, series)
}
