//! Machines and leases that no promise explains: the store was lost, or put back from an older backup.
//!
//! The chain tells which leases are ours, how long they are paid for and which node their buyer has; the
//! adapter tells what runs. That is enough to let what is paid for run, to start it again, to tell its buyer
//! where it is, to collect the pay, and to end the rest. What cannot be made again without the order (a lease
//! that has not started, a machine that is gone altogether) is given back, or left to its buyer to end.

use std::{
    collections::{HashMap, HashSet},
    sync::PoisonError,
};

use alloy_primitives::B256;
use futures::{StreamExt as _, stream};
use sublet_adapter::{Instance, InstanceState};
use sublet_market::LeaseState;
use sublet_market::{
    AccessState, Decline, Resources,
    lease::{Action, Params, Party},
};
use sublet_store::{ChainLease, Promise};

use super::{
    LONGEST_OFFLINE, Provider, Step,
    ask::{busy, not_yours, pending},
    commitments::Commitments,
    decide::Worth,
};
use crate::EngineError;

/// Machines that are asked about at once when they cannot be listed.
const LOOKS: usize = 16;

/// What the adapter said of the machines.
#[derive(Default)]
pub(super) struct Look {
    pub(super) machines: HashMap<B256, Instance>,
    /// Of these it did not say whether they are there.
    pub(super) unknown: HashSet<B256>,
    /// It listed all that there are.
    pub(super) whole: bool,
}

/// All that a decision about a lease without a promise stands on. Times are chain time in seconds.
struct Facts<'a> {
    lease: &'a ChainLease,
    machine: Option<&'a InstanceState>,
    now: u64,
    offline: bool,
    params: &'a Params,
    worth: Worth,
}

impl Provider {
    /// What there is. Where the list cannot be had, each promise's machine is asked about, so that one that
    /// hangs holds up none of the others.
    pub(super) async fn look(&self, open: &[Promise], sweep: bool) -> Look {
        if !sweep && open.is_empty() {
            return Look::default();
        }
        let error = match self.adapter.list().await {
            Ok(list) => {
                let machines = list.into_iter().map(|machine| (machine.lease, machine)).collect();
                return Look { machines, unknown: HashSet::new(), whole: true };
            }
            Err(error) => error,
        };
        tracing::warn!(%error, "cannot list the machines; asking about them one by one");
        let ids: Vec<B256> = open.iter().map(|promise| promise.id).collect();
        let mut look = Look::default();
        let looks = stream::iter(ids).map(|id| async move { (id, self.adapter.describe(id).await) });
        let mut answers = std::pin::pin!(looks.buffer_unordered(LOOKS));
        while let Some((id, answer)) = answers.next().await {
            match answer {
                Ok(machine) => look.machines.extend(machine.map(|machine| (id, machine))),
                Err(error) => {
                    tracing::warn!(lease = %id, %error, "cannot learn the state of this machine now");
                    look.unknown.insert(id);
                }
            }
        }
        look
    }

    /// Counts what machines take that no promise holds capacity for.
    pub(super) fn note_unexplained(&self, machines: &HashMap<B256, Instance>) -> Result<(), EngineError> {
        let commitments = Commitments::read(&self.core.store)?;
        let totals =
            machines.values().filter(|machine| !commitments.explains(machine.lease)).map(|m| m.total);
        let taken = totals.fold(Resources::default(), |sum, total| sum.checked_add(&total).unwrap_or(sum));
        *self.unexplained.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        Ok(())
    }

