//! Signing orders and recovering who signed them: ECDSA over secp256k1, 65 bytes `r ‖ s ‖ v`.
//!
//! Only one signature of a key over a digest is accepted for each nonce: `s` in the lower half (EIP-2) and
//! `v` of 27 or 28. The C library does the arithmetic; recovery takes 35 to 90 µs on one core, as the core
//! is.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address, B256, hex, keccak256};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId, Signature};
use secp256k1::{Message, PublicKey, SecretKey};
use serde::{Deserialize, Serialize};

use crate::eip712::Domain;
use crate::orders::Order;

/// Why a signature or key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not 65 bytes.
    #[error("a signature has 65 bytes and not {0}: send r, s and v")]
    Length(usize),
    /// Not hexadecimal.
    #[error("a signature is 0x and 130 hexadecimal digits: send r, s and v that way")]
    Hex,
    /// `v` is neither 27 nor 28.
    #[error("signature with v = {0}: use 27 or 28")]
    V(u8),
    /// `r` or `s` is out of range.
    #[error("signature with r or s out of range: sign again")]
    Range,
    /// `s` is in the upper half of the order.
    #[error("signature with a high s: use the order of the curve minus s and the other v (EIP-2)")]
    HighS,
    /// No public key belongs to the signature.
    #[error("no key can have made this signature: sign again")]
    NoKey,
    /// The bytes are no secret key.
    #[error("not a secp256k1 secret key: 32 bytes between 1 and the order of the curve minus 1 are needed")]
    Secret,
}

/// A signature in the one form that the market accepts. It is valid in form, whoever made it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderSignature([u8; 65]);

impl OrderSignature {
    /// Takes `r ‖ s ‖ v`.
    ///
    /// # Errors
    /// A `v` other than 27 or 28, `r` or `s` out of range, or a high `s`.
    pub fn from_bytes(bytes: [u8; 65]) -> Result<Self, SignatureError> {
        let (compact, v) = split(&bytes);
        if !matches!(v, 27 | 28) {
            return Err(SignatureError::V(v));
        }
        let parsed = Signature::from_compact(compact).map_err(|_| SignatureError::Range)?;
        if compact[..32] == [0; 32] || compact[32..] == [0; 32] {
            return Err(SignatureError::Range);
        }
        let mut normal = parsed;
        normal.normalize_s();
        if normal != parsed {
            return Err(SignatureError::HighS);
        }
        Ok(Self(bytes))
    }

    /// `r ‖ s ‖ v`, as the contract takes it.
    pub fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    /// Whose key signed `digest`.
    ///
    /// # Errors
    /// No key belongs to the signature.
    pub fn recover(&self, digest: B256) -> Result<Address, SignatureError> {
        let (compact, v) = split(&self.0);
        let id = if v == 28 { RecoveryId::One } else { RecoveryId::Zero };
        let signature = RecoverableSignature::from_compact(compact, id).map_err(|_| SignatureError::Range)?;
        let key = signature.recover(Message::from_digest(digest.0)).map_err(|_| SignatureError::NoKey)?;
        Ok(address_of(&key))
    }
}

fn split(bytes: &[u8; 65]) -> (&[u8], u8) {
    let (compact, v) = bytes.split_at(64);
    (compact, v[0])
}

impl TryFrom<&[u8]> for OrderSignature {
    type Error = SignatureError;

    fn try_from(bytes: &[u8]) -> Result<Self, SignatureError> {
        Self::from_bytes(bytes.try_into().map_err(|_| SignatureError::Length(bytes.len()))?)
    }
}

impl TryFrom<[u8; 65]> for OrderSignature {
    type Error = SignatureError;

    fn try_from(bytes: [u8; 65]) -> Result<Self, SignatureError> {
        Self::from_bytes(bytes)
    }
}

impl From<OrderSignature> for [u8; 65] {
    fn from(signature: OrderSignature) -> Self {
        signature.0
    }
}

impl FromStr for OrderSignature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let bytes = hex::decode(text).map_err(|_| SignatureError::Hex)?;
        Self::try_from(bytes.as_slice())
    }
}

impl TryFrom<String> for OrderSignature {
    type Error = SignatureError;

    fn try_from(text: String) -> Result<Self, SignatureError> {
        text.parse()
    }
}

impl From<OrderSignature> for String {
    fn from(signature: OrderSignature) -> Self {
        signature.to_string()
    }
}

impl fmt::Display for OrderSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_prefixed(self.0))
    }
}

impl fmt::Debug for OrderSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An order with its maker's, or the maker's operator's, signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signed<T> {
    /// What was signed.
    pub order: T,
    /// By whom can be recovered: [`Signed::signer`].
    pub signature: OrderSignature,
    /// The operator that signed in the maker's place, if one did. It must be the signature's key; whether the maker
    /// approved it is the chain's to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Address>,
}

impl<T: Order> Signed<T> {
    /// An order with the signature that `signer` has made.
    pub fn by(signer: Address, order: T, signature: OrderSignature) -> Self {
        let operator = (signer != order.maker()).then_some(signer);
        Self { order, signature, operator }
    }

    /// Who says to have signed: the maker or its operator. Whoever else [did](Signed::signer) is a forger.
    pub fn named_signer(&self) -> Address {
        self.operator.unwrap_or_else(|| self.order.maker())
    }

    /// Whose key signed the order for this domain. It is the maker, or must be an operator that the maker
    /// approved on chain.
    ///
    /// # Errors
    /// No key belongs to the signature.
    pub fn signer(&self, domain: &Domain) -> Result<Address, SignatureError> {
        self.signature.recover(self.order.digest(domain))
    }

    /// The digest of the order for this domain.
    pub fn digest(&self, domain: &Domain) -> B256 {
        self.order.digest(domain)
    }
}

/// A secret key that signs orders. `Debug` shows its address only; the bytes are wiped when it is dropped.
#[derive(Clone)]
pub struct OrderKey(SecretKey);

impl OrderKey {
    /// Takes the 32 bytes of a secret key.
    ///
    /// # Errors
    /// Zero, or not below the order of the curve.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SignatureError> {
        SecretKey::from_secret_bytes(*bytes).map(Self).map_err(|_| SignatureError::Secret)
    }

    /// The Ethereum address of the key.
    pub fn address(&self) -> Address {
        address_of(&self.0.public_key())
    }

    /// Signs an order for a domain. Deterministic (RFC 6979): the same order gives the same signature.
    pub fn sign<T: Order>(&self, order: T, domain: &Domain) -> Signed<T> {
        let signature = self.sign_digest(order.digest(domain));
        Signed::by(self.address(), order, signature)
    }

    fn sign_digest(&self, digest: B256) -> OrderSignature {
        // libsecp256k1 always signs with a low s; ids 2 and 3 need r above the curve's order, which takes 2^127 tries.
        let message = Message::from_digest(digest.0);
        let (id, compact) =
            RecoverableSignature::sign_ecdsa_recoverable(message, &self.0).serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&compact);
        bytes[64] = id.to_u8().saturating_add(27);
        OrderSignature(bytes)
    }
}

impl fmt::Debug for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderKey({})", self.address())
    }
}

impl Drop for OrderKey {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

fn address_of(key: &PublicKey) -> Address {
    let point = key.serialize_uncompressed();
    Address::from_word(keccak256(&point[1..]))
}
