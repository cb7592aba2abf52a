//! The JSON-RPC client: every request has a time-out, every error names its remedy.
//!
//! There may be several endpoints of the same chain. One of them is asked, until [`Rpc::elect`] finds that another
//! serves better.

use std::{
    error::Error as StdError,
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    network::{Ethereum, TransactionBuilder as _},
    providers::{Provider as _, RootProvider},
    rpc::types::TransactionRequest,
    sol_types::SolCall,
    transports::{RpcError, TransportError, TransportErrorKind, TransportResult},
};
use alloy_primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

use super::{error::ChainError, retry};

/// The most of a server's error text that goes into a message of ours, in characters.
const MAX_REASON: usize = 300;

/// A block, as far as the node needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time in Unix seconds.
    pub timestamp: u64,
}

impl From<&alloy::rpc::types::Header> for Head {
    fn from(header: &alloy::rpc::types::Header) -> Self {
        Self { number: header.number, hash: header.hash, timestamp: header.timestamp }
    }
}

/// The endpoints; clones share the connections, and which one is asked.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    pub(super) endpoints: Arc<[Endpoint]>,
    current: Arc<AtomicUsize>,
    pub(super) timeout: Duration,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) provider: RootProvider<Ethereum>,
    /// Without anything that may be a secret (path, query, user).
    pub(super) label: String,
}

impl Endpoint {
    fn new(url: &str) -> Result<Self, ChainError> {
        let bad = |reason: String| ChainError::Url { url: url.to_owned(), reason };
        let parsed: reqwest::Url = url.parse().map_err(|e| bad(format!("{e}")))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
            return Err(bad("it must start with http:// or https://".into()));
        }
        // Without a time-out of its own: `ask` has one for every question.
        let mut http = reqwest::Client::builder();
        if is_loopback(&parsed) {
            // A proxy from the environment cannot know what listens on our loopback.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|e| bad(root_cause(&e)))?;
        let label = label(&parsed);
        Ok(Self { provider: RootProvider::new(retry::client(http, parsed)), label })
    }
}

/// What an endpoint says when it does not answer a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub reason: String,
    /// The code that it ran reverted.
    pub reverted: bool,
}

/// JSON-RPC's code of a call that reverted.
const REVERTED: i64 = 3;
/// Codes by which endpoints ask for patience: a fault inside, a limit of requests.
const OVERLOADED: [i64; 3] = [-32_603, -32_005, 429];

