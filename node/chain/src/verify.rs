//! Whether the contracts of a deployment file are those that this binary knows: code, constants and all.
//!
//! The code on chain cannot simply be compared with the artifact: constructor arguments, the contract's own
//! address and the chain id are baked into it. So the chain itself is asked to run the artifact's creation
//! code, with the arguments that the file names, at the very address (an `eth_call` with the code
//! overridden): what comes back is the code that must be there, byte for byte.

use alloy::{
    providers::Provider as _,
    rpc::types::{
        TransactionRequest,
        state::{AccountOverride, StateOverride},
    },
    sol_types::SolConstructor as _,
};
use alloy_primitives::{Address, B256, Bytes, keccak256};
use serde::Serialize;
use sublet_contracts::{CloudToken, Market};
use sublet_market::lease::Params;

use super::{
    deployment::{CodeHashes, Deployment},
    error::ChainError,
    rpc::{Refusal, Rpc},
};

/// One comparison of what should be with what is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was compared.
    pub what: &'static str,
    /// What the file and this binary say.
    pub expected: String,
    /// What the chain says.
    pub seen: String,
    /// Whether they agree.
    pub verdict: CheckResult,
}

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    /// Both are the same.
    Ok,
    /// They differ.
    Differs,
    /// The RPC refuses to say.
    Unchecked,
}

/// The one comparison that may be left out: few endpoints remember what was at an address before.
const FIRST_BLOCK: &str = "the Market's first block";

impl Check {
    fn new(what: &'static str, expected: impl ToString, seen: impl ToString) -> Self {
        let (expected, seen) = (expected.to_string(), seen.to_string());
        let verdict = if expected == seen { CheckResult::Ok } else { CheckResult::Differs };
        Self { what, expected, seen, verdict }
    }

    fn unchecked(what: &'static str, expected: impl ToString, reason: impl ToString) -> Self {
        let (expected, seen) = (expected.to_string(), reason.to_string());
        Self { what, expected, seen, verdict: CheckResult::Unchecked }
    }

    /// Whether nothing that matters differs or could not be compared.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self.verdict {
            CheckResult::Ok => true,
            CheckResult::Differs => false,
            CheckResult::Unchecked => self.what == FIRST_BLOCK,
        }
    }
}

