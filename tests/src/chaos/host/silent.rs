//! Silent peers: this project's network code without an engine behind it, and streams on which nothing comes.

use std::{io, time::Duration};

use alloy_primitives::{Address, B256, U256};
use anyhow::{Context as _, bail, ensure};
use futures::{AsyncRead, AsyncWrite, StreamExt as _};
use libp2p::{
    Multiaddr, StreamProtocol, SwarmBuilder, identity::Keypair, noise, request_response, swarm::SwarmEvent,
    tcp, yamux,
};
use sublet::devnet::{Devnet, market::SELLERS};
use sublet_chain::{Call, Chain};
use sublet_keys::WalletSigner;
use sublet_market::{
    Bid, Manifest, Offer, Order as _, OrderMessage, Spec, TradeRequest, TradeResponse, Traits,
    amount::BASE_UNITS_PER_CTK, samples,
};
use sublet_p2p as p2p;
use sublet_p2p::{Inbound, P2p, P2pConfig, peer_id};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::Scene;
use crate::chaos::{SOON, Who};

const FUNDS: u128 = 10 * BASE_UNITS_PER_CTK;
/// Streams on which nothing comes, at once.
const STREAMS: usize = 20;
/// An hour: it is the others who must lose patience.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// Some key: nobody logs in.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl nobody@nowhere";

/// A funded peer whose answers never come.
struct Silent {
    p2p: P2p,
    inbound: mpsc::Receiver<Inbound>,
    wallet: WalletSigner,
    address: Address,
    stop: CancellationToken,
}

impl Silent {
    async fn join(net: &Devnet) -> anyhow::Result<Self> {
        let signer = net.wallet().await?;
        let address = signer.address();
        net.fund(address, FUNDS).await?;
        let chain = Chain::connect(net.anvil.url(), net.deployment.clone(), signer.clone()).await?;
        chain.execute(Call::Approve { amount: FUNDS }).await?;
        chain.execute(Call::Deposit { amount: FUNDS }).await?;
        let mut config = P2pConfig::new(Keypair::generate_ed25519(), net.deployment.domain());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
        config.bootstrap = addresses(net, "hub").await?;
        config.request_limit = PATIENCE;
        let stop = CancellationToken::new();
        let (p2p, inbound) = p2p::spawn(config, stop.clone()).await?;
        Ok(Self { p2p, inbound, wallet: WalletSigner::from(signer), address, stop })
    }

