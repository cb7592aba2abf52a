//! What to do next for one promise: a pure function of what is known, so that every case has a test.
//!
//! Phases of the promise (on disk) stand left and right, the lease's states (on chain) in between, steps at the arrows:
//!
//! ```text
//!  promise           lease                    steps
//!  ───────           ─────                    ─────
//!  Held ───────────▶ none ── settle_by passed, all blocks up to it read ── Remove?, Lapse ──▶ Lapsed ── backoff over ── Retire
//!    │ NoteLeased
//!    ▼
//!  Leased ─────────▶ Opened ── Provision ── machine runs ── Activate ──▶ Active
//!                      │ activate_by passed, given up, or closing
//!                      └─ Remove?, Abort ──▶ Ended
//!
//!                    Active ── not running ── Provision      (the disk is there)
//!                      │    ── worth its gas ── Claim
//!                      │    ── chain out of sight for max_offline ── Pause
//!                      │    ── closing, or never to run again ── GiveUp ──▶ Ended
//!                      └─ funded_until passed ── Remove, after HOLD Finish ──▶ Ended
//!
//!  Done ◀─ Conclude ─ Ended, at the wanted depth, the machine gone (Remove)
//! ```
//!
//! `Remove?` is only where there is a machine. The lease's own transitions are those of `sublet_market::lease`.

use sublet_adapter::InstanceState;
use sublet_base::phase::ProviderPhase;
use sublet_chain::LeaseView;
use sublet_market::LeaseState;
use sublet_market::lease::{Action, Params, Party};
use sublet_store::Promise;

/// The next step for a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing now.
    Wait,
    /// The buyer never settled: free the capacity.
    Lapse,
    /// Settled: remember that the machine is owed.
    NoteLeased,
    /// Start the machine, or start it again.
    Provision,
    /// No new block for too long: stop the machine, and keep it.
    Pause,
    /// Tell the chain that the machine runs: billing starts.
    Activate,
    /// Give the lease up before it started: everything goes back to the buyer.
    Abort,
    /// Collect what is older than the hold.
    Claim,
    /// The paid time is over, or the lease has ended: remove the machine.
    Remove,
    /// Collect the rest and the bond after the hold.
    Finish,
    /// The machine cannot be brought back, or the operator gives the lease up: end it, the rest and the bond
    /// go to the buyer.
    GiveUp,
    /// Ended and removed: close the file.
    Conclude,
    /// Long lapsed: out of the way.
    Retire,
}

impl Step {
    /// All that do something.
    pub(super) const ALL: [Self; 12] = [
        Self::Lapse,
        Self::NoteLeased,
        Self::Provision,
        Self::Pause,
        Self::Activate,
        Self::Abort,
        Self::Claim,
        Self::Remove,
        Self::Finish,
        Self::GiveUp,
        Self::Conclude,
        Self::Retire,
    ];

    /// Whether it is done on the machine, and not on chain or in the store alone.
    pub(super) const fn is_on_the_machine(self) -> bool {
        matches!(self, Self::Provision | Self::Pause | Self::Remove)
    }

    /// The name in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Lapse => "lapse",
            Self::NoteLeased => "note_leased",
            Self::Provision => "provision",
            Self::Pause => "pause",
            Self::Activate => "activate",
            Self::Abort => "abort",
            Self::Claim => "claim",
            Self::Remove => "remove",
            Self::Finish => "finish",
            Self::GiveUp => "give_up",
            Self::Conclude => "conclude",
            Self::Retire => "retire",
        }
    }
}

/// All that a decision stands on. Times are chain time in seconds.
pub(super) struct Facts<'a> {
    /// What was promised.
    pub(super) promise: &'a Promise,
    /// What the chain said, if it has said anything at the wanted depth.
    pub(super) lease: Option<&'a LeaseView>,
    /// What the adapter says of the machine.
    pub(super) instance: Option<&'a InstanceState>,
    /// Now.
    pub(super) now: u64,
    /// All blocks up to this time have been read.
    pub(super) watched_until: u64,
    /// No new block was seen for longer than machines may run on without.
    pub(super) offline: bool,
    /// The market's parameters.
    pub(super) params: &'a Params,
    /// The chain has said at the wanted depth that the lease has ended.
    pub(super) ended: bool,
    /// How many unclaimed seconds, and base units, make a claim worth its gas.
    pub(super) worth: Worth,
    /// Seconds for which a lapsed promise keeps its buyer waiting.
    pub(super) backoff: u64,
}

