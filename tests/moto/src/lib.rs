//! An EC2 and a KMS for tests, as strict as AWS, on a free port of the loopback.
//!
//! ```text
//!   Moto::start ─▶ python environment (made once, kept in the cache) ─▶ strict_ec2.py ─▶ endpoint()
//!   aws_cli     ─▶ the independent AWS command line from the same environment ─▶ the same endpoint
//! ```
//!
//! The server is moto's with what it leaves out (`strict_ec2.py` beside this crate says what, and
//! `strict_kms.py` for the keys in KMS). It ends when its handle is dropped, and also when this process is
//! killed: it reads its standard input to the end.

mod cli;
mod environment;
mod server;

use std::time::Duration;

pub use server::Moto;

/// The region in which the tests live.
pub const REGION: &str = "eu-north-1";

/// An x86_64 image (Amazon Linux) that exists in [`REGION`] and in no other region.
pub const IMAGE_ID: &str = "ami-0c6cb9e3985d57776";

/// The login name of [`IMAGE_ID`].
pub const IMAGE_USER: &str = "ec2-user";

/// The size of [`IMAGE_ID`]'s disk in GiB; no machine's root disk may be smaller.
pub const IMAGE_DISK_GIB: u32 = 15;

/// The one access key that the server believes. It opens nothing but this server.
pub const ACCESS_KEY: &str = "AKIASUBLETTESTSONLY0";

/// The secret of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "only-the-strict-test-server-takes-this-1";

/// How the server should behave.
#[derive(Debug, Clone)]
pub struct MotoOptions {
    /// How long instances stay pending, stopping or shutting-down.
    pub transition: Duration,
    /// How long a new instance is not seen by `DescribeInstances`.
    pub hidden: Duration,
    /// The most reservations in one answer of `DescribeInstances`.
    pub page: u32,
    /// The public address of every running machine, so that a listener of the test can play its ssh server; moto's
    /// invented addresses when not given.
    pub address: Option<String>,
}

impl Default for MotoOptions {
    fn default() -> Self {
        Self {
            transition: Duration::from_millis(300),
            hidden: Duration::from_millis(300),
            page: 2,
            address: None,
        }
    }
}

/// An error that the server gives instead of carrying a request out.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Fault {
    /// Which request, such as `RunInstances` or `Sign`.
    pub action: String,
    /// The service's error code.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// How many requests fail.
    pub times: u32,
    /// Seconds until the answer.
    pub delay: f64,
    /// Whether the request takes effect and only its answer is lost.
    pub carried_out: bool,
}

impl Fault {
    /// The next request of this kind is refused at once.
    #[must_use]
    pub fn new(action: &str, code: &str, status: u16) -> Self {
        Self { action: action.into(), code: code.into(), status, times: 1, delay: 0.0, carried_out: false }
    }
}

/// What can go wrong with the server or the command line.
#[derive(Debug, thiserror::Error)]
pub enum MotoError {
    /// The python environment could not be made.
    #[error("cannot make the python environment in {place}: {reason}; install python3 with venv and pip")]
    Environment {
        /// The folder.
        place: String,
        /// The tool's last words.
        reason: String,
    },
    /// The server did not come up.
    #[error("the strict EC2 did not start: {0}; run tests/moto/strict_ec2.py by hand to see more")]
    NotUp(String),
    /// The server did not take a fault.
    #[error("the strict EC2 did not answer: {0}; is it still running?")]
    NoAnswer(String),
    /// The AWS command line refused or failed.
    #[error("aws {arguments} failed: {reason}; try it by hand against the endpoint")]
    Cli {
        /// What was asked.
        arguments: String,
        /// What it said.
        reason: String,
    },
}
