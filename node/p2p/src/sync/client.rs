//! One session with a peer from start to end: compare, fetch, check, hand to the engine. Everything it waits for has
//! a time limit, and everything it holds is bounded.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use futures::{StreamExt, TryStreamExt, stream};
use libp2p::{PeerId, request_response::OutboundFailure};
use sublet_market::Shard;
use tokio::sync::{mpsc, oneshot};

use super::{
    Books, REQUEST_LIMIT, Snapshots, SyncCounters,
    session::{Broken, MAX_NEEDED, Session, batches, left_of},
    wire::{Refusal, Request, Response},
};
use crate::{
    Inbound, SyncedOrder, SyncedOrders, Verdict,
    handle::Command,
    seen::Seen,
    validation::{Fault, OrderChecker, SeenKey, ValidOrder, Workers},
};

/// A session that takes longer is ended; the next one goes on where it stood.
const SESSION_LIMIT: Duration = Duration::from_secs(120);

/// How long the engine has for the verdicts on one batch: it may have to ask the chain for every maker.
const VERDICTS_LIMIT: Duration = Duration::from_secs(30);

/// Shards compared at a time, and batches under way at a time: one on the wire, one in the workers, one in the engine.
const PIPELINE: usize = 3;

/// How often a busy peer is asked again, and how long we wait before it.
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// Bytes of answers to the questions of one session. Two books of 100,000 orders without a common one take 13 MB.
const MAX_COMPARED_BYTES: u64 = 64 << 20;

/// Orders of one session that the book has no use for, beyond as many as it took: each costs a recovery, and perhaps a
/// question to the chain. Two neighbours with different floors may differ in thousands; what is left is for the next
/// session.
const MAX_USELESS: usize = 4_096;

/// A request of ours, on its way through the network task.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) peer: PeerId,
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Result<Response, OutboundFailure>>,
}

/// Why a session did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncFault {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("an order that no honest peer has: {0}")]
    Order(#[from] Fault),
    #[error("this node's own set is invalid: {0}")]
    Own(negentropy::Error),
    #[error("the peer is busy")]
    Busy,
    #[error("the peer has another market's or shard's book")]
    OtherBook,
    #[error("the request failed: {0}")]
    Request(#[from] OutboundFailure),
    #[error("the session did not end within {} s", SESSION_LIMIT.as_secs())]
    TooLong,
    #[error("the comparison took more than {MAX_COMPARED_BYTES} bytes")]
    TooMuch,
    #[error("more than {MAX_USELESS} useless orders beyond those allowed")]
    Useless,
    #[error("the engine takes no orders")]
    Engine,
    #[error("the node is stopping")]
    Stopping,
}

impl SyncFault {
    /// Whether no honest peer does this.
    pub(super) fn is_peer_fault(&self) -> bool {
        match self {
            Self::Broken(broken) => broken.is_peer_fault(),
            Self::Order(_) => true,
            Self::Request(OutboundFailure::Io(error)) => error.kind() == std::io::ErrorKind::InvalidData,
            _ => false,
        }
    }

    /// Whether the peer did what was asked, and only has little for us: it is asked again when it is its turn.
    pub(super) fn is_useless(&self) -> bool {
        matches!(self, Self::Useless)
    }

    /// Whether the same peer will never do better.
    pub(super) fn is_pointless(&self) -> bool {
        matches!(self, Self::OtherBook | Self::Request(OutboundFailure::UnsupportedProtocols))
    }
}

/// What one session has brought.
#[derive(Debug, Default)]
struct Gain {
    accepted: AtomicUsize,
    useless: AtomicUsize,
    compared_bytes: AtomicU64,
}

impl Gain {
    fn compared(&self, bytes: u64) -> Result<(), SyncFault> {
        let before = self.compared_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > MAX_COMPARED_BYTES { Err(SyncFault::TooMuch) } else { Ok(()) }
    }

    fn judged(&self, accepted: usize, useless: usize) -> Result<(), SyncFault> {
        let accepted = self.accepted.fetch_add(accepted, Ordering::Relaxed) + accepted;
        let useless = self.useless.fetch_add(useless, Ordering::Relaxed) + useless;
        if useless > accepted + MAX_USELESS { Err(SyncFault::Useless) } else { Ok(()) }
    }
}

/// What sessions need. Shared by all of them.
pub(crate) struct Client {
    pub(crate) books: Books,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) inbound: mpsc::Sender<Inbound>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) validator: OrderChecker,
    pub(crate) workers: Workers,
    /// What our book did not want a moment ago: not fetched again from the next peer.
    pub(crate) unwanted: Mutex<Seen>,
    pub(crate) counters: Arc<Mutex<SyncCounters>>,
}

