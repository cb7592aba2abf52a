//! The AWS command line: a client that shares no code with the one under test.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::{ACCESS_KEY, Moto, MotoError, REGION, SECRET_KEY, environment};

impl Moto {
    /// Runs `aws ARGUMENTS` in [`REGION`] against this server and returns its answer; `Null` when it says nothing.
    ///
    /// # Errors
    /// With what the command line said when it fails.
    pub async fn aws_cli(&self, arguments: &[&str]) -> Result<Value, MotoError> {
        let failed = |reason: String| MotoError::Cli { arguments: arguments.join(" "), reason };
        let output = Command::new(environment::python(&self.environment))
            .args(["-m", "awscli", "--endpoint-url", &self.endpoint, "--region", REGION, "--output", "json"])
            .args(arguments)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .env("AWS_PAGER", "")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(environment::last_words(&output.stderr)));
        }
        if output.stdout.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
    }

    /// The instances in all states that carry this tag, as the AWS command line sees them.
    ///
    /// # Errors
    /// As [`Moto::aws_cli`].
    pub async fn instances_with_tag(&self, key: &str, value: &str) -> Result<Vec<Value>, MotoError> {
        let filter = format!("Name=tag:{key},Values={value}");
        let query = "Reservations[].Instances[]";
        let found =
            self.aws_cli(&["ec2", "describe-instances", "--filters", &filter, "--query", query]).await?;
        Ok(found.as_array().cloned().unwrap_or_default())
    }
}
