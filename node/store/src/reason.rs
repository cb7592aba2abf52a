//! Why one of our bids was not served: what the provider said, or what this node made of its silence or its answer.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sublet_market::{DeclineCode, TradeError};

/// The reason of a [`Decline`](super::Decline).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeclineReason {
    /// The provider's own.
    Said(DeclineCode),
    /// What came back was no accept of this bid.
    BadAccept,
    /// The contract would not take the accept.
    SettleRefused,
    /// No answer.
    Unreachable,
}

impl DeclineReason {
    /// The stable name; none of ours is a [`DeclineCode`]'s.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Said(code) => code.as_str(),
            Self::BadAccept => "bad_accept",
            Self::SettleRefused => "settle_refused",
            Self::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for DeclineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DeclineReason {
    type Err = TradeError;

    fn from_str(text: &str) -> Result<Self, TradeError> {
        let own = [Self::BadAccept, Self::SettleRefused, Self::Unreachable];
        match own.into_iter().find(|reason| reason.as_str() == text) {
            Some(reason) => Ok(reason),
            None => text.parse().map(Self::Said),
        }
    }
}

impl TryFrom<String> for DeclineReason {
    type Error = TradeError;

    fn try_from(text: String) -> Result<Self, TradeError> {
        text.parse()
    }
}

impl From<DeclineReason> for String {
    fn from(reason: DeclineReason) -> Self {
        reason.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_back_by_its_name() {
        let own = [DeclineReason::BadAccept, DeclineReason::SettleRefused, DeclineReason::Unreachable];
        for reason in own.into_iter().chain(DeclineCode::all().map(DeclineReason::Said)) {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        assert!("because".parse::<DeclineReason>().is_err());
    }
}
