//! End to end: the `sublet` binary as people type it, node processes, anvil, QEMU guests, ssh, and what these stand
//! on. Nothing is skipped: a host that lacks something fails with the remedy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod auction;
mod bad_input;
mod books;
mod borders;
mod chaos;
mod claims;
mod dark_start;
#[cfg(feature = "cloud")]
mod demo;
mod failure;
mod hardhat;
mod hostile;
mod keystore;
#[cfg(feature = "cloud")]
mod kms;
mod metrics;
mod operator;
mod rent;
mod revive;
mod rpc;
mod scale;
mod support;
mod sync;
mod top_up;
mod verify;
mod wrong_size;
