//! The SDK's client, set up so that every request ends within [`AwsConfig::api_timeout`].

use std::time::Duration;

use aws_sdk_ec2::Client;
use sublet_cloud_aws::{Access, Limits, sdk_config};

use crate::config::AwsConfig;

/// Longer than any network needs to connect or to say that it cannot.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses between repetitions grow up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Reads the environment and profile files, and asks nobody yet.
pub(crate) async fn client(config: &AwsConfig) -> Client {
    let access = Access {
        region: config.region.clone(),
        endpoint_url: config.endpoint_url.clone(),
        profile: config.profile.clone(),
        credentials_file: config.credentials_file.clone(),
    };
    let limits = Limits {
        connect: CONNECT_TIMEOUT.min(config.api_timeout),
        attempt: config.api_timeout / 2,
        operation: config.api_timeout,
        attempts: config.retries.saturating_add(1),
        max_backoff: MAX_BACKOFF,
    };
    Client::new(&sdk_config(&access, &limits).await)
}
