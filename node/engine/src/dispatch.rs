//! What peers send: orders go into the book, asks and questions of access to the provider engine, quotes to
//! the buyer's.
//!
//! The network has checked size, codec, structure, domain and signature already. What is left depends on
//! the chain or the clock, so a message that fails here is ignored, never held against the peer that
//! forwarded it.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt as _, StreamExt as _, stream};
use libp2p::PeerId;
use sublet_market::{Decline, DeclineCode, OrderMessage, TradeRequest, TradeResponse, clean_lines};
use sublet_p2p::{Inbound, InboundOrder, InboundTrade, SyncedOrder, SyncedOrders, Verdict};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Core,
    admit::{self, NotAdmitted},
    buyer::Buyer,
    provider::Provider,
};

/// How many orders may wait for the chain at once; the network sheds gossip beyond that.
const MOST_ORDERS: usize = 48;
/// And of these, from one peer: a flood of strangers' orders, each with a question for the chain, leaves room
/// for the others.
const MOST_ORDERS_OF_ONE: usize = MOST_ORDERS / 4;
/// How many batches out of peers' books may be in work at once, each of 512 orders at most: more than the network has
/// under way.
const MOST_BATCHES: usize = 8;
/// Orders of a batch that may wait for the chain at once.
const BATCH_WIDTH: usize = 8;
/// How many requests of peers may be in work at once. Counted apart, so that a flood of orders delays no trade.
const MOST_REQUESTS: usize = 16;
/// And quotes, which may be many for one bid.
const MOST_QUOTES: usize = 16;

/// Takes messages in until `stop`.
pub async fn run(
    core: Arc<Core>,
    buyer: Arc<Buyer>,
    provider: Option<Arc<Provider>>,
    mut inbound: mpsc::Receiver<Inbound>,
    stop: CancellationToken,
) {
    let orders = Arc::new(Semaphore::new(MOST_ORDERS));
    let shares = PeerSlots::default();
    let requests = Arc::new(Semaphore::new(MOST_REQUESTS));
    let quotes = Arc::new(Semaphore::new(MOST_QUOTES));
    let synced = Arc::new(Semaphore::new(MOST_BATCHES));
    loop {
        let message = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            message = inbound.recv() => message,
        };
        match message {
            None => return,
            // No room: dropping the verdict means "ignore", dropping the reply tells the peer to try again.
            Some(Inbound::Order(order)) => {
                let InboundOrder { from, message, signer, digest, verdict } = *order;
                let kind = Kind::of(&message);
                // Where there is nothing to wait for, no flood of strangers' orders keeps an order out.
                match admit::admit_at_once(&core, message, digest, signer) {
                    ControlFlow::Break(admitted) => tell(&core, kind, admitted, verdict),
                    ControlFlow::Continue(message) => {
                        let Some(share) = shares.take(from) else { continue };
                        let core = Arc::clone(&core);
                        spawn(&orders, &stop, async move {
                            let admitted = admit::admit_checked(&core, message, digest, signer).await;
                            tell(&core, kind, admitted, verdict);
                            drop(share);
                        });
                    }
                }
            }
            Some(Inbound::Trade(trade)) => {
                let (core, buyer, provider) = (Arc::clone(&core), Arc::clone(&buyer), provider.clone());
                let room =
                    if matches!(trade.request, TradeRequest::Quote { .. }) { &quotes } else { &requests };
                spawn(room, &stop, async move { answer(&core, &buyer, provider.as_deref(), trade).await });
            }
            Some(Inbound::Synced(batch)) => {
                let core = Arc::clone(&core);
                spawn(&synced, &stop, async move { take_batch(&core, *batch).await });
            }
            // What was signed while nobody listened can go out now.
            Some(Inbound::PeerJoined(_)) => core.wake.all(),
        }
    }
}

/// Orders of each peer that wait for the chain.
#[derive(Clone, Default)]
struct PeerSlots(Arc<Mutex<HashMap<PeerId, usize>>>);

/// One of a peer's places; given back when dropped.
struct Share {
    shares: PeerSlots,
    peer: PeerId,
}

