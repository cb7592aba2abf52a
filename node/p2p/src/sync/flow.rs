//! The protocol's part in the network task: our requests out, peers' requests to a blocking thread and their answers
//! out, all counted. Nothing here takes longer than a look into a map.
//!
//! What peers may have of us is bounded for each ([`Buckets`]) and for all together ([`Budget`], [`Open`]).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    PeerId, Swarm,
    request_response::{
        Event, InboundFailure, InboundRequestId, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
    },
    swarm::ConnectionId,
};
use sublet_market::Shard;
use tokio::sync::{Semaphore, oneshot};

use super::{
    Call, Snapshots, SyncCounters,
    answer::answer,
    budget::{Budget, Open},
    wire::{Refusal, Request, Response},
};
use crate::{behaviour::Behaviour, frame::Malformed, rate::Buckets};

/// Answers that are made at a time: one may wait for the book while another is computed.
const MAX_MAKING: usize = 2;

/// Requests that a peer may make at once after a long silence: a full book takes some 250.
const BURST: f64 = 512.0;

type Reply = oneshot::Sender<Result<Response, OutboundFailure>>;

/// An answer that is ready; an error is the peer's fault; nothing if the thread died.
pub(crate) struct Ready {
    id: InboundRequestId,
    peer: PeerId,
    channel: ResponseChannel<Response>,
    response: Option<Result<Response, negentropy::Error>>,
    took: Duration,
}

/// Whom a request is from, and by which way its answer goes.
struct Asked {
    id: InboundRequestId,
    peer: PeerId,
    connection: ConnectionId,
    channel: ResponseChannel<Response>,
}

/// A peer that broke the protocol, and how.
pub(crate) type Blame = Option<(PeerId, String)>;

/// Requests under way, both ways.
pub(crate) struct SyncFlow {
    /// The books that we share, by their names.
    books: HashMap<B256, Shard>,
    snapshots: Arc<Snapshots>,
    calls: HashMap<OutboundRequestId, Reply>,
    open: Open<InboundRequestId>,
    answers: FuturesUnordered<BoxFuture<'static, Ready>>,
    making: Arc<Semaphore>,
    buckets: Buckets,
    budget: Budget,
    pub(crate) counters: Arc<Mutex<SyncCounters>>,
}

impl SyncFlow {
    pub(crate) fn new(
        books: HashMap<B256, Shard>,
        snapshots: Arc<Snapshots>,
        per_second: u32,
        counters: Arc<Mutex<SyncCounters>>,
    ) -> Self {
        Self {
            books,
            snapshots,
            calls: HashMap::new(),
            open: Open::new(),
            answers: FuturesUnordered::new(),
            making: Arc::new(Semaphore::new(MAX_MAKING)),
            buckets: Buckets::with_size(f64::from(per_second), BURST),
            budget: Budget::new(Instant::now()),
            counters,
        }
    }

    /// Sends a request of ours. The sessions bound how many there are.
    pub(crate) fn call(&mut self, swarm: &mut Swarm<Behaviour>, call: Call) {
        let Call { peer, request, reply } = call;
        let id = swarm.behaviour_mut().sync.send_request(&peer, Ok(request));
        self.calls.insert(id, reply);
    }

    /// Resolves when an answer is ready; hand it to [`Self::send`]. Safe to drop and call again.
    pub(crate) async fn next(&mut self) -> Ready {
        match self.answers.next().await {
            Some(ready) => ready,
            None => std::future::pending().await,
        }
    }

    /// Sends an answer.
    pub(crate) fn send(&mut self, swarm: &mut Swarm<Behaviour>, ready: Ready) -> Blame {
        let Ready { id, peer, channel, response, took } = ready;
        let now = Instant::now();
        let response = response.transpose();
        let bytes = response.as_ref().ok().and_then(Option::as_ref).map_or(0, Response::size);
        self.budget.charge(peer, bytes, took, now);
        match response {
            Ok(Some(response)) => {
                self.count(|counters| counters.served += 1);
                self.open.sent(&id, now);
                // The peer may be gone.
                let _ = swarm.behaviour_mut().sync.send_response(channel, response);
                None
            }
            Ok(None) => None,
            Err(error) => Some((peer, format!("invalid request: {error}"))),
        }
    }

