//! The steps of a promise, each safe to repeat.

use std::{collections::HashMap, sync::Arc, time::Duration};

use alloy_primitives::B256;
use sublet_adapter::{ErrorKind, Instance, InstanceState, LeaseOrder};
use sublet_base::failpoint;
use sublet_base::phase::ProviderPhase;
use sublet_chain::Call;
use sublet_market::LeaseState;
use sublet_store::{ChainLease, Promise};

use super::{Provider, Step, console::CONSOLE_LINES, decide::Worth};
use crate::{EngineError, follower, jobs::JobEnd};

/// Leases in one claim: far from what a block holds.
const MOST_CLAIMED: usize = 100;

/// How long the chain may take to say that a machine whose funds have ended was topped up: it runs unpaid meanwhile.
const LAST_LOOK: Duration = Duration::from_secs(1);

impl Provider {
    /// Starts a step in the background, unless one of its kind is under way for this lease.
    pub(super) fn start(self: &Arc<Self>, step: Step, id: B256) {
        // The claim that is under way may take this lease along: no need to wait in its place.
        if step == Step::Claim && self.claims.try_lock().is_err() {
            return;
        }
        let engine = Arc::clone(self);
        let jobs = if step.is_on_the_machine() { &self.machine_jobs } else { &self.jobs };
        jobs.start(id, async move {
            let end = match engine.perform(step, id).await {
                Ok(()) => JobEnd::Done,
                Err(error) => {
                    tracing::warn!(lease = %id, ?step, %error, "a step failed");
                    engine.note_trouble(id, step, &error);
                    JobEnd::Failed
                }
            };
            engine.core.counters.step("provider", step.as_str(), end);
            end
        });
    }

    async fn perform(&self, step: Step, id: B256) -> Result<(), EngineError> {
        failpoint::reach(&["provider", step.as_str(), "before"]);
        self.take(step, id).await?;
        failpoint::reach(&["provider", step.as_str(), "after"]);
        Ok(())
    }

    async fn take(&self, step: Step, id: B256) -> Result<(), EngineError> {
        match step {
            Step::Wait => Ok(()),
            Step::Lapse => self.update(id, |p| p.phase = ProviderPhase::Lapsed),
            Step::NoteLeased => self.update(id, |p| p.phase = ProviderPhase::Leased),
            Step::Provision => self.provision(id).await,
            Step::Pause => self.pause(id).await,
            Step::Activate => self.transact(Call::Activate { id }, id).await,
            Step::Abort => self.transact(Call::Abort { id }, id).await,
            Step::Claim => self.claim(id).await,
            Step::Finish => self.transact(Call::Finish { id }, id).await,
            Step::GiveUp => self.transact(Call::ProviderClose { id }, id).await,
            Step::Remove => self.remove(id).await,
            Step::Conclude => {
                tracing::info!(lease = %id, "the lease is over and its machine is gone");
                self.core.turns.note_archived();
                self.update_if_there(id, |p| p.phase = ProviderPhase::Done)?;
                self.core.store.archive::<Promise>(id.as_slice())?;
                failpoint::reach(&["provider.conclude.half"]);
                Ok(self.core.store.archive::<ChainLease>(id.as_slice())?)
            }
            Step::Retire => Ok(self.core.store.archive::<Promise>(id.as_slice())?),
        }
    }

    /// What makes a claim worth its gas to this operator.
    pub(super) fn claim_worth(&self) -> Worth {
        Worth { seconds: self.config.claim_every.as_secs(), amount: self.config.claim_at_least }
    }

    /// Collects the pay of a lease, and of all others for which that is worth the little that it costs beside.
    async fn claim(&self, id: B256) -> Result<(), EngineError> {
        let _turn = self.claims.lock().await;
        let (now, params) = (self.core.now(), self.core.chain.params());
        follower::refresh_lease(&self.core, id).await?;
        let lease = self.core.store.get::<ChainLease>(id.as_slice())?;
        if !lease.is_some_and(|lease| self.claim_worth().is_met(&lease.view, now, params)) {
            // Another one's claim has taken it along.
            return Ok(());
        }
        let beside = self.claim_worth().beside_another();
        let others = self.core.store.all::<ChainLease>()?.into_iter().filter(|lease| {
            lease.id != id
                && lease.view.provider == self.core.account.maker()
                && beside.is_met(&lease.view, now, params)
        });
        let ids: Vec<_> =
            std::iter::once(id).chain(others.map(|lease| lease.id)).take(MOST_CLAIMED).collect();
        let claimed = self.transact(Call::Claim { ids: ids.clone() }, id).await;
        for other in &ids[1..] {
            follower::refresh_lease(&self.core, *other).await?;
        }
        claimed
    }

    async fn provision(&self, id: B256) -> Result<(), EngineError> {
        // What runs must be noted, and on a full disk the end of a lease is not known either.
        self.core.store.check_writable()?;
        let Some(promise) = self.core.store.get::<Promise>(id.as_slice())? else {
            return self.resume_found(id).await;
        };
        let accept = &promise.accept.order;
        let order = LeaseOrder {
            lease: id,
            // The unit that is sold, which may be more than what was asked for.
            unit: promise.offer.order.unit,
            units: promise.spec.units,
            manifest: promise.manifest,
            cost: u128::from(accept.rate) * u128::from(promise.bid.order.duration),
            provider: accept.provider,
        };
        self.make_room(&order).await?;
        let Instance { id: name, access, .. } = self.adapter.provision(&order).await?;
        failpoint::reach(&["provider.provision.made"]);
        tracing::info!(lease = %id, instance = %name, "the machine runs");
        self.update(id, |p| {
            p.instance = Some(name);
            p.access = access;
            p.trouble = None;
            p.give_up = false;
        })
    }

