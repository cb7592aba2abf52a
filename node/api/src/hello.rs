//! How a client makes sure that it talks to the node of its home before it shows the bearer token.
//!
//! The address that a killed node leaves behind in `api.address` names a port that any other user of the machine
//! may bind. So the client sends a random nonce first, without the token, and the answer must be an HMAC over the
//! nonce and the address that was called, keyed with the token: only who can read the home's 0600 file can give
//! it, and an answer fetched from a node at another address does not fit.

use std::net::SocketAddr;

use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};

use super::types::ErrorBody;

/// The path, which is served without the bearer token.
pub const PATH: &str = "/v1/hello";
/// Sets these HMACs apart from any other use of the token.
const CONTEXT: &[u8] = b"sublet local API hello 1\0";
const NONCE_BYTES: usize = 32;

/// `GET /v1/hello?nonce=HEX`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// 32 random bytes in hexadecimal.
    pub nonce: String,
}

/// What the node answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// HMAC-SHA256 in hexadecimal.
    pub proof: String,
}

/// The node's side: what proves that it knows the token.
#[derive(Clone)]
pub struct Prover {
    key: hmac::Key,
    address: SocketAddr,
}

impl Prover {
    /// For the node that listens on `address` and whose bearer token is `token`.
    #[must_use]
    pub fn new(token: &str, address: SocketAddr) -> Self {
        Self { key: key(token), address }
    }

    /// Answers a question.
    ///
    /// # Errors
    /// The nonce is not what it must be.
    pub fn answer(&self, question: &Question) -> Result<Answer, ErrorBody> {
        let mut nonce = [0; NONCE_BYTES];
        if hex::decode_to_slice(&question.nonce, &mut nonce).is_err() {
            let error = "nonce must be 64 hexadecimal digits: see docs/api.md".to_owned();
            return Err(ErrorBody { error, code: "invalid".into() });
        }
        let proof = hmac::sign(&self.key, &message(self.address, &nonce));
        Ok(Answer { proof: hex::encode(proof) })
    }
}

fn key(token: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes())
}

fn message(address: SocketAddr, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
    [CONTEXT, address.to_string().as_bytes(), b"\0", nonce].concat()
}

/// The client's side of one hello.
pub(super) struct Challenge {
    key: hmac::Key,
    address: SocketAddr,
    nonce: [u8; NONCE_BYTES],
}

impl Challenge {
    /// A fresh one; `None` when the system has no random numbers.
    pub(super) fn new(token: &str, address: SocketAddr) -> Option<Self> {
        let mut nonce = [0; NONCE_BYTES];
        SystemRandom::new().fill(&mut nonce).ok()?;
        Some(Self { key: key(token), address, nonce })
    }

    /// What to ask.
    pub(super) fn url(&self) -> String {
        format!("http://{}{PATH}?nonce={}", self.address, hex::encode(self.nonce))
    }

    /// Whether this body is the answer of our node.
    pub(super) fn is_met_by(&self, body: &[u8]) -> bool {
        let Ok(Answer { proof }) = serde_json::from_slice(body) else { return false };
        let Ok(proof) = hex::decode(proof) else { return false };
        hmac::verify(&self.key, &message(self.address, &self.nonce), &proof).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(token: &str, address: SocketAddr, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
        let question = Question { nonce: hex::encode(nonce) };
        serde_json::to_vec(&Prover::new(token, address).answer(&question).unwrap()).unwrap()
    }

    #[test]
    fn only_the_holder_of_the_token_at_this_address_meets_the_challenge() {
        let (here, there) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
        let challenge = Challenge::new("token", here).unwrap();
        assert!(challenge.is_met_by(&told("token", here, &challenge.nonce)));
        assert!(!challenge.is_met_by(&told("guess", here, &challenge.nonce)));
        assert!(!challenge.is_met_by(&told("token", there, &challenge.nonce)), "relayed from another node");
        assert!(!challenge.is_met_by(&told("token", here, &[0; NONCE_BYTES])), "replayed");
        assert!(!challenge.is_met_by(b"{}") && !challenge.is_met_by(b"<html>"));
    }
}
