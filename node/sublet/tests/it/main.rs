//! The node's configuration as its users meet it.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod configs;
