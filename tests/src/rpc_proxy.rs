//! A JSON-RPC endpoint that misbehaves on demand: everything goes to a real one behind it, and comes back
//! altered by the fault that is set.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::Response,
};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What is wrong with the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection ends without an answer.
    Cut,
    /// So many of a hundred connections end without an answer, half of them after the request was carried out.
    Flaky(u64),
    /// No answer ever comes.
    Hang,
    /// Answers take up to so long, each its own time, so that they come in another order than the questions;
    /// the logs within an answer are in the reverse order.
    Reorder(Duration),
    /// Every answer is a JSON-RPC error.
    Error,
    /// Every answer is this HTTP status, as of a gateway or a rate limit.
    Status(u16),
    /// Every answer is a web page.
    Garbage,
    /// The head stands still at so many blocks before the one at which the fault began, as of a node that
    /// lost its peers.
    Stale(u64),
    /// Another chain answers, at this URL.
    Astray(String),
    /// Another chain answers questions about blocks, at this URL, until the next question about a contract's code.
    Wavering(String),
    /// The answer to the next transaction that is sent is lost on its way, after it was carried out.
    Swallow,
    /// `eth_call` takes no code that is not on chain.
    NoOverrides,
}

impl Fault {
    /// In words, for reports.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::None => "the RPC works".into(),
            Self::Cut => "the RPC drops every connection".into(),
            Self::Flaky(percent) => format!("the RPC drops {percent} % of the connections"),
            Self::Hang => "the RPC hangs".into(),
            Self::Reorder(most) => {
                format!("the RPC answers up to {} ms late, out of order", most.as_millis())
            }
            Self::Error => "the RPC answers with errors".into(),
            Self::Status(status) => format!("the RPC answers HTTP {status}"),
            Self::Garbage => "the RPC answers with web pages".into(),
            Self::Stale(_) => "the RPC's head stands still".into(),
            Self::Astray(_) => "the RPC serves another chain".into(),
            Self::Wavering(_) => "the RPC serves another chain for a moment".into(),
            Self::Swallow => "the answer to a transaction is lost".into(),
            Self::NoOverrides => "the RPC runs no code that is not on chain".into(),
        }
    }
}

/// A running proxy; dropping it closes the port.
#[derive(Debug)]
pub struct RpcProxy {
    url: String,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    http: reqwest::Client,
    fault: Mutex<Fault>,
    /// The head that [`Fault::Stale`] shows.
    frozen: AtomicU64,
    /// Counts the requests: the source of what looks like chance.
    requests: AtomicU64,
}

