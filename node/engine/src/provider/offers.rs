//! The provider's side of the book: keeps one live, signed offer in gossip for each template.
//!
//! An offer is signed again (next `seq`) when the units left change and when half of its life is over. What
//! no peer has received yet is published again as it is; who joins later fetches it by comparing books. Older
//! versions stay valid for asks until they expire, so a renewal never turns a buyer away.

use std::{collections::HashMap, sync::PoisonError, time::UNIX_EPOCH};

use alloy_primitives::B256;
use sublet_base::{failpoint, wall};
use sublet_market::{Offer, OfferTerms, OfferVersion, Order as _, OrderMessage, Resources, Signed};
use sublet_p2p::PublishError;
use sublet_store::{OfferTemplate, Row as _};

use super::{
    Provider,
    commitments::{self, Commitments},
};
use crate::{EngineError, admit};

/// Versions of one offer that can be asked for; the oldest go first.
const MOST_VERSIONS: usize = 64;

/// An offer that was signed and has not expired.
#[derive(Debug, Clone)]
pub struct LiveOffer {
    /// Its digest.
    pub digest: B256,
    /// The offer.
    pub signed: Signed<Offer>,
    /// Our own book counts it.
    counted: bool,
    /// Heard by at least one peer.
    published: bool,
}

/// What has been signed, by series, oldest first.
#[derive(Default)]
pub(super) struct Announced {
    by_series: HashMap<u64, Vec<LiveOffer>>,
}

impl Provider {
    pub(super) fn offer_by_digest(&self, digest: &B256) -> Option<LiveOffer> {
        let now = self.core.now();
        let announced = self.announced();
        let found = announced.by_series.values().flatten().find(|live| live.digest == *digest)?;
        (found.signed.order.valid_until > now && found.signed.order.units > 0).then(|| found.clone())
    }

    /// The newest version of each offer that has something to sell and that our own book counts, the cheapest first.
    pub(super) fn sellable_offers(&self) -> Vec<LiveOffer> {
        let now = self.core.now();
        let counts = |live: &&LiveOffer| {
            live.counted && live.signed.order.units > 0 && live.signed.order.valid_until > now
        };
        let announced = self.announced();
        let newest = announced.by_series.values().filter_map(|versions| versions.last());
        let mut offers: Vec<LiveOffer> = newest.filter(counts).cloned().collect();
        offers.sort_by_key(|live| live.signed.order.price_per_second);
        offers
    }

    /// One pass over the templates. A template that is cancelled gets one last version with no units.
    pub(super) async fn announce(&self) -> Result<(), EngineError> {
        let capacity = self.adapter.capacity().await?;
        let commitments = Commitments::read(&self.core.store)?;
        let free = commitments::free(capacity, &commitments, &self.unexplained());
        let now = self.core.now();
        for template in self.core.store.all::<OfferTemplate>()? {
            let series = template.series;
            if template.cancelled && now > template.live_until {
                self.core.store.remove::<OfferTemplate>(&template.key())?;
                self.announced().by_series.remove(&series);
                continue;
            }
            let units = if template.cancelled { 0 } else { self.sellable(&template, &commitments, &free)? };
            if self.is_due(&template, units) {
                self.renew(template, units).await?;
            }
            self.publish_newest(series).await;
        }
        self.forget_expired();
        Ok(())
    }

    fn is_due(&self, template: &OfferTemplate, units: u32) -> bool {
        let announced = self.announced();
        let Some(newest) = announced.by_series.get(&template.series).and_then(|v| v.last()) else {
            // After a restart peers may still hold a version with units: say what is left, if anything may be live.
            return units > 0 || self.core.now() <= template.live_until;
        };
        let offer = &newest.signed.order;
        if units == 0 {
            return offer.units != 0;
        }
        let half = self.config.offer_lifetime.as_secs() / 2;
        let old = self.core.now().saturating_add(half) >= offer.valid_until;
        offer.units != units || old
    }

