//! The context-free half of judging gossip, off the network task: bytes go in, checked orders come out.
//!
//! A bounded queue feeds a few blocking workers in batches. Only what no honest peer could have forwarded is
//! called invalid: size, codec, structure, and a signature that is not its named signer's: the maker's, or that of the
//! operator that the envelope names. Whether the maker approved that operator is the chain's to say. A message that waited too long
//! is dropped before its signature is recovered: its result would come when gossipsub has forgotten it.
//!
//! What a sync session has fetched is checked by the same workers, a batch at a time, and must also be what was
//! promised.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256, keccak256};
use libp2p::{PeerId, gossipsub::MessageId};
use sublet_market::{CodecError, Domain, OrderMessage, SignatureError, StructureError, codec};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::seen::Seen;

/// Messages that wait for a worker. At 100 µs a message the last one waits 50 ms.
const QUEUE_LEN: usize = 512;

/// Messages that one worker takes at a time, so that the hand-over to a blocking thread is paid once for many.
const BATCH_LEN: usize = 32;

/// Most workers, on however large a host.
const MAX_WORKERS: usize = 32;

/// How long a message may take from the wire to the end of its check; older ones are dropped and counted as late.
pub(super) const CHECK_LIMIT: Duration = Duration::from_secs(2);

/// A message to check.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) from: PeerId,
    pub(super) id: MessageId,
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

/// What a judged order is remembered by. Anybody can sign a maker's order and name itself its operator; while the chain is
/// asked about that copy it must not hide the good one.
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
    #[error("signed by {signer} and not by {named}, as it says, for this market")]
    Forged { named: Address, signer: Address },
    /// Only what a sync session asked for may come as its answer.
    #[error("order {0} is none of those that were asked for")]
    NotAsked(B256),
}

/// Checks messages and remembers digests. Cheap to clone; all clones share the memory.
#[derive(Debug, Clone)]
pub(super) struct Validator {
    domain: Domain,
    seen: Arc<Mutex<Seen>>,
}

impl Validator {
    pub(super) fn new(domain: Domain) -> Self {
        Self { domain, seen: Arc::new(Mutex::new(Seen::new(Instant::now()))) }
    }

    /// Remembers an order of ours, so that it is not judged when it comes back.
    pub(super) fn remember(&self, message: &OrderMessage) {
        let digest = message.digest(&self.domain);
        let key = SeenKey::of(digest, message);
        self.with_seen(|seen| seen.insert(key.0, Instant::now()));
    }

    /// The order did not make it into the book: judge its next copy anew.
    pub(super) fn forget(&self, key: SeenKey) {
        self.with_seen(|seen| seen.forget(&key.0));
    }

    /// Everything that can be told from the bytes and the domain.
    pub(super) fn check(&self, data: &[u8]) -> Outcome {
        self.try_check(data, None).unwrap_or_else(Outcome::Invalid)
    }

