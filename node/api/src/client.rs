//! The client of the local API: finds the node by its home, makes sure that it is the one, says what to do when
//! it is not running.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use sublet_base::home::{Home, HomeError};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::{hello::Challenge, types::ErrorBody};

/// Looking needs at most a few requests to the chain's RPC.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// A deposit is two transactions, and the node waits up to three minutes for the confirmation of each.
const ACT_LIMIT: Duration = Duration::from_secs(600);
/// A node answers the hello without asking anybody.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// The proof takes 80 bytes; a stranger may send anything.
const MAX_HELLO_BYTES: usize = 1024;

/// What a request can come to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The home is not one, or its token cannot be read.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Nobody answers.
    #[error("no node is running on {home}: start it with `sublet node run --home {home}`")]
    NotRunning {
        /// The home directory.
        home: String,
    },
    /// Somebody answers who does not know the home's token.
    #[error(
        "no node is running on {home}: another program answers at {address}, where the last node listened, \
         and was not sent the token; start the node with `sublet node run --home {home}`"
    )]
    Stranger {
        /// The home directory.
        home: String,
        /// What `api.address` names.
        address: SocketAddr,
    },
    /// The node said no.
    #[error("{}", .0.error)]
    Refused(ErrorBody),
    /// The node is there and has not finished.
    #[error(
        "the node on {home} gave no answer within {seconds} s and may still be waiting for the chain: check \
         with `sublet wallet balance` or `sublet lease list` before trying again"
    )]
    Waiting {
        /// The home directory.
        home: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Something else answers, or the node went away in the middle.
    #[error(
        "the node on {home} sent an invalid answer: {reason}; check that it runs the same version as this \
         command"
    )]
    Broken {
        /// The home directory.
        home: String,
        /// What was wrong.
        reason: String,
    },
}

/// A connection to the node of one home.
#[derive(Clone)]
pub struct ApiClient {
    http: reqwest::Client,
    address: SocketAddr,
    token: Arc<Zeroizing<String>>,
    home: String,
    /// Set once the node has proven that it is ours.
    greeted: Arc<OnceCell<()>>,
}

