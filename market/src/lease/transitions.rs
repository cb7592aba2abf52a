//! The transitions of a lease, one function each, as in the contract.

use serde::{Deserialize, Serialize};

use super::points::points_of;
use super::{EndReason, Flows, Lease, Params, Refusal, State};
use crate::limits::MAX_DURATION_SECONDS;
use crate::orders::{Accept, Bid};

/// Who calls, operators included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The lease's buyer.
    Buyer,
    /// The lease's provider.
    Provider,
    /// Somebody else.
    Other,
}

/// A transition by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Start billing: provider.
    Activate,
    /// Undo a lease that was not activated: provider; after the deadline anyone.
    Abort,
    /// Add seconds: buyer.
    TopUp(u32),
    /// Pay out what is older than HOLD: anyone.
    Claim,
    /// End it, with notice: buyer.
    Close,
    /// End it for there is no working machine: buyer.
    Reject,
    /// Give it up: provider.
    ProviderClose,
    /// End it after its funds: anyone.
    Finish,
}

type Step = Result<(Lease, Flows), Refusal>;

/// The numbers of an active lease.
#[derive(Clone, Copy)]
struct Billing {
    paid_until: u64,
    funded_until: u64,
    max_end: u64,
}

impl Lease {
    /// A lease from two orders that fit: escrow and bond are locked.
    ///
    /// # Errors
    /// A duration above the accept's longest.
    pub fn open(bid: &Bid, accept: &Accept, now: u64) -> Step {
        let (duration, max_duration) = (bid.duration, accept.max_duration);
        if duration > max_duration || max_duration > MAX_DURATION_SECONDS {
            return Err(Refusal::DurationBeyondMax { duration, max_duration });
        }
        let activate_by = now.saturating_add(u64::from(accept.activate_within));
        let lease = Lease {
            buyer: bid.buyer,
            provider: accept.provider,
            rate: accept.rate,
            bond_seconds: accept.bond_seconds,
            burn: accept.burn,
            state: State::Opened { activate_by, duration, max_duration },
        };
        Ok((lease, Flows { escrow_in: lease.held(), bond_in: lease.bond(), ..Flows::default() }))
    }

    /// Carries out a transition by name, if the caller may.
    ///
    /// # Errors
    /// The wrong caller, the wrong state or the wrong time.
    pub fn apply(&self, action: Action, by: Party, now: u64, params: &Params) -> Step {
        // The state first, then the caller, as in the contract.
        match action {
            Action::Activate | Action::Abort if !matches!(self.state, State::Opened { .. }) => {
                Err(Refusal::NotInState("opened"))
            }
            Action::TopUp(_)
            | Action::Claim
            | Action::Close
            | Action::Reject
            | Action::ProviderClose
            | Action::Finish
                if self.billing().is_none() =>
            {
                Err(Refusal::NotInState("active"))
            }
            Action::Activate | Action::ProviderClose if by != Party::Provider => {
                Err(Refusal::NotAllowed("provider"))
            }
            Action::TopUp(_) | Action::Close | Action::Reject if by != Party::Buyer => {
                Err(Refusal::NotAllowed("buyer"))
            }
            Action::Activate => self.activate(now),
            Action::Abort => self.abort(by, now),
            Action::TopUp(seconds) => self.top_up(seconds, now),
            Action::Claim => self.claim(now, params),
            Action::Close => self.close(now, params),
            Action::Reject => self.reject(now, params),
            Action::ProviderClose => self.provider_close(now, params),
            Action::Finish => self.finish(now, params),
        }
    }

    /// Escrow that the lease holds, in base units.
    pub fn held(&self) -> u128 {
        match self.state {
            State::Opened { duration, .. } => self.price_of(u64::from(duration)),
            State::Active { paid_until, funded_until, .. } => {
                self.price_of(funded_until.saturating_sub(paid_until))
            }
            State::Ended(_) => 0,
        }
    }

    /// Bond that the lease agreed on, in base units; locked until it ends.
    pub fn bond(&self) -> u128 {
        self.price_of(u64::from(self.bond_seconds))
    }

