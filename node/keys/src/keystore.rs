//! A secret key under a passphrase: Web3 Secret Storage version 3, the keystore file of geth, Foundry's `cast wallet`,
//! MetaMask and the rest.
//!
//! scrypt (or, in files that we only read, PBKDF2) makes 32 bytes of the passphrase. The first half encrypts the key by
//! AES-128-CTR; the second half with the ciphertext gives the MAC, by which a wrong passphrase is known.
//!
//! Source: the [Web3 Secret Storage
//! Definition](https://ethereum.org/en/developers/docs/data-structures-and-encoding/web3-secret-storage/).
//! The primitives are RustCrypto's and ring's. Everything in a file is checked before it is used: what is
//! damaged or would cost hours is an error, never a panic.

use std::num::NonZeroU32;

use aes::cipher::{KeyIvInit as _, StreamCipher as _};
use alloy_primitives::{Address, keccak256};
use ring::{
    pbkdf2::{self, PBKDF2_HMAC_SHA256},
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};
use sublet_market::trade::clean_text;
use zeroize::Zeroizing;

use super::passphrase::Passphrase;

#[cfg(test)]
mod tests;

const VERSION: u32 = 3;
const CIPHER: &str = "aes-128-ctr";
const PRF: &str = "hmac-sha256";
/// Bytes that the passphrase becomes.
const DERIVED: usize = 32;
/// Bytes of memory that reading a file may take: four times what geth's files need.
const MOST_MEMORY: u64 = 1 << 30;
/// Rounds (n · r · p) that reading a file may take: sixteen times geth's, some ten seconds.
const MOST_ROUNDS: u64 = 1 << 25;
/// PBKDF2 rounds that reading a file may take: some ten seconds.
const MOST_PBKDF2_ROUNDS: u32 = 30_000_000;
/// geth's block size for scrypt.
const SCRYPT_R: u32 = 8;
/// geth's parallelism for scrypt.
const SCRYPT_P: u32 = 1;

/// What can be wrong with a keystore.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// Not a keystore, or one with impossible values.
    #[error(
        "is not a complete Web3 Secret Storage file of version 3 ({0}): restore it from a backup, or import \
         the right file with `sublet init --keystore FILE`"
    )]
    Damaged(String),
    /// The MAC says no.
    #[error(
        "does not open with this passphrase (or the file was changed): try again, or restore it from a backup"
    )]
    WrongPassphrase,
    /// Opening it would take too long or too much memory.
    #[error(
        "needs too much work to open ({0}): write it again with the wallet that made it, with scrypt n = \
         262144, r = 8, p = 1"
    )]
    TooCostly(String),
    /// It opens to another key than its address says.
    #[error("holds the key of {actual} but names {named}: restore it from a backup")]
    OtherKey {
        /// The file's word.
        named: Address,
        /// The truth.
        actual: Address,
    },
    /// The system's random number generator failed.
    #[error("cannot be made: the system's random number generator failed; check that /dev/urandom exists")]
    Random,
}

/// What a passphrase costs to try.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    log_n: u8,
}

impl Cost {
    /// geth's standard, n = 2^18: 256 MiB and a second for each try.
    pub const STANDARD: Self = Self { log_n: 18 };
    /// For tests: it protects nothing.
    #[cfg(test)]
    pub(crate) const TEST: Self = Self { log_n: 4 };
}

/// A keystore file's content. There is no secret in it that its passphrase does not protect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keystore {
    // geth wants it, Foundry leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "bare_address")]
    address: Option<Address>,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    #[serde(default)]
    id: String,
    version: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    #[serde(with = "hex_text")]
    ciphertext: Vec<u8>,
    #[serde(flatten)]
    kdf: Kdf,
    #[serde(with = "hex_text")]
    mac: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CipherParams {
    #[serde(with = "hex_text")]
    iv: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt {
        dklen: usize,
        n: u64,
        r: u32,
        p: u32,
        #[serde(with = "hex_text")]
        salt: Vec<u8>,
    },
    Pbkdf2 {
        c: u32,
        dklen: usize,
        prf: String,
        #[serde(with = "hex_text")]
        salt: Vec<u8>,
    },
}

