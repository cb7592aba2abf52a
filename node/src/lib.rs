//! The Sublet node: everything that the `sublet` binary is made of.
//!
//! [`cli`] parses and talks to a running node over [`api`]; [`node`] puts a running node together out of
//! [`p2p`] (peers), [`chain`] (settlement), [`store`] (what must not be forgotten) and [`engine`] (what the
//! node does by itself). [`keys`] opens the wallet that all of them sign with. [`devnet`] runs a whole network on one machine.

pub mod api;
pub mod backend;
pub mod chain;
pub mod cli;
pub mod config;
pub mod devnet;
pub mod engine;
pub mod home;
pub mod keys;
pub mod metrics;
pub mod node;
pub mod p2p;
pub mod setup;
mod ssh;
pub mod store;
mod text_number;
mod wall;