    /// What has been used and not been paid yet, fee included, in base units.
    pub fn accrued(&self, now: u64) -> u128 {
        self.billing().map_or(0, |b| self.price_of(now.min(b.funded_until).saturating_sub(b.paid_until)))
    }

    /// What `claim` would pay, fee included, in base units.
    pub fn claimable(&self, now: u64, params: &Params) -> u128 {
        self.billing().map_or(0, |b| self.price_of(b.old_until(now, params).saturating_sub(b.paid_until)))
    }

    /// Opened → Active: times are rebased to now.
    ///
    /// # Errors
    /// Not opened, or after the deadline.
    pub fn activate(&self, now: u64) -> Step {
        let State::Opened { activate_by, duration, max_duration } = self.state else {
            return Err(Refusal::NotInState("opened"));
        };
        if now > activate_by {
            return Err(Refusal::ActivationMissed(activate_by));
        }
        let billing = Billing {
            paid_until: now,
            funded_until: now.saturating_add(u64::from(duration)),
            max_end: now.saturating_add(u64::from(max_duration)),
        };
        Ok((self.with(billing), Flows::default()))
    }

    /// Opened → Aborted: escrow and bond go to the buyer.
    ///
    /// # Errors
    /// Not opened, or not yet due and not the provider.
    pub fn abort(&self, by: Party, now: u64) -> Step {
        let State::Opened { activate_by, .. } = self.state else {
            return Err(Refusal::NotInState("opened"));
        };
        if now <= activate_by && by != Party::Provider {
            return Err(Refusal::StillActivatable(activate_by));
        }
        let flows = Flows {
            to_buyer: self.held(),
            bond_to_buyer: self.bond(),
            points_cut: points_of(self.bond()),
            ..Flows::default()
        };
        Ok((self.ended(EndReason::Aborted), flows))
    }

    /// Active: the buyer adds seconds.
    ///
    /// # Errors
    /// Not active, funds ended, no seconds, or beyond the agreed end.
    pub fn top_up(&self, seconds: u32, now: u64) -> Step {
        let mut billing = self.active()?;
        if now >= billing.funded_until {
            return Err(Refusal::FundsEnded(billing.funded_until));
        }
        if seconds == 0 {
            return Err(Refusal::NoSeconds);
        }
        billing.funded_until = billing.funded_until.saturating_add(u64::from(seconds));
        if billing.funded_until > billing.max_end {
            return Err(Refusal::BeyondMaxEnd(billing.max_end));
        }
        let flows = Flows { escrow_in: self.price_of(u64::from(seconds)), ..Flows::default() };
        Ok((self.with(billing), flows))
    }

    /// Active: pays what is older than HOLD.
    ///
    /// # Errors
    /// Not active, or nothing that old.
    pub fn claim(&self, now: u64, params: &Params) -> Step {
        let billing = self.active()?;
        let until = billing.old_until(now, params);
        if until == billing.paid_until {
            let first = billing.paid_until.saturating_add(u64::from(params.hold)).saturating_add(1);
            return Err(Refusal::NothingToClaim(first));
        }
        let flows = self.pay(until.saturating_sub(billing.paid_until), params);
        Ok((self.with(Billing { paid_until: until, ..billing }), flows))
    }

    /// Active → Closed: pays to the end of the notice, the rest goes back to the buyer, the bond to the provider.
    ///
    /// # Errors
    /// Not active.
    pub fn close(&self, now: u64, params: &Params) -> Step {
        let billing = self.active()?;
        let end = billing.notice_end(now, params);
        let flows = Flows {
            to_buyer: self.price_of(billing.funded_until.saturating_sub(end)),
            bond_to_provider: self.bond(),
            ..self.pay(end.saturating_sub(billing.paid_until), params)
        };
        Ok((self.ended(EndReason::Closed), flows))
    }

