//! Errors of the SDK and EC2, as adapter errors: whose fault it is, and the remedy.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use sublet_adapter::{AdapterError, ErrorKind};

use crate::config::AwsConfig;

/// EC2 adds an encoded report of some kilobytes to refusals; the beginning says it all.
const MAX_MESSAGE_CHARS: usize = 300;

/// Asked too often.
const THROTTLED: [&str; 3] = ["RequestLimitExceeded", "EC2ThrottledException", "Throttl"];
/// AWS itself has no machine of the type at the moment.
const NO_CAPACITY: [&str; 3] =
    ["InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity"];
/// Codes with a server's status that still say for sure that nothing was done.
const PLAIN_NO: [&str; 4] = ["RequestLimitExceeded", "EC2ThrottledException", "Throttl", "Insufficient"];

/// A failed request.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// EC2's error code, where EC2 has answered.
    pub(crate) code: Option<String>,
    /// Whether the request may have taken effect although no success was heard of.
    pub(crate) in_doubt: bool,
    /// The error to return.
    pub(crate) error: AdapterError,
}

impl Failure {
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl From<Failure> for AdapterError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// Explains a failed request. `what` completes "could not".
pub(crate) fn explain<E>(what: &str, config: &AwsConfig, error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let code = error.code().map(str::to_owned);
    let explained = match &error {
        SdkError::ServiceError(service) => {
            let code = code.as_deref().unwrap_or("no code");
            let status = service.raw().status().as_u16();
            let message = error.message().unwrap_or("no message");
            refused(what, config, code, status, message)
        }
        SdkError::TimeoutError(_) => unreachable(what, config, "no answer in time"),
        _ if credentials_missing(&error) => AdapterError::configuration(
            format!("could not {what}: no credentials ({})", chain(&error)),
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, credentials_file or an instance role",
        ),
        SdkError::ConstructionFailure(_) => AdapterError::configuration(
            format!("could not {what}: {}", chain(&error)),
            "check region and endpoint_url in [provider.aws]",
        ),
        SdkError::DispatchFailure(failure) if failure.is_user() => AdapterError::configuration(
            format!("could not {what}: {}", chain(&error)),
            "check endpoint_url in [provider.aws], for example \"https://ec2.eu-north-1.amazonaws.com\"",
        ),
        _ => unreachable(what, config, &chain(&error)),
    };
    let in_doubt = match &error {
        SdkError::ServiceError(service) => {
            let said_no = code.as_deref().is_some_and(|code| begins(code, &PLAIN_NO));
            service.raw().status().is_server_error() && !said_no
        }
        SdkError::ConstructionFailure(_) => false,
        _ => true,
    };
    Failure { code, in_doubt, error: explained }
}

fn unreachable(what: &str, config: &AwsConfig, why: &str) -> AdapterError {
    let place = config.endpoint_url.as_deref().unwrap_or("the region's endpoint");
    let remedy = format!(
        "check the network and that region {:?} exists; it is retried when AWS answers",
        config.region
    );
    AdapterError::retryable(format!("could not {what} at {place}: {why}"), remedy)
}

/// EC2's answer to what it does not do.
pub(crate) fn refused(
    what: &str,
    config: &AwsConfig,
    code: &str,
    status: u16,
    message: &str,
) -> AdapterError {
    let message: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
    let problem = format!("could not {what}: {code}: {message}");
    let (kind, remedy) = judge(code, status, config);
    match kind {
        ErrorKind::Retryable => AdapterError::retryable(problem, remedy),
        ErrorKind::Quota => AdapterError::quota(problem, remedy),
        ErrorKind::Configuration => AdapterError::configuration(problem, remedy),
        ErrorKind::Permanent => AdapterError::permanent(problem, remedy),
    }
}

/// Whose fault an EC2 error code is, and what to do about it.
/// Codes: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>.
fn judge(code: &str, status: u16, config: &AwsConfig) -> (ErrorKind, String) {
    let region = &config.region;
    let is = |codes: &[&str]| codes.contains(&code);
    let begins = |starts: &[&str]| begins(code, starts);
    if begins(&THROTTLED) {
        return (ErrorKind::Retryable, "it is retried; if this persists, ask AWS for a higher rate".into());
    }
    if begins(&NO_CAPACITY) {
        let remedy = "it is retried; if this persists, allow another instance type or leave subnet_id out";
        return (ErrorKind::Retryable, remedy.into());
    }
    if is(&["InsufficientFreeAddressesInSubnet"]) {
        return (ErrorKind::Quota, "wait until another lease ends, or set a larger subnet_id".into());
    }
    if code.ends_with("LimitExceeded") || code.ends_with("QuotaExceeded") {
        let remedy = format!("wait until another lease ends, or ask AWS for a higher quota in {region}");
        return (ErrorKind::Quota, remedy);
    }
    if is(&["IdempotentParameterMismatch"]) {
        let remedy = "the lease was started with other settings before; end it, or restore the settings and the \
                      secret in state_dir";
        return (ErrorKind::Permanent, remedy.into());
    }
    if is(&["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"]) {
        return (
            ErrorKind::Configuration,
            "grant the permissions of the policy in docs/provider-aws.md".into(),
        );
    }
    if is(&["OptInRequired", "PendingVerification", "Blocked", "AccountDisabled"]) {
        return (ErrorKind::Configuration, "finish the account's sign-up for EC2 with AWS".into());
    }
    if is(&["AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "MissingAuthenticationToken"])
        || is(&["UnrecognizedClientException", "RequestExpired", "ExpiredToken", "IncompleteSignature"])
    {
        let remedy = format!("check the access key, that region {region:?} is right, and this host's clock");
        return (ErrorKind::Configuration, remedy);
    }
    if begins(&["InvalidAMIID", "InvalidAMIName"]) {
        let remedy = format!("set images.NAME.ami to an image of region {region:?}: ids differ by region");
        return (ErrorKind::Configuration, remedy);
    }
    if is(&["Unavailable", "InternalError", "InternalFailure", "ServiceUnavailable"])
        || is(&["ConcurrentTagAccess", "IncorrectInstanceState", "InvalidInstanceID.NotFound"])
        || begins(&["Server."])
        || status >= 500
    {
        return (ErrorKind::Retryable, "it is retried; AWS is busy or not consistent yet".into());
    }
    let remedy = "check instance_types, subnet_id, security_group_ids and key_name in [provider.aws]";
    (ErrorKind::Configuration, remedy.into())
}

fn begins(code: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| code.starts_with(start))
}

fn credentials_missing(error: &(dyn Error + 'static)) -> bool {
    sources(error).any(|error| error.is::<CredentialsError>())
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// An error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = sources(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ").chars().take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_laid_at_the_right_door() {
        let config = AwsConfig::new("eu-north-1".into(), Default::default(), "state".into(), 1);
        let cases = [
            ("RequestLimitExceeded", 503, ErrorKind::Retryable),
            ("ThrottlingException", 400, ErrorKind::Retryable),
            ("InsufficientInstanceCapacity", 500, ErrorKind::Retryable),
            ("InternalError", 500, ErrorKind::Retryable),
            ("NeverSeenBefore", 502, ErrorKind::Retryable),
            ("VcpuLimitExceeded", 400, ErrorKind::Quota),
            ("InstanceLimitExceeded", 400, ErrorKind::Quota),
            ("VolumeLimitExceeded", 400, ErrorKind::Quota),
            ("AuthFailure", 401, ErrorKind::Configuration),
            ("UnauthorizedOperation", 403, ErrorKind::Configuration),
            ("InvalidAMIID.NotFound", 400, ErrorKind::Configuration),
            ("InvalidAMIID.Malformed", 400, ErrorKind::Configuration),
            ("InvalidSubnetID.NotFound", 400, ErrorKind::Configuration),
            ("InvalidKeyPair.NotFound", 400, ErrorKind::Configuration),
            ("NeverSeenBefore", 400, ErrorKind::Configuration),
            ("IdempotentParameterMismatch", 400, ErrorKind::Permanent),
        ];
        for (code, status, kind) in cases {
            let error = refused("start a machine", &config, code, status, "because");
            assert_eq!(error.kind(), kind, "{code}");
            assert!(error.problem().contains(code) && !error.remedy().is_empty(), "{error}");
        }
    }
}
