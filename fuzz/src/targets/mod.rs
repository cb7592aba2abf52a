//! The properties. A function panics when one does not hold.

pub(crate) mod chain;
pub(crate) mod files;
pub(crate) mod market;
pub(crate) mod p2p;

/// A text that ends up on a terminal or in a log: one line, no control characters, not endless.
fn assert_plain(text: &str, most: usize) {
    assert!(!text.contains(char::is_control), "control characters in {text:?}");
    assert!(text.len() <= most, "{} bytes of text", text.len());
}
