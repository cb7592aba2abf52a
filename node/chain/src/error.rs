//! Errors of the chain client, each with its remedy.

use std::path::PathBuf;

use alloy_primitives::{Address, B256};

/// An error of the chain module. Messages are one line and end with the remedy.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChainError {
    /// The RPC URL is not one.
    #[error(
        "`{url}` is not an RPC URL ({reason}): set `chain.rpc_url`, for example \"http://127.0.0.1:8545\""
    )]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No answer, or none that is JSON-RPC.
    #[error("cannot reach the RPC at {url}: {reason}; is the chain running? set `chain.rpc_url`")]
    Unreachable {
        /// The RPC, without anything that may be a secret.
        url: String,
        /// What the transport said.
        reason: String,
    },
    /// The RPC answered with an error that is not a revert.
    #[error(
        "the RPC at {url} refused {method}: {reason}; check that `chain.rpc_url` is a full Ethereum JSON-RPC"
    )]
    Rpc {
        /// The RPC, without anything that may be a secret.
        url: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// What the RPC said.
        reason: String,
    },
    /// The RPC serves another chain than the deployment file names.
    #[error(
        "the deployment is for chain {expected} but the RPC at {url} answers chain {actual}: \
         set `chain.rpc_url` or `chain.deployment` so that they agree"
    )]
    WrongChain {
        /// The chain id of the deployment.
        expected: u64,
        /// The chain id of the RPC.
        actual: u64,
        /// The RPC, without anything that may be a secret.
        url: String,
    },
    /// There is no contract where the deployment says that one is.
    #[error(
        "there is no {what} contract at {address} on chain {chain_id}: was the development chain started afresh? \
         deploy again with `sublet chain deploy`, or set `chain.deployment`"
    )]
    NoContract {
        /// `token` or `market`.
        what: &'static str,
        /// Where it should be.
        address: Address,
        /// The chain that was asked.
        chain_id: u64,
    },
    /// A contract is there and is not the one that the deployment describes.
    #[error(
        "the deployment says {what} is {expected} but the Market at {market} says {actual}: \
         take the deployment file from whoever deployed this Market, or deploy again with `sublet chain deploy`"
    )]
    Mismatch {
        /// The fact that differs.
        what: &'static str,
        /// What the deployment says.
        expected: String,
        /// What the contract says.
        actual: String,
        /// The Market that was asked.
        market: Address,
    },
    /// The deployment file cannot be read or written.
    #[error(
        "cannot {what} {path}: {reason}; write one with `sublet chain deploy`, or set `chain.deployment`"
    )]
    File {
        /// `read` or `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system or the parser said.
        reason: String,
    },
    /// A contract refused a call before anything was sent: no gas was spent.
    #[error("the contract refused {call}: {text} ({name})")]
    Reverted {
        /// The call.
        call: &'static str,
        /// The name of the contract's error.
        name: String,
        /// The error in plain words.
        text: String,
    },
    /// A transaction was mined and failed: the gas is spent, nothing else has changed.
    #[error("{call} failed on chain in transaction {hash}: {text} ({name}); check the state, then try again")]
    Failed {
        /// The call.
        call: &'static str,
        /// The transaction.
        hash: B256,
        /// The name of the contract's error.
        name: String,
        /// The error in plain words.
        text: String,
    },
    /// The sender's native balance does not cover the gas.
    #[error(
        "{address} has {have} wei and {call} may cost {need} wei of gas: \
         send some of the chain's native currency to {address}"
    )]
    GasMoney {
        /// The call.
        call: &'static str,
        /// The sender.
        address: Address,
        /// Its native balance in wei.
        have: u128,
        /// The most that the transaction may cost in wei.
        need: u128,
    },
    /// The chain asks for more per gas than the node may pay.
    #[error(
        "gas costs {base_fee} wei now, more than the cap of {cap} wei: \
         wait for a quieter time, or raise `chain.max_fee_gwei`"
    )]
    FeeTooHigh {
        /// The base fee of the newest block in wei per gas.
        base_fee: u128,
        /// The cap in wei per gas.
        cap: u128,
    },
    /// A transaction was sent and is not known to be mined. It may still be: check the state before trying
    /// again.
    #[error(
        "{call} was sent as {hash} (nonce {nonce}) and is not mined after {seconds} s: check the state \
         before trying again, it may still be mined"
    )]
    Unconfirmed {
        /// The call.
        call: &'static str,
        /// The newest version of the transaction.
        hash: B256,
        /// Its nonce.
        nonce: u64,
        /// How long the node has waited.
        seconds: u64,
    },
    /// An earlier transaction of the same key is not mined, so nothing was sent: it would only wait behind that one.
    #[error(
        "{call} waits for an earlier transaction: {earlier}, sent as {hash} (nonce {nonce}), is not mined, although its fee \
         was raised; nothing was sent; raise `chain.max_fee_gwei` or wait for a quieter time"
    )]
    Blocked {
        /// The call.
        call: &'static str,
        /// The call of the earlier transaction.
        earlier: String,
        /// Its newest version.
        hash: B256,
        /// Its nonce.
        nonce: u64,
    },
    /// An earlier call of the same function was mined meanwhile, so nothing was sent: it may have been the same wish.
    #[error(
        "an earlier {call} was mined meanwhile, in {hash}, so this one was not sent: check the state, and \
         try again if it is still wanted"
    )]
    Overtaken {
        /// The call.
        call: &'static str,
        /// The earlier transaction.
        hash: B256,
    },
    /// What is to be sent cannot be written down first.
    #[error("nothing was sent, because the transaction cannot be recorded first: {0}")]
    Journal(String),
    /// Another transaction of the same key took the nonce: this one will never be mined.
    #[error(
        "another transaction took nonce {nonce} of {address}, so {call} was not carried out: \
         is the same key used by another program? give the node a key of its own and try again"
    )]
    Superseded {
        /// The call.
        call: &'static str,
        /// The sender.
        address: Address,
        /// The nonce that was taken.
        nonce: u64,
    },
    /// The chain moved while a range of it was read.
    #[error("the chain changed while block {block} was read; the read is retried")]
    Moved {
        /// The block that changed, or is gone.
        block: u64,
    },
    /// The RPC knows less of the chain than was read before.
    #[error(
        "the RPC at {url} is at block {head}, below block {read} that was seen before: \
         wait until it has caught up, or name another in `chain.rpc_url` or `chain.fallback_rpc_urls`"
    )]
    Behind {
        /// The RPC, without anything that may be a secret.
        url: String,
        /// Its newest block.
        head: u64,
        /// The newest block that was seen.
        read: u64,
    },
    /// The faucet was asked for on a chain where money is not free.
    #[error(
        "the chain at {url} is not a development chain ({version}) and has no faucet: get CTK and gas money \
         from whoever runs the market"
    )]
    NotADevnet {
        /// The RPC, without anything that may be a secret.
        url: String,
        /// What the RPC says it is.
        version: String,
    },
    /// An answer or a log does not decode.
    #[error(
        "cannot decode {what} ({reason}): check that `chain.rpc_url` is the right chain and that this binary \
         is as new as the contracts"
    )]
    Decode {
        /// What was read.
        what: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// Signing failed, or the system gave no randomness.
    #[error("cannot sign: {0}; check the wallet's key")]
    Signing(String),
}

impl ChainError {
    /// Whether the same call may succeed later without anybody's doing.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Rpc { .. }
                | Self::FeeTooHigh { .. }
                | Self::Superseded { .. }
                | Self::Blocked { .. }
                | Self::Overtaken { .. }
                | Self::Journal(_)
                | Self::Moved { .. }
                | Self::Behind { .. }
        )
    }

    /// Whether the call may have been carried out in spite of the error: read the state before a second try.
    #[must_use]
    pub fn is_unclear(&self) -> bool {
        matches!(self, Self::Unconfirmed { .. })
    }

    /// The name of the contract's error, when a contract refused.
    #[must_use]
    pub fn revert_name(&self) -> Option<&str> {
        match self {
            Self::Reverted { name, .. } | Self::Failed { name, .. } => Some(name),
            _ => None,
        }
    }
}
