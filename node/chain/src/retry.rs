//! Retries of requests: connections break and gateways are busy for a moment, and a step of several
//! questions would hardly ever come to its end if each of them could fail it.
//!
//! Retrying is safe: nearly every request only reads, and a transaction that is sent twice is the same
//! transaction.

use std::time::Duration;

use alloy::{
    rpc::{
        client::{ClientBuilder, RpcClient},
        json_rpc::{RequestPacket, ResponsePacket},
    },
    transports::{RpcError, TransportError, TransportErrorKind, TransportFut},
};
use tokio::time::{Sleep, sleep};
use tower::{
    ServiceBuilder,
    retry::{Policy, RetryLayer},
    util::MapFutureLayer,
};

/// How often a question is asked again.
const TRIES: u32 = 3;
/// The pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A client over HTTP that asks again.
pub(super) fn client(http: reqwest::Client, url: reqwest::Url) -> RpcClient {
    let layers = ServiceBuilder::new()
        .layer(MapFutureLayer::new(|future| -> TransportFut<'static> { Box::pin(future) }))
        .layer(RetryLayer::new(AskAgain { left: TRIES, pause: FIRST_PAUSE }));
    ClientBuilder::default().layer(layers).http_with_client(http, url)
}

#[derive(Debug, Clone)]
struct AskAgain {
    left: u32,
    pause: Duration,
}

impl Policy<RequestPacket, ResponsePacket, TransportError> for AskAgain {
    type Future = Sleep;

    fn retry(
        &mut self,
        _request: &mut RequestPacket,
        result: &mut Result<ResponsePacket, TransportError>,
    ) -> Option<Sleep> {
        let lost = matches!(result, Err(error) if is_lost(error));
        if !lost || self.left == 0 {
            return None;
        }
        self.left -= 1;
        let pause = self.pause;
        self.pause *= 2;
        Some(sleep(pause))
    }

    fn clone_request(&mut self, request: &RequestPacket) -> Option<RequestPacket> {
        Some(request.clone())
    }
}

/// Whether the question did not get through, as far as one can tell; an answer is an answer.
fn is_lost(error: &TransportError) -> bool {
    match error {
        RpcError::Transport(TransportErrorKind::HttpError(http)) => http.status == 429 || http.status >= 500,
        RpcError::Transport(TransportErrorKind::Custom(_)) => true,
        _ => false,
    }
}
