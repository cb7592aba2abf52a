//! How long an empty peer takes to a full book, how little two books send that hardly differ, and what
//! becomes of both on links that stand still.
//!
//! Real nodes on loopback sockets, real signatures, the book of the market; one process plays both sides of each
//! connection.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use libp2p::{Multiaddr, identity::Keypair, multiaddr::Protocol};
use sublet_market::{
    Book, BookLimits, Maker, Offer, OrderKey, OrderMessage, Resources, Traits,
    amount::BASE_UNITS_PER_CTK,
    samples::{domain, offer_of},
};
use sublet_p2p as p2p;
use sublet_p2p::{Inbound, P2p, P2pConfig, SharedBook, Verdict};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    propagation::multiaddr,
    shaper::{Relay, Shape},
};

const NOW: u64 = 2_000_000_000;
/// Newcomers of which the median is taken.
const NEWCOMERS: usize = 3;
const MAKERS: u64 = 128;
/// Orders in which the two books of the second part differ, each way.
pub const DIFFERENCE: u64 = 100;
/// Far above any sensible result.
const LIMIT: Duration = Duration::from_secs(600);

fn key(n: u64) -> anyhow::Result<OrderKey> {
    let mut bytes = [1; 32];
    bytes[..8].copy_from_slice(&(n % MAKERS + 1).to_be_bytes());
    Ok(OrderKey::from_bytes(&bytes)?)
}

fn order(n: u64) -> anyhow::Result<OrderMessage> {
    let key = key(n)?;
    let offer = Offer {
        unit: Resources { vcpus: 2, memory_mib: 4_096, disk_gib: 20, ..Resources::default() },
        price_per_second: 1_000_000 + n,
        traits: Traits::new(["arch=x86_64", "image=debian-12", "region=eu-north-1"])?,
        valid_until: NOW + 600 + n % 3_000,
        ..offer_of(&key, n)
    };
    Ok(key.sign(offer, &domain()).into())
}

fn book(orders: &[OrderMessage]) -> anyhow::Result<Arc<SharedBook>> {
    let limits = BookLimits { max_orders: 1_000_000, max_orders_per_maker: 10_000, ..BookLimits::default() };
    let mut book = Book::new(domain(), limits);
    for n in 0..MAKERS {
        let rich = Maker { free: 1_000_000 * BASE_UNITS_PER_CTK, points: 0, epoch: 0 };
        book.set_maker(key(n)?.address(), rich);
    }
    for order in orders {
        book.insert(order.clone(), order.maker(), NOW)?;
    }
    Ok(Arc::new(SharedBook::new(book, || NOW)))
}

/// A node whose engine takes everything into its book.
struct Peer {
    p2p: P2p,
    book: Arc<SharedBook>,
    address: Multiaddr,
    stop: CancellationToken,
}

impl Peer {
    async fn start(bootstrap: &[Multiaddr], orders: &[OrderMessage]) -> anyhow::Result<Self> {
        let book = book(orders)?;
        let mut config = P2pConfig::new(Keypair::generate_ed25519(), domain());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
        config.bootstrap = bootstrap.to_vec();
        // By no other way than the one that is measured.
        config.discover = false;
        config.orders = Arc::<SharedBook>::clone(&book) as _;
        let stop = CancellationToken::new();
        let (p2p, inbound) = p2p::spawn(config, stop.clone()).await?;
        let address = p2p.status().await?.listen.first().context("no address")?.clone();
        tokio::spawn(engine(inbound, Arc::clone(&book)));
        Ok(Self { p2p, book, address, stop })
    }

    fn orders(&self) -> usize {
        self.book.lock().offer_count()
    }

