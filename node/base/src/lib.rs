//! What all of the node's crates stand on: plain things that know nothing of trades.
//!
//! - [`home`]: the directory of a node, its files and secrets;
//! - [`wall`]: the wall clock of this host, and whether it fits the chain's;
//! - [`ssh`]: how rented machines are logged in to;
//! - [`port`]: free TCP ports for children and tests;
//! - [`phase`]: where a trade stands on either side, as store, engines and API name it;
//! - [`failpoint`]: places where tests end the process.

pub mod failpoint;
pub mod home;
pub mod phase;
pub mod port;
pub mod ssh;
pub mod wall;