    /// The orders of an answer that are good and new. One that breaks the rules, or was not asked for, spoils the
    /// whole answer: no honest peer has such an order in its book.
    fn check_promised(&self, envelopes: &[Vec<u8>], asked: &HashSet<B256>) -> Result<Vec<ValidOrder>, Fault> {
        let mut valid = Vec::with_capacity(envelopes.len());
        for data in envelopes {
            match self.try_check(data, Some(asked)) {
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

    fn try_check(&self, data: &[u8], asked: Option<&HashSet<B256>>) -> Result<Outcome, Fault> {
        let message = codec::decode_order(data)?;
        message.check()?;
        let digest = message.digest(&self.domain);
        if asked.is_some_and(|asked| !asked.contains(&digest)) {
            return Err(Fault::NotAsked(digest));
        }
        let seen = SeenKey::of(digest, &message);
        if self.with_seen(|known| known.contains(&seen.0, Instant::now())) {
            return Ok(Outcome::Duplicate);
        }
        let (signer, named) = (message.recover(digest)?, message.operator().unwrap_or(message.maker()));
        if signer != named {
            return Err(Fault::Forged { named, signer });
        }
        // Only now: a copy with a broken signature must not hide the good one.
        if !self.with_seen(|known| known.insert(seen.0, Instant::now())) {
            return Ok(Outcome::Duplicate);
        }
        Ok(Outcome::Valid(Box::new(ValidOrder { message, signer, digest, seen })))
    }

    fn with_seen<R>(&self, action: impl FnOnce(&mut Seen) -> R) -> R {
        // A set of digests has no invariant that a panic could have broken.
        action(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The threads that check: all cores but one, which the network and the engines keep. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    validator: Validator,
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Workers {
    pub(super) fn new(validator: Validator, stop: CancellationToken) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let room = Arc::new(Semaphore::new((cores - 1).clamp(1, MAX_WORKERS)));
        Self { validator, room, stop }
    }

    /// Checks what a sync session fetched, in turn with gossip. Nothing if the node is stopping.
    pub(super) async fn check_promised(
        &self,
        envelopes: Vec<Vec<u8>>,
        asked: HashSet<B256>,
    ) -> Option<Result<Vec<ValidOrder>, Fault>> {
        let (reply, answer) = oneshot::channel();
        let work = move |validator: &Validator| {
            // Whoever asked may have given up.
            let _ = reply.send(validator.check_promised(&envelopes, &asked));
        };
        self.run(work).await?;
        answer.await.ok()
    }

    /// Waits for a free worker and lets it run `work`. Nothing if the node is stopping.
    async fn run(&self, work: impl FnOnce(&Validator) + Send + 'static) -> Option<()> {
        let worker = Arc::clone(&self.room).acquire_owned().await.ok()?;
        let (validator, guard) = (self.validator.clone(), StopOnPanic::new(&self.stop, "order checks"));
        tokio::task::spawn_blocking(move || {
            work(&validator);
            drop((worker, guard));
        });
        Some(())
    }
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
        let work = move |validator: &Validator| {
            for Job { from, id, data, received } in batch {
                let late = received.elapsed() > CHECK_LIMIT;
                let outcome = if late { Outcome::Late } else { validator.check(&data) };
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
mod tests {
    use sublet_market::{Offer, OrderKey, Resources, Signed, Traits};

    use super::*;

    fn domain() -> Domain {
        Domain { chain_id: 1, market: Address::repeat_byte(1), salt: B256::ZERO }
    }

    fn key(n: u8) -> OrderKey {
        OrderKey::from_bytes(&[n; 32]).unwrap()
    }

    fn offer() -> Signed<Offer> {
        let offer = Offer {
            provider: key(1).address(),
            node: B256::repeat_byte(3),
            unit: Resources { vcpus: 1, ..Resources::default() },
            units: 1,
            price_per_second: 1,
            bond_seconds: 0,
            min_duration: 300,
            max_duration: 300,
            activate_within: 300,
            burn: false,
            traits: Traits::new(["arch=x86_64"]).unwrap(),
            series: 1,
            seq: 1,
            valid_until: 1,
        };
        key(1).sign(offer, &domain())
    }

    fn encoded(offer: Signed<Offer>) -> Vec<u8> {
        codec::encode_order(&offer.into())
    }

    #[test]
    fn a_copy_with_a_broken_signature_does_not_hide_the_good_one() {
        let validator = Validator::new(domain());
        let signature = key(2).sign(offer().order, &domain()).signature;
        let forged = encoded(Signed { signature, ..offer() });
        for _ in 0..2 {
            let outcome = validator.check(&forged);
            assert!(matches!(outcome, Outcome::Invalid(Fault::Forged { .. })), "{outcome:?}");
        }
        assert!(matches!(validator.check(&encoded(offer())), Outcome::Valid(_)));
        assert!(matches!(validator.check(&forged), Outcome::Duplicate), "no signature is recovered twice");
    }

    #[test]
    fn an_order_is_judged_once_unless_it_came_to_nothing() {
        let validator = Validator::new(domain());
        let Outcome::Valid(order) = validator.check(&encoded(offer())) else { panic!("a good offer") };
        assert!(matches!(validator.check(&encoded(offer())), Outcome::Duplicate));
        validator.forget(order.seen);
        assert!(matches!(validator.check(&encoded(offer())), Outcome::Valid(_)));
    }

    #[test]
    fn an_operators_order_is_judged_beside_its_makers() {
        let validator = Validator::new(domain());
        // Whether key 2 is an operator of key 1 is not told by the message.
        let operated = key(2).sign(offer().order, &domain());
        assert_eq!(operated.operator, Some(key(2).address()));
        let Outcome::Valid(order) = validator.check(&encoded(operated.clone())) else { panic!("well signed") };
        assert_eq!(order.signer, key(2).address());
        assert!(matches!(validator.check(&encoded(offer())), Outcome::Valid(_)), "it hides nothing");
        assert!(matches!(validator.check(&encoded(operated.clone())), Outcome::Duplicate));
        let named = Signed { operator: Some(key(3).address()), ..operated };
        assert!(matches!(validator.check(&encoded(named)), Outcome::Invalid(Fault::Forged { .. })));
    }

    #[test]
    fn our_own_orders_are_not_judged_when_they_come_back() {
        let validator = Validator::new(domain());
        validator.remember(&offer().into());
        assert!(matches!(validator.check(&encoded(offer())), Outcome::Duplicate));
    }

    #[test]
    fn an_answer_holds_only_what_was_asked_for() {
        let validator = Validator::new(domain());
        let digest = offer().digest(&domain());
        let asked = HashSet::from([digest]);
        let mut other = offer().order;
        other.series = 2;
        let other = encoded(key(1).sign(other, &domain()));
        let fault = validator.check_promised(&[encoded(offer()), other], &asked).unwrap_err();
        assert!(matches!(fault, Fault::NotAsked(_)), "{fault}");
        let signature = key(2).sign(offer().order, &domain()).signature;
        let forged = encoded(Signed { signature, ..offer() });
        assert!(matches!(validator.check_promised(&[forged], &asked), Err(Fault::Forged { .. })));
        // What came with the bad ones was not taken for known.
        let good = validator.check_promised(&[encoded(offer())], &asked).unwrap();
        assert_eq!(good.into_iter().map(|order| order.digest).collect::<Vec<_>>(), [digest]);
    }

    #[tokio::test]
    async fn what_has_waited_too_long_is_not_looked_at() {
        let mut pool = Pool::start(Workers::new(Validator::new(domain()), CancellationToken::new()));
        let Some(long_ago) = Instant::now().checked_sub(CHECK_LIMIT + Duration::from_secs(1)) else { return };
        for received in [long_ago, Instant::now()] {
            let id = MessageId::new(b"1");
            assert!(pool.offer(Job { from: PeerId::random(), id, data: encoded(offer()), received }));
        }
        assert!(matches!(pool.next().await.unwrap().outcome, Outcome::Late));
        assert!(matches!(pool.next().await.unwrap().outcome, Outcome::Valid(_)));
    }
}
