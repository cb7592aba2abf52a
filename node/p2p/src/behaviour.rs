//! The protocols that a node speaks, and the bounds that each of them keeps.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use alloy_primitives::keccak256;
use libp2p::{
    PeerId, allow_block_list, connection_limits,
    gossipsub::{
        self, IdentTopic, IdentityTransform, MessageAuthenticity, MessageId, TopicHash,
        WhitelistSubscriptionFilter,
    },
    identify,
    identity::Keypair,
    kad::{self, store::MemoryStore},
    mdns,
    metrics::Registry,
    ping, request_response,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};
use sublet_market::Shard;

use super::{
    P2pConfig, P2pError,
    names::{Names, SYNC, TRADE, Topics},
    sync::{self, SyncCodec},
    trade::TradeCodec,
    validation::CHECK_LIMIT,
};

/// Gossipsub's heart beat.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Heart beats that a message is kept for, the one in which it came included.
const HISTORY_LENGTH: usize = 10;

/// For so long after it came a message can still be forwarded, at least: the first heart beat may follow at once.
pub const GOSSIP_HISTORY: Duration = Duration::from_secs((HISTORY_LENGTH as u64 - 1) * HEARTBEAT.as_secs());

/// How long the engine has for its verdict on an order.
pub const VERDICT_LIMIT: Duration = Duration::from_secs(5);

/// Within this time the same bytes are not sent twice; an engine that announces again sooner gets
/// [`PublishError::AlreadyPublished`](super::PublishError::AlreadyPublished). Short, because it is also how long a
/// newcomer may wait for orders that were just announced; copies that come round later meet the memory of digests.
pub const REPUBLISH_AFTER: Duration = Duration::from_secs(15);

// An order that is accepted later than the history reaches back cannot be forwarded any more: the longest check and
// the longest wait for a verdict fit into it.
const _: () = assert!(GOSSIP_HISTORY.as_secs() > VERDICT_LIMIT.as_secs() + CHECK_LIMIT.as_secs());
const _: () = assert!(REPUBLISH_AFTER.as_secs() > HISTORY_LENGTH as u64 * HEARTBEAT.as_secs());

/// Largest gossip RPC in bytes. Orders end at 8 KiB (checked by us, and scored); the rest is room for gossipsub's
/// decoder, which holds this limit against its whole read buffer: a frame begun, and 8 KiB more of what follows it.
const MAX_RPC_BYTES: usize = 65_536;

/// Most message ids in one IHAVE or IWANT: 34 bytes each must fit gossipsub's 16 KiB for control messages.
const MAX_CONTROL_IDS: usize = 400;

/// Messages queued for one slow peer; at 8 KiB each that is 4 MiB.
const PEER_QUEUE_LEN: usize = 512;

/// The application's score of a peer that broke a protocol. Ten times that counts, which is below all thresholds.
pub(super) const BLAMED: f64 = -20.0;

/// Below this score we hear nothing of a peer's gossip.
pub(super) const GRAYLIST: f64 = -150.0;

/// Score memory of a peer that has gone, so that reconnecting does not wash it clean.
const RETAIN_SCORE: Duration = Duration::from_secs(3600);

/// Trade streams at a time on one connection, both ways.
const MAX_TRADE_STREAMS: usize = 32;

/// Connections to one peer: TCP and QUIC, each way.
const MAX_CONNECTIONS_PER_PEER: u32 = 4;

/// Connections that are being set up, each way.
const MAX_PENDING_CONNECTIONS: u32 = 64;

/// A lookup in the routing table that is not done by then is given up.
const KAD_QUERY_LIMIT: Duration = Duration::from_secs(10);

/// How often the routing table is refreshed.
const KAD_REFRESH: Duration = Duration::from_secs(120);

/// Gossipsub that only knows the topics we follow.
pub(super) type Gossip = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// All protocols of a node.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // These two first, so that no other protocol allocates for a connection that is refused.
    pub(super) banned: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(super) limits: connection_limits::Behaviour,
    pub(super) gossip: Gossip,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) trade: request_response::Behaviour<TradeCodec>,
    pub(super) sync: request_response::Behaviour<SyncCodec>,
}

impl Behaviour {
    pub(super) fn new(
        config: &P2pConfig,
        names: &Names,
        codec: TradeCodec,
        registry: &mut Registry,
    ) -> Result<Self, P2pError> {
        let public = config.keypair.public();
        let identify = identify::Config::new_with_signed_peer_record(names.identify.clone(), &config.keypair)
            .with_agent_version(concat!("sublet/", env!("CARGO_PKG_VERSION")).into())
            .with_push_listen_addr_updates(true)
            // Who names where it is reached is not reached where it listens.
            .with_hide_listen_addrs(!config.external.is_empty());
        let trade = request_response::Config::default()
            .with_request_timeout(config.request_limit)
            .with_max_concurrent_streams(MAX_TRADE_STREAMS);
        let sync = request_response::Config::default()
            .with_request_timeout(sync::REQUEST_LIMIT)
            .with_max_concurrent_streams(sync::MAX_STREAMS);
        let support = request_response::ProtocolSupport::Full;
        Ok(Self {
            banned: allow_block_list::Behaviour::default(),
            limits: connection_limits::Behaviour::new(connection_limits(config.max_connections)),
            gossip: gossip(&names.topics, config, registry)?,
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::default(),
            kad: kad(&config.keypair, names, config.discover),
            mdns: mdns(config)?.into(),
            trade: request_response::Behaviour::with_codec(codec, [(TRADE, support.clone())], trade),
            sync: request_response::Behaviour::with_codec(SyncCodec::default(), [(SYNC, support)], sync),
        })
        .inspect(
            |_| tracing::debug!(peer = %public.to_peer_id(), topic = %names.topics.of(Shard::MAIN), "protocols are set up"),
        )
    }
}

