//! What gossip carries: a signed offer, or a signed bid with its spec.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::eip712::Domain;
use crate::orders::{Bid, Offer, Order, Spec, StructureError};
use crate::signature::{OrderSignature, SignatureError, Signed};

/// An order on its way between peers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderMessage {
    /// A provider's advertisement.
    Offer(Signed<Offer>),
    /// A buyer's request.
    Bid {
        /// The bid.
        bid: Signed<Bid>,
        /// The spec that the bid carries the hash of.
        spec: Spec,
    },
}

impl OrderMessage {
    /// Checks everything that can be told from the message alone, but for the signature.
    ///
    /// # Errors
    /// A broken bound, or a spec that is not the signed one.
    pub fn check(&self) -> Result<(), StructureError> {
        match self {
            Self::Offer(offer) => offer.order.check(),
            Self::Bid { bid, spec } => {
                bid.order.check()?;
                spec.check()?;
                let (signed, found) = (bid.order.spec, spec.hash_struct());
                if signed == found { Ok(()) } else { Err(StructureError::SpecHash { signed, found }) }
            }
        }
    }

    /// The order's digest.
    pub fn digest(&self, domain: &Domain) -> B256 {
        self.order().digest(domain)
    }

    /// Whose key signed: the maker's or, if the chain says so, its operator's.
    ///
    /// # Errors
    /// No key belongs to the signature.
    pub fn signer(&self, domain: &Domain) -> Result<Address, SignatureError> {
        match self {
            Self::Offer(offer) => offer.signer(domain),
            Self::Bid { bid, .. } => bid.signer(domain),
        }
    }

    /// [`OrderMessage::signer`] for an order whose digest is known already: hashing an order takes a fifth of
    /// what recovery takes.
    ///
    /// # Errors
    /// No key belongs to the signature.
    pub fn recover(&self, digest: B256) -> Result<Address, SignatureError> {
        match self {
            Self::Offer(offer) => offer.signature.recover(digest),
            Self::Bid { bid, .. } => bid.signature.recover(digest),
        }
    }

    /// The signature, as it came.
    pub fn signature(&self) -> &OrderSignature {
        match self {
            Self::Offer(offer) => &offer.signature,
            Self::Bid { bid, .. } => &bid.signature,
        }
    }

    /// The operator that says to have signed in the maker's place.
    pub fn operator(&self) -> Option<Address> {
        match self {
            Self::Offer(offer) => offer.operator,
            Self::Bid { bid, .. } => bid.operator,
        }
    }

    /// Whose order it is.
    pub fn maker(&self) -> Address {
        self.order().maker()
    }

    /// ed25519 key of the maker's peer.
    pub fn node(&self) -> B256 {
        self.order().node()
    }

    /// Last second at which the order counts.
    pub fn valid_until(&self) -> u64 {
        self.order().valid_until()
    }

    fn order(&self) -> &dyn Order {
        match self {
            Self::Offer(offer) => &offer.order,
            Self::Bid { bid, .. } => &bid.order,
        }
    }
}

impl From<Signed<Offer>> for OrderMessage {
    fn from(offer: Signed<Offer>) -> Self {
        Self::Offer(offer)
    }
}
