//! The offers of a book: live ones by digest and by price, and the newest version of every series.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};

use super::{CLOCK_SLACK_SECONDS, Ignored};
use crate::limits::MAX_OFFER_LIFE_SECONDS;
use crate::orders::Offer;
use crate::signature::Signed;

#[derive(Clone, Debug)]
struct LiveOffer {
    offer: Signed<Offer>,
    signer: Address,
}

/// The newest version of a series. It outlives its offer, to keep older versions out.
#[derive(Clone, Debug)]
struct Head {
    seq: u64,
    digest: B256,
    /// The signed cancel, if the newest version is one: other peers need it.
    cancel: Option<Signed<Offer>>,
    /// Unix second after which no older version can be valid.
    forget_at: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Offers {
    live: BTreeMap<B256, LiveOffer>,
    by_price: BTreeSet<(u64, B256)>,
    heads: BTreeMap<(Address, u64), Head>,
    /// Digests of the heads that are not live.
    tombstones: BTreeSet<B256>,
}

impl Offers {
    /// Whether an offer is newer than all that is known of its series; gives whether anything is known.
    pub(super) fn check_newer(&self, offer: &Offer, digest: B256) -> Result<bool, Ignored> {
        match self.heads.get(&(offer.provider, offer.series)) {
            Some(head) if (head.seq, head.digest) >= (offer.seq, digest) => Err(Ignored::Superseded),
            head => Ok(head.is_some()),
        }
    }

    /// Takes in a version that is newer; gives the live one that it replaces.
    pub(super) fn insert(
        &mut self,
        digest: B256,
        offer: Signed<Offer>,
        signer: Address,
        now: u64,
    ) -> Option<B256> {
        let Offer { provider, series, seq, price_per_second, .. } = offer.order;
        let forget_at = now.saturating_add(MAX_OFFER_LIFE_SECONDS).saturating_add(CLOCK_SLACK_SECONDS);
        let cancel = offer.order.is_cancel().then(|| offer.clone());
        let old = self.heads.insert((provider, series), Head { seq, digest, cancel, forget_at });
        let replaced = old.map(|old| old.digest).filter(|old| {
            self.tombstones.remove(old);
            self.remove_live(old)
        });
        if offer.order.is_cancel() {
            self.tombstones.insert(digest);
        } else {
            self.live.insert(digest, LiveOffer { offer, signer });
            self.by_price.insert((price_per_second, digest));
        }
        self.debug_check();
        replaced
    }

    /// Drops offers that have expired, and heads that nothing older can follow. Gives the number of offers.
    pub(super) fn expire(&mut self, now: u64) -> usize {
        let count = self.bury(|live| now > live.offer.order.valid_until);
        let tombstones = &mut self.tombstones;
        self.heads.retain(|_, head| now <= head.forget_at || !tombstones.remove(&head.digest));
        self.debug_check();
        count
    }

    pub(super) fn remove_signed_by(&mut self, maker: Address, key: Address) {
        self.bury(|live| live.signer == key && live.offer.order.provider == maker);
        self.debug_check();
    }

    /// Takes out live offers and keeps their heads.
    fn bury(&mut self, dead: impl Fn(&LiveOffer) -> bool) -> usize {
        let dead: Vec<B256> =
            self.live.iter().filter(|(_, live)| dead(live)).map(|(digest, _)| *digest).collect();
        for digest in &dead {
            self.remove_live(digest);
            self.tombstones.insert(*digest);
        }
        dead.len()
    }

    fn remove_live(&mut self, digest: &B256) -> bool {
        let Some(live) = self.live.remove(digest) else { return false };
        self.by_price.remove(&(live.offer.order.price_per_second, *digest));
        true
    }

    pub(super) fn contains(&self, digest: &B256) -> bool {
        self.live.contains_key(digest) || self.tombstones.contains(digest)
    }

    pub(super) fn get(&self, digest: &B256) -> Option<&Signed<Offer>> {
        self.live.get(digest).map(|live| &live.offer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (B256, &Signed<Offer>)> {
        self.live.iter().map(|(digest, live)| (*digest, &live.offer))
    }

    /// Price of one unit and digest of every live offer, cheapest first.
    pub(super) fn by_price(&self) -> impl Iterator<Item = (u64, B256)> {
        self.by_price.iter().copied()
    }

    pub(super) fn cancels(&self) -> impl Iterator<Item = &Signed<Offer>> {
        self.heads.values().filter_map(|head| head.cancel.as_ref())
    }

    /// How many series of a provider are remembered.
    pub(super) fn series_of(&self, provider: Address) -> usize {
        self.heads.range((provider, 0)..=(provider, u64::MAX)).count()
    }

    /// How many series are remembered.
    pub(super) fn series_count(&self) -> usize {
        self.heads.len()
    }

    fn debug_check(&self) {
        debug_assert_eq!(self.live.len(), self.by_price.len(), "every live offer has one price entry");
        debug_assert_eq!(
            self.live.len() + self.tombstones.len(),
            self.heads.len(),
            "every head is live or a tombstone"
        );
    }
}