impl ApiClient {
    /// Finds the node of `home`.
    pub fn connect(home: &Home) -> Result<Self, ClientError> {
        home.require()?;
        let name = home.path().display().to_string();
        let address = std::fs::read_to_string(home.api_address()).ok();
        let address = address.and_then(|text| text.trim().parse().ok());
        let address = address.ok_or_else(|| ClientError::NotRunning { home: name.clone() })?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| ClientError::Broken { home: name.clone(), reason: e.to_string() })?;
        let token = Arc::new(home.token()?);
        Ok(Self { http, address, token, home: name, greeted: Arc::default() })
    }

    /// Makes sure that the node of the home is the one that answers.
    pub async fn hello(&self) -> Result<(), ClientError> {
        self.greeted.get_or_try_init(|| self.greet()).await.copied()
    }

    /// `GET path`
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.http.get(self.url(path)), LOOK_LIMIT).await
    }

    /// `POST path` with a body.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.send(self.http.post(self.url(path)).json(body), ACT_LIMIT).await
    }

    /// `DELETE path`
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.http.delete(self.url(path)), LOOK_LIMIT).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        limit: Duration,
    ) -> Result<T, ClientError> {
        self.hello().await?;
        let failed = |e: reqwest::Error| self.failed(&e, limit);
        let response =
            request.timeout(limit).bearer_auth(self.token.as_str()).send().await.map_err(failed)?;
        let status = response.status();
        let body = response.bytes().await.map_err(failed)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|e| self.broken(e.to_string()));
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(error) => Err(ClientError::Refused(error)),
            // axum's own refusals (a path or body that does not parse) are plain text.
            Err(_) if status.is_client_error() => Err(ClientError::Refused(ErrorBody {
                error: String::from_utf8_lossy(&body).into_owned(),
                code: "invalid".into(),
            })),
            Err(_) => Err(self.broken(format!("HTTP status {status}"))),
        }
    }

    /// Lets whoever answers prove that it can read the home's token, before the token is sent to it.
    async fn greet(&self) -> Result<(), ClientError> {
        let challenge = Challenge::new(&self.token, self.address)
            .ok_or_else(|| self.broken("this system's random number generator failed".into()))?;
        let asked = self.http.get(challenge.url()).timeout(HELLO_LIMIT).send().await;
        let mut response = match asked {
            Err(e) if e.is_connect() => return Err(ClientError::NotRunning { home: self.home.clone() }),
            // A stopped or overloaded node; it has been told nothing either way.
            Err(e) if e.is_timeout() => return Err(self.failed(&e, HELLO_LIMIT)),
            Err(_) => return Err(self.stranger()),
            Ok(response) => response,
        };
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_HELLO_BYTES {
                return Err(self.stranger());
            }
        }
        if challenge.is_met_by(&body) { Ok(()) } else { Err(self.stranger()) }
    }

    fn failed(&self, error: &reqwest::Error, limit: Duration) -> ClientError {
        if error.is_connect() {
            return ClientError::NotRunning { home: self.home.clone() };
        }
        if error.is_timeout() {
            return ClientError::Waiting { home: self.home.clone(), seconds: limit.as_secs() };
        }
        self.broken(error.to_string())
    }

    fn stranger(&self) -> ClientError {
        ClientError::Stranger { home: self.home.clone(), address: self.address }
    }

    fn broken(&self, reason: String) -> ClientError {
        ClientError::Broken { home: self.home.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::{
        Json, Router,
        extract::{Query, Request},
        http::header,
        routing::get,
    };
    use tokio::net::TcpListener;

    use super::*;
    use crate::hello::{self, Prover, Question};
    use sublet_base::home::{WalletFile, write_atomic};

    /// A home whose `api.address` names a server that notes whether it ever saw the token.
    async fn home_with_server(proves: bool) -> (tempfile::TempDir, Home, Arc<AtomicBool>) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("node"));
        home.create(&WalletFile::Elsewhere).unwrap();
        write_atomic(&home.config(), "", 0o600).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        write_atomic(&home.api_address(), &format!("{address}\n"), 0o600).unwrap();
        let told = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&told);
        let mut app = Router::new().fallback(move |request: Request| {
            seen.fetch_or(request.headers().contains_key(header::AUTHORIZATION), Ordering::SeqCst);
            async { Json(7) }
        });
        if proves {
            let prover = Prover::new(&home.token().unwrap(), address);
            let answer = move |Query(question): Query<Question>| async move {
                Json(prover.answer(&question).unwrap())
            };
            app = app.route(hello::PATH, get(answer));
        }
        tokio::spawn(async move { axum::serve(listener, app).await });
        (dir, home, told)
    }

    #[tokio::test]
    async fn a_stranger_at_the_old_address_never_sees_the_token() {
        let (_dir, home, told) = home_with_server(false).await;
        let client = ApiClient::connect(&home).unwrap();
        let error = client.get::<u8>("/v1/status").await.unwrap_err();
        assert!(matches!(error, ClientError::Stranger { .. }), "{error}");
        assert!(error.to_string().contains("sublet node run"), "{error}");
        assert!(!told.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn the_node_that_knows_the_token_gets_it() {
        let (_dir, home, told) = home_with_server(true).await;
        let client = ApiClient::connect(&home).unwrap();
        assert_eq!(client.get::<u8>("/v1/status").await.unwrap(), 7);
        assert!(told.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_free_port_is_no_node() {
        let (_dir, home, _) = home_with_server(false).await;
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        write_atomic(&home.api_address(), &free.to_string(), 0o600).unwrap();
        let error = ApiClient::connect(&home).unwrap().get::<u8>("/v1/status").await.unwrap_err();
        assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
    }
}
