//! Errors between peers, and whose fault they are.

use std::{io, time::Duration};

use alloy_primitives::B256;
use libp2p::Multiaddr;
use sublet_market::CodecError;

use super::NodeKeyError;

/// Why the network could not be started.
#[derive(Debug, thiserror::Error)]
pub enum P2pError {
    /// Another process has the port.
    #[error(
        "cannot listen on {address}: address in use; stop the other process or set another port in `p2p.listen` of node.toml"
    )]
    AddressInUse {
        /// The address that was asked for.
        address: Multiaddr,
    },
    /// The address cannot be listened on for another reason.
    #[error(
        "cannot listen on {address}: {source}; set `p2p.listen` in node.toml to an address of this host, for example /ip4/0.0.0.0/tcp/4001"
    )]
    Listen {
        /// The address that was asked for.
        address: Multiaddr,
        /// What the system or the transport said.
        source: io::Error,
    },
    /// A listener did not come up in time.
    #[error("no listener came up within {} s; check that the addresses of `p2p.listen` in node.toml belong to this host", .0.as_secs())]
    ListenTimeout(
        /// How long was waited.
        Duration,
    ),
    /// The identity is not an ed25519 key.
    #[error(
        "the node's key is not ed25519, and orders name nodes by their ed25519 key; make a new one with `sublet init`"
    )]
    KeyType,
    /// A part of the stack refused its configuration or the host lacks something.
    #[error("cannot set up {part}: {detail}")]
    Setup {
        /// Which part.
        part: &'static str,
        /// What it said.
        detail: String,
    },
}

impl P2pError {
    /// Whether the same start may succeed later without a change of configuration.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::AddressInUse { .. } | Self::ListenTimeout(_))
    }
}

/// The network task has ended, or is not keeping up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// The task has ended: the node is shutting down.
    #[error("the network task has stopped; start the node again")]
    Stopped,
    /// The task did not answer in time.
    #[error("the network task did not answer within {} s; the host is overloaded, try again", .0.as_secs())]
    Unresponsive(
        /// How long was waited.
        Duration,
    ),
}

impl HandleError {
    /// Whether trying again can help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unresponsive(_))
    }
}

/// Why an order of ours did not go out. None of these is fatal: orders are announced again and again.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Nobody that we are connected to follows the topic.
    #[error("no peer follows the order book yet; it is announced when one joins")]
    NoPeers,
    /// The same bytes went out (or came by) a moment ago.
    #[error("this order was just announced; announce it again after {} s", retry_after.as_secs())]
    AlreadyPublished {
        /// After this time the same bytes may be sent again.
        retry_after: Duration,
    },
    /// The queues to all peers are full.
    #[error("the queues to all {peers} peers are full; announce it again later")]
    Congested {
        /// How many peers follow the topic.
        peers: usize,
    },
    /// The gossip layer failed.
    #[error("the gossip layer failed: {0}")]
    Gossip(
        /// What it said.
        String,
    ),
    /// The network task is gone or not keeping up.
    #[error(transparent)]
    Handle(#[from] HandleError),
}

impl PublishError {
    /// Whether announcing the same order later can succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoPeers | Self::AlreadyPublished { .. } | Self::Congested { .. } => true,
            Self::Gossip(_) => false,
            Self::Handle(error) => error.is_retryable(),
        }
    }
}

/// Why a request to a peer has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The node key is no key.
    #[error(transparent)]
    NodeKey(#[from] NodeKeyError),
    /// The request is to ourselves.
    #[error("node {0} is this node itself; a node cannot trade with itself")]
    OwnNode(
        /// Our node key.
        B256,
    ),
    /// No address of the peer is known, or none answers.
    #[error(
        "cannot reach node {0}: no address of it is known or none answers; it may be offline, try again later"
    )]
    Unreachable(
        /// The peer's node key.
        B256,
    ),
    /// The peer speaks another version, or is no node of ours.
    #[error("the peer does not speak the trade protocol; it may run another version")]
    Unsupported,
    /// The connection broke before the answer. The peer may have seen the request.
    #[error("the connection was lost before the answer came; try again")]
    ConnectionLost,
    /// The peer closed the stream without an answer. It may have seen the request.
    #[error("the peer closed the request without an answer; it refused it as malformed or is shutting down")]
    NoAnswer,
    /// The answer is not what the protocol allows.
    #[error("the peer's answer breaks the protocol: {0}; choose another peer")]
    BadAnswer(
        /// What is wrong with it.
        String,
    ),
    /// No answer in time. The peer may have seen the request.
    #[error("no answer within {} ms; the peer may be overloaded, try again or choose another", .0.as_millis())]
    TimedOut(
        /// How long was waited.
        Duration,
    ),
    /// The request cannot be encoded, or is larger than any peer accepts.
    #[error("the request cannot be sent: {0}")]
    Request(#[from] CodecError),
    /// Too many requests of ours are under way.
    #[error("{0} requests are already under way; try again when some are done")]
    Busy(
        /// The limit.
        usize,
    ),
    /// The network task is gone or not keeping up.
    #[error(transparent)]
    Handle(#[from] HandleError),
}

impl RequestError {
    /// Whether the peer broke the protocol (rather than the network or ourselves).
    pub fn is_peer_fault(&self) -> bool {
        matches!(self, Self::BadAnswer(_) | Self::NoAnswer | Self::Unsupported)
    }

    /// Whether the same request to the same peer may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::ConnectionLost
            | Self::NoAnswer
            | Self::TimedOut(_)
            | Self::Busy(_) => true,
            Self::NodeKey(_)
            | Self::OwnNode(_)
            | Self::Unsupported
            | Self::BadAnswer(_)
            | Self::Request(_) => false,
            Self::Handle(error) => error.is_retryable(),
        }
    }
}
