//! Answers of an RPC, which may be anybody's.

use alloy::{
    primitives::{B256, Bytes, LogData},
    rpc::{
        json_rpc::ErrorPayload,
        types::{Block, Log, TransactionReceipt},
    },
    sol_types::SolCall,
};
use sublet_chain::{Head, LeaseView, fuzzing};
use sublet_contracts::{CloudToken, Market, decode_revert};
use sublet_market::lease::Params;
use sublet_market::{LoggedEvent, MarketEvent};

use crate::seeds::chain::market;

/// Bytes of a line for people: an RPC's own words are cut to 300 characters.
const LINE: usize = 2_048;

/// The first byte is the number of topics, 32 bytes each; the rest is the data of a log.
pub(crate) fn event(bytes: &[u8]) -> bool {
    let Some((&count, rest)) = bytes.split_first() else { return false };
    let (topics, data) = rest.split_at((usize::from(count % 5) * 32).min(rest.len() / 32 * 32));
    let topics = topics.chunks(32).map(B256::from_slice).collect();
    let data = LogData::new_unchecked(topics, Bytes::copy_from_slice(data));
    let inner = alloy::primitives::Log { address: market(), data };
    judge(&Log { inner, ..Log::default() })
}

fn judge(log: &Log) -> bool {
    match fuzzing::decode_event(log) {
        Ok(Some(event)) => {
            stored(&event);
            true
        }
        Ok(None) => false,
        Err(error) => {
            super::assert_plain(&error.to_string(), LINE);
            false
        }
    }
}

/// The store keeps events as JSON.
fn stored(event: &MarketEvent) {
    let text = serde_json::to_string(event).unwrap_or_else(|error| panic!("no JSON: {error}"));
    let read: MarketEvent = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(&read, event);
    let _ = (event.lease(), event.makers(), event.name());
}

/// The first byte says which view of the contracts was called; the rest is what it returned.
pub(crate) fn view(bytes: &[u8]) -> bool {
    let Some((&which, data)) = bytes.split_first() else { return false };
    match which % 6 {
        0 => {
            let Ok(view) = Market::leaseCall::abi_decode_returns(data) else { return false };
            match LeaseView::try_from(view) {
                Ok(view) => assert!(view.bond_seconds < 1 << 24),
                Err(error) => super::assert_plain(&error.to_string(), LINE),
            }
            true
        }
        1 => {
            let Ok(account) = Market::accountCall::abi_decode_returns(data) else { return false };
            let free: u128 = account.free.to();
            assert!(free < 1 << 96);
            true
        }
        2 => Market::paramsCall::abi_decode_returns(data)
            .is_ok_and(|params| Params::from(&params).hold < u32::MAX),
        3 => Market::isOperatorCall::abi_decode_returns(data).is_ok(),
        4 => CloudToken::balanceOfCall::abi_decode_returns(data)
            .is_ok_and(|value| value.saturating_to::<u128>() > 0),
        _ => Market::domainSeparatorCall::abi_decode_returns(data).is_ok(),
    }
}

/// Revert data becomes one line for people, or nothing.
pub(crate) fn revert(bytes: &[u8]) -> bool {
    let Some(revert) = decode_revert(bytes) else { return false };
    super::assert_plain(&revert.to_string(), LINE);
    true
}

/// The first byte says what was asked for; the rest is the JSON of the answer.
pub(crate) fn rpc_json(bytes: &[u8]) -> bool {
    let Some((&which, json)) = bytes.split_first() else { return false };
    match which % 5 {
        0 => {
            let Ok(logs) = serde_json::from_slice::<Vec<Log>>(json) else { return false };
            logs.iter().all(judge)
        }
        1 => serde_json::from_slice::<Block>(json).map(|block| Head::from(&block.header)).is_ok(),
        2 => {
            let Ok(receipt) = serde_json::from_slice::<TransactionReceipt>(json) else { return false };
            match fuzzing::read_receipt(&receipt, market()) {
                Ok(report) => report.events.iter().for_each(stored),
                Err(error) => super::assert_plain(&error.to_string(), LINE),
            }
            true
        }
        3 => {
            let Ok(payload) = serde_json::from_slice::<ErrorPayload>(json) else { return false };
            super::assert_plain(&fuzzing::clip(&payload.message), LINE);
            if let Some((name, text)) = fuzzing::refusal(payload) {
                super::assert_plain(&name, LINE);
                super::assert_plain(&text, LINE);
            }
            true
        }
        _ => serde_json::from_slice::<Vec<LoggedEvent>>(json).is_ok(),
    }
}