impl Keystore {
    /// Puts `secret`, the key of `address`, under a passphrase.
    ///
    /// # Errors
    /// [`KeystoreError::Random`].
    pub fn encrypt(
        secret: &[u8; 32],
        address: Address,
        passphrase: &Passphrase,
        cost: Cost,
    ) -> Result<Self, KeystoreError> {
        let kdf = Kdf::Scrypt {
            dklen: DERIVED,
            n: 1 << cost.log_n,
            r: SCRYPT_R,
            p: SCRYPT_P,
            salt: random::<32>()?.to_vec(),
        };
        let derived = kdf.derive(passphrase)?;
        let iv = random::<16>()?;
        let mut ciphertext = secret.to_vec();
        apply_cipher(&derived, &iv, &mut ciphertext);
        let mac = mac(&derived, &ciphertext);
        let cipherparams = CipherParams { iv: iv.to_vec() };
        let crypto = Crypto { cipher: CIPHER.to_owned(), cipherparams, ciphertext, kdf, mac };
        Ok(Self { address: Some(address), crypto, id: uuid(random()?), version: VERSION })
    }

    /// Reads a file's text and checks all that can be checked without the passphrase.
    ///
    /// # Errors
    /// [`KeystoreError::Damaged`] and [`KeystoreError::TooCostly`].
    pub fn parse(text: &str) -> Result<Self, KeystoreError> {
        let damaged = |reason: String| Err(KeystoreError::Damaged(reason));
        // The parser's words quote the file, which may hold anything that a terminal obeys.
        let keystore: Self = serde_json::from_str(text)
            .map_err(|error| KeystoreError::Damaged(clean_text(&error.to_string())))?;
        let crypto = &keystore.crypto;
        if keystore.version != VERSION {
            return damaged(format!("version {}", keystore.version));
        }
        if crypto.cipher != CIPHER {
            return damaged(format!("cipher {:?}, not {CIPHER}", crypto.cipher));
        }
        for (name, bytes, length) in [
            ("ciphertext", &crypto.ciphertext, 32),
            ("mac", &crypto.mac, 32),
            ("iv", &crypto.cipherparams.iv, 16),
        ] {
            if bytes.len() != length {
                return damaged(format!("{name} of {} bytes, not {length}", bytes.len()));
            }
        }
        crypto.kdf.check()?;
        Ok(keystore)
    }

    /// The file's text: one line of JSON.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Strings and numbers under names that are strings: there is nothing in it that JSON could not hold.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whose key it is, as the file says.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        self.address
    }

    /// The same file with the address in it.
    #[must_use]
    pub fn with_address(self, address: Address) -> Self {
        Self { address: Some(address), ..self }
    }

    /// The secret key. Takes a second and 256 MiB with geth's standard cost.
    ///
    /// # Errors
    /// [`KeystoreError::WrongPassphrase`].
    pub fn decrypt(&self, passphrase: &Passphrase) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let derived = self.crypto.kdf.derive(passphrase)?;
        if mac(&derived, &self.crypto.ciphertext) != self.crypto.mac {
            return Err(KeystoreError::WrongPassphrase);
        }
        let mut secret = Zeroizing::new([0; 32]);
        // `parse` and `encrypt` leave no other length.
        secret.copy_from_slice(&self.crypto.ciphertext);
        apply_cipher(&derived, &self.crypto.cipherparams.iv, secret.as_mut_slice());
        Ok(secret)
    }
}

