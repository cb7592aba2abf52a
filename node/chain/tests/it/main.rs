//! The chain module against a real chain: every test starts an anvil of its own and fails, with the remedy, where
//! there is none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod connect;
mod sending;
mod support;
mod watching;
