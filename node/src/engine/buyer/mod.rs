//! The buyer engine: carries every bid from the first ask to the end of its lease.
//!
//! Level-triggered, as the provider's: each pass compares purchases (store) with leases (chain, by way of the
//! store) and starts the next step of each.

mod decide;
mod seek;

use std::{sync::Arc, time::Duration};

use alloy_primitives::B256;
use sublet_market::{
    AccessState, Bid, Explanation, Manifest, Resources, Spec, TradeRequest, TradeResponse, Traits,
    amount::format_amount,
};
use tokio_util::sync::CancellationToken;

use self::decide::{Sight, Step, decide};
use super::{Core, EngineError, PASS_INTERVAL, jobs::Jobs, mirror, random};
use crate::{
    chain::{Call, ChainError, TxReport},
    store::{BuyerPhase, ChainLease, Purchase},
};

/// Steps get this long to end at shutdown.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// The buyer engine.
pub struct Buyer {
    core: Arc<Core>,
    jobs: Arc<Jobs>,
    floor: u128,
}

/// What a buyer asks for.
#[derive(Debug, Clone)]
pub struct NewBid {
    /// What one unit must have at least.
    pub unit: Resources,
    /// How many units.
    pub units: u32,
    /// Traits that the offer must have.
    pub traits: Vec<String>,
    /// Top rate for all units, base units of the token a second.
    pub max_rate: u64,
    /// Seconds of the rate that the provider must lock.
    pub min_bond_seconds: u32,
    /// Reputation that the provider must have.
    pub min_points: u64,
    /// Seconds to pay in advance.
    pub duration: u32,
    /// Seconds that the bid stands (at most 600).
    pub valid_for: u32,
    /// Image to boot.
    pub image: String,
    /// OpenSSH public keys that may log in.
    pub ssh_authorized_keys: Vec<String>,
}

