//! The market's rules: properties over generated orders, bytes and lives of leases, and hashes against an
//! independent implementation.
//!
//! What an offer takes in memory is measured in a binary of its own, `tests/memory.rs`.
#![allow(clippy::unwrap_used)]

mod book;
mod book_limits;
mod book_oracle;
mod book_room;
mod book_steps;
mod book_volume;
mod codec;
mod eip712;
mod lease;
mod orders;
mod strategies;
