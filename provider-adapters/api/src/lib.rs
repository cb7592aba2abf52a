//! The interface between a provider's node and the backend that runs its machines.
//!
//! The node's engine is level-triggered: each pass compares what the chain and the clock ask for with what an
//! [`Adapter`] says is there, and calls the adapter until both agree. So everything in the trait is
//! idempotent by lease id, nothing depends on what a process remembers, and every error says by its
//! [`ErrorKind`] whether another pass can help.
//!
//! - [`Adapter`], [`LeaseOrder`], [`Instance`]: the interface, its inputs and outputs;
//! - [`AdapterError`]: whose fault it is, and the remedy;
//! - [`conformance`]: the behaviour that every backend has to show, run by the tests of each;
//! - [`support`]: what several backends need in the same way;
//! - [`fake`]: a backend in memory, for tests of everything above the trait.

mod adapter;
mod error;
mod types;

pub mod conformance;
pub mod fake;
pub mod support;

pub use adapter::Adapter;
pub use error::{AdapterError, ErrorKind};
pub use fake::FakeAdapter;
pub use types::{Instance, InstanceState, KeptDisk, LeaseOrder};
