//! The private readers of this module, for the fuzz targets of the crate `sublet-fuzz`: what an RPC answers.
//! Not part of the node's interface.

use alloy::{
    rpc::{
        json_rpc::ErrorPayload,
        types::{Log, TransactionReceipt},
    },
    transports::RpcError,
};
use alloy_primitives::Address;

use sublet_market::MarketEvent;

use super::{ChainError, TxReport, client, event, rpc, sender};

/// A log of the Market.
///
/// # Errors
/// One that no Market of ours can have written.
pub fn decode_event(log: &Log) -> Result<Option<MarketEvent>, ChainError> {
    event::decode(log)
}

/// What a transaction did.
///
/// # Errors
/// A log that no Market of ours can have written.
pub fn read_receipt(receipt: &TransactionReceipt, market: Address) -> Result<TxReport, ChainError> {
    client::report("settle", receipt, market)
}

/// The contract's error in an error of the RPC, by name and in words.
pub fn refusal(payload: ErrorPayload) -> Option<(String, String)> {
    sender::revert(&RpcError::ErrorResp(payload))
}

/// A foreign text as it goes into messages of ours.
pub fn clip(text: &str) -> String {
    rpc::clip(text)
}