impl Client {
    /// Runs a session with `peer`.
    pub(super) async fn run(&self, peer: PeerId) -> Result<(), SyncFault> {
        let gain = Gain::default();
        let session = async {
            for (shard, needed) in self.compare_all(peer, &gain).await? {
                self.fetch(peer, shard, needed, &gain).await?;
            }
            Ok(())
        };
        let result = tokio::time::timeout(SESSION_LIMIT, session).await.unwrap_or(Err(SyncFault::TooLong));
        self.count(|counters| match &result {
            Ok(()) => counters.completed += 1,
            Err(_) => counters.failed += 1,
        });
        result
    }

    /// What the peer has and we have no use to refuse, for each shard that both of us follow.
    async fn compare_all(&self, peer: PeerId, gain: &Gain) -> Result<Vec<(Shard, Vec<B256>)>, SyncFault> {
        let (reply, shards) = oneshot::channel();
        self.commands.send(Command::Shards { peer, reply }).await.map_err(|_| SyncFault::Stopping)?;
        let shards = shards.await.map_err(|_| SyncFault::Stopping)?;
        let compared = stream::iter(shards).map(async |shard| match self.compare(peer, shard, gain).await {
            // It follows the topic and does not share the book.
            Err(SyncFault::OtherBook) if shard != Shard::MAIN => Ok((shard, Vec::new())),
            compared => compared.map(|needed| (shard, needed)),
        });
        let mut compared = compared.buffer_unordered(PIPELINE);
        let (mut all, mut room) = (Vec::new(), MAX_NEEDED);
        while let Some((shard, mut needed)) = compared.try_next().await? {
            needed.truncate(room);
            room -= needed.len();
            all.push((shard, needed));
        }
        Ok(all)
    }

    async fn compare(&self, peer: PeerId, shard: Shard, gain: &Gain) -> Result<Vec<B256>, SyncFault> {
        let snapshots = Arc::clone(&self.snapshots);
        let start = move || Session::start(snapshots.get(shard)?);
        let (mut session, mut query) = blocking(start).await?.map_err(SyncFault::Own)?;
        loop {
            let request = Request::Compare { book: self.books.of(shard), query };
            let Response::Compared { reply } = self.call(peer, request).await? else {
                return Err(Broken::OtherAnswer.into());
            };
            gain.compared(reply.len() as u64)?;
            let step = blocking(move || {
                let next = session.answered(&reply);
                (session, next)
            });
            let (after, next) = step.await?;
            session = after;
            match next? {
                Some(next) => query = next,
                None => break,
            }
        }
        let orders = Arc::clone(self.snapshots.orders());
        let mut needed = blocking(move || orders.unknown(session.into_needed())).await?;
        let now = Instant::now();
        self.with_unwanted(|unwanted| needed.retain(|digest| unwanted.get(digest, now).is_none()));
        Ok(needed)
    }

    async fn fetch(
        &self,
        peer: PeerId,
        shard: Shard,
        needed: Vec<B256>,
        gain: &Gain,
    ) -> Result<(), SyncFault> {
        if !needed.is_empty() {
            tracing::debug!(%peer, orders = needed.len(), "fetching orders that we lack");
        }
        let batches = stream::iter(batches(&needed).collect::<Vec<_>>());
        batches
            .map(|batch| self.batch(peer, shard, batch, gain))
            .buffer_unordered(PIPELINE)
            .try_collect()
            .await
    }

    /// Fetches some orders, in as many requests as their size takes, and hands them on.
    async fn batch(
        &self,
        peer: PeerId,
        shard: Shard,
        mut asked: Vec<B256>,
        gain: &Gain,
    ) -> Result<(), SyncFault> {
        while !asked.is_empty() {
            let request = Request::Fetch { book: self.books.of(shard), digests: asked.clone() };
            let Response::Orders { covered, envelopes } = self.call(peer, request).await? else {
                return Err(Broken::OtherAnswer.into());
            };
            let left = left_of(&asked, covered, envelopes.len())?.to_vec();
            asked.truncate(usize::from(covered));
            let promised = asked.into_iter().collect();
            let checked =
                self.workers.check_promised(envelopes, shard, promised).await.ok_or(SyncFault::Stopping)?;
            self.deliver(peer, checked?, gain).await?;
            asked = left;
        }
        Ok(())
    }

