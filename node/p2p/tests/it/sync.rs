//! Books that find each other: real nodes on loopback sockets whose orders come together by `/sublet/sync/1`, and
//! unknown peers that abuse it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::support::{Node, Stranger, bid_for, domain, follow, maker, offer, offer_of, regional, within};
use alloy_primitives::{B256, keccak256};
use futures::StreamExt as _;
use libp2p::Multiaddr;
use sublet_market::{
    Book, BookLimits, Domain, Maker, OrderMessage, Shard, Traits, amount::BASE_UNITS_PER_CTK,
    codec::encode_order,
};
use sublet_p2p::{Inbound, P2p, P2pConfig, SharedBook, SyncCounters, Verdict};
use tokio_util::sync::CancellationToken;

/// Orders of the samples end an hour later.
const NOW: u64 = 2_000_000_000 - 3_000;

fn bid(salt: u64) -> OrderMessage {
    bid_for(salt, None, NOW + 300)
}

fn cancel(series: u64) -> OrderMessage {
    let mut order = offer_of(&maker(1), series);
    (order.units, order.seq) = (0, 2);
    maker(1).sign(order, &domain()).into()
}

fn book(messages: &[OrderMessage]) -> Arc<SharedBook> {
    let limits =
        BookLimits { base_orders_per_maker: 10_000, max_orders_per_maker: 10_000, ..BookLimits::default() };
    let mut book = Book::new(domain(), limits);
    for n in [1, 2] {
        let rich = Maker { free: 1_000_000 * BASE_UNITS_PER_CTK, points: 0, epoch: 0 };
        book.set_maker(maker(n).address(), rich);
    }
    for message in messages {
        book.insert(message.clone(), message.maker(), NOW).unwrap();
    }
    Arc::new(SharedBook::new(book, || NOW))
}

/// A node whose engine puts everything into the book.
struct Peer {
    p2p: P2p,
    book: Arc<SharedBook>,
    address: Multiaddr,
    stop: CancellationToken,
}

impl Peer {
    async fn start(
        bootstrap: &[Multiaddr],
        messages: &[OrderMessage],
        change: impl FnOnce(&mut P2pConfig),
    ) -> Self {
        let book = book(messages);
        let node = Node::start_with(bootstrap, |config| {
            config.orders = Arc::<SharedBook>::clone(&book) as _;
            change(config);
        })
        .await;
        let (p2p, stop, address) = (node.p2p.clone(), node.stop.clone(), node.address());
        tokio::spawn(engine(node, Arc::clone(&book)));
        Self { p2p, book, address, stop }
    }

    async fn sync(&self) -> SyncCounters {
        self.p2p.status().await.unwrap().sync
    }

    async fn until(&self, condition: impl Fn(&SyncCounters) -> bool) -> SyncCounters {
        within(async {
            loop {
                let counters = self.sync().await;
                if condition(&counters) {
                    return counters;
                }
                tokio::time::sleep(crate::support::POLL).await;
            }
        })
        .await
    }

