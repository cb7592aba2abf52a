//! The local API: HTTP and JSON on loopback, for the command line and for programs beside the node.
//!
//! Every request carries the bearer token of the home's 0600 file: other users of the machine can reach the
//! port, and must not reach the wallet. The address is written to the home, so that no port has to be chosen.

mod bids;
mod book;
mod hello;
mod leases;
mod offers;
pub(crate) mod wallet;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use sublet_api::types::{BookSize, ErrorBody, Status};
use sublet_base::home::{Home, HomeError, write_atomic};
use sublet_engine::{Core, EngineError, buyer::Buyer, provider::Provider};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The largest request body: a bid with 16 ssh keys is below 20 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What the handlers need.
#[derive(Clone)]
pub struct ApiState {
    /// The shared parts of the node.
    pub core: Arc<Core>,
    /// The buyer engine.
    pub buyer: Arc<Buyer>,
    /// The provider engine, on nodes that sell.
    pub provider: Option<Arc<Provider>>,
    token: Arc<str>,
}

/// What can keep the API from starting.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port is taken.
    #[error(
        "the local API cannot listen on {address}: {source}; set api.listen to a free port (0 takes any)"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The token or address file.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// Takes the port.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(listen).await.map_err(|source| ServeError::Bind { address: listen, source })
}

/// Serves on `listener` until `stop`, and writes down where. What is `open` needs no token. Returns at once.
pub async fn serve(
    home: &Home,
    listener: TcpListener,
    core: Arc<Core>,
    buyer: Arc<Buyer>,
    provider: Option<Arc<Provider>>,
    open: Router,
    stop: CancellationToken,
) -> Result<(SocketAddr, tokio::task::JoinHandle<()>), ServeError> {
    let token: Arc<str> = home.token()?.as_str().into();
    let address = listener
        .local_addr()
        .map_err(|source| ServeError::Bind { address: SocketAddr::from(([127, 0, 0, 1], 0)), source })?;
    write_atomic(&home.api_address(), &format!("{address}\n"), 0o600)?;
    let hello = hello::routes(&token, address);
    let app = router(ApiState { core, buyer, provider, token }).merge(hello).merge(open);
    let task = tokio::spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "the local API failed; stopping the node");
            stop.cancel();
        }
    });
    Ok((address, task))
}

fn router(state: ApiState) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/book/digest", get(book::digest))
        .route("/v1/wallet", get(wallet::show))
        .route("/v1/wallet/deposit", post(wallet::deposit))
        .route("/v1/wallet/withdraw", post(wallet::withdraw))
        .route("/v1/wallet/operators", post(wallet::set_operator))
        .route("/v1/wallet/operators/{key}", get(wallet::operator))
        .route("/v1/points/{address}", get(wallet::points))
        .route("/v1/offers", get(offers::list).post(offers::create))
        .route("/v1/offers/{series}", delete(offers::cancel))
        .route("/v1/bids", get(bids::list).post(bids::create))
        .route("/v1/bids/{id}", get(bids::show).delete(bids::cancel))
        .route("/v1/leases", get(leases::list))
        .route("/v1/leases/{id}", get(leases::show))
        .route("/v1/leases/{id}/console", get(leases::console))
        .route("/v1/leases/{id}/revive", post(leases::revive))
        .route("/v1/leases/{id}/close", post(leases::close))
        .route("/v1/leases/{id}/reject", post(leases::reject))
        .route("/v1/leases/{id}/top-up", post(leases::top_up))
        .fallback(|| async { ApiError::not_found("no such path: see docs/api.md") })
        .layer(middleware::from_fn_with_state(state.clone(), authorize))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state)
}

async fn authorize(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    // Compared by digest, so that the time taken says nothing about how much of the token was right.
    let digest = |text: &str| alloy_primitives::keccak256(text.as_bytes());
    if digest(given) == digest(&state.token) {
        return next.run(request).await;
    }
    let body = ErrorBody {
        error: "the bearer token is missing or wrong: use the one in the file api.token of the node's home"
            .into(),
        code: "unauthorized".into(),
    };
    (StatusCode::UNAUTHORIZED, Json(body)).into_response()
}

async fn status(State(state): State<ApiState>) -> Result<Json<Status>, ApiError> {
    let core = &state.core;
    let p2p = core.p2p.status().await.map_err(|e| ApiError::internal(&e))?;
    let book = {
        let book = core.market.book();
        BookSize { offers: book.offer_count(), bids: book.bid_count() }
    };
    let deployment = core.chain.deployment();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        address: core.account.maker(),
        node: p2p.node,
        peer_id: p2p.peer_id.to_string(),
        listen: p2p.reached_at(),
        peers: p2p.peers.iter().map(|peer| peer.peer_id.to_string()).collect(),
        chain_id: deployment.chain_id,
        chain_time: core.now(),
        watched_until: core.seen.watched_until(),
        market: deployment.market,
        token: deployment.token,
        provider: state.provider.is_some(),
        book,
        gossip: serde_json::to_value(p2p.counters).map_err(|e| ApiError::internal(&e))?,
    }))
}

impl ApiState {
    fn require_provider(&self) -> Result<&Arc<Provider>, ApiError> {
        self.provider.as_ref().ok_or_else(|| {
            ApiError::new(
                StatusCode::CONFLICT,
                "invalid",
                "this node is not a provider: add a [provider] section to node.toml (see docs/provider.md) and \
                 restart it",
            )
        })
    }
}

/// An error on its way to the client.
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, error: &str) -> Self {
        Self { status, body: ErrorBody { error: error.to_owned(), code: code.to_owned() } }
    }

    fn internal(error: &dyn std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string())
    }

    fn invalid(error: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", error)
    }

    fn not_found(error: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", error)
    }
}

impl<E: Into<EngineError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        let error = error.into();
        let status = match error.code() {
            "invalid" => StatusCode::BAD_REQUEST,
            "funds" | "gas" => StatusCode::PAYMENT_REQUIRED,
            "not_found" => StatusCode::NOT_FOUND,
            "refused" => StatusCode::CONFLICT,
            "chain" | "unavailable" => StatusCode::BAD_GATEWAY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.code(), &error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documentation_names_every_route() {
        let (source, docs) = (include_str!("mod.rs"), include_str!("../../../../docs/api.md"));
        let routes: Vec<&str> =
            source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")).collect();
        assert!(routes.len() > 10);
        for route in routes {
            let (path, handlers) = route.split_once('"').unwrap();
            for method in ["get", "post", "delete"] {
                if handlers.contains(&format!("{method}(")) {
                    let entry = format!("`{} {path}`", method.to_uppercase());
                    assert!(docs.contains(&entry), "docs/api.md does not say what {entry} is");
                }
            }
        }
    }
}
