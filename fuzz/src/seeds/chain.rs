//! Logs, views, reverts and JSON as the RPC of a development chain answers them.

use alloy::{
    primitives::{
        Address, B256, LogData, U256,
        aliases::{U24, U96},
    },
    rpc::types::Log,
    sol_types::{SolCall, SolError, SolEvent, SolInterface},
};
use sublet_contracts::{CloudToken, IMarket, Market};

use super::after;

/// The Market's address in the seeds.
pub(crate) fn market() -> Address {
    Address::repeat_byte(1)
}

fn logs() -> Vec<LogData> {
    let (id, maker, other) = (B256::repeat_byte(9), Address::repeat_byte(3), Address::repeat_byte(4));
    let amount = U256::from(10).pow(U256::from(18));
    let opened = Market::LeaseOpened {
        id,
        buyer: maker,
        provider: other,
        offer: B256::repeat_byte(5),
        buyerNode: B256::repeat_byte(6),
        providerNode: B256::repeat_byte(7),
        rate: 1_000_000,
        duration: 3_600,
        maxDuration: 86_400,
        bondSeconds: 600,
        activateBy: 1_900_000_000,
        burn: true,
    };
    let ended = Market::LeaseEnded {
        id,
        provider: other,
        reason: 3,
        endedAt: 1_900_000_000,
        paidToProvider: amount,
        fee: U256::from(7),
        burned: U256::ZERO,
        refunded: amount,
        bondToProvider: amount,
        bondToBuyer: U256::ZERO,
    };
    vec![
        Market::Deposited { maker, from: other, amount }.encode_log_data(),
        Market::Withdrawn { maker, amount }.encode_log_data(),
        Market::OperatorSet { maker, key: other, approved: true }.encode_log_data(),
        Market::EpochBumped { buyer: maker, epoch: 2 }.encode_log_data(),
        Market::BidCancelled { id, buyer: maker }.encode_log_data(),
        opened.encode_log_data(),
        Market::LeaseActivated { id, startedAt: 1, fundedUntil: 2, maxEnd: 3 }.encode_log_data(),
        Market::LeaseToppedUp { id, fundedUntil: 9, amount: U256::MAX }.encode_log_data(),
        Market::LeaseClaimed { id, provider: other, paidUntil: 4, net: amount, fee: U256::from(1) }
            .encode_log_data(),
        ended.encode_log_data(),
        Market::BurnFlushed { payouts: U256::from(1), fees: U256::from(2) }.encode_log_data(),
    ]
}

pub(crate) fn events() -> Vec<Vec<u8>> {
    let bytes = |log: LogData| {
        let count = u8::try_from(log.topics().len()).unwrap_or_default();
        let topics: Vec<u8> = log.topics().iter().flat_map(|topic| topic.0).collect();
        after(count, &[&topics[..], &log.data].concat())
    };
    logs().into_iter().map(bytes).collect()
}

pub(crate) fn views() -> Vec<Vec<u8>> {
    let lease = IMarket::LeaseView {
        state: 2,
        reason: 0,
        buyer: Address::repeat_byte(3),
        provider: Address::repeat_byte(4),
        rate: 1_000_000,
        maxEnd: 1_900_086_400,
        paidUntil: 1_900_000_000,
        fundedUntil: 1_900_003_600,
        bondSeconds: U24::from(600),
        burn: false,
        activateBy: 0,
        duration: 0,
        maxDuration: 0,
    };
    let account = Market::accountReturn { free: U96::from(1_000_000), epoch: 1, points: 7 };
    let params = IMarket::Params { feeBps: 100, hold: 600, notice: 60, halfLifeDays: 90 };
    vec![
        after(0, &Market::leaseCall::abi_encode_returns(&lease)),
        after(1, &Market::accountCall::abi_encode_returns(&account)),
        after(2, &Market::paramsCall::abi_encode_returns(&params)),
        after(3, &Market::isOperatorCall::abi_encode_returns(&true)),
        after(4, &CloudToken::balanceOfCall::abi_encode_returns(&U256::MAX)),
        after(5, &Market::domainSeparatorCall::abi_encode_returns(&B256::repeat_byte(8))),
    ]
}

/// Every error that the contracts have, with small values, and Solidity's own.
pub(crate) fn reverts() -> Vec<Vec<u8>> {
    let words: Vec<u8> = (0..4_u8).flat_map(|n| B256::with_last_byte(n).0).collect();
    let market = Market::MarketErrors::selectors();
    let token = CloudToken::CloudTokenErrors::selectors();
    let own = [
        alloy::sol_types::Revert::from("the token is paused").abi_encode(),
        alloy::sol_types::Revert::from("two\nlines and \u{1b}[31m").abi_encode(),
        alloy::sol_types::Panic::from(0x11).abi_encode(),
    ];
    market.chain(token).map(|selector| [&selector[..], &words].concat()).chain(own).collect()
}

pub(crate) fn rpc_json() -> Vec<Vec<u8>> {
    let whole = |data: LogData| Log {
        inner: alloy::primitives::Log { address: market(), data },
        block_hash: Some(B256::repeat_byte(1)),
        block_number: Some(7),
        block_timestamp: Some(1_900_000_000),
        transaction_hash: Some(B256::repeat_byte(2)),
        transaction_index: Some(0),
        log_index: Some(3),
        removed: false,
    };
    let logs: Vec<Log> = logs().into_iter().map(whole).collect();
    let of = |logs: &[Log]| serde_json::to_string(logs).unwrap_or_default();
    let receipt = format!(
        r#"{{"status":"0x1","cumulativeGasUsed":"0x5208","logs":{},"logsBloom":"0x{}","type":"0x2","transactionHash":"0x{}","transactionIndex":"0x0","blockHash":"0x{}","blockNumber":"0x7","gasUsed":"0x5208","effectiveGasPrice":"0x3b9aca00","from":"0x{}","to":"0x{}","contractAddress":null}}"#,
        of(&logs[..1]),
        "00".repeat(256),
        "02".repeat(32),
        "01".repeat(32),
        "03".repeat(20),
        "01".repeat(20)
    );
    let block = serde_json::to_string(&alloy::rpc::types::Block::<B256>::default()).unwrap_or_default();
    let refused = r#"{"code":3,"message":"execution reverted: \u001b[31mred","data":"0x08c379a0"}"#;
    let nothing = r#"{"code":-32000,"message":"insufficient funds for gas * price + value"}"#;
    vec![
        after(0, of(&logs[..1]).as_bytes()),
        after(0, of(&logs[5..6]).as_bytes()),
        after(0, of(&logs[9..]).as_bytes()),
        after(1, block.as_bytes()),
        after(2, receipt.as_bytes()),
        after(3, refused.as_bytes()),
        after(3, nothing.as_bytes()),
    ]
}