    async fn deliver(&self, from: PeerId, valid: Vec<ValidOrder>, gain: &Gain) -> Result<(), SyncFault> {
        if valid.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = valid.iter().map(|order| (order.digest, order.seen)).collect();
        let order = |ValidOrder { message, signer, digest, .. }| SyncedOrder { message, signer, digest };
        let orders = valid.into_iter().map(order).collect();
        let (verdicts, answer) = oneshot::channel();
        let synced = Inbound::Synced(Box::new(SyncedOrders { from, orders, verdicts }));
        let exchange = async {
            self.inbound.send(synced).await.ok()?;
            answer.await.ok()
        };
        let verdicts = tokio::time::timeout(VERDICTS_LIMIT, exchange).await.ok().flatten();
        let answered = verdicts.is_some();
        let accepted = self.note(&keys, verdicts.unwrap_or_default());
        if answered { gain.judged(accepted, keys.len() - accepted) } else { Err(SyncFault::Engine) }
    }

    /// What did not make it into the book is judged anew when it comes again, but not asked for so soon. Gives how many
    /// did.
    fn note(&self, keys: &[(B256, SeenKey)], verdicts: Vec<Verdict>) -> usize {
        let now = Instant::now();
        let verdicts = verdicts.into_iter().map(Some).chain(std::iter::repeat(None));
        let mut accepted = 0;
        for ((digest, seen), verdict) in keys.iter().zip(verdicts) {
            if verdict == Some(Verdict::Accept) {
                accepted += 1;
                continue;
            }
            self.validator.forget(*seen);
            if let Some(Verdict::Ignore(reason)) = verdict {
                tracing::trace!(%digest, reason, "a fetched order was ignored");
                // An order under a false operator's name must not keep us from asking others for the good one.
                if !seen.is_operated(*digest) {
                    self.with_unwanted(|unwanted| unwanted.insert(*digest, 0, now));
                }
            }
        }
        let fetched = keys.len() as u64;
        self.count(|counters| {
            counters.fetched += fetched;
            counters.accepted += accepted as u64;
        });
        accepted
    }

    async fn call(&self, peer: PeerId, request: Request) -> Result<Response, SyncFault> {
        for _ in 0..BUSY_TRIES {
            let (reply, answer) = oneshot::channel();
            let sent = request.encode().len() as u64;
            let call = Command::Sync(Box::new(Call { peer, request: request.clone(), reply }));
            self.commands.send(call).await.map_err(|_| SyncFault::Stopping)?;
            let limit = REQUEST_LIMIT + BUSY_PAUSE;
            let answer = tokio::time::timeout(limit, answer).await.map_err(|_| OutboundFailure::Timeout)?;
            let response = answer.map_err(|_| SyncFault::Stopping)??;
            let received = response.size();
            self.count(|counters| {
                counters.sent_bytes += sent;
                counters.received_bytes += received;
            });
            match response {
                Response::Refused(Refusal::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
                Response::Refused(Refusal::OtherBook) => return Err(SyncFault::OtherBook),
                response => return Ok(response),
            }
        }
        Err(SyncFault::Busy)
    }

    fn count(&self, change: impl FnOnce(&mut SyncCounters)) {
        change(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn with_unwanted<R>(&self, action: impl FnOnce(&mut Seen) -> R) -> R {
        action(&mut self.unwanted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs what takes milliseconds where it holds nobody up.
async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, SyncFault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| SyncFault::Stopping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_brings_too_little_of_use_ends_and_is_no_fault() {
        let gain = Gain::default();
        assert!(gain.judged(0, MAX_USELESS).is_ok());
        assert!(gain.judged(10, 10).is_ok(), "as many more as the book took");
        let fault = gain.judged(0, 1).unwrap_err();
        assert!(fault.is_useless() && !fault.is_peer_fault() && !fault.is_pointless());
    }

    #[test]
    fn the_questions_of_a_session_are_bounded_over_all_shards() {
        let gain = Gain::default();
        assert!(gain.compared(MAX_COMPARED_BYTES).is_ok());
        let fault = gain.compared(1).unwrap_err();
        assert!(matches!(fault, SyncFault::TooMuch) && !fault.is_peer_fault());
    }
}