/// A quarter of the connections is kept for those that we choose, or strangers could cut us off from everybody else.
fn connection_limits(max: u32) -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_established(Some(max))
        .with_max_established_incoming(Some((max - max / 4).max(1)))
        .with_max_established_per_peer(Some(MAX_CONNECTIONS_PER_PEER))
        .with_max_pending_incoming(Some(MAX_PENDING_CONNECTIONS))
        .with_max_pending_outgoing(Some(MAX_PENDING_CONNECTIONS))
}

fn mdns(config: &P2pConfig) -> Result<Option<mdns::tokio::Behaviour>, P2pError> {
    let own = config.keypair.public().to_peer_id();
    let made = config.mdns.then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), own));
    let remedy = |error| format!("{error}; set `p2p.mdns` in node.toml to false");
    made.transpose().map_err(|error| P2pError::Setup { part: "mDNS", detail: remedy(error) })
}

fn kad(keypair: &Keypair, names: &Names, discover: bool) -> kad::Behaviour<MemoryStore> {
    let id = PeerId::from(keypair.public());
    let mut config = kad::Config::new(names.kad.clone());
    config
        .set_query_timeout(KAD_QUERY_LIMIT)
        .set_periodic_bootstrap_interval(discover.then_some(KAD_REFRESH))
        // We only route; records of strangers would fill our memory.
        .set_record_filtering(kad::StoreInserts::FilterBoth);
    let mut kad = kad::Behaviour::with_config(id, MemoryStore::new(id), config);
    // A client asks, is not told of to others, and tells nothing.
    kad.set_mode(Some(if discover { kad::Mode::Server } else { kad::Mode::Client }));
    kad
}

fn gossip(topics: &Topics, p2p: &P2pConfig, registry: &mut Registry) -> Result<Gossip, P2pError> {
    let refused = |detail: String| P2pError::Setup { part: "gossipsub", detail };
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_interval(HEARTBEAT)
        .heartbeat_initial_delay(HEARTBEAT)
        .history_length(HISTORY_LENGTH)
        .duplicate_cache_time(REPUBLISH_AFTER)
        .max_transmit_size(MAX_RPC_BYTES)
        .max_control_messages_sent(MAX_CONTROL_IDS)
        .connection_handler_queue_len(PEER_QUEUE_LEN)
        // An order carries its maker's signature; who sent it first is nobody's business. This mode is strict the
        // other way round: an envelope with author, number or signature is invalid.
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| message_id(&message.topic, &message.data))
        .build()
        .map_err(|error| refused(error.to_string()))?;
    // Those that we do not follow too: an order of ours may belong there.
    let known = topics.iter().map(|(_, topic)| topic.clone()).collect();
    let filter = WhitelistSubscriptionFilter(known);
    let mut gossip = Gossip::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
        .map_err(|error| refused(error.to_owned()))?
        .with_metrics(
            registry.sub_registry_with_prefix("libp2p_gossipsub"),
            gossipsub::MetricsConfig::default(),
        );
    gossip.with_peer_score(score(topics), thresholds()).map_err(refused)?;
    for shard in p2p.followed() {
        let topic = IdentTopic::new(topics.of(shard).into_string());
        gossip.subscribe(&topic).map_err(|error| refused(error.to_string()))?;
    }
    Ok(gossip)
}

/// With the signature, which is in the data: by an id without it, a copy with a broken signature would censor
/// the order. With the topic, or a copy on a wrong one would; hashed first, so that no invented topic can
/// take over a part of the order.
fn message_id(topic: &TopicHash, data: &[u8]) -> MessageId {
    let topic = keccak256(topic.as_str());
    keccak256([topic.as_slice(), data].concat()).to_vec().into()
}

/// Peers earn a little by being there and by being first, and lose a lot, for a long time, by invalid messages:
/// the fourth within ten minutes takes a newcomer below the graylist threshold.
fn score(topics: &Topics) -> gossipsub::PeerScoreParams {
    let per_topic = gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 600.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: gossipsub::score_parameter_decay(Duration::from_secs(300)),
        first_message_deliveries_cap: 100.0,
        // A quiet order book is no offence.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: gossipsub::score_parameter_decay(Duration::from_secs(600)),
        ..Default::default()
    };
    gossipsub::PeerScoreParams {
        topics: topics.iter().map(|(_, topic)| (topic.clone(), per_topic.clone())).collect(),
        topic_score_cap: 16.0,
        // Many nodes on one machine are a development network, not an attack.
        ip_colocation_factor_whitelist: HashSet::from([
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]),
        // A few early grafts and unkept promises happen to honest peers under load.
        behaviour_penalty_threshold: 6.0,
        retain_score: RETAIN_SCORE,
        ..Default::default()
    }
}

/// `PeerInfo::score` names two of them.
fn thresholds() -> gossipsub::PeerScoreThresholds {
    gossipsub::PeerScoreThresholds {
        gossip_threshold: -40.0,
        publish_threshold: -80.0,
        graylist_threshold: GRAYLIST,
        accept_px_threshold: 100.0,
        opportunistic_graft_threshold: 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_order_on_another_topic_is_another_message() {
        let topic = |name: &str| TopicHash::from_raw(name);
        let good = message_id(&topic("/orders/1"), b"an order");
        assert_eq!(good, message_id(&topic("/orders/1"), b"an order"));
        assert_ne!(good, message_id(&topic("/orders/2"), b"an order"));
        assert_ne!(good, message_id(&topic("/orders/1"), b"an order."));
        assert_ne!(
            good,
            message_id(&topic("/orders/1an"), b" order"),
            "nobody invents a topic that hides it"
        );
    }
}
