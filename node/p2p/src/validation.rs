//! The context-free half of judging gossip, off the network task: bytes go in, checked orders come out.
//!
//! A bounded queue feeds a few blocking workers in batches. Only what no honest peer could have forwarded is
//! called invalid: size, codec, structure, and a signature that is not its named signer's: the maker's, or
//! that of the operator that the envelope names. Whether the maker approved that operator is the chain's to
//! say. A message that waited too long is dropped before its signature is recovered: its result would come
//! when gossipsub has forgotten it.
//!
//! What a sync session has fetched is checked by the same workers, a batch at a time, and must also be what was
//! promised.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256, keccak256};
use libp2p::{PeerId, gossipsub::MessageId};
use sublet_market::{CodecError, Domain, Known, OrderMessage, Shard, SignatureError, StructureError, codec};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Orders, rate::Buckets, seen::Seen};

/// Messages that wait for a worker. At 100 µs a message the last one waits 50 ms.
const QUEUE_LEN: usize = 512;

/// Messages that one worker takes at a time, so that the hand-over to a blocking thread is paid once for many.
const BATCH_LEN: usize = 32;

/// Most workers, on however large a host.
const MAX_WORKERS: usize = 32;

/// Copies of known orders under other signatures that are looked at in a second, to find forgers: half a
/// percent of a core. A maker can sign one order as often as it likes.
const SECOND_LOOKS: u32 = 64;

/// How long a message may take from the wire to the end of its check; older ones are dropped and counted as late.
pub(super) const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// A message to check.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) from: PeerId,
    pub(super) id: MessageId,
    pub(super) shard: Shard,
    pub(super) data: Vec<u8>,
    pub(super) received: Instant,
}

/// A message that was checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) from: PeerId,
    pub(super) id: MessageId,
    pub(super) outcome: Outcome,
    pub(super) received: Instant,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Valid(Box<ValidOrder>),
    Duplicate,
    /// Not looked at: it had waited for too long.
    Late,
    Invalid(Fault),
}

#[derive(Debug)]
pub(super) struct ValidOrder {
    pub(super) message: OrderMessage,
    pub(super) signer: Address,
    pub(super) digest: B256,
    pub(super) seen: SeenKey,
}

/// What a judged order is remembered by. Anybody can sign a maker's order and name itself its operator; while
/// the chain is asked about that copy it must not hide the good one.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeenKey(B256);

impl SeenKey {
    fn of(digest: B256, message: &OrderMessage) -> Self {
        Self(match message.operator() {
            None => digest,
            Some(operator) => keccak256([digest.as_slice(), operator.as_slice()].concat()),
        })
    }

    /// Whether the order was signed in its maker's place.
    pub(super) fn is_operated(&self, digest: B256) -> bool {
        self.0 != digest
    }
}

/// What is wrong with a message in itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Structure(#[from] StructureError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Recovery always finds somebody: an altered order, or one for another market, shows a stranger as its signer.
    #[error("signed by {signer}, not by {named} as it claims, for this market")]
    Forged { named: Address, signer: Address },
    /// An order belongs to one shard, which it tells itself.
    #[error("an order of the shard {0} was sent as one of the shard {1}")]
    WrongShard(Shard, Shard),
    /// Only what a sync session asked for may come as its answer.
    #[error("order {0} was not asked for")]
    NotAsked(B256),
}

/// Checks messages and remembers digests. Cheap to clone; all clones share the memory.
#[derive(Clone)]
pub(super) struct OrderChecker {
    domain: Domain,
    seen: Arc<Mutex<Seen>>,
    second_looks: Arc<Mutex<Buckets<()>>>,
    /// The book, whose memory is longer.
    orders: Arc<dyn Orders>,
}

