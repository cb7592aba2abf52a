//! The one error type of all adapters: whose fault it is, whether to try again, and what to do.

use thiserror::Error;

/// Why an adapter did not do what it was asked. Each message ends with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdapterError {
    /// Something outside that passes: a busy host, a time-out. The same call may succeed soon.
    #[error("{problem}; {remedy}")]
    Retryable {
        /// What went wrong.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// No room at present; the same call may succeed once another lease ends.
    #[error("{problem}; {remedy}")]
    Quota {
        /// What is short.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// The provider's host or configuration; nothing works until its operator acts.
    #[error("{problem}; {remedy}")]
    Configuration {
        /// What is missing or wrong.
        problem: String,
        /// What the operator should do.
        remedy: String,
    },
    /// The order itself; no retry will help.
    #[error("{problem}; {remedy}")]
    Permanent {
        /// What is wrong with the order.
        problem: String,
        /// What a fitting order would look like.
        remedy: String,
    },
}

/// The variants of [`AdapterError`] without their texts, for metrics and decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// See [`AdapterError::Retryable`].
    Retryable,
    /// See [`AdapterError::Quota`].
    Quota,
    /// See [`AdapterError::Configuration`].
    Configuration,
    /// See [`AdapterError::Permanent`].
    Permanent,
}

impl ErrorKind {
    /// The stable snake_case name, for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retryable => "retryable",
            Self::Quota => "quota",
            Self::Configuration => "configuration",
            Self::Permanent => "permanent",
        }
    }
}

impl AdapterError {
    /// A passing trouble.
    pub fn retryable(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Retryable { problem: problem.into(), remedy: remedy.into() }
    }

    /// No room at present.
    pub fn quota(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Quota { problem: problem.into(), remedy: remedy.into() }
    }

    /// The provider's operator has to act.
    pub fn configuration(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Configuration { problem: problem.into(), remedy: remedy.into() }
    }

    /// The order cannot be carried out.
    pub fn permanent(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Permanent { problem: problem.into(), remedy: remedy.into() }
    }

    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Retryable { .. } => ErrorKind::Retryable,
            Self::Quota { .. } => ErrorKind::Quota,
            Self::Configuration { .. } => ErrorKind::Configuration,
            Self::Permanent { .. } => ErrorKind::Permanent,
        }
    }

    /// Whether the same call may succeed later without anybody doing anything (retryable and quota).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Retryable | ErrorKind::Quota)
    }

    /// Whether the order is at fault, not the provider.
    #[must_use]
    pub fn is_order_fault(&self) -> bool {
        self.kind() == ErrorKind::Permanent
    }

    /// What went wrong, without the remedy.
    #[must_use]
    pub fn problem(&self) -> &str {
        match self {
            Self::Retryable { problem, .. }
            | Self::Quota { problem, .. }
            | Self::Configuration { problem, .. }
            | Self::Permanent { problem, .. } => problem,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        match self {
            Self::Retryable { remedy, .. }
            | Self::Quota { remedy, .. }
            | Self::Configuration { remedy, .. }
            | Self::Permanent { remedy, .. } => remedy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ends_with_the_remedy() {
        let error =
            AdapterError::configuration("qemu-img is missing", "install it: apt-get install qemu-utils");
        assert_eq!(error.to_string(), "qemu-img is missing; install it: apt-get install qemu-utils");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(!error.is_retryable());
    }

    #[test]
    fn retry_helps_only_where_time_helps() {
        assert!(AdapterError::retryable("a", "b").is_retryable());
        assert!(AdapterError::quota("a", "b").is_retryable());
        assert!(!AdapterError::permanent("a", "b").is_retryable());
        assert!(AdapterError::permanent("a", "b").is_order_fault());
    }
}
