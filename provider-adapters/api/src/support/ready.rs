//! Readiness of a machine: an ssh banner comes through its forwarded port.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The host side of the port accepts before the guest does, so an attempt that hears nothing is given up soon...
const FIRST_PATIENCE: Duration = Duration::from_millis(400);
/// ...but on a loaded host a greeting takes long, so patience grows up to this.
const MOST_PATIENCE: Duration = Duration::from_secs(5);
/// Between attempts that fail at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Returns once an ssh server greets at the address. Waits for ever: the caller has the clock.
pub async fn ssh_greeting(address: SocketAddr) {
    let mut patience = FIRST_PATIENCE;
    loop {
        if let Ok(true) = timeout(patience, greets(address)).await {
            return;
        }
        patience = (patience * 3 / 2).min(MOST_PATIENCE);
        sleep(PAUSE).await;
    }
}

/// RFC 4253, 4.2: a server opens with a line that begins with `SSH-`.
async fn greets(address: SocketAddr) -> bool {
    let mut begin = [0; 4];
    match TcpStream::connect(address).await {
        Ok(mut stream) => stream.read_exact(&mut begin).await.is_ok() && &begin == b"SSH-",
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn silence_and_other_servers_are_not_a_greeting() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            // One closes at once, one speaks HTTP, one says nothing, one is what we wait for.
            drop(listener.accept().await.unwrap());
            listener.accept().await.unwrap().0.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
            let silent = listener.accept().await.unwrap();
            listener.accept().await.unwrap().0.write_all(b"SSH-2.0-test\r\n").await.unwrap();
            drop(silent);
        });
        ssh_greeting(address).await;
        server.await.unwrap();
    }
}
