//! The protocol's part in the network task: our requests out, peers' requests to a blocking thread and their answers
//! out, all counted. Nothing here takes longer than a look into a map.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use alloy_primitives::B256;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    PeerId, Swarm,
    request_response::{
        Event, InboundRequestId, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
    },
};
use sublet_market::Shard;
use tokio::sync::oneshot;

use super::{
    Call, Snapshots, SyncCounters,
    answer::answer,
    wire::{Malformed, Refusal, Request, Response},
};
use crate::p2p::{behaviour::Behaviour, rate::Buckets};

/// Requests of one peer whose answers are being made or sent.
const MAX_OPEN_PER_PEER: usize = 4;

/// Requests of all peers whose answers are being made or sent; at half a megabyte each that is 32 MB.
const MAX_OPEN: usize = 64;

/// Requests that a peer may make at once after a long silence: a full book takes some 250.
const BURST: f64 = 512.0;

type Reply = oneshot::Sender<Result<Response, OutboundFailure>>;

/// An answer that is ready; an error is the peer's fault; nothing if the thread died.
pub(in crate::p2p) struct Ready {
    peer: PeerId,
    channel: ResponseChannel<Response>,
    response: Option<Result<Response, negentropy::Error>>,
}

/// A peer that broke the protocol, and how.
pub(in crate::p2p) type Blame = Option<(PeerId, String)>;

/// Requests under way, both ways.
pub(in crate::p2p) struct SyncFlow {
    /// The books that we share, by their names.
    books: HashMap<B256, Shard>,
    snapshots: Arc<Snapshots>,
    calls: HashMap<OutboundRequestId, Reply>,
    open: HashMap<InboundRequestId, PeerId>,
    answers: FuturesUnordered<BoxFuture<'static, Ready>>,
    buckets: Buckets,
    pub(in crate::p2p) counters: Arc<Mutex<SyncCounters>>,
}

impl SyncFlow {
    pub(in crate::p2p) fn new(
        books: HashMap<B256, Shard>,
        snapshots: Arc<Snapshots>,
        per_second: u32,
        counters: Arc<Mutex<SyncCounters>>,
    ) -> Self {
        Self {
            books,
            snapshots,
            calls: HashMap::new(),
            open: HashMap::new(),
            answers: FuturesUnordered::new(),
            buckets: Buckets::with_size(f64::from(per_second), BURST),
            counters,
        }
    }

    /// Sends a request of ours. The sessions bound how many there are.
    pub(in crate::p2p) fn call(&mut self, swarm: &mut Swarm<Behaviour>, call: Call) {
        let Call { peer, request, reply } = call;
        let id = swarm.behaviour_mut().sync.send_request(&peer, Ok(request));
        self.calls.insert(id, reply);
    }

    /// Resolves when an answer is ready; hand it to [`Self::send`]. Safe to drop and call again.
    pub(in crate::p2p) async fn next(&mut self) -> Ready {
        match self.answers.next().await {
            Some(ready) => ready,
            None => std::future::pending().await,
        }
    }

    /// Sends an answer.
    pub(in crate::p2p) fn send(&mut self, swarm: &mut Swarm<Behaviour>, ready: Ready) -> Blame {
        let Ready { peer, channel, response } = ready;
        match response? {
            Ok(response) => {
                self.count(|counters| counters.served += 1);
                // The peer may be gone.
                let _ = swarm.behaviour_mut().sync.send_response(channel, response);
                None
            }
            Err(error) => Some((peer, format!("a question that cannot be read: {error}"))),
        }
    }

    pub(in crate::p2p) fn on_event(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        event: Event<Result<Request, Malformed>, Response>,
        now: Instant,
    ) -> Blame {
        match event {
            Event::Message { peer, message: Message::Request { request_id, request, channel }, .. } => {
                // Without its channel the stream is closed.
                let request = match request {
                    Ok(request) => request,
                    Err(malformed) => return Some((peer, malformed.to_string())),
                };
                self.open.insert(request_id, peer);
                match self.admit(peer, &request, now) {
                    Err(refusal) => {
                        self.count(|counters| counters.refused += 1);
                        let refused = Response::Refused(refusal);
                        let _ = swarm.behaviour_mut().sync.send_response(channel, refused);
                    }
                    Ok(shard) => self.start(peer, shard, request, channel),
                }
                None
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                self.finish(request_id, Ok(response))
            }
            Event::OutboundFailure { request_id, error, .. } => self.finish(request_id, Err(error)),
            Event::ResponseSent { request_id, .. } | Event::InboundFailure { request_id, .. } => {
                self.open.remove(&request_id);
                None
            }
        }
    }

    fn finish(&mut self, id: OutboundRequestId, result: Result<Response, OutboundFailure>) -> Blame {
        if let Some(reply) = self.calls.remove(&id) {
            // The session may have given up.
            let _ = reply.send(result);
        }
        None
    }

    /// The shard that a request is about, or why it is not answered.
    fn admit(&mut self, peer: PeerId, request: &Request, now: Instant) -> Result<Shard, Refusal> {
        let (Request::Compare { book, .. } | Request::Fetch { book, .. }) = request;
        if !self.buckets.take(peer, now) {
            return Err(Refusal::Busy);
        }
        let shard = *self.books.get(book).ok_or(Refusal::OtherBook)?;
        let of_peer = self.open.values().filter(|open| **open == peer).count();
        let busy = of_peer > MAX_OPEN_PER_PEER || self.open.len() > MAX_OPEN;
        if busy { Err(Refusal::Busy) } else { Ok(shard) }
    }

    fn start(&mut self, peer: PeerId, shard: Shard, request: Request, channel: ResponseChannel<Response>) {
        let snapshots = Arc::clone(&self.snapshots);
        let work = tokio::task::spawn_blocking(move || answer(&snapshots, shard, request));
        self.answers.push(Box::pin(async move { Ready { peer, channel, response: work.await.ok() } }));
    }

    fn count(&self, change: impl FnOnce(&mut SyncCounters)) {
        change(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What came of it all so far.
    pub(in crate::p2p) fn counted(&self) -> SyncCounters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::p2p) fn blamed(&self) {
        self.count(|counters| counters.blamed += 1);
    }
}
