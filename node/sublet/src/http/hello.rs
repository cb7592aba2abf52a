//! The node's side of the hello: proves to a client that it knows the home's token, before the client shows it.

use std::net::SocketAddr;

use axum::{
    Json, Router,
    extract::Query,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use sublet_api::hello::{PATH, Prover, Question};

/// The route of the node that listens on `address` and whose bearer token is `token`. To be merged outside
/// the layer that asks for the token.
pub(super) fn routes(token: &str, address: SocketAddr) -> Router {
    let prover = Prover::new(token, address);
    Router::new().route(PATH, get(move |question| std::future::ready(answer(&prover, question))))
}

fn answer(prover: &Prover, Query(question): Query<Question>) -> Response {
    match prover.answer(&question) {
        Ok(answer) => Json(answer).into_response(),
        Err(body) => (StatusCode::BAD_REQUEST, Json(body)).into_response(),
    }
}
