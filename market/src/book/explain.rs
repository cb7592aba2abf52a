//! Why a bid finds no offer, in numbers and in words.

use std::fmt;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use super::Book;
use super::traitsets::includes;
use crate::fit::{Pair, describe, misses};
use crate::orders::{Bid, Spec};
use crate::rule::{MatchContext, Rule};

/// What the offers of a book failed on, for one bid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Offers that are known, among them those that do not count because their providers lack the balance.
    pub offers: usize,
    /// Those that fit.
    pub fit: usize,
    /// Rules and how many offers fail each, in rule order; an offer counts for every rule that it fails.
    pub failed: Vec<(Rule, usize)>,
    /// Of the offers that do not fit, the one that fails the fewest rules; if none fits.
    pub nearest: Option<NearestMiss>,
}

/// An offer that nearly fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearestMiss {
    /// The offer's digest.
    pub offer: B256,
    /// The first rule that it fails.
    pub rule: Rule,
    /// Every rule that it fails, with both sides' numbers and what to do about it.
    pub text: String,
}

pub(super) fn explain(book: &Book, bid: &Bid, spec: &Spec, now: u64) -> Explanation {
    let mut explanation = Explanation::default();
    let mut counts = [0_usize; Rule::ALL.len()];
    let mut nearest: Option<(usize, u64, B256)> = None;
    let sets = &book.offers.sets;
    let wanted = sets.known(&spec.traits);
    // A trait that no set has is in none of them.
    let possible = wanted.len() == spec.traits.len();
    let mut has_sets: Vec<Option<bool>> = vec![None; sets.bound()];
    for id in book.offers.live() {
        let hot = book.offers.hot(id);
        let provider = book.makers.slot(hot.maker);
        let has_traits = *has_sets[hot.set as usize]
            .get_or_insert_with(|| possible && includes(sets.ids(hot.set), &wanted));
        let context =
            MatchContext { provider: &provider.maker, ..book.context(provider.address, bid.buyer, now) };
        let has_traits = || has_traits;
        let pair =
            Pair { terms: &hot.terms, has_traits, provider: &provider.address, bid, spec, context: &context };
        let missed = Rule::ALL.map(|rule| !pair.holds(rule));
        let count = missed.iter().filter(|missed| **missed).count();
        explanation.offers += 1;
        explanation.fit += usize::from(count == 0);
        counts.iter_mut().zip(missed).for_each(|(count, missed)| *count += usize::from(missed));
        let best = nearest.map_or((usize::MAX, u64::MAX), |(count, price, _)| (count, price));
        if count > 0 && (count, hot.terms.price) <= best {
            let candidate = (count, hot.terms.price, book.offers.digest(id));
            nearest = Some(nearest.map_or(candidate, |nearest| nearest.min(candidate)));
        }
    }
    explanation.failed = Rule::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect();
    if explanation.fit == 0 {
        explanation.nearest = nearest.and_then(|(.., digest)| nearest_miss(book, digest, bid, spec, now));
    }
    explanation
}

fn nearest_miss(book: &Book, digest: B256, bid: &Bid, spec: &Spec, now: u64) -> Option<NearestMiss> {
    let offer = &book.offers.get(&digest)?.order;
    let context = book.context(offer.provider, bid.buyer, now);
    let missed = misses(offer, bid, spec, &context);
    let texts: Vec<String> = missed.iter().map(|rule| describe(*rule, offer, bid, spec, &context)).collect();
    Some(NearestMiss { offer: digest, rule: *missed.first()?, text: texts.join("; ") })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.offers == 0 {
            return f
                .write_str("the book has no offers: check that the node has peers, and wait for providers");
        }
        let noun = if self.offers == 1 { "offer" } else { "offers" };
        write!(f, "{} of {} {noun} fit", self.fit, self.offers)?;
        if !self.failed.is_empty() {
            let counts: Vec<String> =
                self.failed.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
            write!(f, "; the others fail on {}", counts.join(", "))?;
        }
        match &self.nearest {
            Some(nearest) => write!(f, "; nearest is {}: {}", nearest.offer, nearest.text),
            None => Ok(()),
        }
    }
}
