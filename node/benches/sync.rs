//! How long an empty peer takes to a full book, and how little two books send that hardly differ.
//!
//! Real nodes on loopback sockets, real signatures, the book of the market; one process plays both sides of each
//! connection. Prints one JSON object to stdout:
//! `sync_100k_s` is the time from the newcomer's start until its book is full, `sync_diff_ratio` the bytes of two books that
//! become one again over those of the full transfer, both counted on the sockets.
//!
//! `cargo bench -p sublet --no-default-features --bench sync [-- ORDERS | quick]`

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256};
use libp2p::{Multiaddr, identity::Keypair};
use sublet::{
    engine::share::SharedBook,
    p2p::{self, Inbound, P2p, P2pConfig, Verdict},
};
use sublet_market::{
    Book, BookLimits, Domain, Maker, Offer, OrderKey, OrderMessage, Resources, Traits,
    amount::BASE_UNITS_PER_CTK,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const NOW: u64 = 2_000_000_000;
const MAKERS: u64 = 128;
/// Orders in which the two books of the second part differ, each way.
const DIFFERENCE: u64 = 100;
/// Far above any sensible result.
const LIMIT: Duration = Duration::from_secs(600);

fn domain() -> Domain {
    Domain { chain_id: 31_337, market: Address::repeat_byte(1), salt: B256::repeat_byte(2) }
}

fn key(n: u64) -> OrderKey {
    let mut bytes = [1; 32];
    bytes[..8].copy_from_slice(&(n % MAKERS + 1).to_be_bytes());
    OrderKey::from_bytes(&bytes).unwrap()
}

fn order(n: u64) -> OrderMessage {
    let key = key(n);
    let offer = Offer {
        provider: key.address(),
        node: B256::repeat_byte(3),
        unit: Resources { vcpus: 2, memory_mib: 4_096, disk_gib: 20, ..Resources::default() },
        units: 4,
        price_per_second: 1_000_000 + n,
        bond_seconds: 600,
        min_duration: 300,
        max_duration: 86_400,
        activate_within: 300,
        burn: false,
        traits: Traits::new(["arch=x86_64", "image=debian-12", "region=eu-north-1"]).unwrap(),
        series: n,
        seq: 1,
        valid_until: NOW + 600 + n % 3_000,
    };
    key.sign(offer, &domain()).into()
}

fn book(orders: &[OrderMessage]) -> Arc<SharedBook> {
    let limits = BookLimits { max_orders: 1_000_000, max_orders_per_maker: 10_000, ..BookLimits::default() };
    let mut book = Book::new(domain(), limits);
    for n in 0..MAKERS {
        let rich = Maker { free: 1_000_000 * BASE_UNITS_PER_CTK, points: 0, epoch: 0 };
        book.set_maker(key(n).address(), rich);
    }
    for order in orders {
        book.insert(order.clone(), order.maker(), NOW).unwrap();
    }
    Arc::new(SharedBook::with_clock(book, || NOW))
}

/// A node whose engine takes everything into its book.
struct Peer {
    p2p: P2p,
    book: Arc<SharedBook>,
    address: Multiaddr,
    stop: CancellationToken,
}

impl Peer {
    async fn start(bootstrap: &[Multiaddr], orders: &[OrderMessage]) -> Self {
        let book = book(orders);
        let mut config = P2pConfig::new(Keypair::generate_ed25519(), domain());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.bootstrap = bootstrap.to_vec();
        config.orders = Arc::<SharedBook>::clone(&book) as _;
        let stop = CancellationToken::new();
        let (p2p, inbound) = p2p::spawn(config, stop.clone()).await.unwrap();
        let address = p2p.status().await.unwrap().listen[0].clone();
        tokio::spawn(engine(inbound, Arc::clone(&book)));
        Self { p2p, book, address, stop }
    }

    fn orders(&self) -> usize {
        self.book.lock().offer_count()
    }

    async fn until(&self, orders: usize) {
        let start = Instant::now();
        while self.orders() < orders {
            assert!(start.elapsed() < LIMIT, "{} of {orders} orders after {LIMIT:?}", self.orders());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Bytes on this node's sockets so far, both ways.
    fn bytes(&self) -> u64 {
        let page = self.p2p.openmetrics();
        let samples = page.lines().filter(|line| line.starts_with("libp2p_bandwidth_bytes_total"));
        let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn engine(mut inbound: mpsc::Receiver<Inbound>, book: Arc<SharedBook>) {
    let insert = |message: OrderMessage, digest, signer| match book
        .lock()
        .insert_checked(message, digest, signer, NOW)
    {
        Ok(_) => Verdict::Accept,
        Err(reason) => Verdict::Ignore(reason.as_str()),
    };
    while let Some(inbound) = inbound.recv().await {
        match inbound {
            Inbound::Order(order) => {
                let verdict = insert(order.message, order.digest, order.signer);
                let _ = order.verdict.send(verdict);
            }
            Inbound::Synced(batch) => {
                let judged =
                    batch.orders.into_iter().map(|order| insert(order.message, order.digest, order.signer));
                let _ = batch.verdicts.send(judged.collect());
            }
            _ => {}
        }
    }
}

async fn measure(count: u64) -> serde_json::Value {
    let orders: Vec<OrderMessage> = (0..count + DIFFERENCE).map(order).collect();
    let whole = usize::try_from(count).unwrap();
    let spare = usize::try_from(DIFFERENCE).unwrap();
    let full = Peer::start(&[], &orders[..whole]).await;

    let start = Instant::now();
    let empty = Peer::start(std::slice::from_ref(&full.address), &[]).await;
    empty.until(whole).await;
    let seconds = start.elapsed().as_secs_f64();
    let full_bytes = empty.bytes();
    let sync = empty.p2p.status().await.unwrap().sync;
    drop(empty);

    // Each has a hundred that the other lacks; both ask.
    let other = Peer::start(std::slice::from_ref(&full.address), &orders[spare..]).await;
    other.until(whole + spare).await;
    full.until(whole + spare).await;
    let diff_bytes = other.bytes();
    assert_eq!(full.book.lock().digest(), other.book.lock().digest());
    let ratio = |part: u64, all: u64| f64::from(u32::try_from(part * 1_000_000 / all).unwrap()) / 1e6;
    serde_json::json!({
        "orders": count,
        "sync_100k_s": (seconds * 1_000.0).round() / 1_000.0,
        "sync_full_bytes": full_bytes,
        "sync_fetched": sync.fetched,
        "difference_each_way": DIFFERENCE,
        "sync_diff_bytes": diff_bytes,
        "sync_diff_ratio": ratio(diff_bytes, full_bytes),
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.find_map(|argument| match argument.as_str() {
        "quick" => Some(10_000),
        number => number.parse().ok(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let result = runtime.block_on(measure(count.unwrap_or(100_000)));
    println!("{result}");
}
