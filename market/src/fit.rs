//! Whether an offer fits a bid, and whether an accept keeps what its offer promised.
//!
//! Funds are looked at for the trade in question: the bond of all units that the bid wants, since the
//! contract locks that. (For an offer to count in the book at all, the bond of one unit is enough.)

use alloy_primitives::{Address, B256};

use crate::limits::MAX_SETTLE_AHEAD_SECONDS;
use crate::orders::{Accept, Bid, Offer, Order, Spec, StructureError};
use crate::resources::Resources;
use crate::rule::{MatchContext, Rule};

/// The first rule, in their order, that keeps the offer from fitting the bid; `None` if it fits.
pub fn first_miss(offer: &Offer, bid: &Bid, spec: &Spec, context: &MatchContext<'_>) -> Option<Rule> {
    let terms = Terms::of(offer);
    let pair = Pair::of(offer, &terms, bid, spec, context);
    Rule::ALL.into_iter().find(|rule| !pair.holds(*rule))
}

/// All rules that keep the offer from fitting the bid, in their order; empty if it fits.
pub fn misses(offer: &Offer, bid: &Bid, spec: &Spec, context: &MatchContext<'_>) -> Vec<Rule> {
    let terms = Terms::of(offer);
    let pair = Pair::of(offer, &terms, bid, spec, context);
    Rule::ALL.into_iter().filter(|rule| !pair.holds(*rule)).collect()
}

/// The numbers of an offer that the rules look at: 56 bytes, so that a book can keep them side by side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) unit: Resources,
    pub(crate) units: u32,
    pub(crate) bond_seconds: u32,
    pub(crate) min_duration: u32,
    pub(crate) max_duration: u32,
    pub(crate) price: u64,
    pub(crate) valid_until: u64,
}

impl Terms {
    pub(crate) fn of(offer: &Offer) -> Self {
        Self {
            unit: offer.unit,
            units: offer.units,
            bond_seconds: offer.bond_seconds,
            min_duration: offer.min_duration,
            max_duration: offer.max_duration,
            price: offer.price_per_second,
            valid_until: offer.valid_until,
        }
    }

    /// Tokens that the bond of that many units locks, in base units.
    pub(crate) fn bond(&self, units: u32) -> u128 {
        // 64 + 17 + 32 bits: cannot saturate for an offer that passed its check.
        let unit_bond = u128::from(self.price).saturating_mul(u128::from(self.bond_seconds));
        unit_bond.saturating_mul(u128::from(units))
    }
}

/// An offer's numbers and a bid, with how the traits compare, which a book knows without looking at texts.
pub(crate) struct Pair<'a, F> {
    pub(crate) terms: &'a Terms,
    pub(crate) has_traits: F,
    pub(crate) provider: &'a Address,
    pub(crate) bid: &'a Bid,
    pub(crate) spec: &'a Spec,
    pub(crate) context: &'a MatchContext<'a>,
}

impl<'a> Pair<'a, ()> {
    fn of(
        offer: &'a Offer,
        terms: &'a Terms,
        bid: &'a Bid,
        spec: &'a Spec,
        context: &'a MatchContext<'a>,
    ) -> Pair<'a, impl Fn() -> bool + 'a> {
        let has_traits = || offer.traits.contains_all(&spec.traits);
        Pair { terms, has_traits, provider: &offer.provider, bid, spec, context }
    }
}

