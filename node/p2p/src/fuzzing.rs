//! The private readers of this module, for the fuzz targets of the crate `sublet-fuzz`. Each takes bytes as a
//! peer sends them; what is read is written again, so that a target can compare. Not part of the node's
//! interface.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use alloy_primitives::{Address, B256};
use futures::{AsyncRead, executor::block_on};
use libp2p::{Multiaddr, PeerId, StreamProtocol, request_response::Codec};
use sublet_market::{Domain, Shard, codec};

pub use super::sync::fuzzing::{answer, conversation, converse, sync_request, sync_response};
use super::{
    NoOrders, address, bootstrap,
    peer_store::{PeerStore, Stored},
    trade::TradeCodec,
    validation::{OrderChecker, Outcome},
};

/// A stream that delivers at most `step` bytes at a time and then ends.
pub(super) struct Trickle<'a> {
    rest: &'a [u8],
    step: usize,
}

impl<'a> Trickle<'a> {
    pub(super) fn new(wire: &'a [u8], step: usize) -> Self {
        Self { rest: wire, step: step.max(1) }
    }
}

impl AsyncRead for Trickle<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let (now, later) = self.rest.split_at(self.step.min(buf.len()).min(self.rest.len()));
        buf[..now.len()].copy_from_slice(now);
        self.rest = later;
        Poll::Ready(Ok(now.len()))
    }
}

/// Reads a request as `codec` does and writes it again.
pub(super) fn request_again<C>(codec: &mut C, wire: &[u8], step: usize) -> io::Result<Vec<u8>>
where
    C: Codec<Protocol = StreamProtocol>,
{
    let protocol = StreamProtocol::new("/fuzz");
    block_on(async {
        let request = codec.read_request(&protocol, &mut Trickle::new(wire, step)).await?;
        let mut again = Vec::new();
        codec.write_request(&protocol, &mut again, request).await?;
        Ok(again)
    })
}

/// Reads an answer as `codec` does and writes it again.
pub(super) fn response_again<C>(codec: &mut C, wire: &[u8], step: usize) -> io::Result<Vec<u8>>
where
    C: Codec<Protocol = StreamProtocol>,
{
    let protocol = StreamProtocol::new("/fuzz");
    block_on(async {
        let response = codec.read_response(&protocol, &mut Trickle::new(wire, step)).await?;
        let mut again = Vec::new();
        codec.write_response(&protocol, &mut again, response).await?;
        Ok(again)
    })
}

/// A request of `/sublet/trade/1` from the wire, `step` bytes at a time.
///
/// # Errors
/// What breaks the protocol.
pub fn trade_request(wire: &[u8], step: usize) -> io::Result<Vec<u8>> {
    request_again(&mut TradeCodec::default(), wire, step)
}

/// An answer of `/sublet/trade/1` from the wire, `step` bytes at a time.
///
/// # Errors
/// What breaks the protocol.
pub fn trade_response(wire: &[u8], step: usize) -> io::Result<Vec<u8>> {
    response_again(&mut TradeCodec::default(), wire, step)
}

/// What the first check of an order from gossip finds: its signer and digest, or the fault for which it is rejected.
///
/// # Errors
/// The fault.
pub fn gossip(domain: Domain, data: &[u8]) -> Result<(Address, B256), String> {
    let validator = OrderChecker::new(domain, Arc::new(NoOrders));
    // On the topic that it belongs to, or on the one that everybody follows.
    let shard = codec::decode_order(data).map_or(Shard::MAIN, |message| Shard::of(&message));
    let first = validator.check(data, shard);
    let again = validator.check(data, shard);
    match (first, again) {
        (Outcome::Valid(order), Outcome::Duplicate) => Ok((order.signer, order.digest)),
        (Outcome::Invalid(fault), Outcome::Invalid(_)) => Err(fault.to_string()),
        (first, again) => unreachable!("judged {first:?}, then {again:?}"),
    }
}

/// The addresses worth dialling of those that a peer says it has.
pub fn dialable(said: Vec<Multiaddr>, seen_at: &Multiaddr) -> Vec<Multiaddr> {
    address::dialable(said, seen_at).collect()
}

/// A peer's agent string, fit for a terminal.
pub fn agent(text: &str) -> String {
    address::clean_agent(text)
}

/// Whom an address names.
pub fn named_peer(address: &Multiaddr) -> Option<PeerId> {
    bootstrap::peer_of(address)
}

/// The file of known peers with one more peer, or nothing if it is not a list of peers.
pub fn peers(text: &str, capacity: usize, met: PeerId, addresses: Vec<Multiaddr>) -> Option<String> {
    let stored: Vec<Stored> = serde_json::from_str(text).ok()?;
    let now = Instant::now();
    let mut store = PeerStore::new(stored, capacity, now);
    store.met(met, addresses, u64::MAX, false, now);
    store.changes()
}