    fn orders(&self) -> usize {
        self.book.lock().offer_count()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn engine(mut node: Node, book: Arc<SharedBook>) {
    let insert = |message: OrderMessage, signer| match book.lock().insert(message, signer, NOW) {
        Ok(_) => Verdict::Accept,
        Err(reason) => Verdict::Ignore(reason.as_str()),
    };
    while let Some(inbound) = node.inbound.recv().await {
        match inbound {
            Inbound::Order(order) => drop(order.verdict.send(insert(order.message, order.signer))),
            Inbound::Synced(batch) => {
                let verdicts = batch.orders.into_iter().map(|order| insert(order.message, order.signer));
                let _ = batch.verdicts.send(verdicts.collect());
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_late_joiner_gets_offers_bids_and_cancels_that_were_out_before_it() {
    let out = [offer(1), offer(2), cancel(3), bid(1), bid(2)];
    let early = Peer::start(&[], &out, |_| {}).await;
    let late = Peer::start(std::slice::from_ref(&early.address), &[], |_| {}).await;
    late.until(|counters| counters.accepted == 5).await;
    assert_eq!(late.book.lock().digest(), early.book.lock().digest());
    assert!(late.book.lock().insert(offer(3), maker(1).address(), NOW).is_err(), "the cancel came along");
    assert_eq!(early.sync().await.accepted, 0);
}

#[tokio::test]
async fn two_books_become_one_and_only_the_difference_travels() {
    let common: Vec<_> = (0..2_000).map(offer).collect();
    let with = |own: std::ops::Range<u64>| [common.clone(), own.map(offer).collect()].concat();
    let one = Peer::start(&[], &with(5_000..5_010), |_| {}).await;
    let two = Peer::start(std::slice::from_ref(&one.address), &with(6_000..6_010), |_| {}).await;
    let counters = two.until(|counters| counters.accepted == 10).await;
    one.until(|counters| counters.accepted == 10).await;
    assert_eq!(one.book.lock().digest(), two.book.lock().digest());
    assert_eq!(two.orders(), 2_020);
    // All 2,000 would be 600 kB.
    let bytes = counters.sent_bytes + counters.received_bytes;
    assert!(bytes < 40_000, "{bytes} bytes");
}

#[tokio::test]
async fn what_gossip_lost_is_found_by_a_later_comparison() {
    let quick = |config: &mut P2pConfig| config.sync_interval = Duration::from_secs(1);
    let one = Peer::start(&[], &[offer(1)], quick).await;
    let two = Peer::start(std::slice::from_ref(&one.address), &[], quick).await;
    two.until(|counters| counters.accepted == 1).await;
    one.book.lock().insert(offer(2), maker(1).address(), NOW).unwrap();
    two.until(|counters| counters.accepted == 2).await;
    assert_eq!(one.book.lock().digest(), two.book.lock().digest());
}

#[tokio::test]
async fn what_the_book_does_not_want_is_not_fetched_again_and_again() {
    let unknown = maker(3).sign(offer_of(&maker(3), 1), &domain());
    let one = Peer::start(&[], &[], |_| {}).await;
    let rich = Maker { free: 1_000_000 * BASE_UNITS_PER_CTK, points: 0, epoch: 0 };
    one.book.lock().set_maker(maker(3).address(), rich);
    one.book.lock().insert(unknown.into(), maker(3).address(), NOW).unwrap();
    // Nobody has told this one of the maker.
    let two = Peer::start(std::slice::from_ref(&one.address), &[], |config| {
        config.sync_interval = Duration::from_secs(1);
    })
    .await;
    let first = two.until(|counters| counters.fetched >= 1).await;
    let later = two.until(|counters| counters.completed >= first.completed + 3).await;
    assert_eq!((later.fetched, later.accepted), (1, 0));
}

#[tokio::test]
async fn a_peer_with_another_book_is_left_alone() {
    let one = Peer::start(&[], &[offer(1)], |_| {}).await;
    let stranger = Stranger::connect(std::slice::from_ref(&one.address)).await;
    let answer =
        within(stranger.sync(one.p2p.peer_id(), frame(&[&[1], &[9; 32], &[0x61, 0, 0, 2, 0]]))).await;
    assert_eq!(answer.unwrap(), frame(&[&[3, 1]]), "refused: another book");
    assert_eq!(one.sync().await.refused, 1);
}

fn book_id(domain: &Domain) -> B256 {
    book_of(domain, Shard::MAIN)
}

fn book_of(domain: &Domain, shard: Shard) -> B256 {
    keccak256(sublet_p2p::topic_name(domain, shard))
}

fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

#[tokio::test]
async fn a_stranger_can_fetch_by_digest_and_gets_nothing_else() {
    let one = Peer::start(&[], &[offer(1), offer(2)], |_| {}).await;
    let stranger = Stranger::connect(std::slice::from_ref(&one.address)).await;
    let (book, digest) = (book_id(&domain()), offer(2).digest(&domain()));
    let request = frame(&[&[2], book.as_slice(), &[7; 32], digest.as_slice()]);
    let answer = within(stranger.sync(one.p2p.peer_id(), request)).await.unwrap();
    let envelope = encode_order(&offer(2));
    let len = u16::try_from(envelope.len()).unwrap().to_be_bytes();
    assert_eq!(answer, frame(&[&[2, 0, 2], &len, &envelope]));
}

#[tokio::test]
async fn a_peer_that_asks_nonsense_is_sent_away() {
    let book = book_id(&domain());
    let too_many = vec![7; 513 * 32];
    let nonsense: [Vec<u8>; 4] = [
        frame(&[&[2], book.as_slice(), &too_many]),
        frame(&[&[1], book.as_slice(), b"\x61\x00\x00\x07"]),
        frame(&[&[7], book.as_slice()]),
        u32::MAX.to_be_bytes().to_vec(),
    ];
    let one = Peer::start(&[], &[offer(1)], |_| {}).await;
    for (n, request) in nonsense.into_iter().enumerate() {
        let stranger = Stranger::connect(std::slice::from_ref(&one.address)).await;
        assert!(within(stranger.sync(one.p2p.peer_id(), request)).await.is_err());
        one.until(|counters| counters.blamed == n as u64 + 1).await;
        within(async {
            let is_stranger = |peer: &sublet_p2p::PeerInfo| peer.node == Some(stranger.node());
            while one.p2p.status().await.unwrap().peers.iter().any(is_stranger) {
                tokio::time::sleep(crate::support::POLL).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_peer_that_asks_too_often_is_told_to_wait() {
    let one = Peer::start(&[], &[offer(1)], |config| config.sync_requests_per_second = 1).await;
    let stranger = Stranger::connect(std::slice::from_ref(&one.address)).await;
    let request = frame(&[&[1], book_id(&domain()).as_slice(), &[0x61, 0, 0, 2, 0]]);
    let mut refused = 0;
    for _ in 0..600 {
        let answer = within(stranger.sync(one.p2p.peer_id(), request.clone())).await.unwrap();
        refused += usize::from(answer == frame(&[&[3, 0]]));
    }
    assert!(
        (20..=88).contains(&refused),
        "{refused} of 600 refused: 512 at once are granted and one a second"
    );
}

/// As large as orders come, so that an answer is more than a stream carries that nobody reads.
fn large(series: u64) -> OrderMessage {
    let mut order = offer_of(&maker(1), series);
    order.traits = Traits::new((10..42).map(|n| format!("trait-{n}={}", "x".repeat(55)))).unwrap();
    maker(1).sign(order, &domain()).into()
}

#[tokio::test]
async fn peers_that_read_no_answer_leave_room_for_those_that_do_and_are_let_go() {
    let orders: Vec<_> = (0..240).map(large).collect();
    let one = Peer::start(&[], &orders, |_| {}).await;
    let digests: Vec<_> = orders.iter().map(|order| order.digest(&domain()).0).collect();
    let request = frame(&[&[2], book_id(&domain()).as_slice(), digests.as_flattened()]);
    let strangers: Vec<Stranger> = futures::stream::iter(0..24)
        .then(|_| Stranger::connect_mute(std::slice::from_ref(&one.address)))
        .collect()
        .await;
    for stranger in &strangers {
        (0..4).for_each(|_| stranger.sync_and_go_on(one.p2p.peer_id(), request.clone()));
    }
    one.until(|counters| counters.served >= 32 && counters.served + counters.refused == 96).await;
    let honest = Peer::start(std::slice::from_ref(&one.address), &orders[..230], |_| {}).await;
    let start = Instant::now();
    honest.until(|counters| counters.accepted == 10).await;
    assert!(start.elapsed() < Duration::from_secs(10), "the room is not theirs: {:?}", start.elapsed());
    within(async {
        let left = async || {
            let status = one.p2p.status().await.unwrap();
            let nodes: Vec<_> = status.peers.iter().filter_map(|peer| peer.node).collect();
            strangers.iter().filter(|stranger| nodes.contains(&stranger.node())).count()
        };
        while left().await > 0 {
            tokio::time::sleep(crate::support::POLL).await;
        }
    })
    .await;
}

#[tokio::test]
async fn greedy_peers_do_not_keep_an_honest_one_from_the_book() {
    let orders: Vec<_> = (0..500).map(offer).collect();
    let one = Peer::start(&[], &orders, |_| {}).await;
    let digests: Vec<_> = orders.iter().map(|order| order.digest(&domain()).0).collect();
    let request = frame(&[&[2], book_id(&domain()).as_slice(), digests.as_flattened()]);
    let peer = one.p2p.peer_id();
    let greedy: Vec<_> = (0..4)
        .map(|_| {
            let (address, request) = (one.address.clone(), request.clone());
            tokio::spawn(async move {
                let stranger = Stranger::connect(&[address]).await;
                loop {
                    let _ = stranger.sync(peer, request.clone()).await;
                }
            })
        })
        .collect();
    one.until(|counters| counters.served >= 8).await;
    let honest = Peer::start(std::slice::from_ref(&one.address), &orders[..400], |_| {}).await;
    let start = Instant::now();
    honest.until(|counters| counters.accepted == 100).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    greedy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_peer_that_breaks_its_promises_is_sent_away_and_its_orders_are_not_taken() {
    let one = Peer::start(&[], &[], |_| {}).await;
    let (promised, other) = (offer(1), offer(2));
    let forged = {
        let OrderMessage::Offer(mut signed) = offer(1) else { unreachable!() };
        signed.signature = maker(2).sign(signed.order.clone(), &domain()).signature;
        signed.into()
    };
    // Good, and in a book that it does not belong to.
    let elsewhere = regional(3, "eu-north-1");
    let cases = [(promised.clone(), other), (promised.clone(), forged), (elsewhere.clone(), elsewhere)];
    for (n, (promised, sent)) in cases.into_iter().enumerate() {
        let digest = promised.digest(&domain());
        let envelope = encode_order(&sent);
        let len = u16::try_from(envelope.len()).unwrap().to_be_bytes();
        let answers =
            vec![frame(&[&[1, 0x61, 0, 0, 2, 1], digest.as_slice()]), frame(&[&[2, 0, 1], &len, &envelope])];
        let stranger = Stranger::connect_as(std::slice::from_ref(&one.address), answers).await;
        one.until(|counters| counters.blamed == n as u64 + 1).await;
        assert_eq!(one.orders(), 0);
        drop(stranger);
    }
    let honest = Peer::start(std::slice::from_ref(&one.address), &[promised], |_| {}).await;
    one.until(|counters| counters.accepted == 1).await;
    drop(honest);
}

#[tokio::test]
async fn books_are_compared_shard_by_shard_where_both_sides_follow_one() {
    let orders = [
        offer(1),
        regional(2, "eu-north-1"),
        regional(3, "us-east-1"),
        bid_for(4, None, NOW + 300),
        bid_for(5, Some("eu-north-1"), NOW + 300),
        bid_for(6, Some("us-east-1"), NOW + 300),
    ];
    let one = Peer::start(&[], &orders, |_| {}).await;
    let europe =
        Peer::start(std::slice::from_ref(&one.address), &[], |config| follow(config, &["eu-north-1"])).await;
    let all = Peer::start(std::slice::from_ref(&one.address), &[], |_| {}).await;
    // Twice: the second look must not bring the rest either.
    europe.until(|counters| counters.completed >= 2).await;
    all.until(|counters| counters.completed >= 2).await;
    let digests = |peer: &Peer| {
        let orders: Vec<_> = orders.iter().map(|order| order.digest(&domain())).collect();
        let book = peer.book.lock();
        orders.iter().map(|digest| book.contains(digest)).collect::<Vec<_>>()
    };
    assert_eq!(digests(&europe), [true, true, false, true, true, false]);
    assert_eq!(digests(&all), [true; 6]);
    assert_eq!((europe.sync().await.fetched, all.sync().await.fetched), (4, 6));
    assert_eq!(one.sync().await.refused, 0, "nobody asks for what is not shared");

    // What a peer does not follow it does not share, and what nobody can follow is no book.
    let stranger = Stranger::connect(std::slice::from_ref(&europe.address)).await;
    for (shard, refused) in
        [(Shard::MAIN, false), (Shard::of_region("eu-north-1"), false), (Shard::of_region("us-east-1"), true)]
    {
        let request = frame(&[&[1], book_of(&domain(), shard).as_slice(), &[0x61, 0, 0, 2, 0]]);
        let answer = within(stranger.sync(europe.p2p.peer_id(), request)).await.unwrap();
        assert_eq!(answer == frame(&[&[3, 1]]), refused, "{shard}");
    }
}
