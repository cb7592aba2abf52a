//! The wishes of the soak's users for their leases, and the end that each must have.

use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;
use sublet_api::{
    client::ApiClient,
    types::{LeaseInfo, Transaction},
};
use sublet_market::LeaseState;

/// How often a user asks for the end of a lease before that counts as refused.
const TRIES: usize = 5;
/// The pause between.
const PAUSE: Duration = Duration::from_secs(2);

/// How a lease is brought to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Close,
    CloseLater,
    TopUpAndClose,
    Reject,
    ProviderCloses,
    RunsOut,
}

impl End {
    /// Of twenty: most are closed, one runs out.
    pub(super) fn by_dice(dice: u64) -> Self {
        match dice % 20 {
            0..=9 => Self::Close,
            10..=12 => Self::CloseLater,
            13..=14 => Self::TopUpAndClose,
            15..=16 => Self::Reject,
            17..=18 => Self::ProviderCloses,
            _ => Self::RunsOut,
        }
    }

    /// The reason that the chain is to give.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Close | Self::CloseLater | Self::TopUpAndClose => "closed",
            Self::Reject => "rejected",
            Self::ProviderCloses => "provider_closed",
            Self::RunsOut => RAN_OUT,
        }
    }
}

/// The reason of a lease that came to the end of its funds.
pub(super) const RAN_OUT: &str = "finished";

/// What came of a user's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// It was done.
    Done,
    /// The lease was over, or out of funds: the chain leaps.
    TooLate,
}

/// Asks for something as a lease's buyer or its provider, again if it is not to be had right now.
pub(super) async fn wish(
    client: &ApiClient,
    path: &str,
    what: &str,
    body: &(impl Serialize + Sync),
) -> anyhow::Result<Wish> {
    for attempt in 1.. {
        let done: Result<Transaction, _> = client.post(&format!("{path}/{what}"), body).await;
        let Err(error) = done else { break };
        let lease: LeaseInfo = client.get(path).await?;
        let out_of_funds = lease.started_at + lease.metered_seconds >= lease.funded_until;
        if lease.state == LeaseState::Ended || out_of_funds {
            return Ok(Wish::TooLate);
        }
        ensure!(attempt < TRIES, "{what}: {error}");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Wish::Done)
}

/// What looks like chance and is the same in every run.
pub(super) fn dice(turn: usize) -> u64 {
    let turn = u64::try_from(turn).unwrap_or(u64::MAX);
    let mixed = turn.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}
