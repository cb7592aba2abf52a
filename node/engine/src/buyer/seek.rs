//! Finding a provider: collect quotes for a moment, then ask the best of them and of the own book's offers,
//! one after the other, until one accepts.
//!
//! One at a time, because an accept that is not settled costs its provider capacity and us its goodwill. A no that
//! cannot change is final for this bid; any other is asked again after a pause that doubles. Where no answer came, by a
//! crash on either side, the same question is asked again first: the provider may hold its capacity for us, and then
//! its newer offers do not have it any more.

use std::{collections::HashMap, time::Duration};

use alloy_primitives::{Address, B256};
use sublet_base::failpoint;
use sublet_base::phase::BuyerPhase;
use sublet_market::{
    Accept, Best, DeclineCode, Offer, Order as _, OrderMessage, Quote, Signed, TradeRequest, TradeResponse,
    check_accept,
};
use sublet_store::{Decline, DeclineReason, Purchase};

use super::{Buyer, auction::merge, decide::SETTLE_MARGIN};
use crate::{EngineError, admit, jobs::JobEnd};

/// Offers asked in one round: enough to get past a few that decline, few enough to look at the book again soon.
const MOST_ASKED: usize = 8;
/// Offers of one provider asked in one round: nobody stands in everybody's way with many small offers.
const MOST_OF_ONE: usize = 2;
/// Quotes looked at in one round.
const MOST_QUOTES: usize = 128;
/// A provider that accepts answers within milliseconds; one that does not answer must not hold the others up.
const ASK_LIMIT: Duration = Duration::from_secs(8);
/// The pause between rounds while nobody accepts.
const ROUND_PAUSE: Duration = Duration::from_secs(1);
/// The longest sleep while quotes are collected: a cancelled bid, or a node that stops, does not wait for more.
const COLLECT_NAP: Duration = Duration::from_secs(1);
/// The first pause after a no that may change, chain time in seconds; doubles with each further one.
const FIRST_RETRY: u64 = 2;
const LONGEST_RETRY: u64 = 60;
/// Questions without an answer that are remembered.
const MOST_UNANSWERED: usize = 4;

/// What an ask came to.
enum Answer {
    Accepted(Box<Signed<Accept>>),
    Declined { code: DeclineReason, detail: String },
}

impl Buyer {
    /// One round of asking. Ends with the purchase accepted, or with new declines noted.
    pub(super) async fn seek(&self, id: B256) -> Result<JobEnd, EngineError> {
        let collecting = self.collecting(id);
        if !collecting.is_zero() {
            tokio::time::sleep(collecting.min(COLLECT_NAP)).await;
            return Ok(JobEnd::Later(Duration::ZERO));
        }
        let purchase = self.purchase_of(id)?;
        for quote in self.candidates(&purchase) {
            if self.purchase_of(id)?.phase != BuyerPhase::Seeking {
                return Ok(JobEnd::Done);
            }
            self.update(id, |p| note_asked(p, &quote))?;
            match self.ask(&purchase, &quote).await? {
                Answer::Accepted(accept) => {
                    failpoint::reach(&["buyer.seek.accepted"]);
                    tracing::info!(bid = %id, rate = accept.order.rate, "a provider accepted");
                    self.update(id, |p| {
                        // Cancelled while we asked: the accept lapses by itself.
                        if p.phase == BuyerPhase::Seeking {
                            p.phase = BuyerPhase::Accepted;
                            p.offer = Some(quote.offer.clone());
                            p.accept = Some(*accept);
                            p.trouble = None;
                        }
                        note_answered(p, &quote);
                    })?;
                    return Ok(JobEnd::Done);
                }
                Answer::Declined { code, detail } => {
                    tracing::info!(bid = %id, %code, detail, "a provider declined");
                    let at = self.core.now();
                    self.update(id, |p| {
                        if code != DeclineReason::Unreachable {
                            note_answered(p, &quote);
                        }
                        note_decline(p, &quote, code, detail, at);
                    })?;
                }
            }
        }
        Ok(JobEnd::Later(ROUND_PAUSE))
    }