impl RpcProxy {
    /// Starts a proxy in front of `upstream`, on a free port of loopback.
    pub async fn start(upstream: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            http,
            fault: Mutex::new(Fault::None),
            frozen: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                ended = async { axum::serve(listener, app).await } => {
                    if let Err(error) = ended {
                        eprintln!("the RPC proxy ended: {error}");
                    }
                }
            }
        });
        Ok(Self { url, shared, _stop: stop.drop_guard() })
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many requests have come.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// From now on this is wrong.
    pub async fn set(&self, fault: Fault) -> anyhow::Result<()> {
        if let Fault::Stale(behind) = fault {
            let head = self.shared.ask(&self.shared.upstream, &request("eth_blockNumber", json!([]))).await?;
            let head = quantity(&head["result"]).context("no head")?;
            self.shared.frozen.store(head.saturating_sub(behind), Ordering::Relaxed);
        }
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        Ok(())
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(&self, fault: Fault) {
        let mut now = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == fault {
            *now = Fault::None;
        }
    }

    async fn ask(&self, url: &str, request: &Value) -> anyhow::Result<Value> {
        Ok(self.http.post(url).json(request).send().await?.json().await?)
    }

    /// A number below `below` that looks like chance and is the same in every run.
    fn dice(&self, below: u64) -> u64 {
        let mixed = self.requests.load(Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)) % below.max(1)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    match shared.fault() {
        Fault::None => forward(&shared, &shared.upstream, &request).await,
        Fault::Cut => cut(),
        Fault::Flaky(percent) => match shared.dice(200) {
            dice if dice < percent => cut(),
            dice if dice < 2 * percent => {
                forward(&shared, &shared.upstream, &request).await;
                cut()
            }
            _ => forward(&shared, &shared.upstream, &request).await,
        },
        Fault::Hang => std::future::pending().await,
        Fault::Reorder(most) => {
            let millis = shared.dice(u64::try_from(most.as_millis()).unwrap_or(u64::MAX));
            tokio::time::sleep(Duration::from_millis(millis)).await;
            match shared.ask(&shared.upstream, &request).await {
                Ok(mut said) => {
                    if request["method"] == "eth_getLogs"
                        && let Some(logs) = said["result"].as_array_mut()
                    {
                        logs.reverse();
                    }
                    reply(&said)
                }
                Err(_) => cut(),
            }
        }
        Fault::Error => refuse(&request, "internal error"),
        Fault::Status(status) => plain(status, "slow down"),
        Fault::Garbage => plain(200, "<html><body>It works!</body></html>"),
        Fault::Stale(_) => stale(&shared, request).await,
        Fault::Astray(url) => forward(&shared, &url, &request).await,
        Fault::Wavering(url) if request["method"] == "eth_getBlockByNumber" => {
            forward(&shared, &url, &request).await
        }
        fault @ Fault::Wavering(_) => {
            if request["method"] == "eth_getCode" {
                shared.end(fault);
            }
            forward(&shared, &shared.upstream, &request).await
        }
        Fault::Swallow => {
            let said = forward(&shared, &shared.upstream, &request).await;
            if request["method"] != "eth_sendRawTransaction" {
                return said;
            }
            shared.end(Fault::Swallow);
            cut()
        }
        Fault::NoOverrides if request["params"].as_array().is_some_and(|params| params.len() > 2) => {
            refuse_as(&request, -32_602, "too many arguments, want at most 2")
        }
        Fault::NoOverrides => forward(&shared, &shared.upstream, &request).await,
    }
}

async fn forward(shared: &Shared, url: &str, request: &Value) -> Response {
    match shared.ask(url, request).await {
        Ok(said) => reply(&said),
        Err(_) => cut(),
    }
}

/// The chain as it was when the fault began.
async fn stale(shared: &Shared, mut request: Value) -> Response {
    let frozen = shared.frozen.load(Ordering::Relaxed);
    let head = json!(format!("{frozen:#x}"));
    let method = request["method"].as_str().unwrap_or_default().to_owned();
    match method.as_str() {
        "eth_blockNumber" => return reply(&json!({ "jsonrpc": "2.0", "id": request["id"], "result": head })),
        "eth_getBlockByNumber" => {
            if quantity(&request["params"][0]).is_some_and(|number| number > frozen) {
                return reply(&json!({ "jsonrpc": "2.0", "id": request["id"], "result": null }));
            }
            if request["params"][0] == "latest" || request["params"][0] == "pending" {
                request["params"][0] = head;
            }
        }
        "eth_call" | "eth_estimateGas" | "eth_getBalance" | "eth_getTransactionCount" | "eth_getCode" => {
            if quantity(&request["params"][1]).is_some_and(|number| number > frozen) {
                return refuse(&request, "header not found");
            }
            request["params"][1] = head;
        }
        "eth_getLogs" if quantity(&request["params"][0]["toBlock"]).is_some_and(|number| number > frozen) => {
            return refuse(&request, "block range extends beyond the head");
        }
        "eth_getTransactionReceipt" => {
            let Ok(said) = shared.ask(&shared.upstream, &request).await else { return cut() };
            let newer = quantity(&said["result"]["blockNumber"]).is_some_and(|number| number > frozen);
            let result = if newer { Value::Null } else { said["result"].clone() };
            return reply(&json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }));
        }
        _ => {}
    }
    forward(shared, &shared.upstream, &request).await
}

fn request(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

fn quantity(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn refuse(request: &Value, message: &str) -> Response {
    refuse_as(request, -32_000, message)
}

fn refuse_as(request: &Value, code: i32, message: &str) -> Response {
    reply(&json!({ "jsonrpc": "2.0", "id": request["id"], "error": { "code": code, "message": message } }))
}

fn reply(said: &Value) -> Response {
    let mut response = Response::new(Body::from(said.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn plain(status: u16, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    response
}

/// The head of an answer, and then the end of the connection.
fn cut() -> Response {
    let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
    Response::new(Body::from_stream(broken))
}
