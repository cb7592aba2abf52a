//! The chain that settles trades: one deployment of CloudToken and Market behind the JSON-RPC of one
//! endpoint or of several.
//!
//! [`deploy()`] makes the contracts and a [`Deployment`]; [`Chain::connect`] verifies that an RPC serves them.
//! From then on reads are plain questions with time-outs, and writes are [`Call`]s: values that can be stored as an
//! intent before [`Chain::execute`] carries them out, one at a time, simulated first. What happens on the chain
//! comes in through [`watch()`]: ordered, at least once, with reorganisations told. Deadlines are in chain time
//! ([`ChainTime`]), which heads set and the monotonic clock carries on.

pub mod anvil;
mod call;
mod client;
mod cursor;
mod deploy;
mod deployment;
mod error;
mod event;
mod failover;
mod faucet;
#[doc(hidden)]
pub mod fuzzing;
mod lease;
mod retry;
mod rpc;
mod sender;
mod time;
mod verify;
mod watcher;

pub use call::{Call, TxReport};
pub use client::{Chain, ChainOptions};
pub use cursor::{BlockMark, Cursor, REMEMBERED_BLOCKS};
pub use deploy::{DeployOptions, deploy};
pub use deployment::{CodeHashes, Deployment};
pub use error::ChainError;
pub use faucet::faucet;
pub use lease::{Balances, LeaseView};
pub use rpc::Head;
pub use sender::{Fees, Flight, Journal, SendOptions};
pub use time::{ChainTime, ManualTime, SeenHead};
pub use verify::{Check, CheckResult, check_deployment};
pub use watcher::{ChainEvent, WatchConfig, watch};