    /// Active → Rejected: burns the last HOLD of accrual and as much of the bond.
    ///
    /// # Errors
    /// Not active, or HOLD has passed since the funds ended.
    pub fn reject(&self, now: u64, params: &Params) -> Step {
        let billing = self.active()?;
        let last = billing.finishable(params);
        if now >= last {
            return Err(Refusal::RejectionMissed(last));
        }
        let (from, end) = (billing.old_until(now, params), billing.notice_end(now, params));
        let burned = self.price_of(end.saturating_sub(from));
        let bond_burned = self.bond().min(burned);
        let flows = Flows {
            burned,
            to_buyer: self.price_of(billing.funded_until.saturating_sub(end)),
            bond_burned,
            bond_to_provider: self.bond().saturating_sub(bond_burned),
            points_cut: points_of(bond_burned),
            ..self.pay(from.saturating_sub(billing.paid_until), params)
        };
        Ok((self.ended(EndReason::Rejected), flows))
    }

    /// Active → ProviderClosed: pays what is older than HOLD, the rest and the bond go to the buyer.
    ///
    /// # Errors
    /// Not active, or funds ended.
    pub fn provider_close(&self, now: u64, params: &Params) -> Step {
        let billing = self.active()?;
        if now >= billing.funded_until {
            return Err(Refusal::FundsEnded(billing.funded_until));
        }
        let from = billing.old_until(now, params);
        let flows = Flows {
            to_buyer: self.price_of(billing.funded_until.saturating_sub(from)),
            bond_to_buyer: self.bond(),
            points_cut: points_of(self.bond()),
            ..self.pay(from.saturating_sub(billing.paid_until), params)
        };
        Ok((self.ended(EndReason::ProviderClosed), flows))
    }

    /// Active → Finished: pays the rest, the bond goes back.
    ///
    /// # Errors
    /// Not active, or before HOLD has passed since the funds ended.
    pub fn finish(&self, now: u64, params: &Params) -> Step {
        let billing = self.active()?;
        let from = billing.finishable(params);
        if now < from {
            return Err(Refusal::NotFinishable(from));
        }
        let pay = self.pay(billing.funded_until.saturating_sub(billing.paid_until), params);
        Ok((self.ended(EndReason::Finished), Flows { bond_to_provider: self.bond(), ..pay }))
    }

    fn pay(&self, seconds: u64, params: &Params) -> Flows {
        let fee = u128::from(params.fee_per_second(self.rate)).saturating_mul(u128::from(seconds));
        let net = self.price_of(seconds).saturating_sub(fee);
        let (to_provider, to_payout_bucket) = if self.burn { (0, net) } else { (net, 0) };
        Flows { to_provider, to_payout_bucket, fee, points_earned: points_of(fee), ..Flows::default() }
    }

    fn price_of(&self, seconds: u64) -> u128 {
        // Cannot saturate: the product of two 64-bit numbers has at most 128 bits.
        u128::from(self.rate).saturating_mul(u128::from(seconds))
    }

    fn billing(&self) -> Option<Billing> {
        match self.state {
            State::Active { paid_until, funded_until, max_end } => {
                Some(Billing { paid_until, funded_until, max_end })
            }
            State::Opened { .. } | State::Ended(_) => None,
        }
    }

    fn active(&self) -> Result<Billing, Refusal> {
        self.billing().ok_or(Refusal::NotInState("active"))
    }

    fn with(&self, billing: Billing) -> Lease {
        let Billing { paid_until, funded_until, max_end } = billing;
        Lease { state: State::Active { paid_until, funded_until, max_end }, ..*self }
    }

    fn ended(&self, reason: EndReason) -> Lease {
        Lease { state: State::Ended(reason), ..*self }
    }
}

impl Billing {
    /// The table's `from`: up to where pay is older than HOLD, within what is funded.
    fn old_until(&self, now: u64, params: &Params) -> u64 {
        let old = now.saturating_sub(u64::from(params.hold)).min(self.funded_until);
        self.paid_until.max(old)
    }

    /// The table's `end`: up to where a buyer's close is billed.
    fn notice_end(&self, now: u64, params: &Params) -> u64 {
        let noticed = now.saturating_add(u64::from(params.notice)).min(self.funded_until);
        self.paid_until.max(noticed)
    }

    /// First second at which the lease can be finished, and no longer rejected.
    fn finishable(&self, params: &Params) -> u64 {
        self.funded_until.saturating_add(u64::from(params.hold))
    }
}
