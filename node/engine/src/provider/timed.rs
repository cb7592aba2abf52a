//! Time limits on whatever runs the machines: a backend that hangs must not hold up what else there is to do.
//!
//! Adapters bound their calls themselves, by what their backend usually needs. These limits are for when that
//! fails: each is far beyond what a sound backend takes. A call that is given up may go on behind; all of
//! them may be repeated.

use std::{future::Future, sync::Arc, time::Duration};

use alloy_primitives::B256;
use async_trait::async_trait;
use sublet_adapter::{Adapter, AdapterError, Instance, KeptDisk, LeaseOrder};
use sublet_market::{Manifest, Resources, Spec};

/// Looking: a slow cloud API answers within seconds.
const LOOK_LIMIT: Duration = Duration::from_secs(20);
/// Starting, stopping, removing: one machine waits for another's boot, and a cloud's may take minutes.
const CHANGE_LIMIT: Duration = Duration::from_secs(900);

/// An adapter whose calls end.
pub(super) struct Timed(Arc<dyn Adapter>);

impl Timed {
    pub(super) fn over(adapter: Arc<dyn Adapter>) -> Arc<dyn Adapter> {
        Arc::new(Self(adapter))
    }
}

async fn within<T>(
    limit: Duration,
    what: &str,
    call: impl Future<Output = Result<T, AdapterError>> + Send,
) -> Result<T, AdapterError> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
        let problem = format!("the backend did not {what} within {} s", limit.as_secs());
        Err(AdapterError::retryable(problem, "it is retried; check whether the host or its cloud hangs"))
    })
}

#[async_trait]
impl Adapter for Timed {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn traits(&self) -> Vec<String> {
        self.0.traits()
    }

    async fn check(&self) -> Result<(), AdapterError> {
        within(CHANGE_LIMIT, "check the host", self.0.check()).await
    }

    async fn capacity(&self) -> Result<Resources, AdapterError> {
        within(LOOK_LIMIT, "tell its capacity", self.0.capacity()).await
    }

    async fn validate(&self, spec: &Spec, manifest: &Manifest) -> Result<(), AdapterError> {
        within(LOOK_LIMIT, "judge an order", self.0.validate(spec, manifest)).await
    }

    async fn provision(&self, order: &LeaseOrder) -> Result<Instance, AdapterError> {
        within(CHANGE_LIMIT, "start the machine", self.0.provision(order)).await
    }

    async fn resume(&self, lease: B256) -> Result<Instance, AdapterError> {
        within(CHANGE_LIMIT, "start the machine again", self.0.resume(lease)).await
    }

    async fn describe(&self, lease: B256) -> Result<Option<Instance>, AdapterError> {
        within(LOOK_LIMIT, "describe a machine", self.0.describe(lease)).await
    }

    async fn list(&self) -> Result<Vec<Instance>, AdapterError> {
        within(LOOK_LIMIT, "list its machines", self.0.list()).await
    }

    async fn logs(&self, lease: B256, lines: usize) -> Result<Vec<String>, AdapterError> {
        within(LOOK_LIMIT, "read a console", self.0.logs(lease, lines)).await
    }

    async fn stop(&self, lease: B256) -> Result<(), AdapterError> {
        within(CHANGE_LIMIT, "stop the machine", self.0.stop(lease)).await
    }

    async fn deprovision(&self, lease: B256) -> Result<(), AdapterError> {
        within(CHANGE_LIMIT, "remove the machine", self.0.deprovision(lease)).await
    }

    fn keeps_disks(&self) -> bool {
        self.0.keeps_disks()
    }

    async fn retire(&self, lease: B256) -> Result<(), AdapterError> {
        within(CHANGE_LIMIT, "remove the machine", self.0.retire(lease)).await
    }

    async fn kept(&self) -> Result<Vec<KeptDisk>, AdapterError> {
        within(LOOK_LIMIT, "list the disks that it keeps", self.0.kept()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_hangs_ends_as_one_to_try_again() {
        let hangs = std::future::pending::<Result<(), AdapterError>>();
        let error = within(Duration::from_secs(1), "list its machines", hangs).await.unwrap_err();
        assert!(error.is_retryable());
        assert!(error.to_string().contains("did not list its machines within 1 s"), "{error}");
        assert_eq!(within(LOOK_LIMIT, "answer", async { Ok(7) }).await, Ok(7));
    }
}
