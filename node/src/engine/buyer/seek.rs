//! Finding a provider: ask the best offers of the own book, one after the other, until one accepts.

use std::time::Duration;

use alloy_primitives::B256;
use sublet_market::{
    Accept, Order as _, OrderMessage, Quote, Signed, TradeRequest, TradeResponse, check_accept,
};

use super::Buyer;
use crate::{
    engine::EngineError,
    store::{BuyerPhase, Decline, Purchase},
};

/// Offers asked in one pass: enough to get past a few that decline, few enough to answer within seconds.
const MOST_ASKED: usize = 8;
/// An accept with less time left than this cannot be settled safely.
const LEAST_TIME_TO_SETTLE: Duration = Duration::from_secs(5);

/// What an ask came to.
enum Answer {
    Accepted(Signed<Accept>),
    Declined { code: String, detail: String },
}

impl Buyer {
    /// One round of asking. Ends with the purchase accepted, or with new declines noted.
    pub(super) async fn seek(&self, id: B256) -> Result<(), EngineError> {
        let purchase = self.purchase_of(id)?;
        let quotes = {
            let (bid, spec) = (&purchase.bid.order, &purchase.spec);
            self.core.book().best(bid, spec, self.core.now(), MOST_ASKED)
        };
        for quote in quotes.into_iter().filter(|quote| !has_declined(&purchase, quote)) {
            if self.purchase_of(id)?.phase != BuyerPhase::Seeking {
                return Ok(());
            }
            match self.ask(&purchase, &quote).await? {
                Answer::Accepted(accept) => {
                    tracing::info!(bid = %id, rate = accept.order.rate, "a provider accepted");
                    return self.update(id, |p| {
                        // Cancelled while we asked: the accept lapses by itself.
                        if p.phase == BuyerPhase::Seeking {
                            p.phase = BuyerPhase::Accepted;
                            p.offer = Some(quote.offer);
                            p.accept = Some(accept);
                            p.trouble = None;
                        }
                    });
                }
                Answer::Declined { code, detail } => {
                    tracing::info!(bid = %id, code, detail, "a provider declined");
                    let offer = &quote.offer.order;
                    let (node, provider, rate) = (offer.node, offer.provider, quote.rate);
                    self.update(id, |p| {
                        p.declines.push(Decline { node, provider, offer: quote.digest, rate, code, detail });
                    })?;
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, purchase: &Purchase, quote: &Quote) -> Result<Answer, EngineError> {
        let declined = |code: &str, detail: String| Ok(Answer::Declined { code: code.to_owned(), detail });
        let manifest = purchase.manifest.canonical_bytes();
        let request = TradeRequest::Ask {
            bid: purchase.bid.clone(),
            spec: purchase.spec.clone(),
            offer: quote.digest,
            manifest: manifest.map_err(|e| EngineError::Invalid(e.to_string()))?,
        };
        match self.core.p2p.request(quote.offer.order.node, Vec::new(), request).await {
            Ok(TradeResponse::Accept(accept)) => match self.check(purchase, quote, &accept).await? {
                None => Ok(Answer::Accepted(accept)),
                Some(problem) => declined("bad_accept", problem),
            },
            Ok(TradeResponse::Declined(no)) => declined(&no.code.to_string(), no.detail),
            Ok(TradeResponse::Access(_)) => declined("bad_accept", "the answer was not an accept".into()),
            Err(error) => declined("unreachable", error.to_string()),
        }
    }

    /// What is wrong with an accept, before any money depends on it.
    async fn check(
        &self,
        purchase: &Purchase,
        quote: &Quote,
        accept: &Signed<Accept>,
    ) -> Result<Option<String>, EngineError> {
        let offer = &quote.offer.order;
        let now = self.core.now();
        let bid = &purchase.bid.order;
        if let Err(e) =
            check_accept(bid, &purchase.spec, offer, purchase.id, quote.digest, &accept.order, now)
        {
            return Ok(Some(e.to_string()));
        }
        if accept.order.settle_by < now + LEAST_TIME_TO_SETTLE.as_secs() {
            return Ok(Some("the accept leaves too little time to settle".into()));
        }
        let signer = match accept.signer(&self.core.chain.domain()) {
            Ok(signer) => signer,
            Err(e) => return Ok(Some(e.to_string())),
        };
        if signer != offer.provider && !self.core.chain.is_operator(offer.provider, signer).await? {
            return Ok(Some("the accept is not signed by the offer's provider".into()));
        }
        Ok(None)
    }

    /// Tells every peer of the bid and counts it in our own book.
    pub(super) async fn gossip(&self, purchase: &Purchase) -> Result<(), EngineError> {
        let message = OrderMessage::Bid { bid: purchase.bid.clone(), spec: purchase.spec.clone() };
        let signer = self.core.address();
        if let Err(reason) = crate::engine::intake::admit(&self.core, message.clone(), signer).await {
            return Err(EngineError::Invalid(format!("peers would not count this bid: {reason}")));
        }
        if let Err(error) = self.core.p2p.publish(message).await {
            tracing::warn!(%error, bid = %purchase.id, "the bid could not be gossiped; asking goes on");
        }
        Ok(())
    }
}

/// A provider that said no to these terms is not asked again; a new version of its offer is.
fn has_declined(purchase: &Purchase, quote: &Quote) -> bool {
    let provider = quote.offer.order.provider;
    let final_no = |code: &str| code != "busy" && code != "unreachable" && code != "unknown_offer";
    purchase.declines.iter().any(|no| {
        no.offer == quote.digest || (no.provider == provider && no.rate == quote.rate && final_no(&no.code))
    })
}

/// The digest of a bid, which names the purchase and the lease.
pub(super) fn id_of(bid: &sublet_market::Bid, domain: &sublet_market::Domain) -> B256 {
    bid.digest(domain)
}
