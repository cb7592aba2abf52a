//! Real messages, as honest parties send them: small ones, ordinary ones, and the largest that are allowed.

pub(crate) mod chain;
pub(crate) mod files;
pub(crate) mod market;
pub(crate) mod p2p;

/// A message behind its control byte.
fn after(control: u8, message: &[u8]) -> Vec<u8> {
    [&[control], message].concat()
}
