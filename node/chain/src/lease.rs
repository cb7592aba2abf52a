//! A lease and a maker's balances as the chain has them now.

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
use sublet_contracts::{IMarket, UnknownVariant, end_reason, lease_state};
use sublet_market::{
    EndReason, LeaseState,
    lease::{Action, Lease, Params, Party, State},
};

use super::error::ChainError;

/// A lease as the Market returns it. Fields that the state does not have are zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// Where it is in its life.
    pub state: LeaseState,
    /// How it ended (Ended).
    pub reason: Option<EndReason>,
    /// Who pays.
    pub buyer: Address,
    /// Who is paid.
    pub provider: Address,
    /// Base units per second.
    pub rate: u64,
    /// The second beyond which no top-up goes (Active, Ended).
    pub max_end: u32,
    /// The second up to which the provider was paid (Active, Ended).
    pub paid_until: u32,
    /// The second up to which the escrow pays (Active, Ended).
    pub funded_until: u32,
    /// The bond, in seconds of the rate.
    pub bond_seconds: u32,
    /// The provider's pay is burned.
    pub burn: bool,
    /// Last second for `activate` (Opened).
    pub activate_by: u32,
    /// Seconds that were paid for in advance (Opened).
    pub duration: u32,
    /// Longest life from activation in seconds (Opened).
    pub max_duration: u32,
}

impl LeaseView {
    /// The lease in the market's state machine, if it is open. An RPC that tells numbers that no contract has
    /// tells nothing.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        let &Self { buyer, provider, rate, bond_seconds, burn, .. } = self;
        let state = match self.state {
            LeaseState::None | LeaseState::Ended => return None,
            LeaseState::Opened => State::Opened {
                activate_by: self.activate_by.into(),
                duration: self.duration,
                max_duration: self.max_duration,
            },
            LeaseState::Active if self.paid_until > self.funded_until || self.funded_until > self.max_end => {
                return None;
            }
            LeaseState::Active => State::Active {
                paid_until: self.paid_until.into(),
                funded_until: self.funded_until.into(),
                max_end: self.max_end.into(),
            },
        };
        Some(Lease { buyer, provider, rate, bond_seconds, burn, state })
    }

    /// Whether it runs and is paid for at `now` (chain time in seconds).
    #[must_use]
    pub fn is_paid(&self, now: u64) -> bool {
        self.state == LeaseState::Active && now < u64::from(self.funded_until)
    }

    /// Whether the contract would carry out `action` of `party` at `now` (chain time in seconds).
    #[must_use]
    pub fn allows(&self, action: Action, party: Party, now: u64, params: &Params) -> bool {
        self.lease().is_some_and(|lease| lease.apply(action, party, now, params).is_ok())
    }
}

/// What an address has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balances {
    /// Native currency for gas, in wei.
    pub eth: u128,
    /// Tokens in the wallet, in base units.
    pub wallet: u128,
    /// Tokens in the Market that are not locked, in base units.
    pub free: u128,
    /// Reputation, decayed to now.
    pub points: u64,
}

fn unknown(error: &UnknownVariant) -> ChainError {
    ChainError::Decode { what: "a lease", reason: error.to_string() }
}

impl TryFrom<IMarket::LeaseView> for LeaseView {
    type Error = ChainError;

    fn try_from(view: IMarket::LeaseView) -> Result<Self, ChainError> {
        Ok(Self {
            state: lease_state(view.state).map_err(|e| unknown(&e))?,
            reason: end_reason(view.reason).map_err(|e| unknown(&e))?,
            buyer: view.buyer,
            provider: view.provider,
            rate: view.rate,
            max_end: view.maxEnd,
            paid_until: view.paidUntil,
            funded_until: view.fundedUntil,
            bond_seconds: view.bondSeconds.to(),
            burn: view.burn,
            activate_by: view.activateBy,
            duration: view.duration,
            max_duration: view.maxDuration,
        })
    }
}