impl Kdf {
    fn check(&self) -> Result<(), KeystoreError> {
        let damaged = |reason: String| Err(KeystoreError::Damaged(reason));
        let costly = |reason: String| Err(KeystoreError::TooCostly(reason));
        let (dklen, problem) = match self {
            Self::Scrypt { dklen, n, r, p, .. } => {
                let sane = n.is_power_of_two() && *n > 1 && *r > 0 && *p > 0;
                // Of the mixing, and of the blocks that it begins with: a large p alone costs as much (RFC
                // 7914, section 6).
                let blocks = n.saturating_add(u64::from(*p));
                let memory = blocks.saturating_mul(u64::from(*r)).saturating_mul(128);
                let rounds = n.saturating_mul(u64::from(*r)).saturating_mul(u64::from(*p));
                if sane && (memory > MOST_MEMORY || rounds > MOST_ROUNDS) {
                    return costly(format!("scrypt n = {n}, r = {r}, p = {p}"));
                }
                (*dklen, (!sane).then(|| format!("scrypt n = {n}, r = {r}, p = {p}")))
            }
            Self::Pbkdf2 { c, dklen, prf, .. } => {
                if *c > MOST_PBKDF2_ROUNDS {
                    return costly(format!("pbkdf2 c = {c}"));
                }
                (*dklen, (*c == 0 || prf != PRF).then(|| format!("pbkdf2 c = {c}, prf = {prf:?}")))
            }
        };
        match problem {
            Some(problem) => damaged(problem),
            None if dklen != DERIVED => damaged(format!("dklen = {dklen}, not {DERIVED}")),
            None => Ok(()),
        }
    }

    fn derive(&self, passphrase: &Passphrase) -> Result<Zeroizing<[u8; DERIVED]>, KeystoreError> {
        let impossible = |reason: &dyn std::fmt::Display| KeystoreError::Damaged(reason.to_string());
        let mut derived = Zeroizing::new([0; DERIVED]);
        match self {
            Self::Scrypt { n, r, p, salt, .. } => {
                let log_n = u8::try_from(n.ilog2()).map_err(|e| impossible(&e))?;
                let params = scrypt::Params::new(log_n, *r, *p).map_err(|e| impossible(&e))?;
                scrypt::scrypt(passphrase.bytes(), salt, &params, derived.as_mut_slice())
                    .map_err(|e| impossible(&e))?;
            }
            Self::Pbkdf2 { c, salt, .. } => {
                let rounds = NonZeroU32::new(*c).ok_or_else(|| impossible(&"pbkdf2 c = 0"))?;
                let out = derived.as_mut_slice();
                pbkdf2::derive(PBKDF2_HMAC_SHA256, rounds, salt, passphrase.bytes(), out);
            }
        }
        Ok(derived)
    }
}

/// Encrypts, or decrypts, in place.
fn apply_cipher(derived: &[u8; DERIVED], iv: &[u8], data: &mut [u8]) {
    let mut key = Zeroizing::new([0; 16]);
    key.copy_from_slice(&derived[..16]);
    let mut start = [0; 16];
    start.copy_from_slice(iv);
    ctr::Ctr128BE::<aes::Aes128>::new(&(*key).into(), &start.into()).apply_keystream(data);
}

fn mac(derived: &[u8; DERIVED], ciphertext: &[u8]) -> Vec<u8> {
    let input = Zeroizing::new([&derived[16..], ciphertext].concat());
    keccak256(input.as_slice()).to_vec()
}

fn random<const N: usize>() -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeystoreError::Random)?;
    Ok(bytes)
}

/// A random UUID (RFC 9562, version 4).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// Bytes as hexadecimal digits; other wallets' `0x` is taken too.
mod hex_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        hex::decode(text.strip_prefix("0x").unwrap_or(&text)).map_err(D::Error::custom)
    }
}

/// An address as geth writes it into keystores: 40 digits of one case, without `0x`.
mod bare_address {
    use alloy_primitives::Address;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(address: &Option<Address>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&address.map(hex::encode).unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Address>, D::Error> {
        let text = Option::<String>::deserialize(d)?.filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}
