//! Where a trade stands on either side, and what its owner wants: the words that store, engines, API and metrics share.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a promise stands on the provider's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderPhase {
    /// Accepted and held; the buyer has not settled yet.
    Held,
    /// The buyer never settled: the capacity is free again.
    Lapsed,
    /// On chain: a machine is owed, or runs.
    Leased,
    /// Over on chain and gone from the adapter.
    Done,
}

impl ProviderPhase {
    /// Every phase.
    pub const ALL: [Self; 4] = [Self::Held, Self::Lapsed, Self::Leased, Self::Done];

    /// The stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Lapsed => "lapsed",
            Self::Leased => "leased",
            Self::Done => "done",
        }
    }
}

/// Where a bid stands on the buyer's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuyerPhase {
    /// Looking for a provider that accepts.
    Seeking,
    /// An accept is chosen and on disk; to be settled, or being settled.
    Accepted,
    /// The settlement is mined and not yet deep enough.
    Settled,
    /// On chain.
    Leased,
    /// Over on chain.
    Done,
    /// Nobody accepted in time.
    Expired,
    /// Withdrawn by its owner before a lease came of it.
    Cancelled,
}

impl BuyerPhase {
    /// Every phase.
    pub const ALL: [Self; 7] = [
        Self::Seeking,
        Self::Accepted,
        Self::Settled,
        Self::Leased,
        Self::Done,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seeking => "seeking",
            Self::Accepted => "accepted",
            Self::Settled => "settled",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What becomes of a lease whose machine is not there, and of the bid when the provider gave the lease up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Keep the lease; do not check the machine.
    Keep,
    /// End the lease.
    #[default]
    End,
    /// End the lease, and bid for the rest of its time with other providers.
    Rebid,
}

impl OnFailure {
    /// Every choice, with the words that explain it.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Keep, "Keep the lease; do not check the machine"),
        (Self::End, "End the lease"),
        (Self::Rebid, "End the lease, and bid for the rest of its time with other providers"),
    ];

    /// The stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::End => "end",
            Self::Rebid => "rebid",
        }
    }
}

/// A word that is none of [`OnFailure`]'s names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not one of keep, end, rebid")]
pub struct UnknownChoice(String);

impl FromStr for OnFailure {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        let named = Self::ALL.into_iter().find(|(choice, _)| choice.as_str() == text);
        named.map(|(choice, _)| choice).ok_or_else(|| UnknownChoice(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: impl Serialize) -> String {
        serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn names_are_those_of_the_json() {
        for phase in ProviderPhase::ALL {
            assert_eq!(json(phase), phase.as_str());
        }
        for phase in BuyerPhase::ALL {
            assert_eq!(json(phase), phase.as_str());
        }
        for (choice, _) in OnFailure::ALL {
            assert_eq!(json(choice), choice.as_str());
            assert_eq!(choice.as_str().parse(), Ok(choice));
        }
        assert!("sometimes".parse::<OnFailure>().unwrap_err().to_string().contains("keep, end, rebid"));
    }
}
