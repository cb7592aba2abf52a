//! The adapter with real machines: QEMU under software emulation, the guest image, an ssh client. Nothing is skipped: a
//! host that lacks something fails with the remedy.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod bench;
mod conformance;
mod host;
mod machine;