    /// What machines take that no promise explains.
    pub(super) fn unexplained(&self) -> Resources {
        *self.unexplained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next step of each lease of ours that no promise explains.
    pub(super) fn tend_recovered(
        self: &std::sync::Arc<Self>,
        machines: &HashMap<B256, Instance>,
        offline: bool,
    ) -> Result<(), EngineError> {
        for lease in self.core.store.all::<ChainLease>()? {
            // Looked up now, not at the pass's beginning: a promise may have been given and settled since.
            if lease.view.provider != self.core.account.maker() || self.is_promised(lease.id)? {
                continue;
            }
            let step = decide(&Facts {
                lease: &lease,
                machine: machines.get(&lease.id).map(|machine| &machine.state),
                now: self.core.now(),
                offline,
                params: self.core.chain.params(),
                worth: self.claim_worth(),
            });
            if step != Step::Wait {
                self.start(step, lease.id);
            }
        }
        Ok(())
    }

    /// Starts a machine again by what the adapter knows of it.
    pub(super) async fn resume_found(&self, id: B256) -> Result<(), EngineError> {
        let machine = self.adapter.resume(id).await?;
        tracing::info!(lease = %id, instance = %machine.id, "the machine of a recovered lease runs");
        Ok(())
    }

    /// Where the machine of a lease is that no promise explains. The settlement names its buyer's node.
    pub(super) async fn access_to_found(&self, node: B256, id: B256) -> Result<AccessState, Decline> {
        let lease = self.core.store.find::<ChainLease>(id.as_slice()).map_err(|e| busy(&e))?;
        let Some(lease) = lease else {
            // What is not read yet may be a lease: a no would be taken for the machine's end.
            return Err(if self.is_reading() { busy(&"the chain is still being read") } else { not_yours() });
        };
        if lease.view.provider != self.core.account.maker() || lease.buyer_node() != Some(node) {
            return Err(not_yours());
        }
        if lease.view.state == LeaseState::Ended || lease.end.is_some() {
            return Ok(AccessState::Gone { reason: self.end_of(id) });
        }
        let machine = self.adapter.describe(id).await.map_err(|e| busy(&e))?;
        Ok(match machine {
            Some(Instance { state: InstanceState::Running, access: Some(access), .. }) => {
                AccessState::Ready(access)
            }
            Some(_) => pending("the machine is starting"),
            None => pending("the machine is gone, and cannot be made again without its order"),
        })
    }

    /// Whether the newest blocks have not been read yet.
    pub(super) fn is_reading(&self) -> bool {
        self.core.seen.caught_up_at().saturating_add(LONGEST_OFFLINE) < self.core.now()
    }
}

fn decide(facts: &Facts<'_>) -> Step {
    let view = &facts.lease.view;
    match view.state {
        // The sweep looks after a machine that may be left.
        LeaseState::None => Step::Wait,
        LeaseState::Opened => Step::Abort,
        LeaseState::Active => while_active(facts, u64::from(view.funded_until)),
        LeaseState::Ended if facts.machine.is_some() => Step::Remove,
        LeaseState::Ended if facts.lease.end.is_none() => Step::Wait,
        LeaseState::Ended => Step::Conclude,
    }
}

fn while_active(facts: &Facts<'_>, funded_until: u64) -> Step {
    if facts.now >= funded_until {
        let may_finish = facts.lease.view.allows(Action::Finish, Party::Provider, facts.now, facts.params);
        return match facts.machine {
            Some(_) => Step::Remove,
            None if may_finish => Step::Finish,
            None => Step::Wait,
        };
    }
    let runs = facts.machine.is_some_and(InstanceState::is_up);
    match facts.machine {
        _ if facts.offline => return if runs { Step::Pause } else { Step::Wait },
        // Its buyer sees that it is not there, and ends the lease.
        None => return Step::Wait,
        Some(InstanceState::Running) => {}
        Some(_) => return Step::Provision,
    }
    if facts.worth.is_met(&facts.lease.view, facts.now, facts.params) { Step::Claim } else { Step::Wait }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{samples::FUNDED_UNTIL, samples::PARAMS, samples::view};
    use sublet_store::LeaseEnd;

    const END: u64 = FUNDED_UNTIL as u64;

    fn step(state: LeaseState, machine: Option<InstanceState>, now: u64, offline: bool) -> Step {
        step_of(state, machine, now, offline, None)
    }

    fn step_of(
        state: LeaseState,
        machine: Option<InstanceState>,
        now: u64,
        offline: bool,
        end: Option<LeaseEnd>,
    ) -> Step {
        let lease =
            ChainLease { id: B256::ZERO, view: view(state), changed_at: None, events: Vec::new(), end };
        let worth = Worth { seconds: 3_000, amount: 0 };
        decide(&Facts { lease: &lease, machine: machine.as_ref(), now, offline, params: &PARAMS, worth })
    }

    #[test]
    fn what_is_paid_for_runs_is_started_again_and_paid() {
        let active = |machine, now| step(LeaseState::Active, machine, now, false);
        assert_eq!(active(Some(InstanceState::Running), END - 1_000), Step::Wait);
        assert_eq!(active(Some(InstanceState::Running), END - 1), Step::Claim);
        assert_eq!(active(Some(InstanceState::Stopped), END - 1), Step::Provision);
        assert_eq!(active(Some(InstanceState::Failed { reason: "x".into() }), END - 1), Step::Provision);
        assert_eq!(active(None, END - 1), Step::Wait, "it cannot be made again");
    }

    #[test]
    fn what_is_not_paid_for_goes_and_the_rest_is_collected() {
        let active = |machine, now| step(LeaseState::Active, machine, now, false);
        assert_eq!(active(Some(InstanceState::Running), END), Step::Remove);
        assert_eq!(active(None, END), Step::Wait);
        assert_eq!(active(None, END + u64::from(PARAMS.hold)), Step::Finish);
        assert_eq!(step(LeaseState::Opened, None, END, false), Step::Abort);
        assert_eq!(step(LeaseState::None, Some(InstanceState::Running), END, false), Step::Wait);
        let ended = |machine, end| step_of(LeaseState::Ended, machine, END, false, end);
        let end = || Some(LeaseEnd { reason: sublet_market::EndReason::Closed, at: END });
        assert_eq!(ended(Some(InstanceState::Running), end()), Step::Remove);
        assert_eq!(ended(None, None), Step::Wait, "not yet deep enough");
        assert_eq!(ended(None, end()), Step::Conclude);
    }

    #[test]
    fn without_sight_of_the_chain_it_is_stopped() {
        let offline = |machine| step(LeaseState::Active, machine, END - 1, true);
        assert_eq!(offline(Some(InstanceState::Running)), Step::Pause);
        assert_eq!(offline(Some(InstanceState::Stopped)), Step::Wait);
        assert_eq!(step(LeaseState::Active, Some(InstanceState::Running), END, true), Step::Remove);
    }
}