impl<F: Fn() -> bool> Pair<'_, F> {
    /// The rules themselves: nothing else decides whether an offer fits.
    #[inline]
    pub(crate) fn holds(&self, rule: Rule) -> bool {
        let Self { terms, bid, spec, .. } = self;
        let MatchContext { now, provider, buyer, floor } = *self.context;
        match rule {
            Rule::Resources => terms.unit.covers(&spec.unit),
            Rule::Traits => (self.has_traits)(),
            Rule::Units => terms.units >= spec.units,
            Rule::Price => {
                terms.price.checked_mul(u64::from(spec.units)).is_some_and(|rate| rate <= bid.max_rate)
            }
            Rule::Bond => terms.bond_seconds >= bid.min_bond_seconds,
            Rule::Duration => (terms.min_duration..=terms.max_duration).contains(&bid.duration),
            Rule::Points => provider.points >= bid.min_points,
            Rule::Time => now <= terms.valid_until && now <= bid.valid_until,
            Rule::Epoch => bid.epoch == buyer.epoch,
            Rule::Distinct => *self.provider != bid.buyer,
            Rule::ProviderFunded => provider.free >= terms.bond(spec.units).max(floor),
            Rule::BuyerFunded => buyer.free >= bid.budget().max(floor),
        }
    }

    /// Whether every rule holds; the traits, which cost most, are looked at last.
    #[inline]
    pub(crate) fn fits(&self) -> bool {
        self.holds(Rule::Resources)
            && self.holds(Rule::Units)
            && self.holds(Rule::Price)
            && self.holds(Rule::Duration)
            && self.holds(Rule::Bond)
            && self.holds(Rule::Time)
            && self.holds(Rule::Points)
            && self.holds(Rule::ProviderFunded)
            && self.holds(Rule::Distinct)
            && self.holds(Rule::Epoch)
            && self.holds(Rule::BuyerFunded)
            && self.holds(Rule::Traits)
    }
}

/// One failed rule in words, with the numbers of both sides and what to do about it.
pub fn describe(rule: Rule, offer: &Offer, bid: &Bid, spec: &Spec, context: &MatchContext<'_>) -> String {
    let fact = match rule {
        Rule::Resources => lacking(offer, spec),
        Rule::Traits => {
            let missing: Vec<&str> = spec.traits.iter().filter(|text| !offer.traits.contains(text)).collect();
            format!("the offer lacks {}", missing.join(" "))
        }
        Rule::Units => format!("{} units are left of {} wanted", offer.units, spec.units),
        Rule::Price => {
            format!("it costs {}, the bid pays {} at most", rate_text(offer, spec), rate(bid.max_rate))
        }
        Rule::Bond => {
            format!("its bond is {} s, the bid wants {} s", offer.bond_seconds, bid.min_bond_seconds)
        }
        Rule::Duration => format!(
            "it runs {} to {} s, the bid wants {} s",
            offer.min_duration, offer.max_duration, bid.duration
        ),
        Rule::Points => {
            format!("its provider has {} points of {} wanted", context.provider.points, bid.min_points)
        }
        Rule::Time if context.now > bid.valid_until => format!("the bid expired at {}", bid.valid_until),
        Rule::Time => format!("the offer expired at {}", offer.valid_until),
        Rule::Epoch => format!("the bid is of epoch {}, its buyer's is {}", bid.epoch, context.buyer.epoch),
        Rule::Distinct => "the provider is the buyer".to_owned(),
        Rule::ProviderFunded => {
            funds("provider", context.provider.free, offer.bond(spec.units).max(context.floor))
        }
        Rule::BuyerFunded => funds("buyer", context.buyer.free, bid.budget().max(context.floor)),
    };
    format!("{fact}: {}", rule.remedy())
}

fn lacking(offer: &Offer, spec: &Spec) -> String {
    let pairs = offer.unit.fields().into_iter().zip(spec.unit.fields());
    let short = pairs.filter(|((_, have), (_, need))| have < need);
    let texts: Vec<String> =
        short.map(|((name, have), (_, need))| format!("{name} {have} of {need}")).collect();
    format!("its unit has {} wanted", texts.join(", "))
}

fn rate_text(offer: &Offer, spec: &Spec) -> String {
    offer.rate(spec.units).map_or_else(|| "more than can be counted".to_owned(), rate)
}

fn rate(rate: u64) -> String {
    crate::amount::format_rate(rate)
}

fn funds(who: &str, free: u128, needed: u128) -> String {
    use crate::amount::format_amount;
    format!("the {who} has {} free of {} needed", format_amount(free), format_amount(needed))
}