    /// Publishes an order as soon as there is a peer to tell.
    async fn publish(&self, message: OrderMessage) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + SOON;
        while let Err(error) = self.p2p.publish(message.clone()).await {
            ensure!(tokio::time::Instant::now() < deadline, "the order is not heard: {error}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn addresses(net: &Devnet, name: &str) -> anyhow::Result<Vec<Multiaddr>> {
    let node = net.nodes().iter().find(|node| node.name() == name).context("no such node")?;
    Ok(node.status().await?.listen.iter().map(|address| address.parse()).collect::<Result<_, _>>()?)
}

impl Scene<'_> {
    pub(super) async fn silent_provider(&mut self) -> anyhow::Result<String> {
        let mut silent = Silent::join(self.stage.net).await?;
        self.stage.others.push(silent.address);
        let now = self.stage.net.bank.head().await?.timestamp;
        let offer = Offer {
            provider: silent.address,
            node: silent.p2p.node(),
            unit: self.unit,
            units: 5,
            price_per_second: SELLERS[2].price_per_second / 2,
            traits: Traits::default(),
            // Gone from the book before the next fault.
            valid_until: now + 500,
            ..samples::offer_of(&samples::key(1), 1)
        };
        let signed = silent.wallet.sign_order(offer, &self.stage.net.deployment.domain()).await?;
        silent.publish(signed.into()).await?;
        self.stage
            .until("its offer is heard", SOON, async |stage| {
                let node = stage.node(Who::Buyer);
                let offers: Vec<sublet_api::types::OfferInfo> =
                    crate::command::json(node.binary(), node.home().path(), &["offer", "list"]).await?;
                Ok(offers.iter().any(|offer| offer.provider == silent.address))
            })
            .await?;
        let started = std::time::Instant::now();
        let id = self.rent().await?;
        let took = started.elapsed().as_secs();
        let asked = count_asks(&mut silent.inbound);
        ensure!(asked > 0, "nobody asked it");
        let bid = self.stage.bid(id).await?;
        ensure!(bid.provider != Some(silent.address), "the silent one has the lease");
        let no = bid.declines.iter().find(|no| no.provider == silent.address).context("no word of it")?;
        ensure!(no.code == "unreachable", "it counts as {}", no.code);
        self.close(id).await?;
        self.stage.advance(600).await?;
        Ok(format!("asked {asked} times; the next offer's machine ran after {took} s"))
    }

    pub(super) async fn silent_buyer(&mut self) -> anyhow::Result<String> {
        let provider = self.stage.node(Who::Provider).name().to_owned();
        let there = addresses(self.stage.net, &provider).await?;
        let node = self.own_offers().await?.first().context("no offer")?.node;
        let streams = mute_streams(node, &there).await?;
        let silent = Silent::join(self.stage.net).await?;
        self.stage.others.push(silent.address);
        let held = self.promised(&silent, &there).await?;
        self.stage
            .until("the capacity is held", SOON, async |stage| {
                Ok(super::own_offers(stage, &self.series)
                    .await?
                    .iter()
                    .map(|offer| offer.terms.units)
                    .sum::<u32>()
                    == 1)
            })
            .await?;
        let id = self.rent().await?;
        let end = self.close(id).await?;
        streams.abort();
        self.stage.advance(200).await?;
        self.until_at_rest().await?;
        Ok(format!("{STREAMS} mute streams and the promise {held}: another buyer's lease {end}; free again"))
    }

    /// Makes the provider promise a machine to the silent one.
    async fn promised(&self, silent: &Silent, there: &[Multiaddr]) -> anyhow::Result<B256> {
        let offer = self
            .own_offers()
            .await?
            .into_iter()
            .find(|offer| offer.terms.units > 0)
            .context("nothing is sold")?;
        let domain = self.stage.net.deployment.domain();
        let now = self.stage.net.bank.head().await?.timestamp;
        let manifest = Manifest {
            salt: B256::repeat_byte(7),
            image: sublet::devnet::market::IMAGE.to_owned(),
            ssh_authorized_keys: vec![KEY.to_owned()],
            disk_of: None,
        };
        let spec = Spec { unit: self.unit, units: 1, traits: Traits::default(), manifest: manifest.hash()? };
        let bid = Bid {
            buyer: silent.address,
            settler: silent.address,
            spec: spec.hash_struct(),
            node: silent.p2p.node(),
            max_rate: offer.terms.price_per_second,
            min_bond_seconds: 0,
            min_points: 0,
            duration: 600,
            valid_until: now + 300,
            epoch: 0,
            salt: U256::from(now).to(),
        };
        let bid = silent.wallet.sign_order(bid, &domain).await?;
        let id = bid.order.digest(&domain);
        let request = TradeRequest::Ask {
            bid,
            spec,
            offer: offer.digest.context("the offer is not signed")?,
            manifest: manifest.canonical_bytes()?,
        };
        match silent.p2p.request(offer.node, there.to_vec(), request).await? {
            TradeResponse::Accept(_) => Ok(id),
            other => bail!("it was not promised anything: {other:?}"),
        }
    }
}

fn count_asks(inbound: &mut mpsc::Receiver<Inbound>) -> usize {
    let mut asks = 0;
    while let Ok(message) = inbound.try_recv() {
        asks += usize::from(matches!(message, Inbound::Trade(_)));
    }
    asks
}

/// Requests of which nothing is ever written.
#[derive(Clone, Default)]
struct Mute;

impl request_response::Codec for Mute {
    type Protocol = StreamProtocol;
    type Request = ();
    type Response = ();

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
    ) -> io::Result<()> {
        std::future::pending().await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
    ) -> io::Result<()> {
        std::future::pending().await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
        (): (),
    ) -> io::Result<()> {
        std::future::pending().await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        _: &mut T,
        (): (),
    ) -> io::Result<()> {
        std::future::pending().await
    }
}

/// Opens streams of the trade protocol to a node and says nothing on them, for as long as the task lives.
async fn mute_streams(node: B256, there: &[Multiaddr]) -> anyhow::Result<JoinHandle<()>> {
    let peer = peer_id(node)?;
    let protocol = (StreamProtocol::new("/sublet/trade/1"), request_response::ProtocolSupport::Outbound);
    let config = request_response::Config::default().with_request_timeout(PATIENCE);
    let trade = request_response::Behaviour::<Mute>::new([protocol], config);
    let mut swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| trade)?
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
        .build();
    let address = there.first().context("the provider listens nowhere")?;
    swarm.dial(address.clone())?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => break,
            SwarmEvent::OutgoingConnectionError { error, .. } => bail!("cannot reach the provider: {error}"),
            _ => {}
        }
    }
    for _ in 0..STREAMS {
        swarm.behaviour_mut().send_request(&peer, ());
    }
    Ok(tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    }))
}
