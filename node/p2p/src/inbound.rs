//! What the network hands to the engines: orders to judge, requests to answer, peers that joined.

use alloy_primitives::{Address, B256};
use libp2p::PeerId;
use sublet_market::{OrderMessage, TradeRequest, TradeResponse};
use tokio::sync::oneshot;

/// One thing that came in.
#[derive(Debug)]
pub enum Inbound {
    /// An order from gossip, for the book.
    Order(Box<InboundOrder>),
    /// Orders that a peer had and we lacked.
    Synced(Box<SyncedOrders>),
    /// A request on the trade protocol.
    Trade(Box<InboundTrade>),
    /// A peer began to follow our topic: what nobody has heard yet can go out now. What was announced before,
    /// it fetches by itself. Several peers that join while the queue is full are reported as one.
    PeerJoined(PeerId),
}

/// An order that holds in itself: its size, codec, structure and signature are checked, and `signer` is its maker.
#[derive(Debug)]
pub struct InboundOrder {
    /// The neighbour that sent it to us; not necessarily the maker's node.
    pub from: PeerId,
    /// The order.
    pub message: OrderMessage,
    /// Who signed it.
    pub signer: Address,
    /// Its EIP-712 digest.
    pub digest: B256,
    /// Whether it goes on to other peers. Dropped, or not given within
    /// [`VERDICT_LIMIT`](super::VERDICT_LIMIT), it does not.
    pub verdict: oneshot::Sender<Verdict>,
}

/// Some of the orders of a peer's book. Each holds in itself, as an [`InboundOrder`] does.
#[derive(Debug)]
pub struct SyncedOrders {
    /// Whose book they are from.
    pub from: PeerId,
    /// The orders.
    pub orders: Vec<SyncedOrder>,
    /// What became of each, in their order. They are not forwarded either way: every peer compares books itself.
    pub verdicts: oneshot::Sender<Vec<Verdict>>,
}

/// One order out of a peer's book.
#[derive(Debug)]
pub struct SyncedOrder {
    /// The order.
    pub message: OrderMessage,
    /// Who signed it: its maker.
    pub signer: Address,
    /// Its EIP-712 digest.
    pub digest: B256,
}

/// What becomes of an order that holds in itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It counts now: forward it.
    Accept,
    /// It does not count here and now (why): do not forward it. Nobody is punished, others may know more than we do.
    Ignore(&'static str),
    /// It could not be judged (why), as when the chain does not answer: as good as ignored, but worth another try.
    Undecided(&'static str),
}

/// A request from a peer whose key the connection has proven.
#[derive(Debug)]
pub struct InboundTrade {
    /// The peer's ed25519 key, as in the `node` field of orders.
    pub node: B256,
    /// What it wants.
    pub request: TradeRequest,
    /// The answer. Dropped, the peer sees its request closed without one.
    pub reply: oneshot::Sender<TradeResponse>,
}
