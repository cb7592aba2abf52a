//! Amounts, rates, times and sizes as people write them: `2.5 CTK`, `0.0025 CTK/s`, `9 CTK/h`, `90s`, `2h`,
//! `512MiB`, `20GiB`.
//!
//! Everything is read exactly into integers; only a rate per minute, hour or day is rounded, down to whole
//! base units per second. The modules [`ctk`], [`rate`], [`duration`], [`mebibytes`] and [`gibibytes`] are
//! for `#[serde(with = …)]` in configs.

use std::fmt;

/// Base units of one CTK.
pub const BASE_UNITS_PER_CTK: u128 = 1_000_000_000_000_000_000;
const DECIMALS: usize = 18;

/// A text that is not the quantity that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{input:?} is not {what}: {problem}; write it like {example:?}")]
pub struct ParseError {
    /// The text.
    pub input: String,
    /// What it should be.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
    /// A text that is right.
    pub example: &'static str,
}

/// A kind of quantity: its name and an example, for errors.
#[derive(Clone, Copy)]
struct Quantity {
    what: &'static str,
    example: &'static str,
}

const AMOUNT: Quantity = Quantity { what: "an amount", example: "2.5 CTK" };
const RATE: Quantity = Quantity { what: "a price", example: "0.0025 CTK/s" };
const DURATION: Quantity = Quantity { what: "a duration", example: "90s" };
const SIZE: Quantity = Quantity { what: "a size", example: "512MiB" };
const DISK: Quantity = Quantity { what: "a disk size", example: "20GiB" };

const NO_NUMBER: &str = "it does not start with a number";
const NO_UNIT: &str = "the unit is missing";
const UNKNOWN_UNIT: &str = "the unit is not known";
const TOO_LARGE: &str = "it is too large";
const TOO_PRECISE: &str = "it has more than 18 decimals";
const FRACTION: &str = "it is not a whole number";
const PART_OF_UNIT: &str = "it is not a whole multiple of the unit that is counted";
const TOO_SMALL: &str = "it is less than one base unit per second";

impl Quantity {
    fn error(self, input: &str, problem: &'static str) -> ParseError {
        ParseError { input: input.to_owned(), what: self.what, problem, example: self.example }
    }
}

/// Reads an amount like `2.5 CTK` into base units.
///
/// # Errors
/// Anything else, or more than 18 decimals.
pub fn parse_amount(input: &str) -> Result<u128, ParseError> {
    let (number, unit) = split(input, AMOUNT)?;
    match unit {
        "CTK" => parse_ctk(number).map_err(|problem| AMOUNT.error(input, problem)),
        _ => Err(AMOUNT.error(input, UNKNOWN_UNIT)),
    }
}

/// Writes base units as CTK, exactly: `2.5 CTK`.
pub fn format_amount(base_units: u128) -> String {
    format!("{} CTK", decimal(base_units))
}

/// Reads a price like `0.0025 CTK/s`, `9 CTK/h` (also `/min`, `/d`) into base units per second, rounded down.
///
/// # Errors
/// Anything else, less than one base unit per second, or more than 64 bits hold.
pub fn parse_rate(input: &str) -> Result<u64, ParseError> {
    let (number, unit) = split(input, RATE)?;
    let seconds = match unit {
        "CTK/s" => 1,
        "CTK/min" => 60,
        "CTK/h" => 3_600,
        "CTK/d" => 86_400,
        _ => return Err(RATE.error(input, UNKNOWN_UNIT)),
    };
    let base_units = parse_ctk(number).map_err(|problem| RATE.error(input, problem))?;
    match u64::try_from(base_units.checked_div(seconds).unwrap_or_default()) {
        Ok(0) => Err(RATE.error(input, TOO_SMALL)),
        Ok(rate) => Ok(rate),
        Err(_) => Err(RATE.error(input, TOO_LARGE)),
    }
}

/// Writes a rate exactly: `0.0025 CTK/s`.
pub fn format_rate(rate: u64) -> String {
    format!("{} CTK/s", decimal(u128::from(rate)))
}

/// Reads a duration like `90s`, `5m`, `2h`, `7d`, or several parts as in `1h30m`, into seconds.
///
/// # Errors
/// Anything else, or more than 32 bits hold.
pub fn parse_duration(input: &str) -> Result<u32, ParseError> {
    let mut rest = input.trim();
    let mut total: u32 = 0;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            _ if number.is_empty() => return Err(DURATION.error(input, NO_NUMBER)),
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "" if tail.starts_with('.') => return Err(DURATION.error(input, FRACTION)),
            "" => return Err(DURATION.error(input, NO_UNIT)),
            _ => return Err(DURATION.error(input, UNKNOWN_UNIT)),
        };
        let part = number.parse::<u32>().ok().and_then(|number| number.checked_mul(seconds));
        let sum = part.and_then(|part| total.checked_add(part));
        total = sum.ok_or_else(|| DURATION.error(input, TOO_LARGE))?;
        rest = tail.trim_start();
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

