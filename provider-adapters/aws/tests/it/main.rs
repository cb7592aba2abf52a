//! The adapter against a strict EC2 (tests/moto), looked at from outside with the AWS command line. Nothing
//! is skipped: a host without python3 fails with the remedy.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod bench;
mod conformance;
mod faults;
mod lease;
mod setup;
