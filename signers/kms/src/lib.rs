//! A wallet key in AWS KMS: it is made there, never leaves it, and signs there.
//!
//! ```text
//!   KmsKey::open ─▶ GetPublicKey ─▶ the key's address, and that it is a secp256k1 key for signatures
//!   sign(digest) ─▶ Sign, MessageType DIGEST ─▶ DER ─▶ low s, recovery id, checked against the public key
//! ```
//!
//! KMS gives any valid signature of the digest; Ethereum takes one with the lower `s` (EIP-2) and wants to
//! know which of two public keys it recovers to. What does not recover to the key's address is an error and
//! is never sent.
//!
//! A crate of its own, so that nothing but the node's binary waits for the SDK.

mod client;
mod error;
mod key;

pub use client::KmsAccess;
pub use error::KmsError;
pub use key::KmsKey;
