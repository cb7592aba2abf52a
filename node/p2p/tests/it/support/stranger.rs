//! A peer that we did not write the rules for: plain gossipsub without validation, and the trade protocol with
//! whatever bytes a test likes.

use std::{collections::HashMap, io, time::Duration};

use alloy_primitives::{B256, keccak256};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    gossipsub::{self, IdentTopic, MessageAuthenticity},
    identity::Keypair,
    noise, request_response,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use sublet_market::Shard;
use sublet_p2p::{node_key, topic_name};
use tokio::sync::{mpsc, oneshot};

use super::{domain, within};

/// Longer than any limit of ours.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes as they are, no frame.
#[derive(Clone, Default)]
struct RawCodec {
    /// Whether answers are left where they are, on the stream.
    never_reads: bool,
}

impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        if self.never_reads {
            return std::future::pending().await;
        }
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&bytes).await
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    gossip: gossipsub::Behaviour,
    trade: request_response::Behaviour<RawCodec>,
    sync: request_response::Behaviour<RawCodec>,
}

type Answer = oneshot::Sender<Result<Vec<u8>, String>>;

enum Command {
    Gossip(Shard, Vec<u8>),
    Ask(PeerId, Vec<u8>, Answer),
    Sync(PeerId, Vec<u8>, Answer),
}

/// A peer that sends what it is told to.
pub(crate) struct Stranger {
    peer: PeerId,
    commands: mpsc::Sender<Command>,
}

impl Stranger {
    /// Connects to all of `addresses` and waits until they follow the topic.
    pub(crate) async fn connect(addresses: &[Multiaddr]) -> Self {
        Self::connect_as(addresses, Vec::new()).await
    }

    /// The same for one that asks and never reads an answer.
    pub(crate) async fn connect_mute(addresses: &[Multiaddr]) -> Self {
        Self::connect_with(addresses, Vec::new(), RawCodec { never_reads: true }).await
    }

    /// The same for one that answers requests of the sync protocol with these bytes, one after the other.
    pub(crate) async fn connect_as(addresses: &[Multiaddr], answers: Vec<Vec<u8>>) -> Self {
        Self::connect_with(addresses, answers, RawCodec::default()).await
    }

    async fn connect_with(addresses: &[Multiaddr], answers: Vec<Vec<u8>>, codec: RawCodec) -> Self {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let topic = IdentTopic::new(topic_name(&domain(), Shard::MAIN));
        let mut swarm = swarm(keypair, &topic, codec);
        let mut answers = answers.into_iter();
        for address in addresses {
            swarm.dial(address.clone()).unwrap();
        }
        let mut missing = addresses.len();
        within(async {
            while missing > 0 {
                match swarm.select_next_some().await {
                    SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed {
                        topic: theirs,
                        ..
                    })) if theirs == topic.hash() => {
                        missing -= 1;
                    }
                    SwarmEvent::Behaviour(BehaviourEvent::Sync(event)) => {
                        on_sync(&mut swarm, event, &mut answers, &mut HashMap::new());
                    }
                    _ => {}
                }
            }
        })
        .await;
        let (commands, queue) = mpsc::channel(64);
        tokio::spawn(run(swarm, queue, answers));
        Self { peer, commands }
    }

    /// Its ed25519 key.
    pub(crate) fn node(&self) -> B256 {
        node_key(&self.peer).unwrap()
    }

    /// Sends bytes as a gossip message of the main shard.
    pub(crate) fn gossip(&self, bytes: Vec<u8>) {
        self.gossip_on(Shard::MAIN, bytes);
    }

    /// Sends bytes as a gossip message of any shard.
    pub(crate) fn gossip_on(&self, shard: Shard, bytes: Vec<u8>) {
        self.commands.try_send(Command::Gossip(shard, bytes)).unwrap();
    }

    /// Sends bytes as a sync request.
    pub(crate) async fn sync(&self, peer: PeerId, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .try_send(Command::Sync(peer, bytes, reply))
            .unwrap_or_else(|_| panic!("the stranger is gone"));
        answer.await.unwrap()
    }

    /// Sends bytes as a sync request and does not wait for its answer.
    pub(crate) fn sync_and_go_on(&self, peer: PeerId, bytes: Vec<u8>) {
        let (reply, _) = oneshot::channel();
        self.commands
            .try_send(Command::Sync(peer, bytes, reply))
            .unwrap_or_else(|_| panic!("the stranger is gone"));
    }

    /// Sends bytes as a trade request.
    pub(crate) async fn ask(&self, peer: PeerId, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .try_send(Command::Ask(peer, bytes, reply))
            .unwrap_or_else(|_| panic!("the stranger is gone"));
        answer.await.unwrap()
    }
}

