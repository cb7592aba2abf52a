//! Integers that do not fit a JSON number (2^53), as decimal strings: `#[serde(with = "sublet_market::text_number")]`.

use std::{fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// Writes the digits.
///
/// # Errors
/// The serializer's own.
pub fn serialize<T: Display, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(value)
}

/// Reads the digits, or a number where it fits one.
///
/// # Errors
/// What is there is not a whole number.
pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        Number(u64),
    }
    let text = match Given::deserialize(d)? {
        Given::Text(text) => text,
        Given::Number(number) => number.to_string(),
    };
    text.parse().map_err(|_| {
        D::Error::custom(format!("'{text}' is not a whole number in a string; for example \"1000\""))
    })
}

/// The same for a value that may be missing.
pub mod option {
    use super::{Deserializer, Display, FromStr, Serializer};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    #[serde(transparent, bound(serialize = "T: Display", deserialize = "T: FromStr"))]
    struct Text<T>(#[serde(with = "super")] T);

    /// Writes the digits, or null.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<T: Display + Copy, S: Serializer>(value: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
        value.map(Text).serialize(s)
    }

    /// Reads the digits, or null.
    ///
    /// # Errors
    /// What is there is neither.
    pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
        Ok(Option::<Text<T>>::deserialize(d)?.map(|text| text.0))
    }
}
