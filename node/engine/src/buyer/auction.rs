//! Unsolicited quotes for this node's bids, kept beside the book: a provider whose offer has not arrived
//! here, or who goes below its list price for this bid, takes part all the same.
//!
//! A quote only says whom to ask. It is no promise, and nothing is held for it; so collecting quotes costs
//! the providers who are not taken nothing.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256};
use sublet_base::phase::BuyerPhase;
use sublet_market::{
    Decline, DeclineCode, Maker, MatchContext, Offer, Order as _, Quote, Signed, first_miss,
};
use sublet_store::Purchase;

use super::Buyer;

/// Quotes kept for one bid: the best. Providers who see that many better offers keep silent by themselves.
const MOST_KEPT: usize = 32;
/// Accounts of strangers that are read from the chain for the quotes of one bid.
const MOST_READ: usize = 128;
/// And for one node that quotes: it has one maker, or a few. It may name any number of them.
const MOST_READ_FOR_ONE: usize = 4;

/// The quotes for one bid.
#[derive(Debug)]
pub(super) struct Auction {
    since: Instant,
    quotes: Vec<Quote>,
    /// Accounts that were read for each node that quoted.
    read: HashMap<B256, usize>,
}

impl Auction {
    fn new(now: Instant) -> Self {
        Self { since: now, quotes: Vec::new(), read: HashMap::new() }
    }

    /// How long quotes are still to be collected before anybody is asked.
    fn left(&self, collect_for: Duration, now: Instant) -> Duration {
        collect_for.saturating_sub(now.saturating_duration_since(self.since))
    }

    /// Whether one more account may be read for what this node quotes. If so, it is counted.
    fn may_read(&mut self, node: B256) -> bool {
        let all: usize = self.read.values().sum();
        let of_one = self.read.get(&node).copied().unwrap_or_default();
        let may = all < MOST_READ && of_one < MOST_READ_FOR_ONE;
        if may {
            self.read.insert(node, of_one + 1);
        }
        may
    }

    /// Takes a quote in, instead of the provider's last one. Gives whether it is among the best.
    fn take(&mut self, quote: Quote, bid: B256) -> bool {
        let digest = quote.digest;
        self.quotes.retain(|known| known.offer.order.provider != quote.offer.order.provider);
        self.quotes.push(quote);
        self.quotes.sort_by_cached_key(|quote| quote.standing(bid));
        self.quotes.truncate(MOST_KEPT);
        self.quotes.iter().any(|known| known.digest == digest)
    }
}

/// The book's offers and the quotes in one order, the best first. Of one series the cheaper stays, of two at
/// one rate the newer.
pub(super) fn merge(book: Vec<Quote>, quotes: Vec<Quote>, bid: B256, now: u64) -> Vec<Quote> {
    let mut best: HashMap<(Address, u64), Quote> = HashMap::new();
    let live = quotes.into_iter().filter(|quote| now <= quote.offer.order.valid_until);
    for quote in book.into_iter().chain(live) {
        let offer = &quote.offer.order;
        let (series, rank) = ((offer.provider, offer.series), (quote.rate, u64::MAX - offer.seq));
        let known = best.get(&series).map(|known| (known.rate, u64::MAX - known.offer.order.seq));
        if known.is_none_or(|known| rank < known) {
            best.insert(series, quote);
        }
    }
    let mut merged: Vec<Quote> = best.into_values().collect();
    merged.sort_by_cached_key(|quote| quote.standing(bid));
    merged
}

