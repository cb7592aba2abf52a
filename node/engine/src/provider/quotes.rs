//! Unsolicited quotes for bids, sent to the bid's node, so that bids draw competing prices.
//!
//! A quote promises nothing and holds nothing. The buyer's manifest is not known yet, and an accept may be signed only
//! once it is; whoever the buyer then asks goes through the checks of every ask. What is kept is the rate, so that
//! the accept is no dearer than the quote.
//!
//! Level-triggered: each look goes over the bids that the live offers fit. A bid is answered once, and only
//! by a node that sees itself among the best few of its own book: the number of answers to one bid stays
//! small however many providers there are.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256};
use sublet_market::{Bid, BidEntry, Offer, Quote, Spec, TradeRequest, TradeResponse};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{LiveOffer, Provider, commitments::Commitments};

/// How often the bids are looked at when no new one came.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The pause between two looks: what a flood of bids may cost.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Bids of the book that one look goes over for one offer: the best paying that were not answered yet, of one buyer no
/// more than [`MOST_OF_ONE`], so that nobody's many bids keep us from the others.
const MOST_BIDS: usize = 256;
/// Bids answered in one look, and looked at for one offer.
const MOST_IN_A_LOOK: usize = 16;
/// With so many better offers in the own book, this node keeps silent.
const MOST_BETTER: usize = 8;
/// Quotes under way.
const MOST_SENDING: usize = 32;
/// A buyer's node that takes longer is away.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// A quote that was not taken is sent again so often, after this pause.
const TRIES: u32 = 3;
const RETRY: Duration = Duration::from_secs(2);

/// Bids that are remembered, for at most the ten minutes of their lives; 200 bytes each.
const MOST_REMEMBERED: usize = 4_096;
/// And of one buyer, so that it takes sixteen to fill the memory.
const MOST_REMEMBERED_OF_ONE: usize = MOST_REMEMBERED / 16;
/// Bids of one buyer, and bids that name one node, that are answered within [`WINDOW`]: a bid may name whom it likes.
const MOST_OF_ONE: usize = 16;
const WINDOW: Duration = Duration::from_secs(60);

/// What became of one bid.
#[derive(Debug)]
struct Answered {
    buyer: Address,
    node: B256,
    /// The rate that was quoted, if it was.
    rate: Option<u64>,
    /// The bid's last second.
    until: u64,
    at: Instant,
    tries: u32,
    /// Taken, given up, or not worth a quote.
    done: bool,
}

/// The bids that were looked at.
#[derive(Debug, Default)]
pub(super) struct Quoted(HashMap<B256, Answered>);

/// Who has had what one of many may have.
#[derive(Debug, Default)]
struct Served {
    buyers: HashSet<Address>,
    nodes: HashSet<B256>,
    /// No bid that is new can be remembered.
    full: bool,
}

impl Served {
    fn has_room_for(&self, bid: &Bid) -> bool {
        !self.full && !self.buyers.contains(&bid.buyer) && !self.nodes.contains(&bid.node)
    }
}

impl Quoted {
    /// Whether this bid is to be answered now.
    fn may(&self, id: B256, bid: &Bid, served: &Served, now: Instant) -> bool {
        match self.0.get(&id) {
            Some(answered) => !answered.done && now >= answered.at + RETRY,
            None => served.has_room_for(bid),
        }
    }

    /// Who gets no answer to a new bid now.
    fn served(&self, now: Instant) -> Served {
        let (mut buyers, mut nodes) = (HashMap::new(), HashMap::new());
        let mut remembered: HashMap<Address, usize> = HashMap::new();
        for answered in self.0.values() {
            *remembered.entry(answered.buyer).or_default() += 1;
            if now < answered.at + WINDOW && answered.rate.is_some() {
                *buyers.entry(answered.buyer).or_default() += 1;
                *nodes.entry(answered.node).or_default() += 1;
            }
        }
        let mut served = Served {
            buyers: at_least(buyers, MOST_OF_ONE),
            nodes: at_least(nodes, MOST_OF_ONE),
            full: self.0.len() >= MOST_REMEMBERED,
        };
        served.buyers.extend(at_least(remembered, MOST_REMEMBERED_OF_ONE));
        served
    }

