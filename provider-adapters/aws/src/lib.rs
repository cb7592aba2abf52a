//! Provider adapter: one EC2 instance per lease, in the provider's AWS account.
//!
//! ```text
//!   provision ─▶ fits? ─▶ tagged already? ─▶ capacity? ─▶ RunInstances(ClientToken = lease) ─▶ running ─▶ ssh greets
//!            (capacity.rs)  (machine.rs)                (launch.rs)                     (adapter.rs)
//!   list, describe ◀─ DescribeInstances by tag: the tags are the memory, a lost disk loses nothing   (tags.rs)
//!   stop, deprovision ─▶ all instances with the lease's tag
//! ```
//!
//! Nothing about a lease is kept on this side. Its instance carries what the adapter has to know again: the
//! lease, what it was made from, how to log in, the public host key. Two things make one lease one instance:
//! the look-up by tag, and EC2's own idempotency by `ClientToken`, which covers the seconds in which a new
//! instance is not seen yet, and other processes. For that a repetition must ask for exactly the same, so the
//! host key is not random: it is derived from the lease and a secret in `state_dir`
//! ([`AwsConfig::state_dir`]).

mod adapter;
mod capacity;
mod check;
mod client;
mod config;
mod ec2;
mod error;
mod hostkey;
mod launch;
mod machine;
mod recent;
mod tags;
mod userdata;

pub use adapter::Aws;
pub use config::{AwsConfig, AwsImage, Ready};
