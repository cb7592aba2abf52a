//! Errors of KMS and the SDK, each with its remedy.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

/// The beginning of an answer says it all.
const MAX_MESSAGE_CHARS: usize = 300;

/// What can keep a key in KMS from signing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KmsError {
    /// A setting makes no sense.
    #[error("{problem}: {remedy}")]
    Configuration {
        /// What is wrong.
        problem: String,
        /// What to change.
        remedy: String,
    },
    /// No credentials were found.
    #[error(
        "no AWS credentials to ask KMS with ({0}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile or \
         credentials_file in [wallet.aws], or give the machine a role"
    )]
    Credentials(String),
    /// KMS knows the caller and does not let it, or does not know it.
    #[error(
        "KMS refused {action} for the key {key} ({reason}): allow kms:GetPublicKey and kms:Sign on it to this node's AWS identity"
    )]
    Denied {
        /// What was asked for.
        action: &'static str,
        /// The key.
        key: String,
        /// What KMS said.
        reason: String,
    },
    /// There is no such key in this region and account.
    #[error(
        "KMS in {region} has no key {key} ({reason}): check kms_key, region and the AWS account in [wallet]"
    )]
    NotFound {
        /// The key as it was named.
        key: String,
        /// Where it was looked for.
        region: String,
        /// What KMS said.
        reason: String,
    },
    /// Another kind of key.
    #[error(
        "the KMS key {key} cannot be a wallet ({reason}): make one with `aws kms create-key --key-spec \
         ECC_SECG_P256K1 --key-usage SIGN_VERIFY`"
    )]
    Unsuitable {
        /// The key.
        key: String,
        /// What it is.
        reason: String,
    },
    /// The key is disabled, being deleted, or not yet there.
    #[error("the KMS key {key} is not usable now ({reason}): enable it, or cancel its deletion")]
    NotUsable {
        /// The key.
        key: String,
        /// What KMS said.
        reason: String,
    },
    /// No answer, or one that says to come back later.
    #[error(
        "KMS did not answer {action} ({reason}): check the network, region and endpoint_url in [wallet.aws]; it may work again later"
    )]
    Unreachable {
        /// What was asked for.
        action: &'static str,
        /// What is known.
        reason: String,
    },
    /// An answer that is no signature of this key.
    #[error(
        "KMS answered {action} with {reason}: nothing was signed; check what endpoint_url in [wallet.aws] names"
    )]
    Answer {
        /// What was asked for.
        action: &'static str,
        /// What came.
        reason: String,
    },
}

/// Explains a failed request.
pub(crate) fn explain<E, R>(action: &'static str, key: &str, region: &str, error: &SdkError<E, R>) -> KmsError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let unreachable = |reason: String| KmsError::Unreachable { action, reason };
    match error {
        SdkError::ServiceError(_) => {
            let code = error.code().unwrap_or("no code");
            let message: String =
                error.message().unwrap_or("no message").chars().take(MAX_MESSAGE_CHARS).collect();
            refused(action, key, region, code, format!("{code}: {message}"))
        }
        SdkError::TimeoutError(_) => unreachable("no answer in time".into()),
        _ if credentials_missing(error) => KmsError::Credentials(chain(error)),
        _ => unreachable(chain(error)),
    }
}

/// KMS's answer to what it does not do.
fn refused(action: &'static str, key: &str, region: &str, code: &str, reason: String) -> KmsError {
    let key = key.to_owned();
    match code {
        "NotFoundException" | "InvalidArnException" | "ValidationException" => {
            KmsError::NotFound { key, region: region.to_owned(), reason }
        }
        "DisabledException" | "KMSInvalidStateException" => KmsError::NotUsable { key, reason },
        "InvalidKeyUsageException" | "UnsupportedOperationException" => KmsError::Unsuitable { key, reason },
        "AccessDeniedException"
        | "AccessDenied"
        | "AuthFailure"
        | "InvalidSignatureException"
        | "UnrecognizedClientException"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken" => KmsError::Denied { action, key, reason },
        _ => KmsError::Unreachable { action, reason },
    }
}

fn credentials_missing(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        matches!(
            cause.downcast_ref::<CredentialsError>(),
            Some(CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_))
        )
    })
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error with its causes, each said once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = causes(error).map(ToString::to_string).collect();
    parts.dedup();
    // One line, whatever the SDK draws.
    parts.join(": ").split_whitespace().collect::<Vec<_>>().join(" ")
}