impl Buyer {
    /// Takes in what a provider's node quotes for a bid of ours.
    ///
    /// # Errors
    /// Why the quote does not count, for the provider.
    pub async fn take_quote(
        &self,
        node: B256,
        bid: B256,
        offer: Signed<Offer>,
        rate: u64,
    ) -> Result<(), Decline> {
        let no = |code, detail: &str| Err(Decline::new(code, detail));
        let purchase = self.core.store.get::<Purchase>(bid.as_slice()).map_err(|e| busy(&e))?;
        let Some(purchase) = purchase.filter(|purchase| purchase.phase == BuyerPhase::Seeking) else {
            return no(DeclineCode::NotYours, "this node has no open bid with this id");
        };
        if offer.order.node != node {
            return no(
                DeclineCode::NotYours,
                "the offer names another node than the one that sent the quote",
            );
        }
        let malformed = |e: &dyn std::fmt::Display| Decline::new(DeclineCode::Malformed, e.to_string());
        offer.order.check().map_err(|e| malformed(&e))?;
        if rate == 0 || offer.order.rate(purchase.spec.units).is_none_or(|list| rate > list) {
            return no(DeclineCode::Malformed, "the rate is 0 or above the offer's price");
        }
        let provider = offer.order.provider;
        let signer = offer.signer(&self.core.chain.domain()).map_err(|e| malformed(&e))?;
        if signer != offer.named_signer() {
            return no(DeclineCode::Malformed, "the offer is not signed by the signer that it names");
        }
        let maker = self.quoting_maker(&purchase, node, provider, signer).await?;
        let buyer = self.core.market.book().maker(&purchase.bid.order.buyer).copied().unwrap_or_default();
        let context =
            MatchContext { now: self.core.now(), provider: &maker, buyer: &buyer, floor: self.floor };
        if let Some(rule) = first_miss(&offer.order, &purchase.bid.order, &purchase.spec, &context) {
            return no(DeclineCode::Rule(rule), "the offer does not fit the bid");
        }
        let digest = offer.order.digest(&self.core.chain.domain());
        let quote = Quote { digest, offer, points: maker.points, rate };
        if !self.with_auction(bid, |auction| auction.take(quote, bid)) {
            return no(DeclineCode::Busy, "there are enough better quotes");
        }
        tracing::debug!(%bid, %provider, rate, "a provider quotes");
        self.core.wake.buyer.notify_one();
        Ok(())
    }

    /// What the chain says of who quotes: from the book, or read for a bounded number of strangers.
    async fn quoting_maker(
        &self,
        purchase: &Purchase,
        node: B256,
        provider: Address,
        signer: Address,
    ) -> Result<Maker, Decline> {
        let known = self.core.market.book().maker(&provider).copied();
        if let (Some(maker), true) = (known, signer == provider) {
            return Ok(maker);
        }
        if !self.with_auction(purchase.id, |auction| auction.may_read(node)) {
            return Err(Decline::new(DeclineCode::Busy, "too many quotes from unknown peers"));
        }
        if !self.core.chain.signs_for(provider, signer).await.map_err(|e| busy(&e))? {
            let text = "the offer is not signed by its provider or an operator of it";
            return Err(Decline::new(DeclineCode::Malformed, text));
        }
        self.core.refresh_maker(provider).await.map_err(|e| busy(&e))
    }

    /// The clock of a bid starts: quotes are collected from now on.
    pub(super) fn open_auction(&self, bid: B256) {
        self.with_auction(bid, |_| ());
    }

    /// How long to wait for quotes before anybody is asked.
    pub(super) fn collecting(&self, bid: B256) -> Duration {
        self.with_auction(bid, |auction| auction.left(self.collect_for, Instant::now()))
    }

    /// The quotes so far.
    pub(super) fn quotes_for(&self, bid: B256) -> Vec<Quote> {
        self.with_auction(bid, |auction| auction.quotes.clone())
    }

    /// The bid is not looking any more.
    pub(super) fn close_auction(&self, bid: &B256) {
        self.auctions().remove(bid);
    }

    fn with_auction<R>(&self, bid: B256, action: impl FnOnce(&mut Auction) -> R) -> R {
        action(self.auctions().entry(bid).or_insert_with(|| Auction::new(Instant::now())))
    }

