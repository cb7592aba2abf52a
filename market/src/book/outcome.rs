//! The outcome of inserting an order into the book.

use alloy_primitives::B256;

use crate::orders::StructureError;

/// An order that was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// An offer.
    Offer {
        /// Its digest.
        digest: B256,
        /// The older version of its series that it replaces.
        replaced: Option<B256>,
    },
    /// An offer with no units: its series is over.
    Cancel {
        /// Its digest.
        digest: B256,
        /// The offer that it takes out.
        replaced: Option<B256>,
    },
    /// A bid.
    Bid {
        /// Its digest.
        digest: B256,
    },
}

/// Why an order is not taken in. All but [`Ignored::Structure`] depend on time, chain state or this node's policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// It breaks a bound of its own: whoever forwarded it did not check.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// It is here already, or was settled.
    #[error("the order is known already: nothing to do")]
    Known,
    /// It has expired.
    #[error("the order has expired: sign a new one")]
    Expired,
    /// It ends too far ahead.
    #[error("the order ends too far ahead: let offers end within an hour, bids within ten minutes")]
    TooFarAhead,
    /// It was signed by neither its maker nor an operator that the maker is known to approve.
    #[error(
        "the signer is not known as an operator of the maker: approve it with `sublet wallet operator approve` in the maker's home"
    )]
    Signer,
    /// Nothing is known of its maker.
    #[error("the maker's account has not been read from the chain: read it and insert again")]
    UnknownMaker,
    /// Its maker's free balance does not cover it.
    #[error("the maker's free balance does not cover the order: deposit more")]
    Unfunded,
    /// A bid of another epoch than its maker's.
    #[error("the bid is of another epoch than its maker's: sign a new one")]
    Epoch,
    /// A version of its series that is as new or newer is known.
    #[error("a newer version of the offer is known: sign a higher seq")]
    Superseded,
    /// Its maker has as many orders here as its balance allows.
    #[error("the maker has as many orders as its balance allows: deposit more, or wait until some expire")]
    Quota,
    /// The book is full.
    #[error("the book is full: raise its limit, or wait until orders expire")]
    Full,
}

impl Ignored {
    /// A stable name, for metrics and logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Structure(_) => "structure",
            Self::Known => "known",
            Self::Expired => "expired",
            Self::TooFarAhead => "too_far_ahead",
            Self::Signer => "signer",
            Self::UnknownMaker => "unknown_maker",
            Self::Unfunded => "unfunded",
            Self::Epoch => "epoch",
            Self::Superseded => "superseded",
            Self::Quota => "quota",
            Self::Full => "full",
        }
    }
}
