//! Deploys a new token and Market, and verifies by reading back that they are as requested.

use alloy::sol_types::SolConstructor as _;
use alloy_primitives::{Address, B256, Bytes, TxKind};
use ring::rand::{SecureRandom as _, SystemRandom};
use sublet_contracts::{CloudToken, Market};
use sublet_keys::WalletSigner;
use sublet_market::lease::Params;

use super::{
    call::TxReport,
    client::{ChainOptions, report},
    deployment::Deployment,
    error::ChainError,
    rpc::Rpc,
    sender::{Sender, TxRequest},
    verify::{code_hashes, verify},
};

/// What to deploy.
#[derive(Debug, Clone, Default)]
pub struct DeployOptions {
    /// The Market's constants, within the contract's bounds.
    pub params: Params,
    /// The salt of the EIP-712 domain; random when not given.
    pub salt: Option<B256>,
    /// Time-outs and fees.
    pub chain: ChainOptions,
}

/// Deploys CloudToken, whose whole supply goes to the signer, and a Market for it.
///
/// # Errors
/// The Market's constructor refuses constants that are out of bounds ([`ChainError::Reverted`]).
pub async fn deploy(
    rpc_url: &str,
    signer: impl Into<WalletSigner>,
    options: DeployOptions,
) -> Result<(Deployment, Vec<TxReport>), ChainError> {
    let rpc = Rpc::new(rpc_url, options.chain.request_timeout)?;
    let chain_id = rpc.chain_id().await?;
    let salt = match options.salt {
        Some(salt) => salt,
        None => random_salt()?,
    };
    let sender = Sender::new(rpc.clone(), signer.into(), chain_id, options.chain.send, options.chain.journal);

    let code = CloudToken::BYTECODE.clone();
    let (token, token_report) = create(&sender, "deploy CloudToken", code).await?;

    let params = options.params;
    let arguments = Market::constructorCall { token_: token, params_: (&params).into(), salt };
    let code = [Market::BYTECODE.as_ref(), &arguments.abi_encode()].concat();
    let (market, market_report) = create(&sender, "deploy Market", code.into()).await?;

    let code_hashes = code_hashes(&rpc, token, market).await?;
    let deployment =
        Deployment { chain_id, token, market, salt, block: market_report.block, params, code_hashes };
    verify(&rpc, &deployment).await?;
    Ok((deployment, vec![token_report, market_report]))
}

async fn create(sender: &Sender, call: &'static str, code: Bytes) -> Result<(Address, TxReport), ChainError> {
    let receipt = sender.send(&TxRequest { call, to: TxKind::Create, input: code }).await?;
    let address = receipt.contract_address.ok_or_else(|| ChainError::Decode {
        what: "the receipt of a deployment",
        reason: "it names no contract".into(),
    })?;
    Ok((address, report(call, &receipt, address)?))
}

fn random_salt() -> Result<B256, ChainError> {
    let mut salt = B256::ZERO;
    SystemRandom::new()
        .fill(salt.as_mut_slice())
        .map_err(|_| ChainError::Signing("the system's random number generator failed".into()))?;
    Ok(salt)
}
