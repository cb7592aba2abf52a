//! `[provider]`: what a node that sells promises, claims and answers, and where its machines are.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
#[cfg(feature = "aws")]
use sublet_adapter_aws::AwsConfig;
use sublet_adapter_hypervisor::HypervisorConfig;
use sublet_market::amount::ctk;

use super::human;

/// `[provider]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// How long the capacity is held for a bid that we accepted (at most five minutes).
    #[serde(default = "default_settle_within", with = "human")]
    pub settle_within: Duration,
    /// How often pay is claimed from a running lease.
    #[serde(default = "default_claim_every", with = "human")]
    pub claim_every: Duration,
    /// The least that a claim must bring, written as `0.5 CTK`; base units here.
    #[serde(default, with = "ctk")]
    pub claim_at_least: u128,
    /// How long a buyer that let an accept lapse waits for the next one.
    #[serde(default = "default_backoff", with = "human")]
    pub backoff: Duration,
    /// Whether bids in the book are answered with a quote, unasked.
    #[serde(default = "default_answer_bids")]
    pub answer_bids: bool,
    /// How far below its price an offer is quoted to beat the best other one in the book, in percent.
    #[serde(default)]
    pub discount_percent: u8,
    /// How long machines run on while no new block of the chain is seen: then they are stopped, with their disks kept,
    /// until it is there again.
    #[serde(default = "default_max_offline", with = "human")]
    pub max_offline: Duration,
    /// How long a disk is kept after the end of its lease, for a later lease of the same buyer; 0 for not at all.
    #[serde(default = "default_keep_disk_for", with = "human")]
    pub keep_disk_for: Duration,
    /// Machines on this host.
    #[serde(default)]
    pub hypervisor: Option<HypervisorConfig>,
    /// Machines of an AWS account.
    #[cfg(feature = "aws")]
    #[serde(default)]
    pub aws: Option<AwsConfig>,
}

impl ProviderConfig {
    /// Relative paths are meant from the home.
    pub(super) fn resolve(&mut self, home: &Path) {
        if let Some(hypervisor) = &mut self.hypervisor {
            hypervisor.state_dir = home.join(&hypervisor.state_dir);
            hypervisor.images_dir = home.join(&hypervisor.images_dir);
        }
        #[cfg(feature = "aws")]
        if let Some(aws) = &mut self.aws {
            aws.state_dir = home.join(&aws.state_dir);
            aws.credentials_file = aws.credentials_file.as_ref().map(|file| home.join(file));
        }
    }

    pub(super) fn backends(&self) -> usize {
        #[cfg(feature = "aws")]
        let aws = usize::from(self.aws.is_some());
        #[cfg(not(feature = "aws"))]
        let aws = 0;
        usize::from(self.hypervisor.is_some()) + aws
    }
}

fn default_settle_within() -> Duration {
    Duration::from_secs(120)
}

fn default_claim_every() -> Duration {
    Duration::from_secs(3600)
}

fn default_backoff() -> Duration {
    Duration::from_secs(300)
}

/// A quote costs a message and binds nobody.
fn default_answer_bids() -> bool {
    true
}

/// Longer than RPC outages usually are; what is at stake is this much unpaid work for each lease that ends meanwhile.
fn default_max_offline() -> Duration {
    Duration::from_secs(1800)
}

/// Long enough to notice that a lease has ended and to take another.
fn default_keep_disk_for() -> Duration {
    Duration::from_secs(3600)
}
