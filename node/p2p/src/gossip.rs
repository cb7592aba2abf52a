//! The gossip pipeline, from the wire into the engine and on to other peers: size, queue, check, engine,
//! verdict. This part owns the counters and the verdicts that are still out; gossipsub is told each result
//! exactly once. A peer whose gossip cannot come from an honest node is named to the caller, which bans it.

use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    PeerId, Swarm,
    gossipsub::{self, MessageAcceptance, MessageId},
};
use sublet_market::{Shard, codec::MAX_ORDER_BYTES};
use tokio::sync::{mpsc, oneshot};

use super::{
    GossipCounters, Inbound, InboundOrder, VERDICT_LIMIT, Verdict,
    behaviour::Behaviour,
    peer_limits::{Entry, PeerLimits},
    sync::Blame,
    validation::{CHECK_LIMIT, Checked, Job, OrderChecker, Outcome, Pool, SeenKey, ValidOrder},
};

/// Orders that wait for the engine's verdict at a time.
const MAX_VERDICTS: usize = 1024;

/// A verdict, or none in time.
#[derive(Debug)]
pub(super) struct Judged {
    from: PeerId,
    id: MessageId,
    digest: B256,
    maker: Address,
    seen: SeenKey,
    verdict: Option<Verdict>,
    received: Instant,
}

/// Orders between gossipsub and the engine.
pub(super) struct GossipFlow {
    pool: Pool,
    validator: OrderChecker,
    inbound: mpsc::Sender<Inbound>,
    verdicts: FuturesUnordered<BoxFuture<'static, Judged>>,
    peer_limits: PeerLimits,
    pub(super) counters: GossipCounters,
    /// The longest time from the wire to the verdict so far.
    pub(super) longest: Duration,
}

/// What the flow has to do next.
pub(super) enum Step {
    Checked(Checked),
    Judged(Judged),
}

impl GossipFlow {
    pub(super) fn new(
        pool: Pool,
        validator: OrderChecker,
        inbound: mpsc::Sender<Inbound>,
        orders_per_second: u32,
    ) -> Self {
        let verdicts = FuturesUnordered::new();
        Self {
            pool,
            validator,
            inbound,
            verdicts,
            peer_limits: PeerLimits::new(orders_per_second, Instant::now()),
            counters: GossipCounters::default(),
            longest: Duration::ZERO,
        }
    }