impl PeerSlots {
    fn take(&self, peer: PeerId) -> Option<Share> {
        let mut counts = self.counts();
        let count = counts.entry(peer).or_default();
        if *count >= MOST_ORDERS_OF_ONE {
            tracing::debug!(%peer, "dropped an order: too many orders of this peer wait for the chain");
            return None;
        }
        *count += 1;
        Some(Share { shares: self.clone(), peer })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<PeerId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.shares.counts();
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// Runs `work` beside the loop if there is room. A panic stops the node.
fn spawn(room: &Arc<Semaphore>, stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let Ok(permit) = Arc::clone(room).try_acquire_owned() else {
        tracing::debug!("dropped a message: too many are being processed");
        return;
    };
    let stop = stop.clone();
    tokio::spawn(async move {
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            tracing::error!("a message handler panicked; stopping the node");
            stop.cancel();
        }
        drop(permit);
    });
}

/// Whom an order is news for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Bid,
    Offer,
}

impl Kind {
    fn of(message: &OrderMessage) -> Self {
        if matches!(message, OrderMessage::Bid { .. }) { Self::Bid } else { Self::Offer }
    }
}

fn tell(core: &Core, kind: Kind, admitted: Result<(), NotAdmitted>, verdict: oneshot::Sender<Verdict>) {
    let decision = match admitted {
        Ok(()) => {
            match kind {
                Kind::Bid => core.wake.quotes.notify_one(),
                Kind::Offer => core.wake.buyer.notify_one(),
            }
            Verdict::Accept
        }
        Err(reason) => {
            tracing::debug!(%reason, "an order was ignored");
            verdict_of(&reason)
        }
    };
    // The network may have given up on the verdict: the order is in the book all the same.
    let _ = verdict.send(decision);
}

async fn take_batch(core: &Core, batch: SyncedOrders) {
    let SyncedOrders { orders, verdicts, .. } = batch;
    let judged = stream::iter(orders).map(|SyncedOrder { message, signer, digest }| async move {
        match admit::admit_checked(core, message, digest, signer).await {
            Ok(()) => Verdict::Accept,
            Err(reason) => verdict_of(&reason),
        }
    });
    let judged: Vec<Verdict> = judged.buffered(BATCH_WIDTH).collect().await;
    if judged.contains(&Verdict::Accept) {
        core.wake.buyer.notify_one();
        core.wake.quotes.notify_one();
    }
    // The network may have given up: what was taken is in the book all the same.
    let _ = verdicts.send(judged);
}

fn verdict_of(refusal: &NotAdmitted) -> Verdict {
    match refusal {
        NotAdmitted::Ignored(reason) => Verdict::Ignore(reason.as_str()),
        NotAdmitted::Chain(_) => Verdict::Undecided(refusal.as_str()),
    }
}

async fn answer(core: &Core, buyer: &Buyer, provider: Option<&Provider>, trade: Box<InboundTrade>) {
    let InboundTrade { node, request, reply } = *trade;
    let response = match (provider, request) {
        (_, TradeRequest::Quote { bid, offer, rate }) => {
            let taken = buyer.take_quote(node, bid, offer, rate).await;
            core.counters.quote_received(&taken);
            taken.map_or_else(TradeResponse::Declined, |()| TradeResponse::Noted)
        }
        (None, _) => declined(DeclineCode::UnknownOffer, "this node sells nothing: it is not a provider"),
        (Some(provider), TradeRequest::Ask { bid, spec, offer, manifest }) => {
            let answer = provider.ask(node, bid, spec, offer, &manifest).await;
            core.counters.ask(&answer);
            match answer {
                Ok(accept) => TradeResponse::Accept(accept),
                Err(decline) => TradeResponse::Declined(decline),
            }
        }
        (Some(provider), TradeRequest::Access { lease }) => match provider.access(node, lease).await {
            Ok(access) => TradeResponse::Access(access),
            Err(decline) => TradeResponse::Declined(decline),
        },
        (Some(provider), TradeRequest::Console { lease }) => match provider.console_for(node, lease).await {
            Ok(lines) => TradeResponse::Console(clean_lines(&lines)),
            Err(decline) => TradeResponse::Declined(decline),
        },
    };
    // The asker may be gone; a promise that was given lapses by itself.
    let _ = reply.send(response);
}

fn declined(code: DeclineCode, detail: &str) -> TradeResponse {
    TradeResponse::Declined(Decline::new(code, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_has_its_share_of_the_places_and_gets_them_back() {
        let (shares, greedy, other) = (PeerSlots::default(), PeerId::random(), PeerId::random());
        let mut held: Vec<Share> = (0..100).filter_map(|_| shares.take(greedy)).collect();
        assert_eq!(held.len(), MOST_ORDERS_OF_ONE);
        assert!(shares.take(other).is_some());
        held.pop();
        assert!(shares.take(greedy).is_some());
        held.clear();
        assert!(shares.counts().is_empty());
    }
}
