//! The SDK's client, set up so that every request ends within [`AwsConfig::api_timeout`].

use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_ec2::Client;

use crate::config::AwsConfig;

/// Longer than any network needs to connect or to say that it cannot.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses between repetitions grow up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Reads the environment and profile files, and asks nobody yet.
pub(crate) async fn client(config: &AwsConfig) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT.min(config.api_timeout))
        .operation_attempt_timeout(config.api_timeout / 2)
        .operation_timeout(config.api_timeout)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(config.retries.saturating_add(1))
        .with_max_backoff(MAX_BACKOFF);
    // Pinned: a newer SDK with the same version here does not change its ways.
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(config.region.clone()))
        .timeout_config(timeouts)
        .retry_config(retries);
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(url) = &config.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let Some(file) = &config.credentials_file {
        let files = EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, file).build();
        let mut provider = ProfileFileCredentialsProvider::builder().profile_files(files);
        if let Some(profile) = &config.profile {
            provider = provider.profile_name(profile);
        }
        loader = loader.credentials_provider(provider.build());
    }
    Client::new(&loader.load().await)
}
