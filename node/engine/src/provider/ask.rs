//! A buyer asks: is the capacity there, for this bid, now? The answer is a signed accept that is on disk
//! before it is sent, or a reason code.

use alloy_primitives::{Address, B256};
use sublet_adapter::AdapterError;
use sublet_base::failpoint;
use sublet_base::phase::ProviderPhase;
use sublet_market::LeaseState;
use sublet_market::{
    Accept, AccessState, Bid, Decline, DeclineCode, Maker, Manifest, MatchContext, Order as _, Resources,
    Signed, Spec, check_accept, first_miss,
};
use sublet_store::{ChainLease, Promise};

use super::{
    Provider,
    commitments::{self, Commitments, Want},
    offers::LiveOffer,
};
use crate::reservations::{LockedTrades, Reservations};

/// Gas that a provider's side of a lease may take: activate, a claim, the end, and some to spare. Who has accepted and
/// cannot pay it loses the bond.
const GAS_OF_A_LEASE: u64 = 200_000;

/// A request that passed every check which needs no money and no capacity.
struct Request {
    id: B256,
    bid: Signed<Bid>,
    spec: Spec,
    manifest: Manifest,
    offer: LiveOffer,
    offer_digest: B256,
    signer: Address,
}

impl Provider {
    /// Answers an ask of the peer whose key is `node`.
    pub async fn ask(
        &self,
        node: B256,
        bid: Signed<Bid>,
        spec: Spec,
        offer: B256,
        manifest: &[u8],
    ) -> Result<Signed<Accept>, Decline> {
        if let Some(given) = self.given_already(node, &bid, offer)? {
            return Ok(given);
        }
        // What costs nothing to check comes first, the chain's word second, the turn for the capacity last.
        let request = self.check_request(node, bid, spec, offer, manifest)?;
        let archived = self.core.turns.archived_count();
        let mut locked = self.reserved()?.locked();
        let (buyer, ours) = Box::pin(self.check_chain(&request)).await?;
        locked.see_all(&self.core.chain).await.map_err(|e| busy(&e))?;
        let _turn = self.core.turns.next().await;
        if let Some(given) = self.given_before(&request).await? {
            return Ok(given);
        }
        let commitments = self.commitments()?;
        self.check_money(&request, &commitments, &locked, &buyer, &ours)?;
        if self.core.turns.archived_count() != archived {
            return Err(decline(
                DeclineCode::Busy,
                "the provider's balance has changed meanwhile: ask again",
            ));
        }
        self.check_capacity(&request, &commitments).await?;
        let accept = self.accept_for(&request).await?;
        self.promise(request, accept)
    }

    /// The answer to a question that was answered before: it may have been lost, and this node restarted
    /// since, so that it knows the offer no more and sells what it holds for this buyer to nobody.
    fn given_already(
        &self,
        node: B256,
        bid: &Signed<Bid>,
        offer: B256,
    ) -> Result<Option<Signed<Accept>>, Decline> {
        let id = bid.order.digest(&self.core.chain.domain());
        let promise = self.core.store.get::<Promise>(id.as_slice()).map_err(|e| busy(&e))?;
        Ok(promise
            .filter(|p| p.bid.order.node == node && p.phase == ProviderPhase::Held)
            .map(|p| p.accept)
            .filter(|accept| accept.order.offer == offer && accept.order.settle_by > self.core.now()))
    }

    /// Where the machine of `lease` is, for the peer that the bid names and nobody else.
    pub async fn access(&self, node: B256, lease: B256) -> Result<AccessState, Decline> {
        let promise = self.core.store.find::<Promise>(lease.as_slice()).map_err(|e| busy(&e))?;
        let Some(promise) = promise else { return self.access_to_found(node, lease).await };
        if promise.bid.order.node != node {
            return Err(not_yours());
        }
        let gone = |reason: &str| AccessState::Gone { reason: reason.to_owned() };
        Ok(match promise.phase {
            ProviderPhase::Held => pending("waiting for the settlement on chain"),
            ProviderPhase::Lapsed => gone("not settled in time"),
            ProviderPhase::Done => gone(&self.end_of(lease)),
            ProviderPhase::Leased => match (&promise.access, &promise.trouble) {
                (Some(access), _) => AccessState::Ready(access.clone()),
                (None, Some(trouble)) => pending(trouble),
                (None, None) => pending("the machine is starting"),
            },
        })
    }

    pub(super) fn end_of(&self, lease: B256) -> String {
        let record = self.core.store.find::<ChainLease>(lease.as_slice()).ok().flatten();
        record.and_then(|lease| lease.end).map_or("ended", |end| end.reason.as_str()).to_owned()
    }