    /// The best offers that may be asked now.
    fn candidates(&self, purchase: &Purchase) -> Vec<Quote> {
        let now = self.core.now();
        let (bid, spec) = (&purchase.bid.order, &purchase.spec);
        let Best { quotes, complete } = match purchase.only {
            Some((provider, _)) => self.core.market.book().search_of(provider, bid, spec, now, MOST_QUOTES),
            None => self.core.market.book().search(bid, spec, now, MOST_QUOTES),
        };
        if !complete {
            tracing::debug!(bid = %purchase.id, "the book is flooded: there may be better offers than those found");
        }
        let mut of_provider: HashMap<Address, usize> = HashMap::new();
        let mut candidates = Vec::new();
        let unanswered = self.unanswered(purchase);
        let is_new = |quote: &Quote| unanswered.iter().all(|asked| asked.digest != quote.digest);
        let quotes = merge(quotes, self.quotes_for(purchase.id), purchase.id, now);
        let quotes: Vec<_> = quotes.into_iter().filter(is_new).collect();
        let wanted = |quote: &Quote| {
            let (provider, node) = (quote.offer.order.provider, quote.offer.order.node);
            purchase.only.is_none_or(|only| only == (provider, node))
                && !purchase.avoid.contains(&provider)
                && may_be_asked(purchase, quote, now)
        };
        for quote in unanswered.into_iter().chain(quotes).filter(wanted) {
            let count = of_provider.entry(quote.offer.order.provider).or_default();
            *count += 1;
            if *count <= MOST_OF_ONE {
                candidates.push(quote);
            }
            if candidates.len() == MOST_ASKED {
                break;
            }
        }
        candidates
    }

    /// The quotes of the questions that got no answer.
    fn unanswered(&self, purchase: &Purchase) -> Vec<Quote> {
        let domain = self.core.chain.domain();
        let quote = |offer: &Signed<Offer>| {
            let rate = offer.order.rate(purchase.spec.units)?;
            Some(Quote { digest: offer.order.digest(&domain), offer: offer.clone(), points: 0, rate })
        };
        purchase.asked.iter().filter_map(quote).collect()
    }

    async fn ask(&self, purchase: &Purchase, quote: &Quote) -> Result<Answer, EngineError> {
        let declined = |code, detail| Ok(Answer::Declined { code, detail });
        let manifest = purchase.manifest.canonical_bytes();
        let request = TradeRequest::Ask {
            bid: purchase.bid.clone(),
            spec: purchase.spec.clone(),
            offer: quote.digest,
            manifest: manifest.map_err(|e| EngineError::Invalid(e.to_string()))?,
        };
        match self.request(quote, request).await {
            Ok(TradeResponse::Accept(accept)) => match self.check(purchase, quote, &accept).await? {
                None => Ok(Answer::Accepted(Box::new(accept))),
                Some(problem) => declined(DeclineReason::BadAccept, problem),
            },
            Ok(TradeResponse::Declined(no)) => declined(DeclineReason::Said(no.code), no.detail),
            Ok(_) => declined(DeclineReason::BadAccept, "the answer was not an accept".into()),
            Err(problem) => declined(DeclineReason::Unreachable, problem),
        }
    }

    /// Asks, and asks once more when no answer came: it may have been given and lost, and the provider gives the same
    /// one again.
    async fn request(&self, quote: &Quote, request: TradeRequest) -> Result<TradeResponse, String> {
        let node = quote.offer.order.node;
        let mut problem = String::new();
        for _ in 0..2 {
            let asked = self.core.p2p.request(node, Vec::new(), request.clone());
            match tokio::time::timeout(ASK_LIMIT, asked).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) if error.is_retryable() => problem = error.to_string(),
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => problem = format!("no answer within {} s", ASK_LIMIT.as_secs()),
            }
        }
        Err(problem)
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
        if accept.order.rate > quote.rate {
            return Ok(Some(format!(
                "the accept's rate {} is above the {} that were quoted",
                accept.order.rate, quote.rate
            )));
        }
        if accept.order.settle_by <= now + SETTLE_MARGIN {
            return Ok(Some("the accept leaves too little time to settle".into()));
        }
        let signer = match accept.signer(&self.core.chain.domain()) {
            Ok(signer) => signer,
            Err(e) => return Ok(Some(e.to_string())),
        };
        if !self.core.chain.signs_for(offer.provider, signer).await? {
            return Ok(Some("the accept is not signed by the offer's provider".into()));
        }
        Ok(None)
    }

    /// Counts the bid in our own book and tells every peer of it.
    pub(super) async fn gossip(&self, purchase: &Purchase) -> Result<(), EngineError> {
        let message = OrderMessage::Bid { bid: purchase.bid.clone(), spec: purchase.spec.clone() };
        let admitted = admit::admit(&self.core, message.clone(), self.core.account.key()).await;
        admitted.map_err(|e| EngineError::Invalid(format!("the bid breaks the market's rules: {e}")))?;
        if let Err(error) = self.core.p2p.publish(message).await {
            tracing::warn!(
                %error, bid = %purchase.id,
                "cannot gossip the bid; asking providers all the same"
            );
        }
        Ok(())
    }
}