    /// As many as bids of ours that are looking.
    fn auctions(&self) -> MutexGuard<'_, HashMap<B256, Auction>> {
        self.auctions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn busy(error: &dyn std::fmt::Display) -> Decline {
    tracing::debug!(%error, "cannot process a quote");
    Decline::new(DeclineCode::Busy, "the buyer cannot process it now")
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::samples::quote;

    const BID: B256 = B256::repeat_byte(9);

    /// Signed once: without optimisation a signature takes milliseconds.
    static SAMPLE: LazyLock<Quote> = LazyLock::new(quote);

    fn of(provider: u64, rate: u64) -> Quote {
        let mut quote = SAMPLE.clone();
        quote.offer.order.provider = Address::left_padding_from(&provider.to_be_bytes());
        quote.digest = B256::left_padding_from(&[provider.to_be_bytes(), rate.to_be_bytes()].concat());
        quote.rate = rate;
        quote
    }

    fn rates(quotes: &[Quote]) -> Vec<u64> {
        quotes.iter().map(|quote| quote.rate).collect()
    }

    #[test]
    fn the_cheapest_comes_first_wherever_it_is_from() {
        let now = SAMPLE.offer.order.valid_until;
        let merged = merge(vec![of(1, 900), of(2, 1_000)], vec![of(3, 800), of(4, 950)], BID, now);
        assert_eq!(rates(&merged), [800, 900, 950, 1_000]);
        // A provider that goes below its own offer stands once, with what it says last.
        let merged = merge(vec![of(1, 900), of(2, 1_000)], vec![of(2, 850)], BID, now);
        assert_eq!(rates(&merged), [850, 900]);
        let merged = merge(vec![of(1, 900)], vec![of(1, 950)], BID, now);
        assert_eq!(rates(&merged), [900]);
        assert!(merge(vec![], vec![of(3, 800)], BID, now + 1).is_empty(), "the offer is over");
    }

    #[test]
    fn of_two_versions_at_one_rate_the_newer_is_asked() {
        let (old, mut new) = (of(1, 900), of(1, 900));
        new.offer.order.seq += 1;
        for (book, quotes) in [(vec![old.clone()], vec![new.clone()]), (vec![new.clone()], vec![old])] {
            assert_eq!(merge(book, quotes, BID, 0), [new.clone()]);
        }
    }

    #[test]
    fn equal_rates_are_ordered_by_points_and_then_as_the_book_does() {
        let mut rich = of(1, 900);
        rich.points = 5;
        let others = [of(2, 900), of(3, 900), of(4, 900)];
        let merged = merge(others.to_vec(), vec![rich.clone()], BID, 0);
        assert_eq!(merged[0], rich);
        let mut expected = others.to_vec();
        expected.sort_by_key(|q| {
            alloy_primitives::keccak256([BID.0.as_slice(), q.offer.order.provider.as_slice()].concat())
        });
        assert_eq!(merged[1..], expected);
    }

    #[test]
    fn a_flood_of_quotes_keeps_the_best_and_no_more() {
        let mut auction = Auction::new(Instant::now());
        for n in 0..1_000 {
            auction.take(of(n, 10_000 - n), BID);
        }
        assert_eq!(auction.quotes.len(), MOST_KEPT);
        assert_eq!(auction.quotes[0].rate, 9_001);
        assert!(!auction.take(of(5_000, 10_000), BID), "worse than all that are kept");
        assert!(auction.take(of(5_001, 1), BID));
        // One provider has one place however often it quotes.
        for rate in 1..100 {
            auction.take(of(7_000, rate), BID);
        }
        assert_eq!(
            auction
                .quotes
                .iter()
                .filter(|q| q.offer.order.provider == of(7_000, 1).offer.order.provider)
                .count(),
            1
        );
    }

    #[test]
    fn one_node_does_not_use_up_the_questions_to_the_chain() {
        let mut auction = Auction::new(Instant::now());
        let node = |n: u64| B256::left_padding_from(&n.to_be_bytes());
        assert_eq!((0..1_000).filter(|_| auction.may_read(node(0))).count(), MOST_READ_FOR_ONE);
        assert!(auction.may_read(node(1)));
        assert_eq!(
            (2..1_000).filter(|n| auction.may_read(node(*n))).count(),
            MOST_READ - MOST_READ_FOR_ONE - 1
        );
        assert!(auction.read.len() <= MOST_READ);
    }

    #[test]
    fn quotes_are_collected_for_so_long_and_no_longer() {
        let now = Instant::now();
        let auction = Auction::new(now);
        let second = Duration::from_secs(1);
        assert_eq!(auction.left(second, now), second);
        assert_eq!(auction.left(second, now + second / 4), second * 3 / 4);
        assert_eq!(auction.left(second, now + 2 * second), Duration::ZERO);
        assert_eq!(auction.left(Duration::ZERO, now), Duration::ZERO, "off");
    }
}
