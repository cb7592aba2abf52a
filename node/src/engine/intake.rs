//! What peers send: orders go into the book, asks and questions of access to the provider engine.
//!
//! The network has checked size, codec, structure, domain and signature already. What is left depends on
//! the chain or the clock, so a message that fails here is ignored, never held against the peer that
//! forwarded it.

use std::sync::Arc;

use alloy_primitives::Address;
use sublet_market::{Decline, DeclineCode, OrderMessage, TradeRequest, TradeResponse};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Core, provider::Provider};
use crate::p2p::{Inbound, InboundOrder, InboundTrade, Verdict};

/// How many messages may wait for the chain or the disk at once; the rest waits in the network's queue.
const MOST_AT_ONCE: usize = 64;

/// Takes messages in until `stop`.
pub async fn run(
    core: Arc<Core>,
    provider: Option<Arc<Provider>>,
    mut inbound: mpsc::Receiver<Inbound>,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(MOST_AT_ONCE));
    loop {
        let message = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            message = inbound.recv() => message,
        };
        let Some(message) = message else { return };
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let core = Arc::clone(&core);
        let provider = provider.clone();
        tokio::spawn(async move {
            match message {
                Inbound::Order(order) => take_order(&core, order).await,
                Inbound::Trade(trade) => answer(provider.as_deref(), trade).await,
                Inbound::PeerJoined(_) => {
                    if let Some(provider) = &provider {
                        provider.announce_again();
                    }
                    core.wake.all();
                }
            }
            drop(permit);
        });
    }
}

async fn take_order(core: &Core, order: Box<InboundOrder>) {
    let InboundOrder { message, signer, verdict, .. } = *order;
    let decision = match admit(core, message, signer).await {
        Ok(()) => {
            core.wake.buyer.notify_one();
            Verdict::Accept
        }
        Err(reason) => {
            tracing::debug!(reason, "an order was ignored");
            Verdict::Ignore(reason)
        }
    };
    // The network may have given up on the verdict: the order is in the book all the same.
    let _ = verdict.send(decision);
}

/// Puts an order whose signature recovers to `signer` into the book, or says why not.
pub async fn admit(core: &Core, message: OrderMessage, signer: Address) -> Result<(), &'static str> {
    let maker = message.maker();
    if signer != maker {
        match core.chain.is_operator(maker, signer).await {
            Ok(true) => core.book().set_operator(maker, signer, true),
            Ok(false) => return Err("signed by a key that its maker has not approved"),
            Err(_) => return Err("the chain did not answer"),
        }
    }
    let known = core.book().maker(&maker).is_some();
    if !known && core.refresh_maker(maker).await.is_err() {
        return Err("the chain did not answer");
    }
    let now = core.now();
    core.book().insert(message, signer, now).map(|_| ()).map_err(|ignored| ignored.as_str())
}

async fn answer(provider: Option<&Provider>, trade: Box<InboundTrade>) {
    let InboundTrade { node, request, reply } = *trade;
    let response = match (provider, request) {
        (None, _) => declined(DeclineCode::UnknownOffer, "this node sells nothing: it is not a provider"),
        (Some(provider), TradeRequest::Ask { bid, spec, offer, manifest }) => {
            match provider.ask(node, bid, spec, offer, &manifest).await {
                Ok(accept) => TradeResponse::Accept(accept),
                Err(decline) => TradeResponse::Declined(decline),
            }
        }
        (Some(provider), TradeRequest::Access { lease }) => match provider.access(node, lease) {
            Ok(access) => TradeResponse::Access(access),
            Err(decline) => TradeResponse::Declined(decline),
        },
    };
    // The asker may be gone; a promise that was given lapses by itself.
    let _ = reply.send(response);
}

fn declined(code: DeclineCode, detail: &str) -> TradeResponse {
    TradeResponse::Declined(Decline::new(code, detail))
}
