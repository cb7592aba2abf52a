//! The buyer engine: carries every bid from the first ask to the end of its lease.
//!
//! Level-triggered, as the provider's: each pass compares purchases (store) with leases (chain, by way of the
//! store) and starts the next step of each.

mod access;
mod auction;
mod console;
mod decide;
mod end;
pub mod fund;
mod inspect;
mod post;
mod rebid;
mod revive;
mod seek;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy_primitives::B256;
use sublet_base::phase::BuyerPhase;
use sublet_base::{failpoint, home::Home};
use sublet_chain::{Call, ChainError};
use sublet_market::LeaseState;
use sublet_market::{Accept, check_settle};
use sublet_store::{ChainLease, Decline, DeclineReason, Purchase};
use tokio_util::sync::CancellationToken;

use self::decide::{Facts, Step, decide};
pub use self::post::NewBid;
use super::{
    Core, EngineError, PASS_INTERVAL,
    ending::UnderWay,
    follower,
    jobs::{JobEnd, Jobs},
};

/// Steps get this long to end at shutdown.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// What the owner of a buying node has decided.
#[derive(Debug, Clone)]
pub struct BuyerSettings {
    /// The least free balance that a maker's orders need to count, base units.
    pub floor: u128,
    /// How long a paid machine may be out of reach before its lease is ended.
    pub give_up_after: Duration,
    /// How long quotes for a new bid are collected before the best provider is asked; 0 to ask at once.
    pub collect_for: Duration,
}

/// The buyer engine.
pub struct Buyer {
    core: Arc<Core>,
    /// Where the key is that machines are logged in to with.
    home: Home,
    jobs: Arc<Jobs>,
    /// Looks at machines: apart, so that none is given up while a transaction keeps us from looking.
    looks: Arc<Jobs>,
    floor: u128,
    /// What is known of the machines, by lease.
    machines: Mutex<HashMap<B256, access::Machine>>,
    give_up_after: Duration,
    /// Leases whose end is being sent at their owner's request: the engine keeps out of it.
    ending: UnderWay,
    /// The quotes for bids that are looking, by bid.
    auctions: Mutex<HashMap<B256, auction::Auction>>,
    collect_for: Duration,
    /// The warnings that were given.
    told: Mutex<fund::Told>,
}

impl Buyer {
    /// An engine; nothing happens before [`Buyer::run`].
    pub fn new(core: Arc<Core>, home: Home, settings: &BuyerSettings, stop: CancellationToken) -> Arc<Self> {
        core.counters.expect_steps("buyer", Step::ALL.map(Step::as_str));
        Arc::new(Self {
            core,
            home,
            jobs: Jobs::new(stop.clone()),
            looks: Jobs::new(stop),
            floor: settings.floor,
            machines: Mutex::default(),
            give_up_after: settings.give_up_after,
            ending: UnderWay::default(),
            auctions: Mutex::default(),
            collect_for: settings.collect_for,
            told: Mutex::default(),
        })
    }

