//! Which adapter runs a provider's machines: the one whose section is in the configuration.

use std::sync::Arc;

use alloy_primitives::Address;
use sublet_adapter::{Adapter, AdapterError};
#[cfg(feature = "aws")]
use sublet_adapter_aws::{Aws, AwsConfig};
use sublet_adapter_hypervisor::Hypervisor;

use crate::config::ProviderConfig;

/// The adapter of a provider whose account on chain is `provider`. Nothing is started or checked yet.
///
/// # Errors
/// Settings that make no sense, with the key and a valid example.
pub fn open(config: &ProviderConfig, provider: Address) -> Result<Arc<dyn Adapter>, AdapterError> {
    #[cfg(feature = "aws")]
    if let Some(aws) = &config.aws {
        // The tag by which the machines of two providers in one account are told apart.
        let aws = AwsConfig { provider: aws.provider.or(Some(provider)), ..aws.clone() };
        return Ok(Arc::new(Aws::new(aws)?));
    }
    let _ = provider;
    match &config.hypervisor {
        Some(hypervisor) => Ok(Arc::new(Hypervisor::new(hypervisor.clone())?)),
        None => Err(AdapterError::configuration(
            "the provider section names no backend",
            "add [provider.hypervisor] or [provider.aws] to node.toml",
        )),
    }
}