    async fn until(&self, orders: usize) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.orders() < orders {
            ensure!(start.elapsed() < LIMIT, "{} of {orders} orders after {LIMIT:?}", self.orders());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
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

/// Longer than a peer waits for an answer.
const STALL: Duration = Duration::from_secs(25);

/// Two newcomers to a book of `count` orders, each over a link that stands still when the first orders are there. One
/// meets a second peer meanwhile; the other has to wait until the link moves again. Both must get the whole book.
pub async fn through_stalls(count: u64) -> anyhow::Result<()> {
    let orders: Vec<OrderMessage> = (0..count).map(order).collect::<anyhow::Result<_>>()?;
    let full = Peer::start(&[], &orders).await?;
    let elsewhere = async {
        let (_link, newcomer) = stalled(&full).await?;
        let second = Peer::start(std::slice::from_ref(&newcomer.address), &orders).await?;
        newcomer.until(orders.len()).await?;
        ensure!(newcomer.book.lock().digest() == second.book.lock().digest(), "not the same book");
        anyhow::Ok(())
    };
    let later = async {
        let (link, newcomer) = stalled(&full).await?;
        tokio::time::sleep(STALL).await;
        ensure!(newcomer.orders() < orders.len(), "the link did not stand still");
        link.set(Shape::default());
        newcomer.until(orders.len()).await?;
        ensure!(newcomer.book.lock().digest() == full.book.lock().digest(), "not the same book");
        anyhow::Ok(())
    };
    tokio::try_join!(elsewhere, later).map(drop)
}

/// A newcomer that has some orders of `full`, and gets no more by its link.
async fn stalled(full: &Peer) -> anyhow::Result<(Relay, Peer)> {
    let target: SocketAddr = match full.address.iter().collect::<Vec<_>>()[..] {
        [Protocol::Ip4(ip), Protocol::Tcp(port), ..] => (ip, port).into(),
        _ => bail!("a peer at {}", full.address),
    };
    // A second for some 125 orders: there is time to come in between.
    let narrow = Shape { bytes_per_second: Some(50_000), ..Shape::default() };
    let link = Relay::start(target, narrow).await?;
    let newcomer = Peer::start(&[multiaddr(link.address())], &[]).await?;
    newcomer.until(1).await?;
    link.set(Shape { stalled: true, ..narrow });
    ensure!(newcomer.orders() < full.orders(), "everything came at once");
    Ok((link, newcomer))
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Synced {
    /// Seconds from a newcomer's start until its book is full: the median.
    pub seconds: f64,
    /// Orders that the last newcomer asked for.
    pub fetched: u64,
    /// Bytes on a newcomer's sockets, both ways.
    pub full_bytes: u64,
    /// Bytes until two books are one again that each lacked [`DIFFERENCE`] orders of the other's.
    pub diff_bytes: u64,
}

/// Newcomers to a book of `count` orders, one after the other; then a peer whose book differs from it a little.
pub async fn measure(count: u64) -> anyhow::Result<Synced> {
    let orders: Vec<OrderMessage> = (0..count + DIFFERENCE).map(order).collect::<anyhow::Result<_>>()?;
    let whole = usize::try_from(count)?;
    let spare = usize::try_from(DIFFERENCE)?;
    let full = Peer::start(&[], &orders[..whole]).await?;
    let (mut seconds, mut full_bytes, mut fetched) = (Vec::new(), 0, 0);
    for _ in 0..NEWCOMERS {
        let start = Instant::now();
        let empty = Peer::start(std::slice::from_ref(&full.address), &[]).await?;
        empty.until(whole).await?;
        seconds.push(start.elapsed().as_secs_f64());
        full_bytes = empty.bytes();
        fetched = empty.p2p.status().await?.sync.fetched;
    }
    seconds.sort_by(f64::total_cmp);

    // Each has a hundred that the other lacks; both ask.
    let other = Peer::start(std::slice::from_ref(&full.address), &orders[spare..]).await?;
    other.until(whole + spare).await?;
    full.until(whole + spare).await?;
    let diff_bytes = other.bytes();
    ensure!(full.book.lock().digest() == other.book.lock().digest(), "the books differ in the end");
    Ok(Synced { seconds: seconds[NEWCOMERS / 2], fetched, full_bytes, diff_bytes })
}
