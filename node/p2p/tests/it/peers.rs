//! The network as its users see it: real nodes on loopback sockets, and peers that break the rules.

use std::time::{Duration, Instant};

use crate::support::{Node, Stranger, domain, free_port, maker, offer, offer_of, within};
use alloy_primitives::B256;
use libp2p::{Multiaddr, identity::Keypair};
use sublet_market::{
    AccessState, DeclineCode, Domain, OrderMessage, TradeRequest, TradeResponse,
    codec::{MAX_ORDER_BYTES, MAX_TRADE_BYTES, encode_order},
};
use sublet_p2p as p2p;
use sublet_p2p::{HandleError, Inbound, P2pError, PublishError, RequestError, Verdict, node_key};

fn access_request() -> TradeRequest {
    TradeRequest::Access { lease: B256::repeat_byte(7) }
}

fn pending() -> TradeResponse {
    TradeResponse::Access(AccessState::Pending { state: "booting".into() })
}

#[tokio::test]
async fn an_honest_offer_reaches_every_node() {
    let mut bootstrap = Node::start(&[]).await;
    let mut provider = Node::start(&[bootstrap.address()]).await;
    let mut buyer = Node::start(&[bootstrap.address()]).await;
    provider.joined().await;
    buyer.joined().await;

    let sent = offer(1);
    provider.p2p.publish(sent.clone()).await.unwrap();

    let order = bootstrap.order().await;
    assert_eq!(order.message, sent);
    assert_eq!(order.signer, sent.maker());
    assert_eq!(order.digest, sent.digest(&domain()));
    assert_eq!(order.from, provider.p2p.peer_id());
    order.verdict.send(Verdict::Accept).unwrap();
    assert_eq!(buyer.order().await.message, sent);
    assert_eq!(provider.counters().await.published, 1);
    bootstrap.until(|counters| counters.accepted == 1).await;
}

#[tokio::test]
async fn nodes_meet_over_quic() {
    let mut first =
        Node::start_with(&[], |config| config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()])
            .await;
    let mut second = Node::start_with(&[first.address()], |config| config.listen.clear()).await;
    second.joined().await;
    second.p2p.publish(offer(1)).await.unwrap();
    assert_eq!(first.order().await.message, offer(1));
}

#[tokio::test]
async fn orders_that_break_the_rules_are_rejected_by_every_peer() {
    let mut one = Node::start(&[]).await;
    let mut two = Node::start(&[one.address()]).await;
    two.joined().await;

    let honest = encode_order(&offer(1));
    let elsewhere = Domain { salt: B256::repeat_byte(9), ..domain() };
    let forged = {
        let OrderMessage::Offer(mut signed) = offer(2) else { unreachable!() };
        signed.signature = maker(2).sign(signed.order.clone(), &domain()).signature;
        encode_order(&signed.into())
    };
    let altered = {
        let OrderMessage::Offer(mut signed) = offer(3) else { unreachable!() };
        signed.order.price_per_second += 1;
        encode_order(&signed.into())
    };
    let wrong_domain = encode_order(&maker(1).sign(offer_of(&maker(1), 4), &elsewhere).into());
    let senseless = {
        let mut order = offer_of(&maker(1), 5);
        order.price_per_second = 0;
        encode_order(&maker(1).sign(order, &domain()).into())
    };
    let trailing = [honest.as_slice(), &[0]].concat();
    let oversized = [honest.as_slice(), &vec![0; MAX_ORDER_BYTES]].concat();
    let garbage = b"not an order".to_vec();

    let bad = [forged, altered, wrong_domain, senseless, trailing, oversized, garbage];
    for (n, message) in bad.into_iter().enumerate() {
        // A new stranger each time: the score would silence the old one.
        let stranger = Stranger::connect(&[one.address(), two.address()]).await;
        stranger.gossip(message);
        let expected = u64::try_from(n + 1).unwrap();
        one.until(|counters| counters.rejected == expected).await;
        two.until(|counters| counters.rejected == expected).await;
    }

    let stranger = Stranger::connect(&[one.address(), two.address()]).await;
    stranger.gossip(honest);
    for node in [&mut one, &mut two] {
        assert_eq!(
            node.order().await.message,
            offer(1),
            "the first order that gets through is the honest one"
        );
    }
}

#[tokio::test]
async fn what_the_engine_does_not_accept_goes_no_further() {
    let mut middle = Node::start(&[]).await;
    let mut far = Node::start(&[middle.address()]).await;
    far.joined().await;
    let stranger = Stranger::connect(&[middle.address()]).await;

    stranger.gossip(encode_order(&offer(1)));
    middle.order().await.verdict.send(Verdict::Ignore("not funded")).unwrap();
    stranger.gossip(encode_order(&offer(2)));
    drop(middle.order().await.verdict);
    middle.until(|counters| (counters.ignored, counters.unanswered) == (1, 1)).await;
    stranger.gossip(encode_order(&offer(3)));
    middle.order().await.verdict.send(Verdict::Accept).unwrap();

    assert_eq!(far.order().await.message, offer(3), "only the accepted offer is forwarded");
    let counters = far.counters().await;
    assert_eq!((counters.received, counters.rejected), (1, 0));
}

