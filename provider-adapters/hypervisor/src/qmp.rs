//! Talking to a running QEMU over its QMP socket.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use qapi::futures::QmpStreamTokio;
use qapi::qmp::{self, QmpCommand, RunState};
use thiserror::Error;
use tokio::time::timeout;

/// The socket's name inside a lease's folder.
pub(crate) const SOCKET: &str = "qmp.sock";
/// QEMU answers within milliseconds unless its host is in trouble or another client holds the socket.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Why QEMU did not answer.
#[derive(Debug, Error)]
pub(crate) enum QmpError {
    #[error("qemu's control socket: {0}")]
    Io(#[from] io::Error),
    #[error("qemu refused: {0}")]
    Refused(String),
    #[error("qemu did not answer within {} s", ANSWER_WITHIN.as_secs())]
    Silent,
}

impl QmpError {
    /// Whether nobody listens: the socket's file is there, and QEMU is not.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// What QEMU says the machine is doing.
pub(crate) async fn status(dir: &Path) -> Result<RunState, QmpError> {
    Ok(execute(dir, qmp::query_status {}).await?.status)
}

/// Presses the power button; the guest decides what to make of it.
pub(crate) async fn power_button(dir: &Path) -> Result<(), QmpError> {
    execute(dir, qmp::system_powerdown {}).await.map(drop)
}

/// Makes QEMU write back its disks and exit at once.
pub(crate) async fn quit(dir: &Path) -> Result<(), QmpError> {
    execute(dir, qmp::quit {}).await.map(drop)
}

async fn execute<C: QmpCommand>(dir: &Path, command: C) -> Result<C::Ok, QmpError> {
    let conversation = async {
        // The path of a Unix socket may have 107 bytes, which a state folder alone can exceed; through an
        // open folder it is always short.
        let folder = File::open(dir)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
        let mut stream = QmpStreamTokio::open_uds(path).await?.negotiate().await?;
        stream.execute(command).await.map_err(|error| QmpError::Refused(error.to_string()))
    };
    timeout(ANSWER_WITHIN, conversation).await.map_err(|_| QmpError::Silent)?
}