    async fn renew(&self, mut template: OfferTemplate, units: u32) -> Result<(), EngineError> {
        // Milliseconds of the clock keep the numbers rising even if the store is lost; +1 if it stands still.
        let clock = wall::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        template.seq = u64::try_from(clock).unwrap_or(u64::MAX).max(template.seq.saturating_add(1));
        let valid_until = self.core.now().saturating_add(self.config.offer_lifetime.as_secs());
        if units > 0 {
            template.live_until = template.live_until.max(valid_until);
        }
        // On disk before it is signed: a sequence number is never used for two different offers.
        self.core.store.put(&template)?;
        failpoint::reach(&["provider.offer.numbered"]);
        let signed = self.core.account.sign(self.offer_of(&template, units, valid_until)).await?;
        let digest = signed.order.digest(&self.core.chain.domain());
        let mut announced = self.announced();
        let versions = announced.by_series.entry(template.series).or_default();
        if versions.len() >= MOST_VERSIONS {
            versions.remove(0);
        }
        versions.push(LiveOffer { digest, signed, counted: false, published: false });
        Ok(())
    }

    /// The offer that a template makes.
    pub(super) fn offer_of(&self, template: &OfferTemplate, units: u32, valid_until: u64) -> Offer {
        let terms = OfferTerms { units, ..template.terms.clone() };
        terms.offer(OfferVersion {
            provider: self.core.account.maker(),
            node: self.core.node,
            series: template.series,
            seq: template.seq,
            valid_until,
        })
    }

    /// Puts the newest version into our own book and tells the peers, until both have worked once.
    async fn publish_newest(&self, series: u64) {
        let newest = self.announced().by_series.get(&series).and_then(|versions| versions.last().cloned());
        let Some(mut live) = newest.filter(|live| !live.counted || !live.published) else { return };
        let message = OrderMessage::Offer(live.signed.clone());
        if !live.counted {
            let admitted = admit::admit(&self.core, message.clone(), self.core.account.key()).await;
            self.note_refused(series, admitted.as_ref().err().map(ToString::to_string));
            // What our own book does not count, others would drop or hold against us.
            if admitted.is_err() {
                return;
            }
            live.counted = true;
        }
        live.published = match self.core.p2p.publish(message).await {
            Ok(()) | Err(PublishError::AlreadyPublished { .. }) => true,
            Err(PublishError::NoPeers) => false,
            Err(error) => {
                tracing::warn!(%error, series, "cannot publish an offer");
                false
            }
        };
        failpoint::reach(&["provider.offer.published"]);
        if let Some(versions) = self.announced().by_series.get_mut(&series)
            && let Some(stored) = versions.iter_mut().find(|stored| stored.digest == live.digest)
        {
            *stored = live;
        }
    }

    /// Units of this template that nothing holds and that the adapter has room for.
    fn sellable(
        &self,
        template: &OfferTemplate,
        commitments: &Commitments,
        free: &Resources,
    ) -> Result<u32, EngineError> {
        Ok(self.units_left(template.series, commitments)?.min(free.units_of(&template.terms.unit)))
    }

    /// Units of a series that no promise holds.
    pub(super) fn units_left(&self, series: u64, commitments: &Commitments) -> Result<u32, EngineError> {
        let template = self.core.store.get::<OfferTemplate>(&series.to_be_bytes())?;
        let units =
            template.filter(|template| !template.cancelled).map_or(0, |template| template.terms.units);
        Ok(units.saturating_sub(commitments.units_held(series)))
    }

    /// What the adapter has in all, and what promises and machines that no promise explains hold of it.
    pub async fn capacity(&self) -> Result<(Resources, Resources), EngineError> {
        let held = Commitments::read(&self.core.store)?.held().unwrap_or_default();
        let held = held.checked_add(&self.unexplained()).unwrap_or(held);
        Ok((self.adapter.capacity().await?, held))
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

    /// Says once, not at each try, that our own book does not count our offer.
    fn note_refused(&self, series: u64, reason: Option<String>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => {
                if refused.get(&series) != Some(&reason) {
                    tracing::warn!(series, reason, "our offer does not count yet");
                    refused.insert(series, reason);
                }
            }
            None => {
                if refused.remove(&series).is_some() {
                    tracing::info!(series, "our offer counts now");
                }
            }
        }
    }

    /// Why our own book ignores our offers, by series.
    pub fn refusals(&self) -> HashMap<u64, String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