    /// Notes that the bid is answered at `rate`, or that it is not worth it.
    fn begin(&mut self, id: B256, bid: &Bid, rate: Option<u64>, now: Instant) {
        let fresh = Answered {
            buyer: bid.buyer,
            node: bid.node,
            rate,
            until: bid.valid_until,
            at: now,
            tries: 0,
            done: false,
        };
        let answered = self.0.entry(id).or_insert(fresh);
        answered.at = now;
        answered.tries += 1;
        answered.done = rate.is_none();
    }

    fn ended(&mut self, id: &B256, taken: bool) {
        if let Some(answered) = self.0.get_mut(id) {
            answered.done |= taken || answered.tries >= TRIES;
        }
    }

    fn forget_expired(&mut self, now: u64) {
        self.0.retain(|_, answered| now <= answered.until);
    }

    fn rate(&self, id: &B256) -> Option<u64> {
        self.0.get(id)?.rate
    }
}

fn at_least<K: Eq + Hash>(counts: HashMap<K, usize>, most: usize) -> HashSet<K> {
    counts.into_iter().filter(|(_, count)| *count >= most).map(|(one, _)| one).collect()
}

/// What a bid is quoted: the list price, or just below the best rival as far as the discount goes.
fn rate_against(list: u64, discount_percent: u8, rival: Option<u64>) -> u64 {
    let percent = u128::from(100_u8.saturating_sub(discount_percent));
    let least = u64::try_from((u128::from(list) * percent).div_ceil(100)).unwrap_or(list).max(1);
    match rival {
        Some(rival) if rival <= list => rival.saturating_sub(1).clamp(least.min(list), list),
        _ => list,
    }
}

/// A quote that is to be sent.
struct Due {
    node: B256,
    quote: Quote,
    bid: B256,
}