fn swarm(keypair: Keypair, topic: &IdentTopic, codec: RawCodec) -> Swarm<Behaviour> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|message| {
            keccak256([message.topic.as_str().as_bytes(), &message.data].concat()).to_vec().into()
        })
        .max_transmit_size(1 << 20)
        .build()
        .unwrap();
    let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
    gossip.subscribe(topic).unwrap();
    let protocol = (StreamProtocol::new("/sublet/trade/1"), request_response::ProtocolSupport::Full);
    let config = || request_response::Config::default().with_request_timeout(PATIENCE);
    let trade = request_response::Behaviour::with_codec(codec.clone(), [protocol], config());
    let protocol = (StreamProtocol::new("/sublet/sync/1"), request_response::ProtocolSupport::Full);
    let sync = request_response::Behaviour::with_codec(codec, [protocol], config());
    SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| Behaviour { gossip, trade, sync })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
        .build()
}

type Answers = std::vec::IntoIter<Vec<u8>>;
type Asked = HashMap<request_response::OutboundRequestId, Answer>;

async fn run(mut swarm: Swarm<Behaviour>, mut commands: mpsc::Receiver<Command>, mut answers: Answers) {
    let (mut asked, mut synced): (Asked, Asked) = (HashMap::new(), HashMap::new());
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Gossip(shard, bytes)) => {
                    let topic = IdentTopic::new(topic_name(&domain(), shard));
                    swarm.behaviour_mut().gossip.publish(topic, bytes).unwrap();
                }
                Some(Command::Ask(peer, bytes, reply)) => {
                    asked.insert(swarm.behaviour_mut().trade.send_request(&peer, bytes), reply);
                }
                Some(Command::Sync(peer, bytes, reply)) => {
                    synced.insert(swarm.behaviour_mut().sync.send_request(&peer, bytes), reply);
                }
                None => return,
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(BehaviourEvent::Trade(event)) => on_trade(&mut swarm, event, &mut asked),
                SwarmEvent::Behaviour(BehaviourEvent::Sync(event)) => {
                    on_sync(&mut swarm, event, &mut answers, &mut synced);
                }
                _ => {}
            },
        }
    }
}

type Event = request_response::Event<Vec<u8>, Vec<u8>>;

/// Every question is answered with nonsense.
fn on_trade(swarm: &mut Swarm<Behaviour>, event: Event, asked: &mut Asked) {
    if let Some(channel) = resolve(event, asked) {
        let nonsense = [&8u32.to_be_bytes()[..], b"nonsense"].concat();
        let _ = swarm.behaviour_mut().trade.send_response(channel, nonsense);
    }
}

/// Questions are answered as the test says, and then not at all.
fn on_sync(swarm: &mut Swarm<Behaviour>, event: Event, answers: &mut Answers, asked: &mut Asked) {
    if let Some(channel) = resolve(event, asked)
        && let Some(answer) = answers.next()
    {
        let _ = swarm.behaviour_mut().sync.send_response(channel, answer);
    }
}

fn resolve(event: Event, asked: &mut Asked) -> Option<request_response::ResponseChannel<Vec<u8>>> {
    use request_response::{Event, Message};
    match event {
        Event::Message { message: Message::Request { channel, .. }, .. } => return Some(channel),
        Event::Message { message: Message::Response { request_id, response }, .. } => {
            let _ = asked.remove(&request_id).unwrap().send(Ok(response));
        }
        Event::OutboundFailure { request_id, error, .. } => {
            let _ = asked.remove(&request_id).unwrap().send(Err(error.to_string()));
        }
        _ => {}
    }
    None
}
