//! Why a bid finds no offer, in numbers and in words.

use std::fmt;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use super::Book;
use crate::fit::{describe, misses};
use crate::orders::{Bid, Spec};
use crate::rule::Rule;

/// What the offers of a book failed on, for one bid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Offers in the book.
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
    let mut nearest: Option<(Vec<Rule>, u64, B256)> = None;
    for (digest, offer) in book.offers() {
        let context = book.context(offer.order.provider, bid.buyer, now);
        let missed = misses(&offer.order, bid, spec, &context);
        explanation.offers += 1;
        if missed.is_empty() {
            explanation.fit += 1;
            continue;
        }
        let counted = counts.iter_mut().zip(Rule::ALL).filter(|(_, rule)| missed.contains(rule));
        counted.for_each(|(count, _)| *count += 1);
        let candidate = (missed, offer.order.price_per_second, digest);
        let key = |(missed, price, digest): &(Vec<Rule>, u64, B256)| (missed.len(), *price, *digest);
        if nearest.as_ref().is_none_or(|best| key(&candidate) < key(best)) {
            nearest = Some(candidate);
        }
    }
    explanation.failed = Rule::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect();
    if explanation.fit == 0 {
        explanation.nearest =
            nearest.and_then(|(missed, _, digest)| nearest_miss(book, digest, &missed, bid, spec, now));
    }
    explanation
}

fn nearest_miss(
    book: &Book,
    digest: B256,
    missed: &[Rule],
    bid: &Bid,
    spec: &Spec,
    now: u64,
) -> Option<NearestMiss> {
    let offer = &book.offer(&digest)?.order;
    let context = book.context(offer.provider, bid.buyer, now);
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
