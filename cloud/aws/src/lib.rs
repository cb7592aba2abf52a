//! Where AWS is, who asks, and how long an answer may take: the same for every service that Sublet uses.
//!
//! Inputs: settings of a configuration file ([`Access`]) and a service's own limits ([`Limits`]). Outputs:
//! the SDK's configuration ([`sdk_config`]), from which each service makes its client.

use std::{path::PathBuf, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, profile::ProfileFileCredentialsProvider, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};

/// Where AWS is and who asks. Without `profile` and `credentials_file`, credentials come from AWS's standard chain:
/// environment, profile files, container or instance role.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The region, such as `eu-north-1`.
    pub region: String,
    /// Another endpoint than the region's own, for private endpoints and tests.
    pub endpoint_url: Option<String>,
    /// The profile in the credential files; `AWS_PROFILE` or `default` when left out.
    pub profile: Option<String>,
    /// The only place for credentials, instead of the standard chain.
    pub credentials_file: Option<PathBuf>,
}

/// How long an answer may take, and how often a request is repeated when AWS is busy or the network fails.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To connect.
    pub connect: Duration,
    /// One attempt.
    pub attempt: Duration,
    /// All attempts of one request.
    pub operation: Duration,
    /// Attempts, the first one included.
    pub attempts: u32,
    /// Pauses between attempts grow up to this.
    pub max_backoff: Duration,
}

/// The SDK's configuration. Reads the environment and profile files, and asks nobody yet.
pub async fn sdk_config(access: &Access, limits: &Limits) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(limits.connect)
        .operation_attempt_timeout(limits.attempt)
        .operation_timeout(limits.operation)
        .build();
    let retries =
        RetryConfig::standard().with_max_attempts(limits.attempts).with_max_backoff(limits.max_backoff);
    // Pinned: a newer SDK with the same version here does not change its ways.
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(access.region.clone()))
        .timeout_config(timeouts)
        .retry_config(retries);
    if let Some(profile) = &access.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(url) = &access.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let Some(file) = &access.credentials_file {
        let files = EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, file).build();
        let mut provider = ProfileFileCredentialsProvider::builder().profile_files(files);
        if let Some(profile) = &access.profile {
            provider = provider.profile_name(profile);
        }
        loader = loader.credentials_provider(provider.build());
    }
    loader.load().await
}