impl Buyer {
    /// An engine; nothing happens before [`Buyer::run`].
    pub fn new(core: Arc<Core>, floor: u128, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { core, jobs: Jobs::new(stop), floor })
    }

    /// Passes until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            if let Err(error) = self.pass() {
                tracing::warn!(%error, "a pass of the buyer engine failed; the next one tries again");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.core.wake.buyer.notified() => {}
                () = self.jobs.finished() => {}
                () = tokio::time::sleep(PASS_INTERVAL) => {}
            }
        }
        self.jobs.drain(DRAIN_LIMIT).await;
    }

    fn pass(self: &Arc<Self>) -> Result<(), EngineError> {
        for purchase in self.core.store.all::<Purchase>()? {
            if matches!(purchase.phase, BuyerPhase::Done | BuyerPhase::Expired | BuyerPhase::Cancelled) {
                continue;
            }
            let lease = self.core.store.get::<ChainLease>(purchase.id.as_slice())?;
            let step = decide(&Sight {
                purchase: &purchase,
                lease: lease.as_ref().map(|lease| &lease.view),
                now: self.core.now(),
                watched_until: self.core.watched_until(),
            });
            if step != Step::Wait {
                self.start(step, purchase.id);
            }
        }
        Ok(())
    }

    fn start(self: &Arc<Self>, step: Step, id: B256) {
        let engine = Arc::clone(self);
        self.jobs.start(id, async move {
            match engine.perform(step, id).await {
                Ok(settled) => settled,
                Err(error) => {
                    tracing::warn!(bid = %id, ?step, %error, "a step failed");
                    let noted = engine.update(id, |p| p.trouble = Some(error.to_string()));
                    if let Err(error) = noted {
                        tracing::error!(bid = %id, %error, "the store failed");
                    }
                    false
                }
            }
        });
    }

    /// Carries a step out. `false` asks for a pause before the next one.
    async fn perform(&self, step: Step, id: B256) -> Result<bool, EngineError> {
        match step {
            Step::Wait => {}
            Step::Seek => {
                self.seek(id).await?;
                return Ok(self.purchase_of(id)?.phase != BuyerPhase::Seeking);
            }
            Step::Expire => self.update(id, |p| p.phase = BuyerPhase::Expired)?,
            Step::SeekAgain => self.update(id, |p| p.phase = BuyerPhase::Seeking)?,
            Step::Settle => self.settle(id).await?,
            Step::NoteLeased => self.update(id, |p| p.phase = BuyerPhase::Leased)?,
            Step::FetchAccess => return self.fetch_access(id).await,
            Step::Abort => {
                self.core.chain.execute(Call::Abort { id }).await?;
                mirror::refresh_lease(&self.core, id).await?;
            }
            Step::Conclude => self.update(id, |p| {
                p.phase = BuyerPhase::Done;
                p.access = None;
            })?,
        }
        Ok(true)
    }

    async fn settle(&self, id: B256) -> Result<(), EngineError> {
        let purchase = self.purchase_of(id)?;
        let Some(accept) = purchase.accept else {
            return self.update(id, |p| p.phase = BuyerPhase::Seeking);
        };
        // A crash after sending leaves the phase at Accepted: the lease id tells whether it was carried out.
        if self.core.chain.lease(id).await?.state != crate::chain::LeaseState::None {
            return self.update(id, |p| p.phase = BuyerPhase::Settled);
        }
        let call = Call::Settle { bid: purchase.bid, accept: accept.clone() };
        match self.core.chain.execute(call).await {
            Ok(report) => {
                tracing::info!(lease = %id, tx = %report.hash, gas = report.gas_used, "settled");
                self.update(id, |p| {
                    p.phase = BuyerPhase::Settled;
                    p.settle_tx = Some(report.hash);
                    p.trouble = None;
                })
            }
            Err(ChainError::Reverted { name, text, .. }) => {
                tracing::warn!(bid = %id, name, text, "the settlement was refused; looking for another provider");
                self.update(id, |p| {
                    p.declines.push(crate::store::Decline {
                        node: accept.order.node,
                        provider: accept.order.provider,
                        offer: accept.order.offer,
                        rate: accept.order.rate,
                        code: "settle_refused".into(),
                        detail: format!("{text} ({name})"),
                    });
                    p.accept = None;
                    p.offer = None;
                    p.phase = BuyerPhase::Seeking;
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn fetch_access(&self, id: B256) -> Result<bool, EngineError> {
        let purchase = self.purchase_of(id)?;
        let Some(node) = purchase.accept.map(|accept| accept.order.node) else { return Ok(false) };
        let answer = self.core.p2p.request(node, Vec::new(), TradeRequest::Access { lease: id }).await;
        match answer {
            Ok(TradeResponse::Access(AccessState::Ready(access))) => {
                self.update(id, |p| {
                    p.access = Some(access);
                    p.trouble = None;
                })?;
                Ok(true)
            }
            Ok(TradeResponse::Access(AccessState::Pending { state })) => {
                self.update(id, |p| p.trouble = Some(format!("the provider says: {state}")))?;
                Ok(false)
            }
            Ok(TradeResponse::Access(AccessState::Gone { reason })) => {
                self.update(id, |p| {
                    p.trouble = Some(format!("the provider says that the lease is over: {reason}"))
                })?;
                Ok(false)
            }
            Ok(TradeResponse::Declined(no)) => {
                self.update(id, |p| {
                    p.trouble = Some(format!("the provider gives no access: {}", no.detail))
                })?;
                Ok(false)
            }
            Ok(TradeResponse::Accept(_)) | Err(_) => Ok(false),
        }
    }

    /// Signs a bid, keeps it, gossips it and starts asking. Refuses at once what cannot be paid for.
    pub async fn post_bid(&self, new: NewBid) -> Result<(Purchase, Explanation), EngineError> {
        let invalid = |e: &dyn std::fmt::Display| EngineError::Invalid(e.to_string());
        let manifest = Manifest {
            salt: random::<32>()?.into(),
            image: new.image,
            ssh_authorized_keys: new.ssh_authorized_keys,
        };
        manifest.check().map_err(|e| invalid(&e))?;
        let traits = Traits::new(new.traits).map_err(|e| invalid(&e))?;
        let manifest_hash = manifest.hash().map_err(|e| invalid(&e))?;
        let spec = Spec { unit: new.unit, units: new.units, traits, manifest: manifest_hash };
        let account = self.core.refresh_maker(self.core.address()).await?;
        let salt = random::<8>()?;
        let bid = Bid {
            buyer: self.core.address(),
            settler: self.core.address(),
            spec: spec.hash_struct(),
            node: self.core.node,
            max_rate: new.max_rate,
            min_bond_seconds: new.min_bond_seconds,
            min_points: new.min_points,
            duration: new.duration,
            valid_until: self.core.now() + u64::from(new.valid_for),
            epoch: account.epoch,
            salt: u64::from_be_bytes(salt),
        };
        sublet_market::Order::check(&bid).map_err(|e| invalid(&e))?;
        spec.check().map_err(|e| invalid(&e))?;
        self.check_funds(&bid, account.free).await?;
        let id = seek::id_of(&bid, &self.core.chain.domain());
        let explanation = self.core.book().explain(&bid, &spec, self.core.now());
        let purchase = Purchase {
            id,
            bid: self.core.sign(bid),
            spec,
            manifest,
            offer: None,
            accept: None,
            settle_tx: None,
            phase: BuyerPhase::Seeking,
            declines: Vec::new(),
            access: None,
            trouble: None,
        };
        self.gossip(&purchase).await?;
        self.core.store.put(&purchase)?;
        self.core.wake.buyer.notify_one();
        Ok((purchase, explanation))
    }

    /// The bid's budget must be free in the Market now: later is too late for the provider that holds capacity.
    async fn check_funds(&self, bid: &Bid, free: u128) -> Result<(), EngineError> {
        let needed = bid.budget().max(self.floor);
        // Other bids that are still looking, or accepted, may lock their budgets first.
        let promised: u128 = self
            .core
            .store
            .all::<Purchase>()?
            .iter()
            .filter(|p| matches!(p.phase, BuyerPhase::Seeking | BuyerPhase::Accepted))
            .filter(|p| p.bid.order.valid_until > self.core.now())
            .map(|p| p.bid.order.budget())
            .sum();
        if free >= needed.saturating_add(promised) {
            return Ok(());
        }
        let wallet = self.core.chain.balances(self.core.address()).await?.wallet;
        let missing = needed.saturating_add(promised) - free;
        let others = if promised == 0 {
            String::new()
        } else {
            format!(" beside {} for other bids of yours", format_amount(promised))
        };
        let remedy = if wallet >= missing {
            format!("run `sublet wallet deposit {}`", format_amount(missing))
        } else {
            format!(
                "get {} more into the wallet {}, then run `sublet wallet deposit {}`",
                format_amount(missing - wallet),
                self.core.address(),
                format_amount(missing)
            )
        };
        Err(EngineError::Funds(format!(
            "this bid needs {} free in the Market{others} (top rate × duration); there is {} free in the Market \
             and {} in the wallet: {remedy}",
            format_amount(needed),
            format_amount(free),
            format_amount(wallet)
        )))
    }

    /// Stops looking for a provider. A lease that came of the bid already must be closed instead.
    pub fn cancel_bid(&self, id: B256) -> Result<(), EngineError> {
        let purchase = self.purchase_of(id)?;
        if purchase.phase != BuyerPhase::Seeking {
            return Err(EngineError::Invalid(format!(
                "this bid is not looking for a provider any more: see `sublet lease show {id}`, and end a lease \
                 with `sublet lease close {id}`"
            )));
        }
        self.update(id, |p| p.phase = BuyerPhase::Cancelled)?;
        self.core.book().remove_bid(id);
        Ok(())
    }

    /// Ends a lease that this node buys: `close` pays to now + NOTICE, `reject` burns the last HOLD.
    pub async fn end(&self, id: B256, reject: bool) -> Result<TxReport, EngineError> {
        self.purchase_of(id)?;
        let call = if reject { Call::Reject { id } } else { Call::Close { id } };
        let report = self.core.chain.execute(call).await?;
        mirror::refresh_lease(&self.core, id).await?;
        self.core.wake.buyer.notify_one();
        Ok(report)
    }

    fn purchase_of(&self, id: B256) -> Result<Purchase, EngineError> {
        let purchase = self.core.store.get::<Purchase>(id.as_slice())?;
        purchase.ok_or_else(|| EngineError::NotFound(format!("no bid of ours has the id {id}")))
    }

    fn update(&self, id: B256, change: impl FnOnce(&mut Purchase)) -> Result<(), EngineError> {
        let changed = self.core.store.update(id.as_slice(), change)?;
        changed
            .map(|_: Purchase| ())
            .ok_or_else(|| EngineError::NotFound(format!("no bid of ours has the id {id}")))
    }
}