impl fmt::Debug for OrderChecker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderChecker").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl OrderChecker {
    pub(super) fn new(domain: Domain, orders: Arc<dyn Orders>) -> Self {
        Self {
            domain,
            seen: Arc::new(Mutex::new(Seen::new(Instant::now()))),
            second_looks: Arc::new(Mutex::new(Buckets::new(SECOND_LOOKS))),
            orders,
        }
    }

    /// Remembers an order of ours, so that it is not judged when it comes back.
    pub(super) fn remember(&self, message: &OrderMessage) {
        let digest = message.digest(&self.domain);
        let key = SeenKey::of(digest, message);
        self.with_seen(|seen| seen.insert(key.0, mark(message), Instant::now()));
    }

    /// The order did not make it into the book: judge its next copy anew.
    pub(super) fn forget(&self, key: SeenKey) {
        self.with_seen(|seen| seen.forget(&key.0));
    }

    /// Everything that can be told from the bytes, the domain and the shard on whose topic they came.
    pub(super) fn check(&self, data: &[u8], shard: Shard) -> Outcome {
        self.try_check(data, shard, None).unwrap_or_else(Outcome::Invalid)
    }

    /// The orders of an answer that are good and new. One that breaks the rules, or was not asked for, spoils the
    /// whole answer: no honest peer has such an order in its book.
    fn check_promised(
        &self,
        envelopes: &[Vec<u8>],
        shard: Shard,
        asked: &HashSet<B256>,
    ) -> Result<Vec<ValidOrder>, Fault> {
        let mut valid = Vec::with_capacity(envelopes.len());
        for data in envelopes {
            match self.try_check(data, shard, Some(asked)) {
                Ok(Outcome::Valid(order)) => valid.push(*order),
                Ok(_) => {}
                Err(fault) => {
                    // What was good is not delivered either: its next copy must be judged anew.
                    valid.iter().for_each(|order: &ValidOrder| self.forget(order.seen));
                    return Err(fault);
                }
            }
        }
        Ok(valid)
    }

    fn try_check(&self, data: &[u8], shard: Shard, asked: Option<&HashSet<B256>>) -> Result<Outcome, Fault> {
        let message = codec::decode_order(data)?;
        message.check()?;
        let belongs = Shard::of(&message);
        if belongs != shard {
            return Err(Fault::WrongShard(belongs, shard));
        }
        let digest = message.digest(&self.domain);
        if asked.is_some_and(|asked| !asked.contains(&digest)) {
            return Err(Fault::NotAsked(digest));
        }
        let seen = SeenKey::of(digest, &message);
        let known = match self.with_seen(|known| known.get(&seen.0, Instant::now())) {
            Some(marked) if marked == mark(&message) => Known::Same,
            Some(_) => Known::Other,
            // Replays are free for whoever sends them. The book remembers orders for as long as they live.
            None => self.orders.knows(&digest, message.signature()),
        };
        // Under another signature it may be a forger's copy that came too late: only its own signature tells.
        if known == Known::Same || known == Known::Other && !self.may_look_again() {
            return Ok(Outcome::Duplicate);
        }
        let (signer, named) = (message.recover(digest)?, message.operator().unwrap_or(message.maker()));
        if signer != named {
            return Err(Fault::Forged { named, signer });
        }
        // Only now: a copy with a broken signature must not hide the good one.
        if !self.with_seen(|known| known.insert(seen.0, mark(&message), Instant::now())) {
            return Ok(Outcome::Duplicate);
        }
        Ok(Outcome::Valid(Box::new(ValidOrder { message, signer, digest, seen })))
    }

    fn may_look_again(&self) -> bool {
        let mut looks = self.second_looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.take((), Instant::now())
    }

    fn with_seen<R>(&self, action: impl FnOnce(&mut Seen) -> R) -> R {
        // A set of digests has no invariant that a panic could have broken.
        action(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells copies of an order apart by their signatures.
fn mark(message: &OrderMessage) -> u64 {
    let hash = keccak256(message.signature().as_bytes());
    u64::from_be_bytes(hash.0.first_chunk().copied().unwrap_or_default())
}

/// The threads that check. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    validator: OrderChecker,
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Workers {
    pub(super) fn new(validator: OrderChecker, stop: CancellationToken) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { validator, room: Arc::new(Semaphore::new(worker_count(cores))), stop }
    }

    /// Checks what a sync session fetched, in turn with gossip. Nothing if the node is stopping.
    pub(super) async fn check_promised(
        &self,
        envelopes: Vec<Vec<u8>>,
        shard: Shard,
        asked: HashSet<B256>,
    ) -> Option<Result<Vec<ValidOrder>, Fault>> {
        let (reply, answer) = oneshot::channel();
        let work = move |validator: &OrderChecker| {
            // Whoever asked may have given up.
            let _ = reply.send(validator.check_promised(&envelopes, shard, &asked));
        };
        self.run(work).await?;
        answer.await.ok()
    }

    /// Waits for a free worker and lets it run `work`. Nothing if the node is stopping.
    async fn run(&self, work: impl FnOnce(&OrderChecker) + Send + 'static) -> Option<()> {
        let worker = Arc::clone(&self.room).acquire_owned().await.ok()?;
        let (validator, guard) = (self.validator.clone(), StopOnPanic::new(&self.stop, "order checks"));
        tokio::task::spawn_blocking(move || {
            work(&validator);
            drop((worker, guard));
        });
        Some(())
    }
}

/// All cores but one, which the network and the engines keep; both of two. There a newcomer's first book
/// takes a third longer with one, and the network gets its share from the scheduler: it runs for moments,
/// workers for some 60 ms at most, a batch of a sync session.
fn worker_count(cores: usize) -> usize {
    (cores - 1).clamp(cores.min(2), MAX_WORKERS)
}

/// The way of gossip into and out of the workers.
pub(super) struct Pool {
    jobs: mpsc::Sender<Job>,
    checked: mpsc::Receiver<Checked>,
}

impl Pool {
    pub(super) fn start(workers: Workers) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_LEN);
        let (results, checked) = mpsc::channel(QUEUE_LEN);
        tokio::spawn(dispatch(workers, queue, results));
        Self { jobs, checked }
    }

    /// Queues a message; false if the queue is full.
    pub(super) fn offer(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    pub(super) async fn next(&mut self) -> Option<Checked> {
        self.checked.recv().await
    }
}

async fn dispatch(workers: Workers, mut queue: mpsc::Receiver<Job>, results: mpsc::Sender<Checked>) {
    loop {
        let mut batch = Vec::with_capacity(BATCH_LEN);
        tokio::select! {
            biased;
            () = workers.stop.cancelled() => return,
            taken = queue.recv_many(&mut batch, BATCH_LEN) => if taken == 0 { return },
        }
        let results = results.clone();
        let work = move |validator: &OrderChecker| {
            for Job { from, id, shard, data, received } in batch {
                let late = received.elapsed() > CHECK_LIMIT;
                let outcome = if late { Outcome::Late } else { validator.check(&data, shard) };
                if results.blocking_send(Checked { from, id, outcome, received }).is_err() {
                    break;
                }
            }
        };
        if workers.run(work).await.is_none() {
            return;
        }
    }
}

/// Stops the whole node if the task that holds it panics: half a node is worse than none.
pub(super) struct StopOnPanic {
    stop: CancellationToken,
    task: &'static str,
}

impl StopOnPanic {
    pub(super) fn new(stop: &CancellationToken, task: &'static str) -> Self {
        Self { stop: stop.clone(), task }
    }
}

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.task, "a task panicked; stopping the node");
            self.stop.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
