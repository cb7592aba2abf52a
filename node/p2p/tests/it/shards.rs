//! Gossip by shards: who hears which orders, over real nodes on loopback sockets.

use crate::support::{Node, Stranger, bid_for, domain, follow, offer, regional};
use sublet_market::{OrderMessage, Shard, codec::encode_order};
use sublet_p2p::{PublishError, Verdict};

/// Takes so many orders in and lets them go on; gives them in the order of their digests.
async fn take(node: &mut Node, count: usize) -> Vec<OrderMessage> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let order = node.order().await;
        order.verdict.send(Verdict::Accept).unwrap();
        taken.push(order.message);
    }
    sorted(taken)
}

fn sorted(mut orders: Vec<OrderMessage>) -> Vec<OrderMessage> {
    orders.sort_by_key(|order| order.digest(&domain()));
    orders
}

#[tokio::test]
async fn a_node_hears_the_shards_that_it_follows_and_no_others() {
    let mut seller = Node::start(&[]).await;
    let to = [seller.address()];
    let mut europe = Node::start_with(&to, |config| follow(config, &["eu-north-1"])).await;
    seller.joined().await;
    let mut all = Node::start(&to).await;
    seller.joined().await;
    europe.joined().await;
    all.joined().await;

    let (west, east, anywhere) = (regional(1, "us-east-1"), regional(2, "eu-north-1"), offer(3));
    for order in [&west, &east, &anywhere] {
        seller.p2p.publish(order.clone()).await.unwrap();
    }
    assert_eq!(take(&mut all, 3).await, sorted(vec![west, east.clone(), anywhere.clone()]));
    assert_eq!(take(&mut europe, 2).await, sorted(vec![east, anywhere]));
    // Sent first and on the same connection: it would have come by now.
    assert_eq!(europe.counters().await.received, 2);
}

#[tokio::test]
async fn a_bid_reaches_everybody_or_its_region_wherever_its_buyer_listens() {
    let mut buyer = Node::start_with(&[], |config| follow(config, &["ap-southeast-2"])).await;
    let to = [buyer.address()];
    let mut europe = Node::start_with(&to, |config| follow(config, &["eu-north-1"])).await;
    buyer.joined().await;
    let mut america = Node::start_with(&to, |config| follow(config, &["us-east-1"])).await;
    buyer.joined().await;
    europe.joined().await;
    america.joined().await;

    let bid = |salt, region| bid_for(salt, region, 2_000_000_000);
    let (east, west) = (bid(1, Some("eu-north-1")), bid(2, Some("us-east-1")));
    let anywhere = bid(3, None);
    for order in [&east, &west, &anywhere] {
        buyer.p2p.publish(order.clone()).await.unwrap();
    }
    assert_eq!(take(&mut europe, 2).await, sorted(vec![east, anywhere.clone()]));
    assert_eq!(take(&mut america, 2).await, sorted(vec![west, anywhere]));
    assert_eq!((europe.counters().await.received, america.counters().await.received), (2, 2));
    let nobody = buyer.p2p.publish(bid(4, Some("ap-southeast-2"))).await.unwrap_err();
    assert!(matches!(nobody, PublishError::NoPeers), "{nobody}");
}

#[tokio::test]
async fn an_order_on_a_wrong_shard_is_rejected_and_hides_nothing() {
    let mut node = Node::start(&[]).await;
    let (anywhere, east) = (offer(1), regional(2, "eu-north-1"));
    let home = Shard::of_region("eu-north-1");
    for (n, (shard, order)) in
        [(home, &anywhere), (Shard::MAIN, &east), (Shard::of_region("us-east-1"), &east)]
            .into_iter()
            .enumerate()
    {
        let stranger = Stranger::connect(&[node.address()]).await;
        stranger.gossip_on(shard, encode_order(order));
        let expected = u64::try_from(n + 1).unwrap();
        node.until(|counters| counters.rejected == expected).await;
    }
    let honest = Stranger::connect(&[node.address()]).await;
    honest.gossip(encode_order(&anywhere));
    assert_eq!(node.order().await.message, anywhere, "the same bytes on the right shard are another message");
    honest.gossip_on(home, encode_order(&east));
    assert_eq!(node.order().await.message, east);
}
