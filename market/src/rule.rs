//! The rules that decide whether an offer fits a bid: one enum, in one order, for the book's `explain`,
//! the decline codes and the API alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One rule of a fit. The order of the variants is the order in which rules are checked and named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The offer's unit has at least the bid's, in every field.
    Resources,
    /// The offer has every trait that the spec names.
    Traits,
    /// The offer has enough units left.
    Units,
    /// Price × units is at most the bid's top rate.
    Price,
    /// The offer's bond is at least the one wanted.
    Bond,
    /// The bid's duration lies within the offer's window.
    Duration,
    /// The provider has enough points.
    Points,
    /// Neither the offer nor the bid has expired.
    Time,
    /// The bid is of its buyer's present epoch.
    Epoch,
    /// Provider and buyer are two.
    Distinct,
    /// The provider can lock the bond, and has the least balance.
    ProviderFunded,
    /// The buyer can lock top rate × duration, and has the least balance.
    BuyerFunded,
}

impl Rule {
    /// All rules, in order.
    pub const ALL: [Rule; 12] = [
        Rule::Resources,
        Rule::Traits,
        Rule::Units,
        Rule::Price,
        Rule::Bond,
        Rule::Duration,
        Rule::Points,
        Rule::Time,
        Rule::Epoch,
        Rule::Distinct,
        Rule::ProviderFunded,
        Rule::BuyerFunded,
    ];

    /// The stable name, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resources => "resources",
            Self::Traits => "traits",
            Self::Units => "units",
            Self::Price => "price",
            Self::Bond => "bond",
            Self::Duration => "duration",
            Self::Points => "points",
            Self::Time => "time",
            Self::Epoch => "epoch",
            Self::Distinct => "distinct",
            Self::ProviderFunded => "provider_funded",
            Self::BuyerFunded => "buyer_funded",
        }
    }

    /// What a buyer can do about offers that fail this rule.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Resources => "ask for smaller units",
            Self::Traits => "ask for fewer or other traits",
            Self::Units => "ask for fewer units, or split the bid",
            Self::Price => "raise the top rate",
            Self::Bond => "ask for a smaller bond",
            Self::Duration => "choose a duration within the offer's window",
            Self::Points => "ask for fewer points",
            Self::Time => "sign a new bid, or wait for the offer's renewal",
            Self::Epoch => "sign a new bid with the present epoch",
            Self::Distinct => "bid from another account than the provider's",
            Self::ProviderFunded => "wait until the provider has deposited its bond",
            Self::BuyerFunded => "deposit top rate × duration, or lower either",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a rule: use one of the names in Rule::ALL, like price")]
pub struct UnknownRule(pub String);

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let found = Self::ALL.into_iter().find(|rule| rule.as_str() == text);
        found.ok_or_else(|| UnknownRule(text.to_owned()))
    }
}

/// What the chain says of a maker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Maker {
    /// Free balance in the Market, in base units.
    pub free: u128,
    /// Reputation points, decayed to the chain head.
    pub points: u64,
    /// Present epoch; bids of another one are void.
    pub epoch: u32,
}

/// What a fit depends on besides the two orders.
#[derive(Clone, Copy, Debug)]
pub struct MatchContext<'a> {
    /// Chain time, in Unix seconds.
    pub now: u64,
    /// What the chain says of the offer's maker.
    pub provider: &'a Maker,
    /// What the chain says of the bid's maker.
    pub buyer: &'a Maker,
    /// Least free balance of both, in base units: node policy.
    pub floor: u128,
}