    fn check_request(
        &self,
        node: B256,
        bid: Signed<Bid>,
        spec: Spec,
        offer: B256,
        manifest: &[u8],
    ) -> Result<Request, Decline> {
        if bid.order.node != node {
            return Err(decline(DeclineCode::NotYours, "the bid names another node than the one that asks"));
        }
        let live = self.offer_by_digest(&offer).ok_or_else(|| {
            decline(DeclineCode::UnknownOffer, "this offer is no longer live: use its newest version")
        })?;
        let malformed = |e: &dyn std::fmt::Display| decline(DeclineCode::Malformed, &e.to_string());
        bid.order.check().map_err(|e| malformed(&e))?;
        spec.check().map_err(|e| malformed(&e))?;
        if spec.hash_struct() != bid.order.spec {
            return Err(malformed(&"the spec is not the one that the bid was signed for"));
        }
        let manifest = Manifest::from_canonical_bytes(manifest)
            .map_err(|e| decline(DeclineCode::Manifest, &e.to_string()))?;
        if manifest.hash().ok() != Some(spec.manifest) {
            return Err(decline(DeclineCode::Manifest, "the manifest is not the one that the spec names"));
        }
        let domain = self.core.chain.domain();
        let signer = bid.signer(&domain).map_err(|e| malformed(&e))?;
        let id = bid.order.digest(&domain);
        Ok(Request { id, bid, spec, manifest, offer: live, offer_digest: offer, signer })
    }

    /// What the chain says of both sides, read anew. A buyer that was poor a moment ago is not worth a question.
    async fn check_chain(&self, request: &Request) -> Result<(Maker, Maker), Decline> {
        let bid = &request.bid.order;
        let core = &self.core;
        if !core.chain.signs_for(bid.buyer, request.signer).await.map_err(|e| busy(&e))? {
            return Err(decline(
                DeclineCode::Malformed,
                "the bid is not signed by its buyer or an operator of it",
            ));
        }
        let (buyer, ours, lease, balances, price) = tokio::try_join!(
            core.refresh_maker(bid.buyer),
            core.refresh_maker(core.account.maker()),
            core.chain.lease(request.id),
            core.chain.balances(core.account.key()),
            core.chain.price_of(GAS_OF_A_LEASE),
        )
        .map_err(|e| busy(&e))?;
        if lease.state != LeaseState::None {
            return Err(decline(DeclineCode::Malformed, "this bid was settled or cancelled on chain"));
        }
        let open = core.store.all::<Promise>().map_err(|e| busy(&e))?.len() as u128;
        let need = price.saturating_mul(open + 1);
        if balances.eth < need {
            let have = balances.eth;
            tracing::warn!(
                have,
                need,
                open,
                "declining asks: the wallet lacks the gas money for one more lease (wei)"
            );
            return Err(decline(DeclineCode::ProviderFunds, "the provider has no gas money"));
        }
        Ok((buyer, ours))
    }

    /// The same bid asked twice gets the same promise while it can still be settled, for the offer that is asked now:
    /// the first answer may have been lost, and the offer renewed meanwhile.
    async fn given_before(&self, request: &Request) -> Result<Option<Signed<Accept>>, Decline> {
        let Some(promise) = self.core.store.find::<Promise>(request.id.as_slice()).map_err(|e| busy(&e))?
        else {
            return Ok(None);
        };
        let given = promise.accept;
        let live = promise.phase == ProviderPhase::Held && given.order.settle_by > self.core.now();
        let same_terms = promise.series == request.offer.signed.order.series;
        if !live || !same_terms {
            return Err(decline(DeclineCode::Backoff, "this bid was accepted here before and not settled"));
        }
        if given.order.offer == request.offer_digest {
            return Ok(Some(given));
        }
        let accept = self.core.account.sign(Accept { offer: request.offer_digest, ..given.order }).await;
        let accept = accept.map_err(|e| busy(&e))?;
        let offer = request.offer.signed.clone();
        let renewed = accept.clone();
        let update = self.core.store.update::<Promise>(request.id.as_slice(), |promise| {
            promise.accept = renewed;
            promise.offer = offer;
        });
        update.map_err(|e| busy(&e))?;
        Ok(Some(accept))
    }

    fn commitments(&self) -> Result<Commitments, Decline> {
        Commitments::read(&self.core.store).map_err(|e| busy(&e))
    }

    fn reserved(&self) -> Result<Reservations, Decline> {
        Reservations::read(&self.core.store).map_err(|e| busy(&e))
    }