    pub(crate) fn on_event(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        event: Event<Result<Request, Malformed>, Response>,
        now: Instant,
    ) -> Blame {
        match event {
            Event::Message {
                peer,
                connection_id: connection,
                message: Message::Request { request_id: id, request, channel },
            } => match request {
                Ok(request) => self.asked(swarm, Asked { id, peer, connection, channel }, request, now),
                // Without its channel the stream is closed.
                Err(malformed) => return Some((peer, malformed.to_string())),
            },
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                self.finish(request_id, Ok(response));
            }
            Event::OutboundFailure { request_id, error, .. } => self.finish(request_id, Err(error)),
            Event::ResponseSent { request_id, .. } => {
                self.open.end(&request_id);
            }
            Event::InboundFailure { peer, connection_id, request_id, error } => {
                let unread = self.open.end(&request_id) && matches!(error, InboundFailure::Timeout);
                if unread {
                    tracing::debug!(%peer, "a peer does not read its answer; closing the connection");
                    swarm.close_connection(connection_id);
                }
            }
        }
        None
    }

    fn asked(&mut self, swarm: &mut Swarm<Behaviour>, asked: Asked, request: Request, now: Instant) {
        match self.admit(&asked, &request, now) {
            Err(refusal) => {
                self.count(|counters| counters.refused += 1);
                let _ = swarm.behaviour_mut().sync.send_response(asked.channel, Response::Refused(refusal));
                // Who asks again finds room.
                if let Some(connection) = self.open.slowest(now) {
                    tracing::debug!("dropping a connection that reads its answers slowly");
                    swarm.close_connection(connection);
                }
            }
            Ok(shard) => self.start(asked, shard, request),
        }
    }

    fn finish(&mut self, id: OutboundRequestId, result: Result<Response, OutboundFailure>) {
        if let Some(reply) = self.calls.remove(&id) {
            // The session may have given up.
            let _ = reply.send(result);
        }
    }

    /// The shard that a request is about, or why it is not answered.
    fn admit(&mut self, asked: &Asked, request: &Request, now: Instant) -> Result<Shard, Refusal> {
        let (Request::Compare { book, .. } | Request::Fetch { book, .. }) = request;
        if !self.buckets.take(asked.peer, now) {
            return Err(Refusal::Busy);
        }
        let shard = *self.books.get(book).ok_or(Refusal::OtherBook)?;
        let room =
            self.budget.allows(&asked.peer, now) && self.open.begin(asked.id, asked.peer, asked.connection);
        if room { Ok(shard) } else { Err(Refusal::Busy) }
    }

    fn start(&mut self, asked: Asked, shard: Shard, request: Request) {
        let Asked { id, peer, channel, .. } = asked;
        let (snapshots, making) = (Arc::clone(&self.snapshots), Arc::clone(&self.making));
        self.answers.push(Box::pin(async move {
            // Never closed; and without a turn there is no answer.
            let turn = making.acquire_owned().await.ok();
            let work = tokio::task::spawn_blocking(move || {
                let start = Instant::now();
                let answered = turn.is_some().then(|| answer(&snapshots, shard, request));
                (answered, start.elapsed())
            });
            let (response, took) = work.await.unwrap_or_default();
            Ready { id, peer, channel, response, took }
        }));
    }

    fn count(&self, change: impl FnOnce(&mut SyncCounters)) {
        change(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What came of it all so far.
    pub(crate) fn counted(&self) -> SyncCounters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn blamed(&self) {
        self.count(|counters| counters.blamed += 1);
    }
}