    /// Passes until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        if let Err(error) = self.close_left_open() {
            tracing::warn!(%error, "cannot archive the records of ended leases; the next start tries again");
        }
        loop {
            if let Err(error) = self.pass() {
                tracing::warn!(%error, "a pass of the buyer engine failed; the next one tries again");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.core.wake.buyer.notified() => {}
                () = self.jobs.finished() => {}
                () = self.looks.finished() => {}
                () = tokio::time::sleep(PASS_INTERVAL) => {}
            }
        }
        tokio::join!(self.jobs.drain(DRAIN_LIMIT), self.looks.drain(DRAIN_LIMIT));
    }

    fn pass(self: &Arc<Self>) -> Result<(), EngineError> {
        let mut open = Vec::new();
        for purchase in self.core.store.all::<Purchase>()? {
            let lease = self.core.store.get::<ChainLease>(purchase.id.as_slice())?;
            open.push((purchase, lease));
        }
        self.warn_of_ends(&open);
        for (purchase, lease) in &open {
            let access_due = self.access_due(purchase);
            let step = decide(&Facts {
                purchase,
                lease: lease.as_ref().map(|lease| &lease.view),
                now: self.core.now(),
                watched_until: self.core.seen.watched_until(),
                params: self.core.chain.params(),
                ended: lease.as_ref().is_some_and(|lease| lease.end.is_some()),
                access_due,
                lost: self.is_lost(purchase.id),
            });
            if step == Step::TopUp && access_due {
                self.start(Step::FetchAccess, purchase.id);
            }
            if step != Step::Wait && !(step == Step::End && self.ending.contains(&purchase.id)) {
                self.start(step, purchase.id);
            }
        }
        Ok(())
    }

    fn start(self: &Arc<Self>, step: Step, id: B256) {
        let engine = Arc::clone(self);
        let jobs = if step == Step::FetchAccess { &self.looks } else { &self.jobs };
        jobs.start(id, async move {
            let end = match engine.perform(step, id).await {
                Ok(end) => end,
                Err(error) => {
                    tracing::warn!(bid = %id, ?step, %error, "a step failed");
                    let noted = engine.update(id, |p| p.trouble = Some(error.to_string()));
                    if let Err(error) = noted {
                        tracing::error!(bid = %id, %error, "cannot record the problem");
                    }
                    JobEnd::Failed
                }
            };
            engine.core.counters.step("buyer", step.as_str(), end);
            end
        });
    }

    async fn perform(&self, step: Step, id: B256) -> Result<JobEnd, EngineError> {
        failpoint::reach(&["buyer", step.as_str(), "before"]);
        let end = self.take(step, id).await?;
        failpoint::reach(&["buyer", step.as_str(), "after"]);
        Ok(end)
    }

    async fn take(&self, step: Step, id: B256) -> Result<JobEnd, EngineError> {
        match step {
            Step::Wait => {}
            Step::Seek => return self.seek(id).await,
            Step::Expire => self.conclude(id, BuyerPhase::Expired)?,
            Step::SeekAgain => self.update(id, |p| {
                p.phase = BuyerPhase::Seeking;
                p.accept = None;
                p.offer = None;
            })?,
            Step::Settle => self.settle(id).await?,
            Step::NoteLeased => {
                self.close_auction(&id);
                self.update(id, |p| p.phase = BuyerPhase::Leased)?;
            }
            Step::FetchAccess => return self.fetch_access(id).await,
            Step::TopUp => self.top_up_by_itself(id).await?,
            Step::Abort => {
                self.core.account.execute(Call::Abort { id }).await?;
                follower::refresh_lease(&self.core, id).await?;
            }
            Step::End => self.end_again(id).await?,
            Step::Leave => self.leave(id)?,
            Step::Conclude => {
                self.rebid(id).await?;
                self.keep_console(id).await?;
                self.conclude(id, BuyerPhase::Done)?;
                failpoint::reach(&["buyer.conclude.half"]);
                self.core.store.archive::<ChainLease>(id.as_slice())?;
            }
        }
        Ok(JobEnd::Done)
    }

    /// Closes the files of leases that are over and whose purchase is closed, or lost: the node ended between the two.
    fn close_left_open(&self) -> Result<(), EngineError> {
        for lease in self.core.store.all::<ChainLease>()? {
            let key = lease.id.as_slice();
            let bought = lease.view.buyer == self.core.account.maker() && lease.end.is_some();
            if bought && self.core.store.get::<Purchase>(key)?.is_none() {
                self.core.store.archive::<ChainLease>(key)?;
            }
        }
        Ok(())
    }

    fn conclude(&self, id: B256, phase: BuyerPhase) -> Result<(), EngineError> {
        self.core.turns.note_archived();
        self.update(id, |p| {
            p.phase = phase;
            p.access = None;
        })?;
        self.machines().remove(&id);
        self.close_auction(&id);
        Ok(self.core.store.archive::<Purchase>(id.as_slice())?)
    }

    async fn settle(&self, id: B256) -> Result<(), EngineError> {
        let purchase = self.purchase_of(id)?;
        let Some(accept) = purchase.accept else {
            return self.update(id, |p| p.phase = BuyerPhase::Seeking);
        };
        // A crash after sending leaves the phase at Accepted: the lease id tells whether it was carried out.
        if self.core.chain.lease(id).await?.state != LeaseState::None {
            return self.update(id, |p| {
                p.phase = BuyerPhase::Settled;
                p.settled_at = self.core.now();
            });
        }
        let (buyer, provider) = tokio::try_join!(
            self.core.refresh_maker(purchase.bid.order.buyer),
            self.core.refresh_maker(accept.order.provider),
        )?;
        let orders = (&purchase.bid.order, &accept.order);
        if let Err(no) = check_settle(orders.0, id, orders.1, &buyer, &provider, self.core.now()) {
            return self.note_refused(id, &accept.order, no.name(), &no.to_string());
        }
        let call = Call::Settle { bid: purchase.bid, accept: accept.clone() };
        match self.core.account.execute(call).await {
            Ok(report) => {
                tracing::info!(lease = %id, tx = %report.hash, gas = report.gas_used, "settled");
                self.update(id, |p| {
                    p.phase = BuyerPhase::Settled;
                    p.settle_tx = Some(report.hash);
                    p.settled_at = self.core.now();
                    p.trouble = None;
                })
            }
            // It may be mined, or is already in a block to come: the watcher will tell, or the deadline.
            Err(error) if error.is_unclear() || error.revert_name() == Some("LeaseExists") => {
                self.update(id, |p| {
                    p.phase = BuyerPhase::Settled;
                    p.settled_at = self.core.now();
                    p.trouble = Some(error.to_string());
                })
            }
            Err(ChainError::Reverted { name, text, .. }) => {
                self.note_refused(id, &accept.order, &name, &text)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The contract does not take this accept: back to looking for another.
    fn note_refused(&self, id: B256, accept: &Accept, name: &str, text: &str) -> Result<(), EngineError> {
        tracing::warn!(bid = %id, name, text, "the settlement is refused; looking for another provider");
        self.update(id, |p| {
            p.declines.push(Decline {
                node: accept.node,
                provider: accept.provider,
                offer: accept.offer,
                rate: accept.rate,
                code: DeclineReason::SettleRefused,
                detail: format!("{text} ({name})"),
                at: self.core.now(),
                times: 1,
            });
            p.accept = None;
            p.offer = None;
            p.phase = BuyerPhase::Seeking;
        })
    }

    /// Stops looking for a provider. A lease that came of the bid already must be closed instead.
    pub fn cancel_bid(&self, id: B256) -> Result<(), EngineError> {
        let mut cancelled = false;
        self.update(id, |p| {
            // In one step with the look: an accept that arrives now is either before this or too late.
            if p.phase == BuyerPhase::Seeking {
                p.phase = BuyerPhase::Cancelled;
                cancelled = true;
            }
        })?;
        if !cancelled {
            return Err(EngineError::Invalid(format!(
                "this bid is no longer looking for a provider: see `sublet lease show {id}`, and end a lease \
                 with `sublet lease close {id}`"
            )));
        }
        self.core.market.book().remove_bid(id);
        self.conclude(id, BuyerPhase::Cancelled)
    }

    fn purchase_of(&self, id: B256) -> Result<Purchase, EngineError> {
        let purchase = self.core.store.get::<Purchase>(id.as_slice())?;
        purchase.ok_or_else(|| EngineError::NotFound(format!("this node has no bid {id}")))
    }

    fn update(&self, id: B256, change: impl FnOnce(&mut Purchase)) -> Result<(), EngineError> {
        let changed = self.core.store.update(id.as_slice(), change)?;
        changed
            .map(|_: Purchase| ())
            .ok_or_else(|| EngineError::NotFound(format!("this node has no bid {id}")))
    }
}
