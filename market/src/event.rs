//! What the Market contract says: its log entries as plain, storable values.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::{lease::EndReason, text_number};

/// One event of the Market. Amounts are base units of the token, rates base units per second, times Unix seconds
/// of chain time, durations seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // The fields carry the names of the contract's interface, which documents them.
pub enum MarketEvent {
    /// Tokens arrived for a maker.
    Deposited {
        maker: Address,
        from: Address,
        #[serde(with = "text_number")]
        amount: u128,
    },
    /// A maker took tokens out.
    Withdrawn {
        maker: Address,
        #[serde(with = "text_number")]
        amount: u128,
    },
    /// A maker approved or revoked an operator key.
    OperatorSet { maker: Address, key: Address, approved: bool },
    /// All earlier bids of a buyer are void.
    EpochBumped { buyer: Address, epoch: u32 },
    /// A bid can never become a lease.
    BidCancelled { id: B256, buyer: Address },
    /// Bid and accept became a lease; escrow and bond are locked.
    LeaseOpened {
        id: B256,
        buyer: Address,
        provider: Address,
        offer: B256,
        buyer_node: B256,
        provider_node: B256,
        #[serde(with = "text_number")]
        rate: u64,
        duration: u32,
        max_duration: u32,
        bond_seconds: u32,
        activate_by: u32,
        burn: bool,
    },
    /// Billing started.
    LeaseActivated { id: B256, started_at: u32, funded_until: u32, max_end: u32 },
    /// The buyer paid for more time.
    LeaseToppedUp {
        id: B256,
        funded_until: u32,
        #[serde(with = "text_number")]
        amount: u128,
    },
    /// The provider was paid for what is HOLD old.
    LeaseClaimed {
        id: B256,
        provider: Address,
        paid_until: u32,
        #[serde(with = "text_number")]
        net: u128,
        #[serde(with = "text_number")]
        fee: u128,
    },
    /// A lease is over; the amounts are all that it held.
    LeaseEnded {
        id: B256,
        provider: Address,
        reason: EndReason,
        ended_at: u32,
        #[serde(with = "text_number")]
        paid_to_provider: u128,
        #[serde(with = "text_number")]
        fee: u128,
        #[serde(with = "text_number")]
        burned: u128,
        #[serde(with = "text_number")]
        refunded: u128,
        #[serde(with = "text_number")]
        bond_to_provider: u128,
        #[serde(with = "text_number")]
        bond_to_buyer: u128,
    },
    /// Collected fees and payouts were burned.
    BurnFlushed {
        #[serde(with = "text_number")]
        payouts: u128,
        #[serde(with = "text_number")]
        fees: u128,
    },
}

impl MarketEvent {
    /// The lease that the event is about, if it is about one.
    #[must_use]
    pub fn lease(&self) -> Option<B256> {
        match self {
            Self::BidCancelled { id, .. }
            | Self::LeaseOpened { id, .. }
            | Self::LeaseActivated { id, .. }
            | Self::LeaseToppedUp { id, .. }
            | Self::LeaseClaimed { id, .. }
            | Self::LeaseEnded { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// The makers that the event names: what the chain says of them has changed. The later events of a lease name its
    /// provider at most; who is party to a lease is in its `LeaseOpened`.
    #[must_use]
    pub fn makers(&self) -> Vec<Address> {
        match self {
            Self::Deposited { maker, .. }
            | Self::Withdrawn { maker, .. }
            | Self::OperatorSet { maker, .. } => vec![*maker],
            Self::EpochBumped { buyer, .. } | Self::BidCancelled { buyer, .. } => vec![*buyer],
            Self::LeaseOpened { buyer, provider, .. } => vec![*buyer, *provider],
            Self::LeaseClaimed { provider, .. } | Self::LeaseEnded { provider, .. } => vec![*provider],
            _ => Vec::new(),
        }
    }

    /// The contract's name of the event.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Deposited { .. } => "Deposited",
            Self::Withdrawn { .. } => "Withdrawn",
            Self::OperatorSet { .. } => "OperatorSet",
            Self::EpochBumped { .. } => "EpochBumped",
            Self::BidCancelled { .. } => "BidCancelled",
            Self::LeaseOpened { .. } => "LeaseOpened",
            Self::LeaseActivated { .. } => "LeaseActivated",
            Self::LeaseToppedUp { .. } => "LeaseToppedUp",
            Self::LeaseClaimed { .. } => "LeaseClaimed",
            Self::LeaseEnded { .. } => "LeaseEnded",
            Self::BurnFlushed { .. } => "BurnFlushed",
        }
    }
}

/// An event and where on the chain it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedEvent {
    /// The block's number.
    pub block: u64,
    /// The block's time in Unix seconds.
    pub timestamp: u64,
    /// The transaction.
    pub tx: B256,
    /// The position within the block: `(block, log_index)` is unique and orders all events.
    pub log_index: u64,
    /// What happened.
    pub event: MarketEvent,
}
