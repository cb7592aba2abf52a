//! Peer limits on gossip: which peers are tolerated, which are banned, and whose messages are forwarded.

use std::time::Duration;

use crate::support::{Node, Stranger, domain, maker, offer, offer_of, within};
use sublet_market::codec::encode_order;
use sublet_p2p::{VERDICT_LIMIT, Verdict};

/// Waits until the node is not connected with `stranger`.
async fn gone(node: &Node, stranger: &Stranger) {
    let connected = async || {
        let status = node.p2p.status().await.unwrap();
        status.peers.iter().any(|peer| peer.node == Some(stranger.node()))
    };
    within(async {
        while connected().await {
            tokio::time::sleep(crate::support::POLL).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_keeps_sending_forgeries_is_sent_away() {
    let mut node = Node::start(&[]).await;
    let forger = Stranger::connect(&[node.address()]).await;
    let honest = Stranger::connect(&[node.address()]).await;
    for n in 0..3u8 {
        forger.gossip(vec![n; 100]);
    }
    node.until(|counters| counters.rejected == 3).await;
    forger.gossip(encode_order(&offer(1)));
    assert_eq!(node.order().await.message, offer(1), "three are put up with");
    forger.gossip(vec![3; 100]);
    gone(&node, &forger).await;
    let status = node.p2p.status().await.unwrap();
    assert_eq!((status.counters.rejected, status.sync.blamed), (4, 1));
    honest.gossip(encode_order(&offer(2)));
    assert_eq!(node.order().await.message, offer(2));
}

#[tokio::test]
async fn a_peer_that_keeps_sending_trade_requests_nobody_can_read_is_sent_away() {
    let node = Node::start(&[]).await;
    let stranger = Stranger::connect(&[node.address()]).await;
    let garbage = [&12u32.to_be_bytes()[..], b"no request.."].concat();
    for _ in 0..3 {
        assert!(within(stranger.ask(node.p2p.peer_id(), garbage.clone())).await.is_err());
    }
    let status = node.p2p.status().await.unwrap();
    assert_eq!((status.peers.len(), status.trade.malformed), (1, 3), "three are put up with");
    assert!(within(stranger.ask(node.p2p.peer_id(), garbage)).await.is_err());
    gone(&node, &stranger).await;
    assert_eq!(node.p2p.status().await.unwrap().sync.blamed, 1);
}

#[tokio::test]
async fn a_peer_that_sends_more_than_any_honest_one_is_sent_away() {
    let mut node = Node::start_with(&[], |config| config.gossip_orders_per_second = 1).await;
    let flooder = Stranger::connect(&[node.address()]).await;
    let honest = Stranger::connect(&[node.address()]).await;
    // A full bucket, and what flows in within a slow test.
    for series in 0..60 {
        flooder.gossip(encode_order(&offer(series)));
    }
    gone(&node, &flooder).await;
    assert!((32..60).contains(&node.counters().await.received));
    honest.gossip(encode_order(&offer(100)));
    while node.order().await.message != offer(100) {}
}

#[tokio::test]
async fn one_maker_does_not_have_the_network_carry_all_it_makes() {
    let mut middle = Node::start_with(&[], |config| config.gossip_orders_per_second = 5).await;
    let mut far = Node::start(&[middle.address()]).await;
    far.joined().await;
    let stranger = Stranger::connect(&[middle.address()]).await;
    let busy = maker(2);
    for series in 0..12 {
        stranger.gossip(encode_order(&busy.sign(offer_of(&busy, series), &domain()).into()));
        middle.order().await.verdict.send(Verdict::Accept).unwrap();
    }
    stranger.gossip(encode_order(&offer(1)));
    middle.order().await.verdict.send(Verdict::Accept).unwrap();
    middle.until(|counters| (counters.accepted, counters.shed) == (11, 2)).await;
    for _ in 0..10 {
        assert_eq!(far.order().await.message.maker(), busy.address());
    }
    assert_eq!(far.order().await.message, offer(1), "others are carried all the same");
}

#[tokio::test]
async fn an_order_that_is_accepted_at_the_last_moment_goes_on() {
    let mut middle = Node::start(&[]).await;
    let mut far = Node::start(&[middle.address()]).await;
    far.joined().await;
    let stranger = Stranger::connect(&[middle.address()]).await;
    stranger.gossip(encode_order(&offer(1)));
    let order = middle.order().await;
    tokio::time::sleep(VERDICT_LIMIT - Duration::from_millis(300)).await;
    order.verdict.send(Verdict::Accept).unwrap();
    assert_eq!(far.order().await.message, offer(1));
    assert_eq!(middle.counters().await.expired, 0);
}