    fn check_money(
        &self,
        request: &Request,
        commitments: &Commitments,
        locked: &LockedTrades,
        buyer: &Maker,
        ours: &Maker,
    ) -> Result<(), Decline> {
        let bid = &request.bid.order;
        let now = self.core.now();
        let context = MatchContext { now, provider: ours, buyer, floor: self.config.floor };
        if let Some(rule) = first_miss(&request.offer.signed.order, bid, &request.spec, &context) {
            return Err(decline(DeclineCode::Rule(rule), &format!("the offer does not fit the bid: {rule}")));
        }
        if commitments.waits(bid.buyer, self.config.backoff.as_secs(), now) {
            return Err(decline(DeclineCode::Backoff, "a recent accept for this buyer was not settled"));
        }
        let bond = request.offer.signed.order.bond(request.spec.units);
        let want = Want { buyer: bid.buyer, budget: bid.budget(), bond };
        let our_left = ours.free.saturating_sub(self.reserved()?.total(locked));
        commitments.check_money(locked, &want, buyer.free, our_left)
    }

    async fn check_capacity(&self, request: &Request, commitments: &Commitments) -> Result<(), Decline> {
        // The machine gets the unit that is sold, which may be more than what was asked for.
        let sold = Spec { unit: request.offer.signed.order.unit, ..request.spec.clone() };
        let need =
            sold.total().ok_or_else(|| decline(DeclineCode::Malformed, "units × resources is too large"))?;
        let capacity = self.adapter.capacity().await.map_err(|e| busy(&e))?;
        let free = commitments::free(capacity, commitments, &self.unexplained());
        let series = request.offer.signed.order.series;
        let left = self.units_left(series, commitments).map_err(|e| busy(&e))?;
        if !free.covers(&need) || left < request.spec.units {
            return Err(decline(
                DeclineCode::Capacity,
                &describe_shortage(&free, &need, left, request.spec.units),
            ));
        }
        self.check_disk(request.bid.order.buyer, &request.manifest, &sold, commitments).await?;
        self.adapter.validate(&sold, &request.manifest).await.map_err(|e| adapter_decline(&e))
    }

    async fn accept_for(&self, request: &Request) -> Result<Signed<Accept>, Decline> {
        let offer = &request.offer.signed.order;
        let now = self.core.now();
        let list = offer.rate(request.spec.units).unwrap_or(u64::MAX);
        let settle_by = (now + self.config.settle_within.as_secs()).min(request.bid.order.valid_until);
        let accept = Accept {
            bid: request.id,
            offer: request.offer_digest,
            provider: offer.provider,
            node: offer.node,
            // No dearer than what this node has quoted for the bid.
            rate: self.quoted_rate(&request.id).map_or(list, |quoted| quoted.min(list)),
            bond_seconds: offer.bond_seconds,
            activate_within: offer.activate_within,
            max_duration: offer.max_duration,
            burn: offer.burn,
            settle_by,
        };
        let bid = &request.bid.order;
        check_accept(bid, &request.spec, offer, request.id, request.offer_digest, &accept, now)
            .map_err(|e| decline(DeclineCode::Malformed, &e.to_string()))?;
        self.core.account.sign(accept).await.map_err(|e| busy(&e))
    }

    /// On disk first, then the answer.
    fn promise(&self, request: Request, accept: Signed<Accept>) -> Result<Signed<Accept>, Decline> {
        let promise = Promise {
            id: request.id,
            series: request.offer.signed.order.series,
            offer: request.offer.signed,
            bid: request.bid,
            spec: request.spec,
            manifest: request.manifest,
            accept: accept.clone(),
            phase: ProviderPhase::Held,
            accepted_at: self.core.now(),
            instance: None,
            access: None,
            trouble: None,
            give_up: false,
            closing: false,
            console: Vec::new(),
        };
        failpoint::reach(&["provider.ask.signed"]);
        self.core.store.put(&promise).map_err(|e| busy(&e))?;
        failpoint::reach(&["provider.ask.promised"]);
        tracing::info!(lease = %promise.id, rate = accept.order.rate, "accepted a bid; the capacity is held");
        self.core.wake.provider.notify_one();
        Ok(accept)
    }
}

fn describe_shortage(free: &Resources, need: &Resources, left: u32, units: u32) -> String {
    format!(
        "needs {units} unit(s), {} vCPU, {} MiB, {} GiB disk; left are {left} unit(s), {} vCPU, {} MiB, {} GiB disk",
        need.vcpus, need.memory_mib, need.disk_gib, free.vcpus, free.memory_mib, free.disk_gib
    )
}

fn adapter_decline(error: &AdapterError) -> Decline {
    let code = if error.is_retryable() { DeclineCode::Busy } else { DeclineCode::Manifest };
    decline(code, &error.to_string())
}

pub(super) fn not_yours() -> Decline {
    decline(DeclineCode::NotYours, "you have no lease with this id here")
}

pub(super) fn pending(state: &str) -> AccessState {
    AccessState::Pending { state: state.to_owned() }
}

pub(super) fn busy(error: &dyn std::fmt::Display) -> Decline {
    tracing::warn!(%error, "cannot answer an ask");
    decline(DeclineCode::Busy, "the provider cannot answer now: try again")
}

pub(super) fn decline(code: DeclineCode, detail: &str) -> Decline {
    Decline::new(code, detail)
}
