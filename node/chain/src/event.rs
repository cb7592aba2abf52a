//! Decodes the Market's log entries into [`MarketEvent`]s.

use alloy::{rpc::types::Log, sol_types::SolEventInterface as _};
use alloy_primitives::U256;
use sublet_contracts::{
    Market::{self, MarketEvents},
    end_reason,
};
use sublet_market::MarketEvent;

use super::error::ChainError;

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
    let reason = end_reason(e.reason)
        .map_err(|e| wrong(&e.to_string()))?
        .ok_or_else(|| wrong("an end without a reason"))?;
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