/// What a claim must bring to be worth its gas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Worth {
    /// Seconds.
    pub(super) seconds: u64,
    /// Base units.
    pub(super) amount: u128,
}

impl Worth {
    /// Whether a claim on `lease` brings so much now.
    pub(super) fn is_met(self, view: &LeaseView, now: u64, params: &Params) -> bool {
        let amount = view.lease().map_or(0, |lease| lease.claimable(now, params));
        let seconds = amount.checked_div(view.rate.into()).unwrap_or(0);
        amount > 0 && seconds >= self.seconds.into() && amount >= self.amount
    }

    /// What is taken along when another claim pays for the transaction: a further lease costs a quarter of the gas.
    pub(super) fn beside_another(self) -> Self {
        Self { seconds: self.seconds / 4, amount: self.amount / 4 }
    }
}

/// The next step.
pub(super) fn decide(facts: &Facts<'_>) -> Step {
    let Some(lease) = facts.lease else { return before_settlement(facts) };
    match lease.state {
        LeaseState::None => before_settlement(facts),
        LeaseState::Opened => before_activation(facts, lease),
        LeaseState::Active => while_active(facts, lease),
        LeaseState::Ended if facts.instance.is_some() => Step::Remove,
        // A block that a reorganisation drops must not close the file.
        LeaseState::Ended if !facts.ended => Step::Wait,
        LeaseState::Ended => Step::Conclude,
    }
}

fn before_settlement(facts: &Facts<'_>) -> Step {
    let settle_by = facts.promise.accept.order.settle_by;
    // Only what the watcher has read counts: the settlement may sit in a block not yet seen, or come back after a
    // reorganisation took it.
    if facts.watched_until <= settle_by || facts.now <= settle_by {
        return Step::Wait;
    }
    if facts.instance.is_some() {
        return Step::Remove;
    }
    match facts.promise.phase {
        ProviderPhase::Lapsed if facts.now > settle_by.saturating_add(facts.backoff) => Step::Retire,
        ProviderPhase::Lapsed => Step::Wait,
        _ => Step::Lapse,
    }
}

fn before_activation(facts: &Facts<'_>, lease: &LeaseView) -> Step {
    if facts.promise.phase != ProviderPhase::Leased {
        return Step::NoteLeased;
    }
    let in_time = lease.allows(Action::Activate, Party::Provider, facts.now, facts.params);
    if facts.promise.give_up || facts.promise.closing || !in_time {
        return if facts.instance.is_some() { Step::Remove } else { Step::Abort };
    }
    match facts.instance {
        Some(InstanceState::Running) if is_noted(facts.promise) => Step::Activate,
        _ => Step::Provision,
    }
}

/// Whether what the adapter said of the machine is on disk: a crash may have come in between, and the buyer could never
/// log in to what it pays for. Provisioning again only asks.
fn is_noted(promise: &Promise) -> bool {
    promise.instance.is_some()
}

fn while_active(facts: &Facts<'_>, lease: &LeaseView) -> Step {
    let funded_until = u64::from(lease.funded_until);
    if facts.now >= funded_until {
        if facts.instance.is_some() {
            return Step::Remove;
        }
        let may_finish = lease.allows(Action::Finish, Party::Provider, facts.now, facts.params);
        return if may_finish { Step::Finish } else { Step::Wait };
    }
    if facts.offline {
        return if facts.instance.is_some_and(InstanceState::is_up) { Step::Pause } else { Step::Wait };
    }
    match facts.instance {
        _ if facts.promise.closing => return Step::GiveUp,
        Some(InstanceState::Running) if is_noted(facts.promise) => {}
        _ if facts.promise.give_up => return Step::GiveUp,
        // Paid for and not running (host restarted, guest powered off): start it again, the disk is there.
        _ => return Step::Provision,
    }
    if facts.worth.is_met(lease, facts.now, facts.params) { Step::Claim } else { Step::Wait }
}

#[cfg(test)]
mod tests;
