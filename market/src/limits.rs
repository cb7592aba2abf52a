//! The bounds of the market in one place. Those marked *contract* are enforced by the Market contract as well;
//! the others are agreed between peers.

/// Shortest lease, in seconds (*contract*): below it the fee of settling outweighs the lease.
pub const MIN_DURATION_SECONDS: u32 = 300;
/// Longest lease, in seconds (*contract*): 366 days, a leap year.
pub const MAX_DURATION_SECONDS: u32 = 366 * 86_400;
/// Longest time between settle and activate, in seconds (*contract*): bounds how long a buyer's escrow waits in vain.
pub const MAX_ACTIVATE_WITHIN_SECONDS: u32 = 1_800;
/// Largest bond, in seconds of the rate (*contract*): one day, so that `rate × bond` fits 96 bits.
pub const MAX_BOND_SECONDS: u32 = 86_400;
/// How far ahead an accept may end, in seconds (*contract*): the provider holds capacity for it.
pub const MAX_SETTLE_AHEAD_SECONDS: u64 = 300;
/// How far ahead an offer may end, in seconds: bounds how long a cancelled offer has to be remembered.
pub const MAX_OFFER_LIFE_SECONDS: u64 = 3_600;
/// How far ahead a bid may end, in seconds: bounds how long a stale bid occupies the books.
pub const MAX_BID_LIFE_SECONDS: u64 = 600;
/// Most traits of one order.
pub const MAX_TRAITS: usize = 32;
/// Longest trait `key=value`, in bytes.
pub const MAX_TRAIT_BYTES: usize = 64;
/// Most ssh keys of one manifest.
pub const MAX_SSH_KEYS: usize = 16;
/// Longest ssh public key line, in bytes: an RSA-4096 line with a comment takes about 750.
pub const MAX_SSH_KEY_BYTES: usize = 1_024;
/// Longest image name, in bytes.
pub const MAX_IMAGE_NAME_BYTES: usize = 64;
/// Longest free text in a trade answer, in bytes.
pub const MAX_DETAIL_BYTES: usize = 512;
