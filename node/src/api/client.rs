//! The client of the local API: finds the node by its home, says what to do when it is not running.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use super::types::ErrorBody;
use crate::home::{Home, HomeError};

/// Settling and depositing wait for blocks: on slow chains that takes a while.
const TIMEOUT: Duration = Duration::from_secs(180);

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
    /// The node said no.
    #[error("{}", .0.error)]
    Refused(ErrorBody),
    /// Something else answers, or the node went away in the middle.
    #[error("the node on {home} gave no proper answer: {reason}; is it the same version as this command?")]
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
    base: String,
    token: String,
    home: String,
}

impl ApiClient {
    /// Finds the node of `home`.
    pub fn connect(home: &Home) -> Result<Self, ClientError> {
        home.require()?;
        let name = home.path().display().to_string();
        let address = std::fs::read_to_string(home.api_address())
            .map_err(|_| ClientError::NotRunning { home: name.clone() })?;
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|e| ClientError::Broken { home: name.clone(), reason: e.to_string() })?;
        Ok(Self {
            http,
            base: format!("http://{}", address.trim()),
            token: home.token()?.to_string(),
            home: name,
        })
    }

    /// `GET path`
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.http.get(self.url(path))).await
    }

    /// `POST path` with a body.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        self.send(self.http.post(self.url(path)).json(body)).await
    }

    /// `DELETE path`
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.http.delete(self.url(path))).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, ClientError> {
        let response = request.bearer_auth(&self.token).send().await.map_err(|e| self.failed(&e))?;
        let ok = response.status().is_success();
        let status = response.status();
        let body = response.bytes().await.map_err(|e| self.failed(&e))?;
        if ok {
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

    fn failed(&self, error: &reqwest::Error) -> ClientError {
        if error.is_connect() {
            return ClientError::NotRunning { home: self.home.clone() };
        }
        self.broken(error.to_string())
    }

    fn broken(&self, reason: String) -> ClientError {
        ClientError::Broken { home: self.home.clone(), reason }
    }
}