impl Rpc {
    /// Prepares one endpoint; nothing is sent yet.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, ChainError> {
        Self::several(&[url], timeout)
    }

    /// Prepares endpoints of the same chain, the preferred one first; nothing is sent yet.
    pub(crate) fn several<S: AsRef<str>>(urls: &[S], timeout: Duration) -> Result<Self, ChainError> {
        let endpoints: Arc<[_]> =
            urls.iter().map(|url| Endpoint::new(url.as_ref())).collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(ChainError::Url { url: String::new(), reason: "there is none".into() });
        }
        Ok(Self { endpoints, current: Arc::new(AtomicUsize::new(0)), timeout })
    }

    /// The index of the endpoint that is asked.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed).min(self.endpoints.len() - 1)
    }

    /// From now on another one is asked.
    pub(super) fn switch_to(&self, index: usize) {
        self.current.store(index, Ordering::Relaxed);
    }

    /// The endpoint that is asked, without anything that may be a secret (path, query, user).
    pub(crate) fn label(&self) -> &str {
        &self.endpoints[self.current()].label
    }

    /// Its provider, for questions that have no method here; wrap them in [`Rpc::ask`].
    pub(crate) fn provider(&self) -> &RootProvider<Ethereum> {
        &self.endpoints[self.current()].provider
    }

    /// Runs one question with the time-out and turns its error into ours.
    pub(crate) async fn ask<T, F>(&self, method: &'static str, question: F) -> Result<T, ChainError>
    where
        F: IntoFuture<Output = TransportResult<T>>,
    {
        self.ask_raw(question).await?.map_err(|e| self.error(method, &e))
    }

    /// The same, where the endpoint may have a reason not to answer this one question: only what it says of
    /// the question itself is a refusal. That it is slow, overloaded or broken is an error.
    pub(crate) async fn ask_plainly<T, F>(
        &self,
        method: &'static str,
        question: F,
    ) -> Result<Result<T, Refusal>, ChainError>
    where
        F: IntoFuture<Output = TransportResult<T>>,
    {
        match self.ask_raw(question).await? {
            Ok(answer) => Ok(Ok(answer)),
            Err(error) => match error.as_error_resp() {
                Some(payload) if !OVERLOADED.contains(&payload.code) => Ok(Err(Refusal {
                    reason: clip(&payload.message),
                    reverted: payload.code == REVERTED || payload.message.contains("revert"),
                })),
                _ => Err(self.error(method, &error)),
            },
        }
    }

    /// The same, with the RPC's own error still whole (it may carry revert data); time-outs are ours already.
    pub(crate) async fn ask_raw<T, F>(&self, question: F) -> Result<TransportResult<T>, ChainError>
    where
        F: IntoFuture<Output = TransportResult<T>>,
    {
        tokio::time::timeout(self.timeout, question.into_future()).await.map_err(|_| {
            ChainError::Unreachable {
                url: self.label().to_owned(),
                reason: format!("no answer within {} s", self.timeout.as_secs()),
            }
        })
    }

    /// Our error for one of the RPC client's.
    pub(crate) fn error(&self, method: &'static str, error: &TransportError) -> ChainError {
        let url = self.label().to_owned();
        match error {
            RpcError::ErrorResp(payload) => ChainError::Rpc { url, method, reason: clip(&payload.message) },
            RpcError::Transport(kind) => match kind.as_http_error() {
                Some(http) => ChainError::Rpc {
                    url,
                    method,
                    reason: format!("HTTP {} {}", http.status, clip(&http.body)),
                },
                None => ChainError::Unreachable { url, reason: transport_cause(kind) },
            },
            RpcError::DeserError { err, .. } => {
                ChainError::Rpc { url, method, reason: format!("not JSON-RPC: {err}") }
            }
            other => ChainError::Rpc { url, method, reason: clip(&other.to_string()) },
        }
    }

    /// The chain that the endpoint serves.
    pub(crate) async fn chain_id(&self) -> Result<u64, ChainError> {
        self.ask("eth_chainId", self.provider().get_chain_id()).await
    }

    /// The newest block.
    pub(crate) async fn head(&self) -> Result<Head, ChainError> {
        self.block(BlockNumberOrTag::Latest)
            .await?
            .ok_or_else(|| ChainError::Decode { what: "the newest block", reason: "the RPC has none".into() })
    }

    /// One block, if the chain has it.
    pub(crate) async fn block(&self, which: impl Into<BlockNumberOrTag>) -> Result<Option<Head>, ChainError> {
        let block =
            self.ask("eth_getBlockByNumber", self.provider().get_block_by_number(which.into())).await?;
        Ok(block.map(|b| Head::from(&b.header)))
    }

    /// Whether there is a contract at `address`.
    pub(crate) async fn has_code(&self, address: Address) -> Result<bool, ChainError> {
        Ok(!self.code(address).await?.is_empty())
    }

    /// The code at `address`; empty where there is no contract.
    pub(crate) async fn code(&self, address: Address) -> Result<Bytes, ChainError> {
        self.ask("eth_getCode", self.provider().get_code_at(address)).await
    }

    /// Native balance in wei.
    pub(crate) async fn balance(&self, address: Address) -> Result<u128, ChainError> {
        let wei = self.ask("eth_getBalance", self.provider().get_balance(address)).await?;
        Ok(wei.saturating_to())
    }

    /// The height of the newest block.
    pub(crate) async fn block_number(&self) -> Result<u64, ChainError> {
        self.ask("eth_blockNumber", self.provider().get_block_number()).await
    }

    /// Calls a view function of the contract `to` on the newest block.
    pub(crate) async fn view<C: SolCall>(
        &self,
        what: &'static str,
        to: Address,
        call: C,
    ) -> Result<C::Return, ChainError> {
        self.view_at(what, to, call, BlockNumberOrTag::Latest).await
    }

    /// Calls a view function of the contract `to` on a block; an endpoint that does not have it says so.
    pub(crate) async fn view_at<C: SolCall>(
        &self,
        what: &'static str,
        to: Address,
        call: C,
        block: impl Into<BlockNumberOrTag>,
    ) -> Result<C::Return, ChainError> {
        let request = TransactionRequest::default().with_to(to).with_input(call.abi_encode());
        let answer: Bytes =
            self.ask("eth_call", self.provider().call(request).block(BlockId::from(block.into()))).await?;
        C::abi_decode_returns(&answer).map_err(|e| ChainError::Decode { what, reason: e.to_string() })
    }
}

/// Scheme, host and port: paths and queries of RPC URLs often are API keys.
fn label(url: &reqwest::Url) -> String {
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

fn is_loopback(url: &reqwest::Url) -> bool {
    matches!(url.host_str(), Some(host) if host == "localhost" || host.starts_with("127.") || host == "[::1]")
}

/// The deepest cause: the outer texts of HTTP clients repeat the URL, which may hold a key.
fn root_cause(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    clip(&cause.to_string())
}

fn transport_cause(kind: &TransportErrorKind) -> String {
    root_cause(kind)
}

/// The first line of a foreign text, cut to a bearable length and fit for a terminal.
pub(crate) fn clip(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().chars();
    line.take(MAX_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_no_secret() {
        let url = "https://user:pass@rpc.example.org:8443/v3/0123456789abcdef?key=1".parse().unwrap();
        assert_eq!(label(&url), "https://rpc.example.org:8443");
    }

    #[test]
    fn foreign_texts_cannot_write_to_the_terminal() {
        assert_eq!(clip("reverted: \u{1b}[31mred\nand more"), "reverted:  [31mred");
        assert_eq!(clip(&"x".repeat(1_000)).len(), MAX_REASON);
    }

    #[test]
    fn a_wrong_url_is_named_with_an_example() {
        for url in ["", "127.0.0.1:8545", "ws://127.0.0.1:8545"] {
            let said = Rpc::new(url, Duration::from_secs(1)).unwrap_err().to_string();
            assert!(said.contains("chain.rpc_url") && said.contains("http://127.0.0.1:8545"), "{said}");
        }
    }
}
