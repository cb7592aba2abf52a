//! One key in KMS: its address, and signatures in the form that Ethereum takes.

use alloy_primitives::{Address, B256, hex, keccak256};
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeySpec, KeyUsageType, MessageType, SigningAlgorithmSpec};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId, Signature};
use secp256k1::{Message, PublicKey};

use crate::error::explain;
use crate::{KmsAccess, KmsError};

/// What precedes the 65 bytes of a point in the DER of a secp256k1 public key (RFC 5480, SEC 2): the algorithm
/// id-ecPublicKey, the curve, and the head of a bit string.
const SPKI_HEAD: [u8; 23] = hex!("3056301006072a8648ce3d020106052b8104000a034200");
/// What [`KmsKey::open`] asks for.
const GET_PUBLIC_KEY: &str = "GetPublicKey";
/// What [`KmsKey::sign`] asks for.
const SIGN: &str = "Sign";

/// A secp256k1 key in KMS. Clones share the connection; there is no secret in it.
#[derive(Debug, Clone)]
pub struct KmsKey {
    client: Client,
    arn: String,
    region: String,
    public: PublicKey,
    address: Address,
}

impl KmsKey {
    /// Asks KMS for the public key of `key`: an alias (`alias/wallet`), a key id, or an ARN of either.
    ///
    /// The key behind an alias is looked up here, once: pointing the alias elsewhere does not change the wallet of a
    /// running node.
    ///
    /// # Errors
    /// What is wrong with the settings, the credentials, the permissions or the key, with the remedy.
    pub async fn open(key: &str, access: &KmsAccess) -> Result<Self, KmsError> {
        let region = access.region_of(key)?;
        // The SDK's futures are tens of kilobytes: on the heap, so that callers' are not.
        let client = Box::pin(access.client(&region)).await;
        let answer = Box::pin(client.get_public_key().key_id(key).send()).await;
        let answer = answer.map_err(|error| explain(GET_PUBLIC_KEY, key, &region, &error))?;
        let unsuitable = |reason: String| KmsError::Unsuitable { key: key.to_owned(), reason };
        let spec = answer.key_spec();
        if spec != Some(&KeySpec::EccSecgP256K1) {
            return Err(unsuitable(format!(
                "it is a key of type {}",
                spec.map_or("unknown", KeySpec::as_str)
            )));
        }
        let usage = answer.key_usage();
        if usage != Some(&KeyUsageType::SignVerify) {
            let usage = usage.map_or("unknown", KeyUsageType::as_str);
            return Err(unsuitable(format!("it is for {usage}")));
        }
        let der = answer.public_key().map(Blob::as_ref).unwrap_or_default();
        let public = point(der).ok_or_else(|| KmsError::Answer {
            action: GET_PUBLIC_KEY,
            reason: "no secp256k1 public key in DER".into(),
        })?;
        let arn = answer.key_id().unwrap_or(key).to_owned();
        Ok(Self { client, arn, region, address: address_of(&public), public })
    }

    /// The Ethereum address of the key.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// The key's own name in AWS, whatever alias led to it.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Signs 32 bytes that are a hash already: `r ‖ s ‖ v`, with a low `s` and `v` of 27 or 28. Two signatures of one
    /// digest differ: KMS takes a fresh nonce for each.
    ///
    /// # Errors
    /// [`KmsError`]; nothing but a signature that recovers to [`KmsKey::address`] is returned.
    pub async fn sign(&self, digest: B256) -> Result<[u8; 65], KmsError> {
        let request = self
            .client
            .sign()
            .key_id(&self.arn)
            .message(Blob::new(digest.as_slice()))
            .message_type(MessageType::Digest)
            .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256);
        let answer = Box::pin(request.send()).await;
        let answer = answer.map_err(|error| explain(SIGN, &self.arn, &self.region, &error))?;
        let der = answer.signature().map(Blob::as_ref).unwrap_or_default();
        recoverable(der, digest, &self.public)
            .map_err(|reason| KmsError::Answer { action: SIGN, reason: reason.to_owned() })
    }
}