/// Why an accept must not be settled, or signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// It breaks a bound of its own.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// A field is not that of the bid or offer that it answers.
    #[error("the accept's {0} is not that of the bid and offer it answers: ask again")]
    Foreign(&'static str),
    /// The rate is above the bid's top rate, or above the offer's price.
    #[error("the accept's rate {rate} is above {limit} base units per second: ask another provider")]
    Rate {
        /// Rate in the accept.
        rate: u64,
        /// Highest rate that the bid and the offer allow.
        limit: u64,
    },
    /// A term is worse than the offer's or less than the bid wants.
    #[error("the accept's {name} of {value} s breaks the agreed {limit} s: ask another provider")]
    Term {
        /// Which term.
        name: &'static str,
        /// Its value, in seconds.
        value: u32,
        /// What was agreed, in seconds.
        limit: u32,
    },
    /// The buyer and the provider are the same account.
    #[error("buyer and provider are the same account: bid from another one")]
    SameParty,
    /// The bid has expired.
    #[error("the bid expired at {0}: sign a new one")]
    BidExpired(u64),
    /// The accept has expired.
    #[error("the accept expired at {0}: ask again")]
    Expired(u64),
    /// The accept ends too far ahead for the contract.
    #[error("the accept ends at {0}, more than {MAX_SETTLE_AHEAD_SECONDS} s ahead: wait, or ask again")]
    TooFarAhead(u64),
}

/// Checks an accept against the bid and the offer that it answers: what the buyer looks at before it settles, and the
/// provider before it signs. The accept's signature, balances and points are not looked at.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_accept(
    bid: &Bid,
    spec: &Spec,
    offer: &Offer,
    bid_digest: B256,
    offer_digest: B256,
    accept: &Accept,
    now: u64,
) -> Result<(), AcceptError> {
    accept.check()?;
    let same = [
        ("bid", accept.bid == bid_digest),
        ("spec", bid.spec == spec.hash_struct()),
        ("offer", accept.offer == offer_digest),
        ("provider", accept.provider == offer.provider),
        ("node", accept.node == offer.node),
        ("burn", accept.burn == offer.burn),
    ];
    if let Some((name, _)) = same.into_iter().find(|(_, same)| !same) {
        return Err(AcceptError::Foreign(name));
    }
    if accept.provider == bid.buyer {
        return Err(AcceptError::SameParty);
    }
    check_terms(bid, spec, offer, accept)?;
    check_times(bid, accept, now)
}

fn check_terms(bid: &Bid, spec: &Spec, offer: &Offer, accept: &Accept) -> Result<(), AcceptError> {
    let limit = offer.rate(spec.units).unwrap_or(u64::MAX).min(bid.max_rate);
    if accept.rate > limit {
        return Err(AcceptError::Rate { rate: accept.rate, limit });
    }
    let least_bond = offer.bond_seconds.max(bid.min_bond_seconds);
    let least_duration = offer.max_duration.max(bid.duration);
    let terms = [
        ("bond_seconds", accept.bond_seconds, least_bond, accept.bond_seconds >= least_bond),
        ("max_duration", accept.max_duration, least_duration, accept.max_duration >= least_duration),
        (
            "activate_within",
            accept.activate_within,
            offer.activate_within,
            accept.activate_within <= offer.activate_within,
        ),
    ];
    match terms.into_iter().find(|(.., kept)| !kept) {
        Some((name, value, limit, _)) => Err(AcceptError::Term { name, value, limit }),
        None => Ok(()),
    }
}

fn check_times(bid: &Bid, accept: &Accept, now: u64) -> Result<(), AcceptError> {
    if now > bid.valid_until {
        return Err(AcceptError::BidExpired(bid.valid_until));
    }
    if now > accept.settle_by {
        return Err(AcceptError::Expired(accept.settle_by));
    }
    if accept.settle_by > now.saturating_add(MAX_SETTLE_AHEAD_SECONDS) {
        return Err(AcceptError::TooFarAhead(accept.settle_by));
    }
    Ok(())
}