/// Compares everything that a deployment file says with the chain at `rpc_url`. The list ends early where
/// nothing more can be compared: on another chain, or where there is no contract.
///
/// # Errors
/// The RPC does not answer, or answers nonsense.
pub async fn check_deployment(
    rpc_url: &str,
    deployment: &Deployment,
    timeout: std::time::Duration,
) -> Result<Vec<Check>, ChainError> {
    let rpc = Rpc::new(rpc_url, timeout)?;
    let mut checks = vec![Check::new("chain id", deployment.chain_id, rpc.chain_id().await?)];
    if checks[0].holds() {
        checks.extend(presence(&rpc, deployment).await?);
    }
    if checks.iter().all(Check::holds) {
        checks.push(first_block(&rpc, deployment).await?);
        checks.extend(code(&rpc, deployment).await?);
        match answers(&rpc, deployment).await {
            Ok(answers) => checks.extend(answers),
            // A contract that is another one may answer nothing that makes sense.
            Err(error) if !checks.iter().all(Check::holds) => {
                checks.push(Check::new("the Market's answers", "those of a Market", error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(checks)
}

/// Whether the RPC serves the chain of the deployment, with contracts where it says.
pub(crate) async fn serves(rpc: &Rpc, deployment: &Deployment) -> Result<(), ChainError> {
    let actual = rpc.chain_id().await?;
    let expected = deployment.chain_id;
    if actual != expected {
        return Err(ChainError::WrongChain { expected, actual, url: rpc.label().to_owned() });
    }
    for (what, address) in [("token", deployment.token), ("market", deployment.market)] {
        if !rpc.has_code(address).await? {
            return Err(ChainError::NoContract { what, address, chain_id: expected });
        }
    }
    Ok(())
}

/// Fails with an error of its own kind, and its remedy, at the first thing that differs.
pub(crate) async fn verify(rpc: &Rpc, deployment: &Deployment) -> Result<(), ChainError> {
    serves(rpc, deployment).await?;
    // What the Market says of itself first: it names the field that is wrong.
    let mut checks = answers(rpc, deployment).await?;
    checks.push(first_block(rpc, deployment).await?);
    checks.extend(code(rpc, deployment).await?);
    for Check { what, expected, seen, verdict } in checks {
        match verdict {
            CheckResult::Ok => {}
            CheckResult::Differs => {
                return Err(ChainError::Mismatch { what, expected, actual: seen, market: deployment.market });
            }
            CheckResult::Unchecked => tracing::warn!(
                reason = %seen,
                "this RPC cannot check {what}; trusting the deployment file: run `sublet chain verify` with \
                 another RPC"
            ),
        }
    }
    Ok(())
}

/// The hashes of the code at both addresses.
pub(crate) async fn code_hashes(
    rpc: &Rpc,
    token: Address,
    market: Address,
) -> Result<CodeHashes, ChainError> {
    Ok(CodeHashes { token: keccak256(rpc.code(token).await?), market: keccak256(rpc.code(market).await?) })
}

async fn presence(rpc: &Rpc, deployment: &Deployment) -> Result<Vec<Check>, ChainError> {
    let mut checks = Vec::new();
    for (what, address) in [
        ("a contract at the token's address", deployment.token),
        ("a contract at the Market's address", deployment.market),
    ] {
        let seen = if rpc.has_code(address).await? { "there is code" } else { "no code" };
        checks.push(Check::new(what, "there is code", seen));
    }
    Ok(checks)
}

/// Whether the Market came with the block that the file names: a node reads events from there on, and misses
/// all before.
async fn first_block(rpc: &Rpc, deployment: &Deployment) -> Result<Check, ChainError> {
    let head = rpc.block_number().await?;
    if deployment.block > head {
        return Ok(Check::new(FIRST_BLOCK, deployment.block, format!("not there: the newest is {head}")));
    }
    let before = rpc.provider().get_code_at(deployment.market).number(deployment.block.saturating_sub(1));
    Ok(match rpc.ask_plainly("eth_getCode", before).await? {
        Ok(code) if code.is_empty() => Check::new(FIRST_BLOCK, deployment.block, deployment.block),
        Ok(_) => Check::new(FIRST_BLOCK, deployment.block, "an earlier one"),
        Err(Refusal { reason, .. }) => Check::unchecked(
            FIRST_BLOCK,
            deployment.block,
            format!("the RPC keeps no state of then: {reason}"),
        ),
    })
}

async fn code(rpc: &Rpc, deployment: &Deployment) -> Result<Vec<Check>, ChainError> {
    let market = deployment.market;
    let seen = code_hashes(rpc, deployment.token, market).await?;
    let mut checks = vec![
        Check::new("the token's code hash", deployment.code_hashes.token, seen.token),
        Check::new("the Market's code hash", deployment.code_hashes.market, seen.market),
    ];
    let arguments = Market::constructorCall {
        token_: deployment.token,
        params_: (&deployment.params).into(),
        salt: deployment.salt,
    };
    let creation = [Market::BYTECODE.as_ref(), &arguments.abi_encode()].concat();
    for (what, address, creation, seen) in [
        ("the token's code by this binary", deployment.token, CloudToken::BYTECODE.clone(), seen.token),
        ("the Market's code by this binary", market, creation.into(), seen.market),
    ] {
        checks.push(match made_here(rpc, address, creation).await? {
            Ok(expected) => Check::new(what, expected, seen),
            // Constants that the constructor does not take.
            Err(Refusal { reason, reverted: true }) => Check::new(what, format!("none ({reason})"), seen),
            Err(Refusal { reason, .. }) => Check::unchecked(
                what,
                "the code that this binary makes",
                format!("the RPC does not run it: {reason}"),
            ),
        });
    }
    Ok(checks)
}

async fn answers(rpc: &Rpc, deployment: &Deployment) -> Result<Vec<Check>, ChainError> {
    let market = deployment.market;
    let token = rpc.view("Market.token", market, Market::tokenCall {}).await?;
    let separator = rpc.view("Market.domainSeparator", market, Market::domainSeparatorCall {}).await?;
    let params = Params::from(&rpc.view("Market.params", market, Market::paramsCall {}).await?);
    Ok(vec![
        Check::new("the token", deployment.token, token),
        Check::new("the domain separator", deployment.domain().separator(), separator),
        Check::new("the Market's constants", describe(&deployment.params), describe(&params)),
    ])
}

/// The hash of the code that `creation` leaves at `address` on this chain. Some endpoints refuse to run code
/// that is not on chain.
async fn made_here(
    rpc: &Rpc,
    address: Address,
    creation: Bytes,
) -> Result<Result<B256, Refusal>, ChainError> {
    // The token's constructor mints to its caller, which must be somebody; the code does not depend on it.
    let request = TransactionRequest::default().from(Address::repeat_byte(1)).to(address);
    let overridden = AccountOverride { code: Some(creation), ..AccountOverride::default() };
    let state: StateOverride = [(address, overridden)].into_iter().collect();
    let code = rpc.ask_plainly("eth_call", rpc.provider().call(request).overrides(state)).await?;
    Ok(code.map(keccak256))
}

fn describe(params: &Params) -> String {
    format!(
        "fee {} bps, hold {} s, notice {} s, half-life {} days",
        params.fee_bps, params.hold, params.notice, params.half_life_days
    )
}
