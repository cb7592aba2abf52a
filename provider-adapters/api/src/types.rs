//! What goes into an adapter and what comes out.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use sublet_market::{Access, Manifest, Resources};

use crate::AdapterError;

/// What an adapter is asked to run: one lease, with all that the machine needs to know.
#[derive(Debug, Clone)]
pub struct LeaseOrder {
    /// The lease's id: the bid's digest.
    pub lease: B256,
    /// The indivisible piece that the offer sells.
    pub unit: Resources,
    /// How many of them; the machine gets `units × unit`.
    pub units: u32,
    /// The buyer's private wishes: image and ssh keys.
    pub manifest: Manifest,
    /// What the lease was settled for, in base units (10^-18 CTK) over its whole duration. Backends that label what
    /// they start write it there; nothing is decided by it.
    pub cost: u128,
    /// Who leases the machine out: the account on chain that the lease names.
    pub provider: Address,
}

impl LeaseOrder {
    /// What the whole lease needs, `None` when it does not fit the integers.
    #[must_use]
    pub fn total(&self) -> Option<Resources> {
        self.unit.checked_mul(self.units)
    }

    /// The manifest's hash, by which a second order for the lease is recognised as the same.
    ///
    /// # Errors
    /// [`AdapterError::Permanent`] for a manifest that breaks its bounds.
    pub fn manifest_hash(&self) -> Result<B256, AdapterError> {
        self.manifest.hash().map_err(|error| {
            AdapterError::permanent(
                format!("the manifest is not well-formed: {error}"),
                "correct the manifest",
            )
        })
    }
}

/// The machine that an adapter keeps for a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The lease it belongs to.
    pub lease: B256,
    /// The backend's own name for it: stable over restarts, never shared by two instances.
    pub id: String,
    /// Where it is in its life.
    pub state: InstanceState,
    /// How its tenant gets in; known from the first start on, of use while it runs.
    pub access: Option<Access>,
    /// What it takes of the capacity, running or not; nothing where that cannot be read any more.
    pub total: Resources,
}

impl Instance {
    /// Whether the machine runs and answers.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == InstanceState::Running
    }
}

/// A disk that has outlived its machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptDisk {
    /// The lease whose machine had it.
    pub lease: B256,
    /// The image that the machine was made of.
    pub image: String,
    /// Its size; 0 where that cannot be read any more.
    pub disk_gib: u32,
}

/// Where an instance is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Being prepared or booting; its ssh port has not answered yet.
    Starting,
    /// Started, and its ssh port has answered.
    Running,
    /// Stopped as asked; the disk is kept.
    Stopped,
    /// Not running although it should be.
    Failed {
        /// What is known about why.
        reason: String,
    },
}

impl InstanceState {
    /// Whether it uses CPU and memory.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Starting | Self::Running)
    }

    /// The stable snake_case name, for logs and the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Failed { .. } => "failed",
        }
    }
}
