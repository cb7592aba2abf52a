//! The provider's side of the book: keeps one live, signed offer in gossip for each template.
//!
//! An offer is signed anew (next `seq`) when the units left change, when half of its life is over, and when a
//! peer joins that cannot have seen it. Older versions stay valid for asks until they expire, so a renewal
//! never turns a buyer away.

use std::{
    collections::HashMap,
    sync::PoisonError,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use alloy_primitives::B256;
use sublet_market::{Offer, Order as _, OrderMessage, Resources, Signed};

use super::Provider;
use crate::{
    engine::{EngineError, intake},
    p2p::PublishError,
    store::{OfferTemplate, Promise},
};

/// A joining peer makes us announce again, at most this often.
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(1);

/// An offer that was signed and has not expired.
#[derive(Debug, Clone)]
pub struct LiveOffer {
    /// Its digest.
    pub digest: B256,
    /// The offer.
    pub signed: Signed<Offer>,
    /// Heard by at least one peer.
    pub published: bool,
}

/// What has been signed, by series, oldest first.
#[derive(Default)]
pub(super) struct Announced {
    by_series: HashMap<u64, Vec<LiveOffer>>,
    again: bool,
    last: Option<Instant>,
}

impl Provider {
    /// Makes the next pass sign and publish all offers anew.
    pub fn announce_again(&self) {
        self.announced().again = true;
    }

    /// The newest live offer of each series.
    pub fn live_offers(&self) -> Vec<LiveOffer> {
        self.announced().by_series.values().filter_map(|versions| versions.last().cloned()).collect()
    }

    pub(super) fn offer_by_digest(&self, digest: &B256) -> Option<LiveOffer> {
        let now = self.core.now();
        let announced = self.announced();
        let found = announced.by_series.values().flatten().find(|live| live.digest == *digest)?;
        (found.signed.order.valid_until > now && found.signed.order.units > 0).then(|| found.clone())
    }

    /// One pass over the templates. A template that is cancelled gets one last version with no units.
    pub(super) async fn announce(&self) -> Result<(), EngineError> {
        let again = {
            let mut announced = self.announced();
            let due = announced.again && announced.last.is_none_or(|at| at.elapsed() >= ANNOUNCE_PAUSE);
            if due {
                announced.again = false;
                announced.last = Some(Instant::now());
            }
            due
        };
        let free = self.free_capacity().await?;
        for template in self.core.store.all::<OfferTemplate>()? {
            let units = if template.cancelled { 0 } else { self.sellable(&template, &free)? };
            if again || self.is_due(&template, units) {
                self.renew(template, units).await?;
            }
        }
        self.forget_expired();
        Ok(())
    }

    fn is_due(&self, template: &OfferTemplate, units: u32) -> bool {
        let announced = self.announced();
        let Some(newest) = announced.by_series.get(&template.series).and_then(|v| v.last()) else {
            // Nothing is live: a template without units has nothing to announce.
            return units > 0;
        };
        let offer = &newest.signed.order;
        let half = self.offer_lifetime.as_secs() / 2;
        let old = units > 0 && self.core.now().saturating_add(half) >= offer.valid_until;
        offer.units != units || old || (!newest.published && units > 0)
    }

    async fn renew(&self, mut template: OfferTemplate, units: u32) -> Result<(), EngineError> {
        // Milliseconds of the clock keep the numbers rising even if the store is lost; +1 if it stands still.
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        template.seq = u64::try_from(clock).unwrap_or(u64::MAX).max(template.seq.saturating_add(1));
        // On disk before it is signed: a sequence number is never used for two different offers.
        self.core.store.put(&template)?;
        let offer = Offer {
            provider: self.core.address(),
            node: self.core.node,
            unit: template.unit,
            units,
            price_per_second: template.price_per_second,
            bond_seconds: template.bond_seconds,
            min_duration: template.min_duration,
            max_duration: template.max_duration,
            activate_within: template.activate_within,
            burn: template.burn,
            traits: template.traits.clone(),
            series: template.series,
            seq: template.seq,
            valid_until: self.core.now().saturating_add(self.offer_lifetime.as_secs()),
        };
        let signed = self.core.sign(offer);
        let digest = signed.order.digest(&self.core.chain.domain());
        let message = OrderMessage::Offer(signed.clone());
        if let Err(reason) = intake::admit(&self.core, message.clone(), self.core.address()).await {
            self.note_refused(template.series, Some(reason));
        } else {
            self.note_refused(template.series, None);
        }
        let published = match self.core.p2p.publish(message).await {
            Ok(()) => true,
            Err(PublishError::NoPeers) => false,
            Err(error) => {
                tracing::warn!(%error, series = template.series, "an offer could not be published");
                false
            }
        };
        let live = LiveOffer { digest, signed, published };
        self.announced().by_series.entry(template.series).or_default().push(live);
        Ok(())
    }

    /// Units of this template that nothing holds and that the adapter has room for.
    fn sellable(&self, template: &OfferTemplate, free: &Resources) -> Result<u32, EngineError> {
        let left = self.units_left(template.series)?;
        let fits = |units: &u32| template.unit.checked_mul(*units).is_some_and(|need| free.covers(&need));
        Ok((1..=left.min(template.units)).rev().find(fits).unwrap_or(0))
    }

    /// Units of a series that no promise holds.
    pub(super) fn units_left(&self, series: u64) -> Result<u32, EngineError> {
        let Some(template) = self.core.store.get::<OfferTemplate>(&series.to_be_bytes())? else {
            return Ok(0);
        };
        if template.cancelled {
            return Ok(0);
        }
        let promises = self.core.store.all::<Promise>()?;
        let held: u32 =
            promises.iter().filter(|p| p.series == series && p.holds_capacity()).map(|p| p.spec.units).sum();
        Ok(template.units.saturating_sub(held))
    }

    /// What the adapter has and no promise holds.
    pub(super) async fn free_capacity(&self) -> Result<Resources, EngineError> {
        let mut free = self.adapter.capacity().await?;
        for promise in self.core.store.all::<Promise>()?.iter().filter(|p| p.holds_capacity()) {
            free = free.checked_sub(&promise.resources()).unwrap_or_default();
        }
        Ok(free)
    }

    fn forget_expired(&self) {
        let now = self.core.now();
        let mut announced = self.announced();
        for versions in announced.by_series.values_mut() {
            let newest = versions.last().map(|live| live.digest);
            versions.retain(|live| live.signed.order.valid_until > now || Some(live.digest) == newest);
        }
    }

    fn announced(&self) -> std::sync::MutexGuard<'_, Announced> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says once, not at each renewal, that our own book does not count our offer.
    fn note_refused(&self, series: u64, reason: Option<&'static str>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match reason {
            Some(reason) => refused.insert(series, reason),
            None => refused.remove(&series),
        };
        match (reason, before) {
            (Some(reason), before) if before != Some(reason) => {
                tracing::warn!(series, reason, "our offer does not count yet; peers will ignore it too");
            }
            (None, Some(_)) => tracing::info!(series, "our offer counts now"),
            _ => {}
        }
    }

    /// Why our own book ignores our offers, by series.
    pub fn refusals(&self) -> HashMap<u64, &'static str> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