impl Provider {
    /// Answers bids until `stop`.
    pub async fn run_quotes(self: Arc<Self>, stop: CancellationToken) {
        let sending = Arc::new(Semaphore::new(MOST_SENDING));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.core.wake.quotes.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            for due in self.due_quotes(sending.available_permits().min(MOST_IN_A_LOOK)) {
                // Only this loop takes permits, and it counted them.
                let Ok(permit) = Arc::clone(&sending).try_acquire_owned() else { break };
                let engine = Arc::clone(&self);
                tokio::spawn(async move {
                    engine.send_quote(due).await;
                    drop(permit);
                });
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// The rate that a bid was quoted, which an accept of it keeps.
    pub(super) fn quoted_rate(&self, bid: &B256) -> Option<u64> {
        self.quoted().rate(bid)
    }

    fn quoted(&self) -> std::sync::MutexGuard<'_, Quoted> {
        self.quoted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bids that are to be answered now, at most `room`.
    fn due_quotes(&self, room: usize) -> Vec<Due> {
        let (now, clock) = (self.core.now(), Instant::now());
        self.quoted().forget_expired(now);
        let mut due = Vec::new();
        let commitments = Commitments::read(&self.core.store).ok();
        let left = |series| {
            commitments
                .as_ref()
                .and_then(|commitments| self.units_left(series, commitments).ok())
                .unwrap_or_default()
        };
        for live in self.sellable_offers() {
            let mut looked_at = 0;
            for (id, bid, spec) in self.open_bids(&live.signed.order, now, clock) {
                if due.len() == room {
                    return due;
                }
                // The last offer may have had a bid of the same buyer.
                let served = self.quoted().served(clock);
                if !self.quoted().may(id, &bid, &served, clock) {
                    continue;
                }
                // An accept of a moment ago may have taken them, and the offer not be renewed yet.
                if left(live.signed.order.series) < spec.units {
                    continue;
                }
                if looked_at == MOST_IN_A_LOOK {
                    break;
                }
                looked_at += 1;
                let quote = self.quote_for(&live, id, &bid, &spec, now);
                self.quoted().begin(id, &bid, quote.as_ref().map(|quote| quote.rate), clock);
                due.extend(quote.map(|quote| Due { node: bid.node, quote, bid: id }));
            }
        }
        due
    }

    /// The bids that an offer fits and that are to be answered now, the best paying first.
    fn open_bids(&self, offer: &Offer, now: u64, clock: Instant) -> Vec<(B256, Bid, Spec)> {
        let (book, quoted) = (self.core.market.book(), self.quoted());
        let served = quoted.served(clock);
        let is_open = |entry: &BidEntry| {
            let bid = &entry.bid.order;
            bid.node != self.core.node && quoted.may(entry.digest, bid, &served, clock)
        };
        let open = book.search_bids(offer, now, (MOST_BIDS, MOST_OF_ONE), &is_open).bids;
        open.into_iter().map(|entry| (entry.digest, entry.bid.order.clone(), entry.spec.clone())).collect()
    }

    /// What this node quotes a bid; nothing if its own book has enough better offers.
    fn quote_for(&self, live: &LiveOffer, id: B256, bid: &Bid, spec: &Spec, now: u64) -> Option<Quote> {
        let own = self.core.account.maker();
        let (rivals, points) = {
            let book = self.core.market.book();
            (book.best(bid, spec, now, MOST_BETTER + 1), book.maker(&own)?.points)
        };
        let rivals: Vec<Quote> = rivals.into_iter().filter(|r| r.offer.order.provider != own).collect();
        let list = live.signed.order.rate(spec.units)?;
        // What was said once is said again.
        let rate = self.quoted_rate(&id).unwrap_or_else(|| {
            rate_against(list, self.config.discount_percent, rivals.first().map(|rival| rival.rate))
        });
        let quote = Quote { digest: live.digest, offer: live.signed.clone(), points, rate };
        let better = rivals.iter().filter(|rival| rival.standing(id) < quote.standing(id)).count();
        (better < MOST_BETTER).then_some(quote)
    }

    async fn send_quote(&self, due: Due) {
        let Due { node, quote, bid } = due;
        let request = TradeRequest::Quote { bid, offer: quote.offer, rate: quote.rate };
        let sent = self.core.p2p.request(node, Vec::new(), request);
        let (taken, result) = match tokio::time::timeout(SEND_LIMIT, sent).await {
            Ok(Ok(TradeResponse::Noted)) => (true, "noted"),
            Ok(Ok(TradeResponse::Declined(no))) => {
                tracing::debug!(%bid, code = %no.code, detail = no.detail, "a quote was declined");
                (false, "declined")
            }
            Ok(Ok(_)) => (true, "declined"),
            Ok(Err(error)) => {
                tracing::debug!(%bid, %error, "a quote was not delivered");
                (false, "unreachable")
            }
            Err(_) => (false, "unreachable"),
        };
        self.core.counters.quote_sent(result);
        self.quoted().ended(&bid, taken);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::samples::promise;
    use sublet_base::phase::ProviderPhase;

    /// Signed once: without optimisation a signature takes milliseconds.
    static BID: LazyLock<Bid> = LazyLock::new(|| promise(ProviderPhase::Held).bid.order);

    fn bid() -> Bid {
        BID.clone()
    }

    fn may(quoted: &Quoted, id: B256, bid: &Bid, now: Instant) -> bool {
        quoted.may(id, bid, &quoted.served(now), now)
    }

    fn id(n: u64) -> B256 {
        B256::left_padding_from(&n.to_be_bytes())
    }

    #[test]
    fn a_quote_goes_below_the_best_rival_and_never_below_the_discount() {
        assert_eq!(rate_against(1_000, 20, None), 1_000, "nobody to beat");
        assert_eq!(rate_against(1_000, 20, Some(1_001)), 1_000, "cheaper already");
        assert_eq!(rate_against(1_000, 20, Some(1_000)), 999);
        assert_eq!(rate_against(1_000, 20, Some(900)), 899);
        assert_eq!(rate_against(1_000, 20, Some(700)), 800, "as far as it goes");
        assert_eq!(rate_against(1_000, 0, Some(700)), 1_000, "no discount");
        assert_eq!(rate_against(1, 90, Some(1)), 1, "a rate is never 0");
        assert_eq!(rate_against(u64::MAX, 50, Some(0)), u64::MAX / 2 + 1);
    }

    #[test]
    fn a_bid_is_answered_once_and_again_only_while_it_was_not_taken() {
        let (mut quoted, now) = (Quoted::default(), Instant::now());
        assert!(may(&quoted, id(1), &bid(), now));
        for n in 0..TRIES {
            let at = now + RETRY * n;
            assert!(may(&quoted, id(1), &bid(), at), "try {n}");
            quoted.begin(id(1), &bid(), Some(900), at);
            assert!(!may(&quoted, id(1), &bid(), at), "on its way");
            quoted.ended(&id(1), false);
        }
        assert!(!may(&quoted, id(1), &bid(), now + RETRY * TRIES), "given up");
        quoted.begin(id(2), &bid(), Some(900), now);
        quoted.ended(&id(2), true);
        assert!(!may(&quoted, id(2), &bid(), now + RETRY));
        assert_eq!(quoted.rate(&id(2)), Some(900), "the accept keeps the quoted rate");
        quoted.begin(id(3), &bid(), None, now);
        assert!(!may(&quoted, id(3), &bid(), now + RETRY), "not worth it");
    }

    #[test]
    fn neither_a_buyer_nor_a_node_draws_quotes_without_end() {
        let now = Instant::now();
        let other = Bid { buyer: Address::repeat_byte(7), ..bid() };
        let elsewhere = Bid { node: B256::repeat_byte(7), ..other.clone() };
        let mut quoted = Quoted::default();
        for n in 0..MOST_OF_ONE as u64 {
            assert!(may(&quoted, id(n), &bid(), now));
            quoted.begin(id(n), &bid(), Some(1), now);
        }
        assert!(!may(&quoted, id(999), &bid(), now));
        assert!(!may(&quoted, id(999), &other, now), "another buyer that names the same node");
        assert!(may(&quoted, id(999), &elsewhere, now));
        assert!(may(&quoted, id(999), &bid(), now + WINDOW));
    }

    #[test]
    fn one_buyer_does_not_take_all_the_memory() {
        let (mut quoted, now) = (Quoted::default(), Instant::now());
        for n in 0..MOST_REMEMBERED_OF_ONE as u64 {
            assert!(may(&quoted, id(n), &bid(), now));
            quoted.begin(id(n), &bid(), None, now);
        }
        assert!(!may(&quoted, id(9_999), &bid(), now), "not worth a quote, and remembered all the same");
        let other = Bid { buyer: Address::repeat_byte(7), ..bid() };
        assert!(may(&quoted, id(9_999), &other, now));
    }

    #[test]
    fn memory_is_bounded_and_freed_with_the_bids() {
        let (mut quoted, now) = (Quoted::default(), Instant::now());
        for n in 0..MOST_REMEMBERED as u64 {
            quoted.begin(id(n), &bid(), None, now);
        }
        assert!(!may(&quoted, id(99_999), &bid(), now));
        quoted.forget_expired(bid().valid_until);
        assert_eq!(quoted.0.len(), MOST_REMEMBERED);
        quoted.forget_expired(bid().valid_until + 1);
        assert!(may(&quoted, id(99_999), &bid(), now));
    }
}
