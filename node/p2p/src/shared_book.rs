//! The book as other peers see it: what they may fetch from us, and what we need not fetch from them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use alloy_primitives::B256;
use sublet_market::{Book, Known, OrderSignature, Shard, codec};

use crate::Orders;

/// The order book, shared between the engines and the network.
pub struct SharedBook {
    book: Mutex<Book>,
    now: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl SharedBook {
    /// FairShare a book whose orders live by the clock `now`, in Unix seconds: that of the chain, but in
    /// tests and benchmarks.
    pub fn new(book: Book, now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { book: Mutex::new(book), now: Box::new(now) }
    }

    /// The book. Hold it briefly, never across an await.
    pub fn lock(&self) -> MutexGuard<'_, Book> {
        // A panic while the book was held leaves it as it was between two map updates; every query
        // re-checks what it returns, so going on is safer than taking the whole node down.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Orders for SharedBook {
    fn items(&self) -> Vec<(Shard, u64, B256)> {
        let now = (self.now)();
        self.lock().items(now)
    }

    fn envelopes(&self, digests: &[B256]) -> Vec<Option<Vec<u8>>> {
        let messages: Vec<_> = {
            let book = self.lock();
            digests.iter().map(|digest| book.message(digest)).collect()
        };
        messages.into_iter().map(|message| message.as_ref().map(codec::encode_order)).collect()
    }

    fn unknown(&self, mut digests: Vec<B256>) -> Vec<B256> {
        let book = self.lock();
        digests.retain(|digest| !book.contains(digest));
        digests
    }

    fn knows(&self, digest: &B256, signature: &OrderSignature) -> Known {
        self.lock().knows(digest, signature)
    }
}

#[cfg(test)]
mod tests {
    use sublet_market::{
        BookLimits, Maker, Offer, OrderMessage,
        amount::BASE_UNITS_PER_CTK,
        samples::{domain, key, offer_of},
    };

    use super::*;

    const NOW: u64 = 1_000_000;

    fn message(series: u64, seq: u64, units: u32) -> OrderMessage {
        let key = key(1);
        let valid_until = NOW + 100 * series;
        let offer = Offer { seq, units, valid_until, ..offer_of(&key, series) };
        key.sign(offer, &domain()).into()
    }

    fn shared(messages: &[OrderMessage], now: u64) -> SharedBook {
        let mut book = Book::new(domain(), BookLimits::default());
        let maker = Maker { free: 100 * BASE_UNITS_PER_CTK, points: 0, epoch: 0 };
        for message in messages {
            book.set_maker(message.maker(), maker);
            book.insert(message.clone(), message.maker(), NOW).unwrap();
        }
        SharedBook::new(book, move || now)
    }

    #[test]
    fn offers_and_cancels_are_shared_while_they_live() {
        let (offer, other, cancel) = (message(1, 1, 4), message(2, 1, 4), message(2, 2, 0));
        let shared = shared(&[offer.clone(), other.clone(), cancel.clone()], NOW);
        let mut items = shared.items();
        items.sort_unstable();
        let (first, second) = (offer.digest(&domain()), cancel.digest(&domain()));
        assert_eq!(items, [(Shard::MAIN, NOW + 100, first), (Shard::MAIN, NOW + 200, second)]);
        let envelopes = shared.envelopes(&[second, other.digest(&domain()), first]);
        let expected = [Some(codec::encode_order(&cancel)), None, Some(codec::encode_order(&offer))];
        assert_eq!(envelopes, expected);
        let stranger = B256::repeat_byte(1);
        assert_eq!(shared.unknown(vec![first, stranger, second]), [stranger]);
    }

    #[test]
    fn what_has_expired_is_not_shared() {
        let late = shared(&[message(1, 1, 4), message(2, 1, 4)], NOW + 150);
        assert_eq!(late.items(), [(Shard::MAIN, NOW + 200, message(2, 1, 4).digest(&domain()))]);
    }

    #[test]
    fn what_its_maker_cannot_pay_is_not_shared_until_the_balance_is_back() {
        let (offer, cancel) = (message(1, 1, 4), message(2, 2, 0));
        let maker = offer.maker();
        let shared = shared(&[offer.clone(), cancel.clone()], NOW);
        shared.lock().set_maker(maker, Maker::default());
        assert_eq!(shared.items(), []);
        let digests = [offer.digest(&domain()), cancel.digest(&domain())];
        assert_eq!(shared.envelopes(&digests), [None, None]);
        assert!(shared.unknown(digests.to_vec()).is_empty(), "they need not be fetched again");
        shared.lock().set_maker(maker, Maker { free: BASE_UNITS_PER_CTK, points: 0, epoch: 0 });
        assert_eq!(shared.items().len(), 2);
        assert!(shared.envelopes(&digests).iter().all(Option::is_some));
    }
}
