//! The network as its users see it: real nodes on loopback sockets, and peers that break the rules.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod mdns;
mod peer_limits;
mod peers;
mod shards;
mod support;
mod sync;
