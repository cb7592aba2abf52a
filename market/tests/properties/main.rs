//! Properties of the market's rules, over generated orders, bytes and lives of leases.
#![allow(clippy::unwrap_used)]

mod book;
mod codec;
mod lease;
mod orders;
mod strategies;
