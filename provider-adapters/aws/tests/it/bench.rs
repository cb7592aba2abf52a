//! A bench for the tests: a strict EC2 of its own, a state folder, and settings that fit both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::B256;
use async_trait::async_trait;
use serde_json::Value;
use sublet_adapter::conformance::{Bench, PROVIDER};
use sublet_adapter::{Adapter, LeaseOrder};
use sublet_adapter_aws::{Aws, AwsConfig, AwsImage, Ready};
use sublet_market::Resources;
use sublet_moto::{IMAGE_DISK_GIB, IMAGE_ID, IMAGE_USER, Moto, MotoOptions, REGION};
use tempfile::TempDir;

pub(crate) const IMAGE: &str = "amazon-linux";

/// Room for two machines in an account without any.
pub(crate) struct AwsBench {
    pub(crate) moto: Moto,
    pub(crate) config: AwsConfig,
    _dir: TempDir,
}

impl AwsBench {
    pub(crate) async fn new() -> Self {
        Self::with(MotoOptions::default()).await
    }

    pub(crate) async fn with(options: MotoOptions) -> Self {
        let moto = Moto::start(options).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let credentials: PathBuf = dir.path().join("credentials");
        std::fs::write(&credentials, moto.credentials()).unwrap();
        let image = AwsImage { ami: IMAGE_ID.into(), user: IMAGE_USER.into(), ssh_port: 22 };
        let images = BTreeMap::from([(IMAGE.to_owned(), image)]);
        let mut config = AwsConfig::new(REGION.into(), images, dir.path().join("state"), 2);
        config.capacity = Some(unit().checked_mul(2).unwrap());
        config.endpoint_url = Some(moto.endpoint().to_owned());
        config.credentials_file = Some(credentials);
        config.ready = Ready::Running;
        config.provider = Some(PROVIDER);
        config.boot_timeout = Duration::from_secs(60);
        Self { moto, config, _dir: dir }
    }

    pub(crate) fn order(&self, name: &str) -> LeaseOrder {
        sublet_adapter::conformance::order(self, name)
    }

    /// All that EC2 has of a lease, as the AWS command line shows it.
    pub(crate) async fn instances(&self, lease: B256) -> Vec<Value> {
        self.moto.instances_with_tag("sublet:lease", &format!("{lease:#x}")).await.unwrap()
    }

    /// The one living instance of a lease.
    pub(crate) async fn instance(&self, lease: B256) -> Value {
        let living: Vec<_> = self.instances(lease).await.into_iter().filter(|one| !is_gone(one)).collect();
        assert_eq!(living.len(), 1, "{living:?}");
        living[0].clone()
    }
}

#[async_trait]
impl Bench for AwsBench {
    fn open(&self) -> Arc<dyn Adapter> {
        Arc::new(Aws::new(self.config.clone()).unwrap())
    }

    /// What the tenant's `poweroff`, or somebody at AWS's console, would do.
    async fn crash(&self, lease: B256) {
        let instance = self.instance(lease).await;
        let id = instance["InstanceId"].as_str().unwrap();
        self.moto.aws_cli(&["ec2", "stop-instances", "--instance-ids", id]).await.unwrap();
        while self.instance(lease).await["State"]["Name"] != "stopped" {}
    }

    async fn leftovers(&self, lease: B256) -> Vec<String> {
        let filter = format!("Name=value,Values={lease:#x}");
        let tagged = ["ec2", "describe-tags", "--filters", "Name=key,Values=sublet:lease", &filter];
        let tagged = self.moto.aws_cli(&tagged).await.unwrap();
        if tagged["Tags"].as_array().unwrap().is_empty() {
            return Vec::new();
        }
        let instances = self.instances(lease).await;
        let mut left: Vec<String> = instances
            .iter()
            .filter(|instance| !is_gone(instance))
            .map(|instance| format!("instance {}", instance["InstanceId"]))
            .collect();
        let filter = format!("Name=tag:sublet:lease,Values={lease:#x}");
        let query = ["--query", "Volumes[].VolumeId"];
        let volumes = ["ec2", "describe-volumes", "--filters", &filter];
        let volumes = self.moto.aws_cli(&[&volumes[..], &query[..]].concat()).await.unwrap();
        left.extend(volumes.as_array().unwrap().iter().map(|id| format!("volume {id}")));
        left
    }

    fn image(&self) -> String {
        IMAGE.to_owned()
    }

    fn unit(&self) -> Resources {
        unit()
    }
}

/// Half of what a machine of the default type has.
pub(crate) fn unit() -> Resources {
    Resources { vcpus: 1, memory_mib: 512, disk_gib: IMAGE_DISK_GIB, ..Resources::default() }
}

fn is_gone(instance: &Value) -> bool {
    let state = &instance["State"]["Name"];
    state == "shutting-down" || state == "terminated"
}
