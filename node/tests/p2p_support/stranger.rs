//! A peer that we did not write the rules for: plain gossipsub without validation, and the trade protocol with
//! whatever bytes a test likes.

use std::{collections::HashMap, io};

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
use sublet::p2p::{node_key, topic_name};
use tokio::sync::{mpsc, oneshot};

use super::{domain, within};

/// Bytes as they are, no frame.
#[derive(Clone, Default)]
struct RawCodec;

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
}

type Answer = oneshot::Sender<Result<Vec<u8>, String>>;

enum Command {
    Gossip(Vec<u8>),
    Ask(PeerId, Vec<u8>, Answer),
}

/// A peer that sends what it is told to.
pub(crate) struct Stranger {
    peer: PeerId,
    commands: mpsc::Sender<Command>,
}

impl Stranger {
    /// Connects to all of `addresses` and waits until they follow the topic.
    pub(crate) async fn connect(addresses: &[Multiaddr]) -> Self {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let topic = IdentTopic::new(topic_name(&domain(), "main"));
        let mut swarm = swarm(keypair, &topic);
        for address in addresses {
            swarm.dial(address.clone()).unwrap();
        }
        let mut missing = addresses.len();
        within(async {
            while missing > 0 {
                if let SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed {
                    ..
                })) = swarm.select_next_some().await
                {
                    missing -= 1;
                }
            }
        })
        .await;
        let (commands, queue) = mpsc::channel(64);
        tokio::spawn(run(swarm, topic, queue));
        Self { peer, commands }
    }

    /// Its ed25519 key.
    pub(crate) fn node(&self) -> B256 {
        node_key(&self.peer).unwrap()
    }

    /// Sends bytes as a gossip message.
    pub(crate) fn gossip(&self, bytes: Vec<u8>) {
        self.commands.try_send(Command::Gossip(bytes)).unwrap();
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

fn swarm(keypair: Keypair, topic: &IdentTopic) -> Swarm<Behaviour> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|message| keccak256(&message.data).to_vec().into())
        .max_transmit_size(1 << 20)
        .build()
        .unwrap();
    let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
    gossip.subscribe(topic).unwrap();
    let protocol = (StreamProtocol::new("/sublet/trade/1"), request_response::ProtocolSupport::Full);
    let trade = request_response::Behaviour::new([protocol], request_response::Config::default());
    SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| Behaviour { gossip, trade })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_secs(60)))
        .build()
}

async fn run(mut swarm: Swarm<Behaviour>, topic: IdentTopic, mut commands: mpsc::Receiver<Command>) {
    use request_response::{Event, Message};
    let mut answers: HashMap<_, Answer> = HashMap::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Gossip(bytes)) => {
                    swarm.behaviour_mut().gossip.publish(topic.clone(), bytes).unwrap();
                }
                Some(Command::Ask(peer, bytes, reply)) => {
                    answers.insert(swarm.behaviour_mut().trade.send_request(&peer, bytes), reply);
                }
                None => return,
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(BehaviourEvent::Trade(Event::Message { message, .. })) => match message {
                    Message::Request { channel, .. } => {
                        let nonsense = [&8u32.to_be_bytes()[..], b"nonsense"].concat();
                        let _ = swarm.behaviour_mut().trade.send_response(channel, nonsense);
                    }
                    Message::Response { request_id, response } => {
                        let _ = answers.remove(&request_id).unwrap().send(Ok(response));
                    }
                },
                SwarmEvent::Behaviour(BehaviourEvent::Trade(Event::OutboundFailure { request_id, error, .. })) => {
                    let _ = answers.remove(&request_id).unwrap().send(Err(error.to_string()));
                }
                _ => {}
            },
        }
    }
}
