//! The `sublet` binary's own parts: what puts the node's crates together and talks to people.
//!
//! [`cli`] parses and talks to a running node over its local API; [`node`] puts a running node together out
//! of peers (`sublet-p2p`), the chain (`sublet-chain`), the store (`sublet-store`) and what the node does by
//! itself (`sublet-engine`), by its [`config`]. [`http`] serves the local API, [`metrics`] the metrics page.
//! [`setup`] makes a home, [`devnet`] runs a whole network on one machine.

pub mod backend;
pub mod cli;
pub mod config;
pub mod devnet;
pub mod http;
pub mod metrics;
pub mod node;
pub mod setup;
