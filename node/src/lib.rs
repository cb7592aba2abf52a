//! The Sublet node: everything that the `sublet` binary is made of.

pub mod chain;
pub mod p2p;
