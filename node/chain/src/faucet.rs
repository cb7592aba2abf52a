//! The faucet of a development chain: native currency is set, tokens come from the holder of the supply.
//!
//! Only anvil and Hardhat's node let a client act for any account; on every other chain the faucet refuses
//! before it does anything. Both know the calls by Hardhat's names.

use std::time::Duration;

use alloy::{
    primitives::TxHash,
    providers::Provider as _,
    rpc::types::{Filter, TransactionRequest},
    sol_types::{SolCall as _, SolEvent as _},
};
use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};
use sublet_contracts::CloudToken;

use super::{deployment::Deployment, error::ChainError, rpc::Rpc};

const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// What the names of development chains begin with, in lower case.
const DEVNETS: [&str; 2] = ["anvil", "hardhatnetwork"];
/// A devnet mines every few seconds at most.
const MINED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// Sees to it that `to` has at least `wei` of gas money, and gives it `ctk` base units of the token.
///
/// # Errors
/// [`ChainError::NotADevnet`] on anything but anvil and Hardhat's node.
pub async fn faucet(
    rpc_url: &str,
    deployment: &Deployment,
    to: Address,
    ctk: u128,
    wei: u128,
) -> Result<B256, ChainError> {
    let rpc = Rpc::new(rpc_url, REQUEST_LIMIT)?;
    let version = rpc.ask("web3_clientVersion", rpc.provider().get_client_version()).await?;
    let name = version.to_ascii_lowercase();
    if !DEVNETS.iter().any(|devnet| name.starts_with(devnet)) {
        return Err(ChainError::NotADevnet { url: rpc.label().to_owned(), version });
    }
    let actual = rpc.chain_id().await?;
    if actual != deployment.chain_id {
        let (expected, url) = (deployment.chain_id, rpc.label().to_owned());
        return Err(ChainError::WrongChain { expected, actual, url });
    }
    if rpc.balance(to).await? < wei {
        decree(&rpc, "hardhat_setBalance", json!([to, U256::from(wei)])).await?;
    }
    let holder = supply_holder(&rpc, deployment.token).await?;
    decree(&rpc, "hardhat_impersonateAccount", json!([holder])).await?;
    let sent = send(&rpc, deployment.token, holder, to, ctk).await;
    decree(&rpc, "hardhat_stopImpersonatingAccount", json!([holder])).await?;
    let hash = sent?;
    mined(&rpc, hash, to).await?;
    Ok(hash)
}

/// A call that only a development chain knows; what it answers says nothing.
async fn decree(rpc: &Rpc, method: &'static str, params: Value) -> Result<(), ChainError> {
    let answer = rpc.provider().raw_request::<_, Value>(method.into(), params);
    rpc.ask(method, answer).await.map(|_| ())
}

/// Whom the token's supply was minted to.
async fn supply_holder(rpc: &Rpc, token: Address) -> Result<Address, ChainError> {
    let minted = Filter::new()
        .address(token)
        .event_signature(CloudToken::Transfer::SIGNATURE_HASH)
        .topic1(B256::ZERO)
        .from_block(0);
    let logs = rpc.ask("eth_getLogs", rpc.provider().get_logs(&minted)).await?;
    let holder = logs.first().and_then(|log| log.topics().get(2)).map(|topic| Address::from_word(*topic));
    holder.ok_or(ChainError::Decode { what: "the token's first transfer", reason: "there is none".into() })
}

async fn send(
    rpc: &Rpc,
    token: Address,
    holder: Address,
    to: Address,
    ctk: u128,
) -> Result<TxHash, ChainError> {
    let call = CloudToken::transferCall { to, value: U256::from(ctk) };
    let request = TransactionRequest::default().from(holder).to(token).input(call.abi_encode().into());
    let question = rpc.provider().raw_request::<_, TxHash>("eth_sendTransaction".into(), (request,));
    rpc.ask("eth_sendTransaction", question).await
}

async fn mined(rpc: &Rpc, hash: TxHash, to: Address) -> Result<(), ChainError> {
    let deadline = tokio::time::Instant::now() + MINED_WITHIN;
    loop {
        let receipt =
            rpc.ask("eth_getTransactionReceipt", rpc.provider().get_transaction_receipt(hash)).await?;
        match receipt {
            Some(receipt) if receipt.status() => return Ok(()),
            Some(_) => {
                let text = "the holder of the supply does not have enough left".to_owned();
                return Err(ChainError::Failed { call: "faucet", hash, name: "transfer".into(), text });
            }
            None if tokio::time::Instant::now() > deadline => {
                let seconds = MINED_WITHIN.as_secs();
                tracing::debug!(%to, "the faucet's transfer is not mined");
                return Err(ChainError::Unconfirmed { call: "faucet", hash, nonce: 0, seconds });
            }
            None => tokio::time::sleep(POLL).await,
        }
    }
}