fn note_asked(purchase: &mut Purchase, quote: &Quote) {
    if purchase.asked.contains(&quote.offer) {
        return;
    }
    if purchase.asked.len() >= MOST_UNANSWERED {
        purchase.asked.remove(0);
    }
    purchase.asked.push(quote.offer.clone());
}

fn note_answered(purchase: &mut Purchase, quote: &Quote) {
    purchase.asked.retain(|offer| *offer != quote.offer);
}

/// Notes a no, together with earlier ones of the same provider, terms and reason.
fn note_decline(purchase: &mut Purchase, quote: &Quote, code: DeclineReason, detail: String, at: u64) {
    let offer = &quote.offer.order;
    let same = |no: &&mut Decline| no.provider == offer.provider && no.rate == quote.rate && no.code == code;
    if let Some(no) = purchase.declines.iter_mut().find(same) {
        no.offer = quote.digest;
        no.detail = detail;
        no.at = at;
        no.times = no.times.saturating_add(1);
        return;
    }
    purchase.declines.push(Decline {
        node: offer.node,
        provider: offer.provider,
        offer: quote.digest,
        rate: quote.rate,
        code,
        detail,
        at,
        times: 1,
    });
}

fn may_be_asked(purchase: &Purchase, quote: &Quote, now: u64) -> bool {
    let provider = quote.offer.order.provider;
    purchase.declines.iter().filter(|no| no.provider == provider).all(|no| {
        match no.code {
            // The machine is what the buyer asked for and this provider cannot give, whatever the price.
            DeclineReason::Said(DeclineCode::Manifest | DeclineCode::Malformed | DeclineCode::NotYours)
            | DeclineReason::BadAccept
            | DeclineReason::SettleRefused => false,
            // Transient: full, poor, busy, away, in back-off, or the offer was renewed under our hands.
            DeclineReason::Said(
                DeclineCode::UnknownOffer
                | DeclineCode::Capacity
                | DeclineCode::ProviderFunds
                | DeclineCode::BuyerFunds
                | DeclineCode::Backoff
                | DeclineCode::Busy
                | DeclineCode::ShuttingDown,
            )
            | DeclineReason::Unreachable => {
                let pause =
                    FIRST_RETRY.saturating_mul(1 << no.times.saturating_sub(1).min(8)).min(LONGEST_RETRY);
                no.rate != quote.rate || now >= no.at.saturating_add(pause)
            }
            // Other terms may fit.
            DeclineReason::Said(DeclineCode::Rule(_)) => no.offer != quote.digest,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{samples::purchase, samples::quote};

    fn after(code: &str, times: u32) -> Purchase {
        let mut purchase = purchase(BuyerPhase::Seeking);
        for at in 0..times {
            note_decline(&mut purchase, &quote(), code.parse().unwrap(), "no".into(), 100 + u64::from(at));
        }
        purchase
    }

    #[test]
    fn a_no_that_may_change_is_asked_again_after_a_growing_pause() {
        for code in ["busy", "unreachable", "capacity", "backoff", "unknown_offer"] {
            let once = after(code, 1);
            assert!(!may_be_asked(&once, &quote(), 101), "{code}");
            assert!(may_be_asked(&once, &quote(), 102), "{code}");
            let thrice = after(code, 3);
            assert_eq!(thrice.declines.len(), 1);
            assert!(!may_be_asked(&thrice, &quote(), 109), "{code}");
            assert!(may_be_asked(&thrice, &quote(), 110), "{code}");
        }
    }

    #[test]
    fn a_question_without_an_answer_is_remembered_until_there_is_one() {
        let mut purchase = purchase(BuyerPhase::Seeking);
        note_asked(&mut purchase, &quote());
        note_asked(&mut purchase, &quote());
        assert_eq!(purchase.asked, [quote().offer]);
        for n in 0..10 {
            let mut other = quote();
            other.offer.order.seq += n;
            note_asked(&mut purchase, &other);
        }
        assert_eq!(purchase.asked.len(), MOST_UNANSWERED);
        let last = purchase.asked[MOST_UNANSWERED - 1].clone();
        note_answered(&mut purchase, &Quote { offer: last.clone(), ..quote() });
        assert!(!purchase.asked.contains(&last) && purchase.asked.len() == MOST_UNANSWERED - 1);
    }

    #[test]
    fn a_no_to_what_is_wanted_is_final() {
        for code in ["manifest", "malformed", "bad_accept", "settle_refused"] {
            assert!(!may_be_asked(&after(code, 1), &quote(), u64::MAX), "{code}");
        }
    }
}