    /// Resolves when a check or a verdict is done; hand it to [`Self::apply`]. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> Step {
        tokio::select! {
            biased;
            Some(judged) = self.verdicts.next(), if !self.verdicts.is_empty() => Step::Judged(judged),
            Some(checked) = self.pool.next() => Step::Checked(checked),
            // Both are empty for good: only when the node stops.
            else => std::future::pending().await,
        }
    }

    /// Names the sender if it was one fault too many.
    pub(super) fn apply(&mut self, swarm: &mut Swarm<Behaviour>, step: Step) -> Blame {
        match step {
            Step::Checked(checked) => self.checked(swarm, checked),
            Step::Judged(judged) => {
                self.judged(swarm, judged);
                None
            }
        }
    }

    /// Whether the peer was caught lately at sending what no honest one could have forwarded.
    pub(super) fn has_faults(&self, peer: &PeerId, now: Instant) -> bool {
        self.peer_limits.has_faults(peer, now)
    }

    /// A message under a new id, on the topic of a shard that we follow.
    pub(super) fn received(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        from: PeerId,
        id: MessageId,
        shard: Shard,
        data: Vec<u8>,
    ) -> Blame {
        let received = Instant::now();
        self.counters.received += 1;
        match self.peer_limits.enter(from, received) {
            Entry::Welcome => {}
            Entry::Full => {
                self.shed(swarm, &from, &id);
                return None;
            }
            Entry::Flood => {
                self.shed(swarm, &from, &id);
                return Some((from, "more gossip than an honest node sends".to_owned()));
            }
        }
        if data.len() > MAX_ORDER_BYTES {
            tracing::debug!(%from, bytes = data.len(), "rejected an oversized order");
            self.peer_limits.leave(&from);
            return self.reject(swarm, from, &id);
        }
        if !self.pool.offer(Job { from, id: id.clone(), shard, data, received }) {
            self.peer_limits.leave(&from);
            self.shed(swarm, &from, &id);
        }
        None
    }

    /// An order of ours, for the wire.
    pub(super) fn publish(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        topic: gossipsub::TopicHash,
        data: Vec<u8>,
    ) -> Result<(), super::PublishError> {
        use gossipsub::PublishError as Error;

        use super::{PublishError, REPUBLISH_AFTER};
        match swarm.behaviour_mut().gossip.publish(topic, data) {
            Ok(_) => {
                self.counters.published += 1;
                self.peer_limits.published(Instant::now());
                Ok(())
            }
            Err(Error::NoPeersSubscribedToTopic) => Err(PublishError::NoPeers),
            Err(Error::Duplicate) => Err(PublishError::AlreadyPublished { retry_after: REPUBLISH_AFTER }),
            Err(Error::AllQueuesFull(peers)) => Err(PublishError::Congested { peers }),
            Err(error) => Err(PublishError::Gossip(error.to_string())),
        }
    }

    fn checked(&mut self, swarm: &mut Swarm<Behaviour>, checked: Checked) -> Blame {
        let Checked { from, id, outcome, received } = checked;
        let age = self.note_age(received);
        let outcome = match outcome {
            Outcome::Valid(order) if age <= CHECK_LIMIT => {
                self.deliver(swarm, (from, id, received), *order);
                return None;
            }
            outcome => outcome,
        };
        self.peer_limits.leave(&from);
        match outcome {
            Outcome::Valid(order) => {
                self.validator.forget(order.seen);
                self.late(swarm, &from, &id);
            }
            Outcome::Late => self.late(swarm, &from, &id),
            Outcome::Duplicate => {
                self.counters.duplicates += 1;
                report(swarm, &id, &from, MessageAcceptance::Ignore);
            }
            Outcome::Invalid(fault) => {
                tracing::debug!(%from, %fault, "rejected an order");
                return self.reject(swarm, from, &id);
            }
        }
        None
    }

    fn deliver(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        (from, id, received): (PeerId, MessageId, Instant),
        order: ValidOrder,
    ) {
        let ValidOrder { message, signer, digest, seen } = order;
        let maker = message.maker();
        let (verdict, answer) = oneshot::channel();
        let inbound = Inbound::Order(Box::new(InboundOrder { from, message, signer, digest, verdict }));
        // A flood of orders leaves a quarter of the queue to requests.
        let full = self.inbound.capacity() <= self.inbound.max_capacity() / 4;
        if full || self.verdicts.len() >= MAX_VERDICTS || self.inbound.try_send(inbound).is_err() {
            self.validator.forget(seen);
            self.peer_limits.leave(&from);
            return self.shed(swarm, &from, &id);
        }
        self.verdicts.push(Box::pin(async move {
            let verdict = tokio::time::timeout(VERDICT_LIMIT, answer).await.ok().and_then(Result::ok);
            Judged { from, id, digest, maker, seen, verdict, received }
        }));
    }

    fn judged(&mut self, swarm: &mut Swarm<Behaviour>, judged: Judged) {
        let Judged { from, id, digest, maker, seen, verdict, received } = judged;
        self.note_age(received);
        self.peer_limits.leave(&from);
        if verdict == Some(Verdict::Accept) {
            if !self.peer_limits.may_forward(maker, Instant::now()) {
                // It is in the book, where peers find it that compare books with us.
                return self.shed(swarm, &from, &id);
            }
            self.counters.accepted += 1;
            if !report(swarm, &id, &from, MessageAcceptance::Accept) {
                self.counters.expired += 1;
            }
            return;
        }
        // What does not count now may count when it comes again.
        self.validator.forget(seen);
        match verdict {
            Some(Verdict::Ignore(reason) | Verdict::Undecided(reason)) => {
                self.counters.ignored += 1;
                tracing::trace!(%digest, reason, "ignored an order");
            }
            _ => self.counters.unanswered += 1,
        }
        report(swarm, &id, &from, MessageAcceptance::Ignore);
    }

    fn note_age(&mut self, received: Instant) -> Duration {
        let age = received.elapsed();
        self.longest = self.longest.max(age);
        age
    }

    fn late(&mut self, swarm: &mut Swarm<Behaviour>, from: &PeerId, id: &MessageId) {
        self.counters.late += 1;
        report(swarm, id, from, MessageAcceptance::Ignore);
    }

    fn reject(&mut self, swarm: &mut Swarm<Behaviour>, from: PeerId, id: &MessageId) -> Blame {
        self.counters.rejected += 1;
        report(swarm, id, &from, MessageAcceptance::Reject);
        self.fault(from, "orders that no honest peer forwards")
    }

    /// Notes that a peer did what no honest one does, and names it if that was once too often.
    pub(super) fn fault(&mut self, from: PeerId, what: &str) -> Blame {
        self.peer_limits.fault(from, Instant::now()).then(|| (from, what.to_owned()))
    }

    fn shed(&mut self, swarm: &mut Swarm<Behaviour>, from: &PeerId, id: &MessageId) {
        self.counters.shed += 1;
        report(swarm, id, from, MessageAcceptance::Ignore);
    }
}

/// False if gossipsub has forgotten the message.
fn report(
    swarm: &mut Swarm<Behaviour>,
    id: &MessageId,
    from: &PeerId,
    acceptance: MessageAcceptance,
) -> bool {
    swarm.behaviour_mut().gossip.report_message_validation_result(id, from, acceptance)
}
