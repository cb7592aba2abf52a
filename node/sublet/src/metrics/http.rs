//! `/metrics`, `/healthz` and `/readyz`: served without the bearer token, beside the local API and, when the
//! configuration says so, on a listener of their own. They show counters and no addresses, and change
//! nothing.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use sublet_engine::{Core, provider::Provider};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Metrics, page::Page, readiness};

/// The port is taken.
#[derive(Debug, thiserror::Error)]
#[error(
    "the metrics cannot be served on {address}: {source}; set metrics.listen to a free port, or remove it"
)]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

struct Served {
    core: Arc<Core>,
    page: Page,
    offline_after: Duration,
}

/// The three paths. `poll` is how often the node looks at the chain.
pub fn routes(
    metrics: Arc<Metrics>,
    core: Arc<Core>,
    provider: Option<Arc<Provider>>,
    poll: Duration,
) -> Router {
    let page = Page::new(metrics, Arc::clone(&core), provider);
    let served = Arc::new(Served { core, page, offline_after: readiness::offline_after(poll) });
    Router::new()
        .route("/metrics", get(show))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(served)
}

/// Takes the port.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(listen).await.map_err(|source| BindError { address: listen, source })
}

/// Serves on a listener of its own until `stop`.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the metrics can no longer be served");
    }
}

async fn show(State(served): State<Arc<Served>>) -> Response {
    match served.page.text().await {
        Ok(page) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.to_string())
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn readyz(State(served): State<Arc<Served>>) -> Response {
    let readiness = readiness::look(&served.core, served.offline_after).await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}
