//! Properties of the market's rules, over generated orders, bytes and lives of leases.
#![allow(clippy::unwrap_used)]

mod book;
mod book_limits;
mod book_oracle;
mod book_room;
mod book_steps;
mod book_volume;
mod codec;
mod lease;
mod orders;
mod strategies;
