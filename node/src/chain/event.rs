//! What the Market says: its log entries as plain, storable values.

use alloy::{rpc::types::Log, sol_types::SolEventInterface as _};
use alloy_primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};
use sublet_contracts::Market::{self, MarketEvents};

use crate::text_number;

use super::{
    error::ChainError,
    lease::{EndReason, end_reason},
};

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

/// A log of the Market, decoded; `None` for one that this binary does not know.
pub(crate) fn decode(log: &Log) -> Result<Option<MarketEvent>, ChainError> {
    if !log.topic0().is_some_and(|topic| MarketEvents::SELECTORS.contains(&topic.0)) {
        return Ok(None);
    }
    let decoded = MarketEvents::decode_log(&log.inner).map_err(|e| wrong(&e.to_string()))?;
    plain(decoded.data)
}

fn plain(event: MarketEvents) -> Result<Option<MarketEvent>, ChainError> {
    use MarketEvents as E;
    Ok(Some(match event {
        E::Deposited(e) => MarketEvent::Deposited { maker: e.maker, from: e.from, amount: amount(e.amount)? },
        E::Withdrawn(e) => MarketEvent::Withdrawn { maker: e.maker, amount: amount(e.amount)? },
        E::OperatorSet(e) => MarketEvent::OperatorSet { maker: e.maker, key: e.key, approved: e.approved },
        E::EpochBumped(e) => MarketEvent::EpochBumped { buyer: e.buyer, epoch: e.epoch },
        E::BidCancelled(e) => MarketEvent::BidCancelled { id: e.id, buyer: e.buyer },
        E::LeaseOpened(e) => opened(&e),
        E::LeaseActivated(e) => MarketEvent::LeaseActivated {
            id: e.id,
            started_at: e.startedAt,
            funded_until: e.fundedUntil,
            max_end: e.maxEnd,
        },
        E::LeaseToppedUp(e) => {
            MarketEvent::LeaseToppedUp { id: e.id, funded_until: e.fundedUntil, amount: amount(e.amount)? }
        }
        E::LeaseClaimed(e) => MarketEvent::LeaseClaimed {
            id: e.id,
            provider: e.provider,
            paid_until: e.paidUntil,
            net: amount(e.net)?,
            fee: amount(e.fee)?,
        },
        E::LeaseEnded(e) => ended(&e)?,
        E::BurnFlushed(e) => MarketEvent::BurnFlushed { payouts: amount(e.payouts)?, fees: amount(e.fees)? },
        #[allow(unreachable_patterns)] // ERC-5267 and OpenZeppelin events, where the ABI has them.
        _ => return Ok(None),
    }))
}

fn opened(e: &Market::LeaseOpened) -> MarketEvent {
    MarketEvent::LeaseOpened {
        id: e.id,
        buyer: e.buyer,
        provider: e.provider,
        offer: e.offer,
        buyer_node: e.buyerNode,
        provider_node: e.providerNode,
        rate: e.rate,
        duration: e.duration,
        max_duration: e.maxDuration,
        bond_seconds: e.bondSeconds,
        activate_by: e.activateBy,
        burn: e.burn,
    }
}

fn ended(e: &Market::LeaseEnded) -> Result<MarketEvent, ChainError> {
    let reason = end_reason(e.reason)?.ok_or_else(|| wrong("an end without a reason"))?;
    Ok(MarketEvent::LeaseEnded {
        id: e.id,
        provider: e.provider,
        reason,
        ended_at: e.endedAt,
        paid_to_provider: amount(e.paidToProvider)?,
        fee: amount(e.fee)?,
        burned: amount(e.burned)?,
        refunded: amount(e.refunded)?,
        bond_to_provider: amount(e.bondToProvider)?,
        bond_to_buyer: amount(e.bondToBuyer)?,
    })
}

/// Base units; the whole supply of the token is 10^24, so more than a u128 holds is no token of ours.
fn amount(value: U256) -> Result<u128, ChainError> {
    u128::try_from(value).map_err(|_| wrong("an amount beyond 128 bits"))
}

fn wrong(reason: &str) -> ChainError {
    ChainError::Decode { what: "an event of the Market", reason: reason.to_owned() }
}
