//! The signals that end a devnet in order: Ctrl-C, SIGTERM, and the end of the terminal.

use tokio::signal::unix::{SignalKind, signal};

/// Starts to listen at once; the future resolves at the first of them, also one that came before it was awaited.
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + Unpin> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(Box::pin(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }))
}
