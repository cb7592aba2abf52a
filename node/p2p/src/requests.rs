//! This node's requests in flight: sent over an open connection or by dialling what is known of the peer; if
//! that fails, the peer is looked up in the routing table once and dialled again. Each has a deadline.

use std::time::{Duration, Instant};

use libp2p::{
    Multiaddr, PeerId, Swarm,
    kad::QueryId,
    request_response::{OutboundFailure, OutboundRequestId},
};
use sublet_market::TradeResponse;

use super::{RequestError, behaviour::Behaviour, handle::Request};

/// Requests under way at a time; the engines ask a few providers for each bid.
const MAX_REQUESTS: usize = 256;

#[derive(Debug)]
struct Pending {
    request: Request,
    deadline: Instant,
    stage: Stage,
    looked_up: bool,
}

#[derive(Debug, PartialEq)]
enum Stage {
    Sent(OutboundRequestId),
    LookingUp(QueryId),
}

/// All requests under way. Few enough to search in a row.
#[derive(Debug)]
pub(super) struct Requests {
    limit: Duration,
    pending: Vec<Pending>,
    /// Requests so far, and those that got no proper answer.
    pub(super) sent: u64,
    pub(super) failed: u64,
}

impl Requests {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, pending: Vec::new(), sent: 0, failed: 0 }
    }

    /// Sends a request.
    pub(super) fn start(&mut self, swarm: &mut Swarm<Behaviour>, request: Request, now: Instant) {
        self.sent += 1;
        if self.pending.len() >= MAX_REQUESTS {
            self.failed += 1;
            let _ = request.reply.send(Err(RequestError::Busy(MAX_REQUESTS)));
            return;
        }
        let stage = send(swarm, &request, request.addresses.clone());
        self.pending.push(Pending { request, deadline: now + self.limit, stage, looked_up: false });
    }

    /// The peer answered.
    pub(super) fn answered(&mut self, id: OutboundRequestId, response: TradeResponse) {
        if let Some(pending) = self.take(&Stage::Sent(id)) {
            let _ = pending.request.reply.send(Ok(response));
        }
    }

    /// A request failed on its way. One that never left is tried again after a lookup.
    pub(super) fn failed(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        id: OutboundRequestId,
        failure: OutboundFailure,
    ) {
        let Some(index) = self.find(&Stage::Sent(id)) else { return };
        let pending = &mut self.pending[index];
        if matches!(failure, OutboundFailure::DialFailure) && !pending.looked_up {
            pending.looked_up = true;
            let query = swarm.behaviour_mut().kad.get_closest_peers(pending.request.peer);
            pending.stage = Stage::LookingUp(query);
            return;
        }
        let pending = self.pending.swap_remove(index);
        let error = explain(&pending.request, failure, self.limit);
        self.fail(pending, error);
    }

    /// A lookup has ended; `find` gives the addresses it found for a peer.
    pub(super) fn looked_up(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        query: QueryId,
        find: impl Fn(&PeerId) -> Vec<Multiaddr>,
    ) {
        let Some(index) = self.find(&Stage::LookingUp(query)) else { return };
        let pending = &mut self.pending[index];
        let mut addresses = find(&pending.request.peer);
        addresses.extend(pending.request.addresses.iter().cloned());
        pending.stage = send(swarm, &pending.request, addresses);
    }

    /// A peer has connected: whoever looked for it need not look on.
    pub(super) fn connected(&mut self, swarm: &mut Swarm<Behaviour>, peer: PeerId) {
        for pending in self.pending.iter_mut().filter(|pending| pending.request.peer == peer) {
            if matches!(pending.stage, Stage::LookingUp(_)) {
                pending.stage = send(swarm, &pending.request, Vec::new());
            }
        }
    }

    /// Ends what is past its deadline, and drops what nobody waits for any more.
    pub(super) fn expire(&mut self, now: Instant) {
        let expired = self
            .pending
            .extract_if(.., |pending| pending.deadline <= now || pending.request.reply.is_closed());
        for pending in expired.collect::<Vec<_>>() {
            self.fail(pending, RequestError::TimedOut(self.limit));
        }
    }

    fn fail(&mut self, pending: Pending, error: RequestError) {
        self.failed += 1;
        tracing::debug!(peer = %pending.request.peer, %error, "a request failed");
        let _ = pending.request.reply.send(Err(error));
    }

    fn find(&self, stage: &Stage) -> Option<usize> {
        self.pending.iter().position(|pending| pending.stage == *stage)
    }

    fn take(&mut self, stage: &Stage) -> Option<Pending> {
        self.find(stage).map(|index| self.pending.swap_remove(index))
    }
}

fn send(swarm: &mut Swarm<Behaviour>, request: &Request, addresses: Vec<Multiaddr>) -> Stage {
    let trade = &mut swarm.behaviour_mut().trade;
    Stage::Sent(trade.send_request_with_addresses(&request.peer, Ok(request.body.clone()), addresses))
}

fn explain(request: &Request, failure: OutboundFailure, limit: Duration) -> RequestError {
    match failure {
        OutboundFailure::DialFailure => RequestError::Unreachable(request.node),
        OutboundFailure::Timeout => RequestError::TimedOut(limit),
        OutboundFailure::ConnectionClosed => RequestError::ConnectionLost,
        OutboundFailure::UnsupportedProtocols => RequestError::Unsupported,
        OutboundFailure::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            RequestError::BadAnswer(error.to_string())
        }
        OutboundFailure::Io(_) => RequestError::NoAnswer,
    }
}