/// The point in a DER SubjectPublicKeyInfo of this curve and no other.
fn point(der: &[u8]) -> Option<PublicKey> {
    PublicKey::from_slice(der.strip_prefix(&SPKI_HEAD)?).ok()
}

/// A DER signature with the lower of its two `s`, and the `v` with which it recovers to `public`.
fn recoverable(der: &[u8], digest: B256, public: &PublicKey) -> Result<[u8; 65], &'static str> {
    let mut signature = Signature::from_der(der).map_err(|_| "no ECDSA signature in DER")?;
    signature.normalize_s();
    let compact = signature.serialize_compact();
    let message = Message::from_digest(digest.0);
    // Ids 2 and 3 need r above the curve's order, which takes 2^127 tries.
    for (v, id) in [(27, RecoveryId::Zero), (28, RecoveryId::One)] {
        let recovered =
            RecoverableSignature::from_compact(&compact, id).and_then(|full| full.recover(message));
        if recovered.as_ref() == Ok(public) {
            let mut bytes = [v; 65];
            bytes[..64].copy_from_slice(&compact);
            return Ok(bytes);
        }
    }
    Err("a signature of something else, or of another key")
}

fn address_of(key: &PublicKey) -> Address {
    Address::from_word(keccak256(&key.serialize_uncompressed()[1..]))
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_secret_bytes([7; 32]).unwrap()
    }

    fn der_of(public: &PublicKey) -> Vec<u8> {
        [SPKI_HEAD.as_slice(), public.serialize_uncompressed().as_slice()].concat()
    }

    fn sign(digest: B256) -> Signature {
        secp256k1::ecdsa::sign(Message::from_digest(digest.0), &key())
    }

    #[test]
    fn a_public_key_is_of_this_curve_and_whole() {
        let public = key().public_key();
        let der = der_of(&public);
        assert_eq!(point(&der), Some(public));
        // prime256v1 (1.2.840.10045.3.1.7): the points have the same length, the head has not.
        let p256 = [&hex!("3059301306072a8648ce3d020106082a8648ce3d030107034200")[..], &der[23..]].concat();
        for wrong in [&der[..87], &der[1..], &p256[..], &[][..]] {
            assert_eq!(point(wrong), None);
        }
    }

    #[test]
    fn both_forms_of_a_signature_become_the_low_one() {
        let public = key().public_key();
        let mut parities = [0; 2];
        for n in 0..16 {
            let digest = keccak256([n]);
            let low = sign(digest);
            let bytes = recoverable(&low.serialize_der(), digest, &public).unwrap();
            assert_eq!(&bytes[..64], low.serialize_compact());
            parities[usize::from(bytes[64] - 27)] += 1;
            // n − s signs the same digest: KMS gives it half of the time.
            let mut high = low.serialize_compact();
            let s = SecretKey::from_secret_bytes(high[32..].try_into().unwrap()).unwrap().negate();
            high[32..].copy_from_slice(&s.to_secret_bytes());
            let high = Signature::from_compact(&high).unwrap();
            assert_ne!(high, low);
            assert_eq!(recoverable(&high.serialize_der(), digest, &public), Ok(bytes));
        }
        assert!(parities.iter().all(|count| *count > 0), "{parities:?}");
    }

    #[test]
    fn a_signature_of_something_else_is_refused() {
        let public = key().public_key();
        let der = sign(keccak256("one")).serialize_der();
        assert!(recoverable(&der, keccak256("two"), &public).unwrap_err().contains("something else"));
        assert!(recoverable(&der[1..], keccak256("one"), &public).unwrap_err().contains("DER"));
        let other = SecretKey::from_secret_bytes([8; 32]).unwrap().public_key();
        assert!(recoverable(&der, keccak256("one"), &other).is_err());
    }
}
