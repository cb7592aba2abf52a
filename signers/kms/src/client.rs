//! The SDK's client: where KMS is, who asks, and how long an answer may take.

use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_kms::Client;
use serde::{Deserialize, Serialize};
use sublet_cloud_aws::{Access, Limits, sdk_config};

use crate::KmsError;

/// Longer than any network needs to connect or to say that it cannot.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// KMS signs within some ten milliseconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// With all repetitions. A provider's accept has to be ready while the buyer's node still waits for it.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);
const ATTEMPTS: u32 = 4;
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// Where KMS is and who asks: the table `[wallet.aws]` of the node's configuration file. The keys are those of
/// `[provider.aws]`.
///
/// Without `profile` and `credentials_file`, credentials come from AWS's standard chain: environment, profile files,
/// container or instance role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KmsAccess {
    /// The key's region, such as `eu-north-1`. May be left out when the key is named by its ARN, which says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Another endpoint than the region's own, for private endpoints and tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// The profile in the credential files; `AWS_PROFILE` or `default` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The only place for credentials, instead of the standard chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
}

impl KmsAccess {
    /// The region in which `key` is: the configured one, or the one in the key's ARN.
    ///
    /// # Errors
    /// [`KmsError::Configuration`] when neither says it, when they differ, and for texts that are no region.
    pub fn region_of(&self, key: &str) -> Result<String, KmsError> {
        let wrong = |problem: String, remedy: &str| {
            Err(KmsError::Configuration { problem, remedy: remedy.to_owned() })
        };
        // arn:aws:kms:REGION:ACCOUNT:key/ID
        let of_arn = key.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
        let region = match (self.region.as_deref(), of_arn) {
            (Some(set), Some(named)) if set != named => {
                let problem = format!("wallet.aws.region is {set} and the key's ARN says {named}");
                return wrong(problem, "leave the region out, or name the key of that region");
            }
            (Some(region), _) | (None, Some(region)) => region,
            (None, None) => {
                let problem = format!("the region of the key {key} is not known");
                return wrong(
                    problem,
                    "set region = \"eu-north-1\" in [wallet.aws] (`sublet init --kms-region`), or name the key by its ARN",
                );
            }
        };
        let plain = region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if region.is_empty() || !plain {
            return wrong(format!("{region:?} is not a region"), "for example \"eu-north-1\"");
        }
        Ok(region.to_owned())
    }

    /// Reads the environment and profile files, and asks nobody yet.
    pub(crate) async fn client(&self, region: &str) -> Client {
        let access = Access {
            region: region.to_owned(),
            endpoint_url: self.endpoint_url.clone(),
            profile: self.profile.clone(),
            credentials_file: self.credentials_file.clone(),
        };
        let limits = Limits {
            connect: CONNECT_TIMEOUT,
            attempt: ATTEMPT_TIMEOUT,
            operation: OPERATION_TIMEOUT,
            attempts: ATTEMPTS,
            max_backoff: MAX_BACKOFF,
        };
        Client::new(&sdk_config(&access, &limits).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn region(set: Option<&str>, key: &str) -> Result<String, String> {
        let access = KmsAccess { region: set.map(ToOwned::to_owned), ..KmsAccess::default() };
        access.region_of(key).map_err(|error| error.to_string())
    }

    #[test]
    fn the_region_is_the_configured_one_or_that_of_the_arn() {
        assert_eq!(region(Some("eu-north-1"), "alias/wallet").unwrap(), "eu-north-1");
        assert_eq!(region(None, ARN).unwrap(), "eu-west-1");
        assert_eq!(region(Some("eu-west-1"), ARN).unwrap(), "eu-west-1");
        for (set, key, expected) in [
            (None, "alias/wallet", "region = \"eu-north-1\" in [wallet.aws]"),
            (Some("us-east-1"), ARN, "the key's ARN says eu-west-1"),
            (Some("EU north"), "alias/wallet", "not a region"),
        ] {
            let said = region(set, key).unwrap_err();
            assert!(said.contains(expected), "{said}");
        }
    }
}