    /// The chain may have ended the lease without our seeing it: no more unpaid work than `max_offline`.
    async fn pause(&self, id: B256) -> Result<(), EngineError> {
        self.adapter.stop(id).await?;
        failpoint::reach(&["provider.pause.stopped"]);
        tracing::warn!(lease = %id, "no new block of the chain for too long: the machine is stopped until there is one");
        self.update_if_there(id, |p| {
            p.trouble = Some("paused: this node has not seen a new block of the chain for too long".into());
            // Where it is reached is known anew when it runs again.
            p.instance = None;
            p.access = None;
        })
    }

    async fn remove(&self, id: B256) -> Result<(), EngineError> {
        // What cannot be undone is done on the newest state: a top-up may be in a block not yet deep enough. But what
        // is known to be unpaid stops now, whether the chain answers or not; its disk waits.
        let look = tokio::time::timeout(LAST_LOOK, follower::refresh_lease(&self.core, id)).await;
        let late =
            || EngineError::Unavailable("the chain did not answer in time whether it is paid for".into());
        if let Err(error) = look.unwrap_or_else(|_| Err(late())) {
            return self.stop_for(id, error).await;
        }
        let lease = match self.core.store.get::<ChainLease>(id.as_slice()) {
            Ok(lease) => lease,
            Err(error) => return self.stop_for(id, error.into()).await,
        };
        if lease.is_some_and(|lease| lease.view.is_paid(self.core.now())) {
            return Ok(());
        }
        // The console is a courtesy to the buyer: a machine without one is removed all the same.
        let console = self.adapter.logs(id, CONSOLE_LINES).await.unwrap_or_default();
        let noted = self.update_if_there(id, |p| {
            if !console.is_empty() {
                p.console = console;
            }
            p.access = None;
        });
        if let Err(error) = noted {
            return self.stop_for(id, error).await;
        }
        failpoint::reach(&["provider.remove.noted"]);
        self.remove_machine(id).await
    }

    /// While nothing can be written, the end of a lease is not taken in: the chain is asked, and what has
    /// ended is stopped.
    pub(super) fn stop_ended(self: &Arc<Self>, open: &[Promise], machines: &HashMap<B256, Instance>) {
        for promise in open {
            let id = promise.id;
            if machines.get(&id).is_none_or(|machine| machine.state == InstanceState::Stopped) {
                continue;
            }
            let engine = Arc::clone(self);
            let trouble = "cannot tell whether the lease is over, or cannot stop its machine";
            self.try_for(id, trouble, async move {
                if engine.core.chain.lease(id).await?.state == LeaseState::Ended {
                    engine.adapter.stop(id).await?;
                    tracing::warn!(
                        lease = %id,
                        "the lease is over: the machine is stopped, and is removed once that can be recorded"
                    );
                }
                Ok(())
            });
        }
    }

    /// What is not paid for must not run, even where its removal cannot go on now.
    async fn stop_for(&self, id: B256, error: EngineError) -> Result<(), EngineError> {
        self.adapter.stop(id).await?;
        Err(error)
    }

    /// Sends a transaction about a lease. A revert means that the chain is ahead of what we knew: read again.
    async fn transact(&self, call: Call, id: B256) -> Result<(), EngineError> {
        // Why a lease is given up stays readable after its end.
        let gives_up = matches!(call, Call::Abort { .. } | Call::ProviderClose { .. });
        let sent = self.core.account.execute(call).await;
        follower::refresh_lease(&self.core, id).await?;
        match sent {
            Ok(report) => {
                let (tx, gas) = (report.hash, report.gas_used);
                tracing::info!(lease = %id, call = report.call, %tx, gas, "transaction confirmed");
                if gives_up {
                    return Ok(());
                }
                // A lease whose promise was lost has no trouble to clear.
                self.update_if_there(id, |p| p.trouble = None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn note_trouble(&self, id: B256, step: Step, error: &EngineError) {
        // What the operator can mend (a missing program, a quota) is tried again until the time is up.
        let permanent = matches!(error, EngineError::Adapter(e) if e.kind() == ErrorKind::Permanent);
        let noted = self.update(id, |p| {
            p.trouble = Some(error.to_string());
            p.give_up |= permanent && step == Step::Provision;
        });
        if let Err(error @ EngineError::Store(_)) = noted {
            tracing::error!(lease = %id, %error, "the store failed");
        }
    }

    /// Changes a promise; one that was lost with the store has nothing to change.
    pub(super) fn update_if_there(
        &self,
        id: B256,
        change: impl FnOnce(&mut Promise),
    ) -> Result<(), EngineError> {
        Ok(self.core.store.update(id.as_slice(), change).map(drop)?)
    }

    fn update(&self, id: B256, change: impl FnOnce(&mut Promise)) -> Result<(), EngineError> {
        let changed = self.core.store.update(id.as_slice(), change)?;
        changed
            .map(|_: Promise| ())
            .ok_or_else(|| EngineError::NotFound(format!("no reservation for lease {id}")))
    }
}