#[tokio::test]
async fn a_full_inbound_queue_sheds_and_counts() {
    let mut node = Node::start_with(&[], |config| config.inbound_capacity = 1).await;
    let stranger = Stranger::connect(&[node.address()]).await;
    // The newcomer takes the only place.
    for series in 1..=3 {
        stranger.gossip(encode_order(&offer(series)));
    }
    node.until(|counters| counters.shed == 3).await;
    node.joined().await;
    stranger.gossip(encode_order(&offer(4)));
    assert_eq!(node.order().await.message, offer(4));
}

#[tokio::test]
async fn publishing_alone_or_twice_is_no_disaster() {
    let mut node = Node::start(&[]).await;
    assert!(matches!(node.p2p.publish(offer(1)).await, Err(PublishError::NoPeers)));
    let other = Node::start(&[node.address()]).await;
    node.joined().await;
    node.p2p.publish(offer(1)).await.unwrap();
    let again = node.p2p.publish(offer(1)).await.unwrap_err();
    assert!(matches!(again, PublishError::AlreadyPublished { .. }) && again.is_retryable());
    drop(other);
}

#[tokio::test]
async fn a_request_finds_its_node_by_key_alone() {
    let bootstrap = Node::start(&[]).await;
    let mut provider = Node::start(&[bootstrap.address()]).await;
    let mut buyer = Node::start(&[bootstrap.address()]).await;
    provider.joined().await;
    buyer.joined().await;

    let asked = buyer.p2p.clone();
    let node = provider.p2p.node();
    let request = tokio::spawn(async move { asked.request(node, vec![], access_request()).await });
    let trade = provider.trade().await;
    assert_eq!(trade.node, buyer.p2p.node(), "the request carries the asking node's proven key");
    assert_eq!(trade.request, access_request());
    trade.reply.send(pending()).unwrap();
    assert_eq!(within(request).await.unwrap().unwrap(), pending());
}

#[tokio::test]
async fn a_node_is_dialled_where_it_says_that_it_is_reached() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = |ip: &str| -> Multiaddr { format!("/ip4/{ip}/tcp/{port}").parse().unwrap() };
    let bootstrap = Node::start(&[]).await;
    let mut provider = Node::start_with(&[bootstrap.address()], |config| {
        config.listen = vec![at("127.0.0.1"), at("127.0.0.2")];
        config.external = vec![at("127.0.0.2")];
    })
    .await;
    let status = provider.p2p.status().await.unwrap();
    assert_eq!(status.reached_at(), [format!("{}/p2p/{}", at("127.0.0.2"), status.peer_id)]);
    // Nobody can dial the buyer.
    let mut buyer = Node::start_with(&[bootstrap.address()], |config| config.listen.clear()).await;
    provider.joined().await;
    buyer.joined().await;

    let (asked, node) = (buyer.p2p.clone(), provider.p2p.node());
    let request = tokio::spawn(async move { asked.request(node, vec![], access_request()).await });
    provider.trade().await.reply.send(pending()).unwrap();
    assert_eq!(within(request).await.unwrap().unwrap(), pending());
    let peers = buyer.p2p.status().await.unwrap().peers;
    let provider = peers.iter().find(|peer| peer.peer_id == status.peer_id).unwrap();
    assert!(provider.address.to_string().starts_with(&at("127.0.0.2").to_string()), "{}", provider.address);
}

#[tokio::test]
async fn a_request_dials_the_addresses_it_is_given() {
    let mut provider = Node::start(&[]).await;
    let buyer = Node::start(&[]).await;
    let (asked, node, address) = (buyer.p2p.clone(), provider.p2p.node(), provider.address());
    let request = tokio::spawn(async move { asked.request(node, vec![address], access_request()).await });
    provider.trade().await.reply.send(pending()).unwrap();
    assert_eq!(within(request).await.unwrap().unwrap(), pending());
}