/// Writes seconds as days, hours, minutes and seconds: `1h30m`.
pub fn format_duration(seconds: u64) -> String {
    let parts =
        [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads a size like `512MiB`, `2GiB` or `1TiB` into MiB.
///
/// # Errors
/// Anything else, or more than 32 bits hold.
pub fn parse_mib(input: &str) -> Result<u32, ParseError> {
    parse_size(input, SIZE, 1)
}

/// Reads a size like `20GiB` or `1TiB` into GiB.
///
/// # Errors
/// Anything else, parts of a GiB, or more than 32 bits hold.
pub fn parse_gib(input: &str) -> Result<u32, ParseError> {
    parse_size(input, DISK, 1_024)
}

/// Writes MiB in the largest unit that divides it: `2GiB`.
pub fn format_mib(mib: u32) -> String {
    format_size(u64::from(mib))
}

/// Writes GiB in the largest unit that divides it: `1TiB`.
pub fn format_gib(gib: u32) -> String {
    format_size(u64::from(gib) * 1_024)
}

fn parse_size(input: &str, quantity: Quantity, mib_per_count: u64) -> Result<u32, ParseError> {
    let (number, unit) = split(input, quantity)?;
    let mib = match unit {
        "MiB" => 1,
        "GiB" => 1_024,
        "TiB" => 1_024 * 1_024,
        _ => return Err(quantity.error(input, UNKNOWN_UNIT)),
    };
    if number.contains('.') {
        return Err(quantity.error(input, FRACTION));
    }
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(mib));
    let total = total.ok_or_else(|| quantity.error(input, TOO_LARGE))?;
    if !total.is_multiple_of(mib_per_count) {
        return Err(quantity.error(input, PART_OF_UNIT));
    }
    let count = total.checked_div(mib_per_count).unwrap_or_default();
    u32::try_from(count).map_err(|_| quantity.error(input, TOO_LARGE))
}

fn format_size(mib: u64) -> String {
    const UNITS: [(u64, &str); 2] = [(1_024 * 1_024, "TiB"), (1_024, "GiB")];
    let largest = UNITS.iter().find(|(size, _)| mib > 0 && mib.is_multiple_of(*size));
    largest.map_or_else(
        || format!("{mib}MiB"),
        |(size, unit)| format!("{}{unit}", mib.checked_div(*size).unwrap_or(mib)),
    )
}

/// Splits a number and its unit, with or without a space between.
fn split(input: &str, quantity: Quantity) -> Result<(&str, &str), ParseError> {
    let text = input.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(quantity.error(input, NO_NUMBER));
    }
    match unit.trim_start() {
        "" => Err(quantity.error(input, NO_UNIT)),
        unit => Ok((number, unit)),
    }
}

fn parse_ctk(number: &str) -> Result<u128, &'static str> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.contains('.') {
        return Err(NO_NUMBER);
    }
    if fraction.len() > DECIMALS {
        return Err(TOO_PRECISE);
    }
    let whole = whole.parse::<u128>().map_err(|_| TOO_LARGE)?;
    let fraction = format!("{fraction:0<DECIMALS$}").parse::<u128>().map_err(|_| NO_NUMBER)?;
    whole.checked_mul(BASE_UNITS_PER_CTK).and_then(|whole| whole.checked_add(fraction)).ok_or(TOO_LARGE)
}

fn decimal(base_units: u128) -> String {
    let (whole, fraction) = (base_units / BASE_UNITS_PER_CTK, base_units % BASE_UNITS_PER_CTK);
    let digits = format!("{fraction:0>DECIMALS$}");
    match digits.trim_end_matches('0') {
        "" => whole.to_string(),
        digits => format!("{whole}.{digits}"),
    }
}

/// Reads a text with one of the parsers above, for serde.
struct TextVisitor<T>(fn(&str) -> Result<T, ParseError>, Quantity);

impl<T> serde::de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} like {:?}", self.1.what, self.1.example)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

/// Defines a module for `#[serde(with = …)]`.
macro_rules! serde_text {
    ($(#[$doc:meta])* $name:ident, $kind:ty, $quantity:ident, $parse:ident, |$value:ident| $format:expr) => {
        $(#[$doc])*
        pub mod $name {
            /// Writes the text.
            ///
            /// # Errors
            /// Those of the serializer.
            pub fn serialize<S: serde::Serializer>(value: &$kind, serializer: S) -> Result<S::Ok, S::Error> {
                let $value = *value;
                serializer.serialize_str(&$format)
            }

            /// Reads the text.
            ///
            /// # Errors
            /// A text that is not the quantity, with an example of one that is.
            pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<$kind, D::Error> {
                deserializer.deserialize_str(super::TextVisitor(super::$parse, super::$quantity))
            }
        }
    };
}

serde_text!(
    /// An amount in base units, as `2.5 CTK`.
    ctk, u128, AMOUNT, parse_amount, |value| super::format_amount(value)
);
serde_text!(
    /// A rate in base units per second, as `0.0025 CTK/s`.
    rate, u64, RATE, parse_rate, |value| super::format_rate(value)
);
serde_text!(
    /// Seconds, as `1h30m`.
    duration, u32, DURATION, parse_duration, |value| super::format_duration(u64::from(value))
);
serde_text!(
    /// MiB, as `512MiB`.
    mebibytes, u32, SIZE, parse_mib, |value| super::format_mib(value)
);
serde_text!(
    /// GiB, as `20GiB`.
    gibibytes, u32, DISK, parse_gib, |value| super::format_gib(value)
);

#[cfg(test)]
mod tests;
