//! Traits: facts about capacity, as `key=value` texts in one canonical order, so that equal sets hash equally.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_TRAIT_BYTES, MAX_TRAITS};

/// A set of traits: strictly sorted, no duplicates, at most 32 of at most 64 bytes each. Clones share the texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Traits(Arc<[String]>);

/// Why a text or a list of texts is not a trait or a set of traits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraitError {
    /// A text is not `key=value`.
    #[error(
        "trait {0:?} is not valid: write key=value with a key of a-z 0-9 . _ - and a value without spaces, like region=eu-north-1"
    )]
    Syntax(String),
    /// A text has more than 64 bytes.
    #[error("trait {0:?} is longer than {MAX_TRAIT_BYTES} bytes: shorten its key or value")]
    TooLong(String),
    /// More than 32 traits.
    #[error("{0} traits are more than {MAX_TRAITS}: keep those that buyers choose by")]
    TooMany(usize),
    /// A received list is not strictly sorted.
    #[error("trait {0:?} is out of order or repeated: sort the traits by bytes and drop duplicates")]
    Unsorted(String),
}

impl Traits {
    /// Sorts, drops duplicates and validates.
    ///
    /// # Errors
    /// A text that is not `key=value`, one that is too long, or too many of them.
    pub fn new<I>(traits: I) -> Result<Self, TraitError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let mut traits: Vec<String> = traits.into_iter().map(Into::into).collect();
        traits.sort_unstable();
        traits.dedup();
        Self::from_sorted(traits)
    }

    /// Takes a list that must already be canonical, as one that comes from another peer is.
    ///
    /// # Errors
    /// As [`Traits::new`], and a list that is not strictly sorted.
    pub fn from_sorted(traits: Vec<String>) -> Result<Self, TraitError> {
        if traits.len() > MAX_TRAITS {
            return Err(TraitError::TooMany(traits.len()));
        }
        traits.iter().try_for_each(|text| check_trait(text))?;
        if let Some([_, second]) = traits.array_windows().find(|[first, second]| first >= second) {
            return Err(TraitError::Unsorted(second.clone()));
        }
        Ok(Self(traits.into()))
    }

    /// Whether every trait of `wanted` is here too.
    pub fn contains_all(&self, wanted: &Traits) -> bool {
        wanted.iter().all(|text| self.contains(text))
    }

    /// Whether this very `key=value` is in the set.
    pub fn contains(&self, text: &str) -> bool {
        self.0.binary_search_by(|own| own.as_str().cmp(text)).is_ok()
    }

    /// The first value of `key`, in sorted order.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|text| text.strip_prefix(key)?.strip_prefix('='))
    }

    /// The traits in sorted order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// How many traits there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Traits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl TryFrom<Vec<String>> for Traits {
    type Error = TraitError;

    fn try_from(traits: Vec<String>) -> Result<Self, TraitError> {
        Self::from_sorted(traits)
    }
}

impl From<Traits> for Vec<String> {
    fn from(traits: Traits) -> Self {
        traits.0.to_vec()
    }
}

fn check_trait(text: &str) -> Result<(), TraitError> {
    if text.len() > MAX_TRAIT_BYTES {
        return Err(TraitError::TooLong(text.to_owned()));
    }
    let is_key = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let valid = text.split_once('=').is_some_and(|(key, value)| {
        !key.is_empty()
            && key.bytes().all(is_key)
            && !value.is_empty()
            && value.bytes().all(|b| b.is_ascii_graphic())
    });
    if valid { Ok(()) } else { Err(TraitError::Syntax(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_sorts_and_drops_duplicates() {
        let traits = Traits::new(["region=eu", "arch=x86_64", "region=eu"]).unwrap();
        assert_eq!(traits.iter().collect::<Vec<_>>(), ["arch=x86_64", "region=eu"]);
        assert_eq!(traits.value("region"), Some("eu"));
        assert_eq!(traits.value("reg"), None);
    }

    #[test]
    fn contains_all_is_the_superset_relation() {
        let large = Traits::new(["a=1", "b=2", "c=3"]).unwrap();
        assert!(large.contains_all(&Traits::new(["a=1", "c=3"]).unwrap()));
        assert!(large.contains_all(&Traits::default()));
        assert!(!large.contains_all(&Traits::new(["a=2"]).unwrap()));
    }

    #[test]
    fn bad_traits_are_refused_by_name() {
        for bad in ["", "region", "=x", "region=", "Region=eu", "a=b c", "a=\u{e9}", "a=\n"] {
            assert_eq!(Traits::new([bad]), Err(TraitError::Syntax(bad.to_owned())));
        }
        let long = format!("a={}", "x".repeat(MAX_TRAIT_BYTES));
        assert_eq!(Traits::new([long.clone()]), Err(TraitError::TooLong(long)));
        assert_eq!(Traits::new((0..33).map(|i| format!("k={i}"))), Err(TraitError::TooMany(33)));
    }

    #[test]
    fn a_received_list_must_be_canonical() {
        let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        assert!(Traits::from_sorted(texts(&["a=1", "b=1"])).is_ok());
        assert_eq!(Traits::from_sorted(texts(&["b=1", "a=1"])), Err(TraitError::Unsorted("a=1".into())));
        assert_eq!(Traits::from_sorted(texts(&["a=1", "a=1"])), Err(TraitError::Unsorted("a=1".into())));
        assert!(serde_json::from_str::<Traits>(r#"["b=1","a=1"]"#).is_err());
    }
}