#[tokio::test]
async fn a_request_to_nobody_ends_in_bounded_time() {
    let bootstrap = Node::start(&[]).await;
    let mut buyer = Node::start(&[bootstrap.address()]).await;
    buyer.joined().await;
    let nobody = node_key(&Keypair::generate_ed25519().public().to_peer_id()).unwrap();
    let dead: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", free_port()).parse().unwrap();
    for addresses in [vec![], vec![dead]] {
        let error = within(buyer.p2p.request(nobody, addresses, access_request())).await.unwrap_err();
        assert!(matches!(error, RequestError::Unreachable(node) if node == nobody), "{error}");
        assert!(error.is_retryable() && !error.is_peer_fault());
    }
    let own = buyer.p2p.node();
    let error = buyer.p2p.request(own, vec![], access_request()).await.unwrap_err();
    assert!(matches!(error, RequestError::OwnNode(_)));
    assert_eq!(buyer.p2p.status().await.unwrap().trade.failed, 2);
}

#[tokio::test]
async fn a_provider_that_never_answers_costs_only_the_time_limit() {
    let mut provider = Node::start(&[]).await;
    let buyer = Node::start_with(&[], |config| config.request_limit = Duration::from_millis(500)).await;
    let (asked, node, address) = (buyer.p2p.clone(), provider.p2p.node(), provider.address());
    let start = Instant::now();
    let request = tokio::spawn(async move { asked.request(node, vec![address], access_request()).await });
    let held = provider.trade().await;
    let error = within(request).await.unwrap().unwrap_err();
    assert!(matches!(error, RequestError::TimedOut(_)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(held);
}

#[tokio::test]
async fn who_asks_an_engine_that_has_no_room_is_told_to_try_again() {
    let mut provider = Node::start(&[]).await;
    let buyer = Node::start(&[]).await;
    let (asked, node, address) = (buyer.p2p.clone(), provider.p2p.node(), provider.address());
    let request = tokio::spawn(async move { asked.request(node, vec![address], access_request()).await });
    drop(provider.trade().await);
    let answer = within(request).await.unwrap().unwrap();
    assert!(matches!(answer, TradeResponse::Declined(decline) if decline.code == DeclineCode::Busy));
    let counters = provider.p2p.status().await.unwrap().trade;
    assert_eq!((counters.answered, counters.shed), (0, 1));
}

#[tokio::test]
async fn a_busy_node_says_so() {
    let provider = Node::start_with(&[], |config| config.inbound_capacity = 1).await;
    let mut buyer = Node::start(&[provider.address()]).await;
    buyer.joined().await;
    // The newcomer takes the only place in the provider's queue.
    let one_waits = async {
        while provider.inbound.is_empty() {
            tokio::task::yield_now().await
        }
    };
    within(one_waits).await;
    let answer = within(buyer.p2p.request(provider.p2p.node(), vec![], access_request())).await.unwrap();
    assert!(matches!(answer, TradeResponse::Declined(decline) if decline.code == DeclineCode::Busy));
    assert_eq!(provider.p2p.status().await.unwrap().trade.shed, 1);
}

#[tokio::test]
async fn broken_trade_requests_are_closed_and_counted() {
    let node = Node::start(&[]).await;
    let stranger = Stranger::connect(&[node.address()]).await;
    let oversized = u32::try_from(MAX_TRADE_BYTES + 1).unwrap().to_be_bytes().to_vec();
    let garbage = [&12u32.to_be_bytes()[..], b"no request.."].concat();
    let cut_short = [&100u32.to_be_bytes()[..], b"sl"].concat();
    for request in [oversized, garbage, cut_short] {
        assert!(
            within(stranger.ask(node.p2p.peer_id(), request)).await.is_err(),
            "no answer to a broken request"
        );
    }
    assert_eq!(node.p2p.status().await.unwrap().trade.malformed, 3);
    assert_eq!(node.p2p.status().await.unwrap().trade.received, 0);
}

#[tokio::test]
async fn a_broken_answer_is_the_peers_fault() {
    let mut node = Node::start(&[]).await;
    let stranger = Stranger::connect(&[node.address()]).await;
    node.joined().await;
    let error = within(node.p2p.request(stranger.node(), vec![], access_request())).await.unwrap_err();
    assert!(matches!(error, RequestError::BadAnswer(_)), "{error}");
    assert!(error.is_peer_fault() && !error.is_retryable());
}

#[tokio::test]
async fn a_bootstrap_peer_is_dialled_until_it_is_there_and_again_when_it_is_lost() {
    let port = free_port();
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    let mut node = Node::start(std::slice::from_ref(&address)).await;
    for _ in 0..2 {
        let mut late = Node::start_with(&[], |config| config.listen = vec![address.clone()]).await;
        late.joined().await;
        node.joined().await;
        late.shut_down().await;
    }
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_remedy() {
    for address in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let first = Node::start_with(&[], |config| config.listen = vec![address.parse().unwrap()]).await;
        let mut config = crate::support::config(&[]);
        config.listen = vec![first.address()];
        let error = p2p::spawn(config, crate::support::token()).await.unwrap_err();
        assert!(matches!(error, P2pError::AddressInUse { .. }), "{address}: {error}");
        assert!(error.to_string().contains("p2p.listen"));
    }
}

#[tokio::test]
async fn a_stopped_network_answers_with_an_error() {
    let mut node = Node::start(&[]).await;
    let p2p = node.p2p.clone();
    node.stop.cancel();
    within(p2p.closed()).await;
    assert!(matches!(p2p.publish(offer(1)).await, Err(PublishError::Handle(HandleError::Stopped))));
    assert!(matches!(p2p.status().await, Err(HandleError::Stopped)));
    let nobody = node_key(&Keypair::generate_ed25519().public().to_peer_id()).unwrap();
    let error = p2p.request(nobody, vec![], access_request()).await.unwrap_err();
    assert!(matches!(error, RequestError::Handle(HandleError::Stopped)));
    assert!(within(node.inbound.recv()).await.is_none());
}

#[tokio::test]
async fn status_names_the_peers() {
    let node = Node::start(&[]).await;
    let mut other = Node::start(&[node.address()]).await;
    other.joined().await;
    let told = async {
        loop {
            let status = other.p2p.status().await.unwrap();
            if status.peers.iter().any(|peer| peer.agent.starts_with("sublet/")) {
                return status;
            }
            tokio::time::sleep(crate::support::POLL).await;
        }
    };
    let status = within(told).await;
    assert_eq!(status.node, other.p2p.node());
    assert_eq!((status.peers.len(), status.subscribers), (1, 1));
    assert_eq!(status.peers[0].node, Some(node.p2p.node()));
    assert!(!status.listen.is_empty());
}

#[tokio::test]
async fn peers_of_another_market_do_not_mix() {
    let mut here = Node::start(&[]).await;
    let elsewhere = Domain { salt: B256::repeat_byte(9), ..domain() };
    let mut there = Node::start_with(&[here.address()], |config| config.domain = elsewhere).await;
    let connected = async {
        while here.p2p.status().await.unwrap().peers.is_empty() {
            tokio::time::sleep(crate::support::POLL).await;
        }
    };
    within(connected).await;
    let mut ours = Node::start(&[here.address()]).await;
    ours.joined().await;
    ours.p2p.publish(offer(1)).await.unwrap();
    here.order().await.verdict.send(Verdict::Accept).unwrap();
    here.until(|counters| counters.accepted == 1).await;
    assert_eq!(there.p2p.status().await.unwrap().subscribers, 0);
    assert!(!matches!(there.inbound.try_recv(), Ok(Inbound::Order(_))));
}

#[tokio::test]
async fn a_node_that_starts_again_finds_the_peers_that_it_met_without_bootstrap() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("peers.json");
    let other = Node::start(&[]).await;
    let keypair = Keypair::generate_ed25519();
    let start = |bootstrap: Vec<Multiaddr>| {
        let (keypair, file) = (keypair.clone(), file.clone());
        async move {
            Node::start_with(&bootstrap, |config| {
                config.keypair = keypair;
                config.peer_store = Some(file);
            })
            .await
        }
    };
    let mut first = start(vec![other.address()]).await;
    first.joined().await;
    let told = async {
        while !first.p2p.status().await.unwrap().peers.iter().any(|peer| !peer.agent.is_empty()) {
            tokio::time::sleep(crate::support::POLL).await;
        }
    };
    within(told).await;
    first.shut_down().await;
    let written = async {
        while !file.exists() {
            tokio::time::sleep(crate::support::POLL).await;
        }
    };
    within(written).await;
    let mut again = start(vec![]).await;
    again.joined().await;
    let peers = again.p2p.status().await.unwrap().peers;
    assert_eq!(peers.iter().map(|peer| peer.peer_id).collect::<Vec<_>>(), [other.p2p.peer_id()]);
}

#[tokio::test]
async fn a_peer_that_asks_too_often_is_told_that_the_node_is_busy() {
    let mut provider = Node::start_with(&[], |config| config.trade_requests_per_second = 1).await;
    let mut buyer = Node::start(&[provider.address()]).await;
    buyer.joined().await;
    provider.joined().await;
    let node = provider.p2p.node();
    tokio::spawn(async move {
        loop {
            let _ = provider.trade().await.reply.send(pending());
        }
    });
    let mut busy = 0;
    for _ in 0..20 {
        match within(buyer.p2p.request(node, vec![], access_request())).await.unwrap() {
            TradeResponse::Declined(decline) => {
                assert_eq!(decline.code, DeclineCode::Busy);
                busy += 1;
            }
            answer => assert_eq!(answer, pending()),
        }
    }
    // Eight at once and one a second; on a slow machine some seconds pass.
    assert!((1..=12).contains(&busy), "{busy} of 20 were declined");
}
