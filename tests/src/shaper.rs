//! A link with the properties of a far one: a relay in user space that delays, jitters, limits, stalls and cuts.
//!
//! Bytes keep their order, as on TCP: jitter moves later bytes only further back.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// Chunks under way in one direction: what the link itself holds.
const IN_FLIGHT: usize = 256;

/// What the link is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// How long bytes are under way.
    pub delay: Duration,
    /// By how much more or less, each chunk for itself.
    pub jitter: Duration,
    /// Bytes a second in each direction; unlimited without.
    pub bytes_per_second: Option<u64>,
    /// Nothing gets through, and nothing is lost.
    pub stalled: bool,
    /// Nobody is let in any more; [`Relay::cut`] ends those who are.
    pub closed: bool,
}

/// A relay in front of one address. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    shape: watch::Sender<Shape>,
    /// Cancelled to cut the connections that there are.
    connections: Mutex<CancellationToken>,
    accepted: AtomicU64,
    chunks: AtomicU64,
    bytes: AtomicU64,
}

impl Relay {
    /// Starts a relay to `target` on a free port of loopback.
    pub async fn start(target: SocketAddr, shape: Shape) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            shape: watch::Sender::new(shape),
            connections: Mutex::new(CancellationToken::new()),
            accepted: AtomicU64::new(0),
            chunks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, target, Arc::clone(&shared), stop.clone()));
        Ok(Self { address, shared, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has taken.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Bytes that it has carried, both ways together, and the pieces that they came in.
    #[must_use]
    pub fn carried(&self) -> (u64, u64) {
        (self.shared.bytes.load(Ordering::Relaxed), self.shared.chunks.load(Ordering::Relaxed))
    }

    /// From now on the link is like this; bytes that are under way keep their time.
    pub fn set(&self, shape: Shape) {
        self.shared.shape.send_replace(shape);
    }

    /// Ends every connection; new ones are taken.
    pub fn cut(&self) {
        let mut connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *connections).cancel();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((near, _)) = stream else { continue };
        if shared.shape.borrow().closed {
            continue;
        }
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let connections = shared.connections.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connections.cancelled() => {}
                () = connect(near, target, &shared) => {}
            }
        });
    }
}

async fn connect(near: TcpStream, target: SocketAddr, shared: &Arc<Shared>) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    // The delay is ours alone.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    // One side's end is passed on, and the other may go on.
    tokio::join!(carry(near_in, far_out, shared), carry(far_in, near_out, shared));
}

async fn carry(mut from: OwnedReadHalf, to: OwnedWriteHalf, shared: &Arc<Shared>) {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let reading = async move {
        let mut free_at = Instant::now();
        let mut last = free_at;
        loop {
            let mut chunk = vec![0; CHUNK];
            let Ok(length @ 1..) = from.read(&mut chunk).await else { break };
            chunk.truncate(length);
            shared.bytes.fetch_add(u64::try_from(length).unwrap_or(u64::MAX), Ordering::Relaxed);
            let shape = *shared.shape.borrow();
            let now = Instant::now();
            free_at = free_at.max(now) + transmission(length, shape.bytes_per_second);
            last = last.max(free_at + shared.under_way(shape));
            if sender.send((last, chunk)).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(reading, deliver(receiver, to, shared.shape.subscribe()));
}

async fn deliver(
    mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    mut shape: watch::Receiver<Shape>,
) {
    while let Some((due, chunk)) = chunks.recv().await {
        sleep_until(due).await;
        if shape.wait_for(|shape| !shape.stalled).await.is_err() || to.write_all(&chunk).await.is_err() {
            return;
        }
    }
    // The other side hears of the end; it may be gone itself.
    let _ = to.shutdown().await;
}

impl Shared {
    fn under_way(&self, shape: Shape) -> Duration {
        let count = self.chunks.fetch_add(1, Ordering::Relaxed);
        let mixed = count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let spread = u64::try_from(shape.jitter.as_micros() * 2).unwrap_or(u64::MAX);
        let offset = Duration::from_micros(mixed % spread.max(1));
        (shape.delay + offset).saturating_sub(shape.jitter)
    }
}

fn transmission(bytes: usize, bytes_per_second: Option<u64>) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let rate = bytes_per_second.unwrap_or(u64::MAX).max(1);
    Duration::from_micros(bytes.saturating_mul(1_000_000) / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and a link to it.
    async fn echo(shape: Shape) -> (Relay, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.unwrap();
                });
            }
        });
        let relay = Relay::start(target, shape).await.unwrap();
        let stream = TcpStream::connect(relay.address()).await.unwrap();
        (relay, stream)
    }

    async fn round_trip(stream: &mut TcpStream, bytes: usize) -> Duration {
        let started = Instant::now();
        let sent: Vec<u8> = (0..bytes).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut back = vec![0; bytes];
        let (mut from, mut to) = stream.split();
        let (wrote, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut back));
        wrote.unwrap();
        read.unwrap();
        assert_eq!(back, sent, "bytes keep their order");
        started.elapsed()
    }

    #[tokio::test]
    async fn bytes_are_as_long_under_way_as_the_link_says() {
        let delay = Duration::from_millis(200);
        let (relay, mut stream) = echo(Shape { delay, jitter: delay / 4, ..Shape::default() }).await;
        let taken = round_trip(&mut stream, 100_000).await;
        assert!(taken >= delay * 2 - delay / 2, "{taken:?}");
        relay.set(Shape::default());
        let taken = round_trip(&mut stream, 10).await;
        assert!(taken < delay, "{taken:?}");
    }

    #[tokio::test]
    async fn a_narrow_link_takes_its_time() {
        let narrow = Shape { bytes_per_second: Some(100_000), ..Shape::default() };
        let (_relay, mut stream) = echo(narrow).await;
        let taken = round_trip(&mut stream, 50_000).await;
        assert!(taken >= Duration::from_millis(450), "{taken:?}");
    }

    #[tokio::test]
    async fn a_stalled_link_loses_nothing_and_a_cut_one_ends() {
        let (relay, mut stream) = echo(Shape { stalled: true, ..Shape::default() }).await;
        let waits = tokio::time::timeout(Duration::from_millis(200), round_trip(&mut stream, 100)).await;
        assert!(waits.is_err(), "nothing gets through");
        relay.set(Shape::default());
        let mut back = vec![0; 100];
        stream.read_exact(&mut back).await.unwrap();
        relay.cut();
        assert_eq!(stream.read(&mut back).await.unwrap_or(0), 0, "the connection has ended");
        assert_eq!(relay.accepted(), 1);
        assert_eq!(relay.carried().0, 200, "each way counts");
        relay.set(Shape { closed: true, ..Shape::default() });
        let mut refused = TcpStream::connect(relay.address()).await.unwrap();
        assert_eq!(refused.read(&mut back).await.unwrap_or(0), 0, "nobody is let in");
        relay.set(Shape::default());
        let mut next = TcpStream::connect(relay.address()).await.unwrap();
        round_trip(&mut next, 10).await;
    }
}
