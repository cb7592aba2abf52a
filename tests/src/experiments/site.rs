//! Where the experiments' machines run: QEMU guests on this host, or instances of a strict EC2 server.

use std::{collections::BTreeMap, path::PathBuf};

use alloy_primitives::B256;
use anyhow::{Context as _, ensure};
use serde_json::Value;
use sublet::{
    devnet::NodeProcess,
    setup::{Backend, ProviderSetup},
};
use sublet_adapter_aws::{AwsConfig, AwsImage, Ready};
use sublet_market::Resources;
use sublet_moto::{IMAGE_DISK_GIB, IMAGE_ID, IMAGE_USER, Moto, MotoOptions, REGION};

use crate::command::sublet;

/// The EC2 instance type of the reference.
const INSTANCE_TYPE: &str = "t3.micro";
const AWS_IMAGE: &str = "amazon-linux";

/// Where machines run.
pub enum Site {
    /// QEMU on this host, with the guest images of this folder.
    Hypervisor(PathBuf),
    /// EC2.
    Aws(Box<Moto>),
}

impl Site {
    /// Starts the EC2 server.
    pub async fn aws() -> anyhow::Result<Self> {
        Ok(Self::Aws(Box::new(Moto::start(MotoOptions::default()).await?)))
    }

    /// What the provider's node is configured with. `secrets` is a folder for its credentials file.
    pub fn provider(&self, secrets: &std::path::Path) -> anyhow::Result<ProviderSetup> {
        let backend = match self {
            Self::Hypervisor(images) => Backend::Hypervisor {
                images_dir: images.clone(),
                capacity: Resources { vcpus: 1, memory_mib: 512, disk_gib: 4, ..Resources::default() },
                accel: "tcg".into(),
            },
            Self::Aws(moto) => {
                let credentials = secrets.join("aws-credentials");
                std::fs::write(&credentials, moto.credentials())?;
                let image = AwsImage { ami: IMAGE_ID.into(), user: IMAGE_USER.into(), ssh_port: 22 };
                let images = BTreeMap::from([(AWS_IMAGE.to_owned(), image)]);
                Backend::Aws(Box::new(AwsConfig {
                    endpoint_url: Some(moto.endpoint().to_owned()),
                    credentials_file: Some(credentials),
                    instance_type: Some(INSTANCE_TYPE.into()),
                    // Nothing boots there, so no ssh server will greet.
                    ready: Ready::Running,
                    ..AwsConfig::new(REGION.into(), images, "aws".into(), 2)
                }))
            }
        };
        Ok(ProviderSetup { claim_every: "1h".into(), backend })
    }

    /// The one unit that is offered.
    pub fn unit(&self) -> Resources {
        match self {
            Self::Hypervisor(_) => {
                Resources { vcpus: 1, memory_mib: 256, disk_gib: 1, ..Resources::default() }
            }
            Self::Aws(_) => {
                Resources { vcpus: 2, memory_mib: 1024, disk_gib: IMAGE_DISK_GIB, ..Resources::default() }
            }
        }
    }

    /// What the buyer types after `bid post` to get it.
    pub fn wanted(&self) -> Vec<&'static str> {
        match self {
            Self::Hypervisor(_) => vec!["--memory", "256MiB"],
            Self::Aws(_) => vec![
                "--vcpus",
                "2",
                "--memory",
                "1GiB",
                "--disk",
                "15GiB",
                "--image",
                AWS_IMAGE,
                "--trait",
                "adapter=aws",
                // Nothing boots there: there is nobody to greet.
                "--on-failure",
                "keep",
            ],
        }
    }

    /// The machines that are there now, by what is independent of the node: the disk, or the aws command line.
    pub async fn machines(&self, provider: &NodeProcess) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Hypervisor(_) => folders(&provider.home().path().join("machines")),
            Self::Aws(moto) => {
                let all = moto.instances_with_tag("AllocatedBy", "TokenSystem").await?;
                let gone = |instance: &Value| {
                    matches!(instance["State"]["Name"].as_str(), Some("terminated" | "shutting-down"))
                };
                let ids = all.iter().filter(|i| !gone(i)).filter_map(|i| i["InstanceId"].as_str());
                Ok(ids.map(ToOwned::to_owned).collect())
            }
        }
    }

    /// Proves that the machine of a lease is what was paid for: by logging in, or by what EC2 says of it.
    pub async fn inspect(
        &self,
        buyer: &NodeProcess,
        lease: B256,
        instance: &str,
        cost_ctk: u128,
    ) -> anyhow::Result<String> {
        let id = lease.to_string();
        match self {
            Self::Hypervisor(_) => {
                let args = ["lease", "ssh", &id, "--", "uname", "-sr"];
                let ssh = sublet(buyer.binary(), buyer.home().path(), &args).await?;
                ensure!(ssh.code == Some(0), "no login: {}", ssh.stderr);
                Ok(format!("the guest says {}", ssh.stdout.trim()))
            }
            Self::Aws(moto) => {
                let found = moto.instances_with_tag("sublet:lease", id.trim_start_matches("0x")).await?;
                let found = if found.is_empty() {
                    moto.instances_with_tag("sublet:lease", &id).await?
                } else {
                    found
                };
                ensure!(found.len() == 1, "EC2 has {} instances of the lease", found.len());
                let machine = &found[0];
                ensure!(machine["InstanceId"] == instance, "EC2 names {}", machine["InstanceId"]);
                ensure!(machine["InstanceType"] == INSTANCE_TYPE, "the type is {}", machine["InstanceType"]);
                ensure!(tag(machine, "AllocatedBy").as_deref() == Some("TokenSystem"), "{machine}");
                let cost = tag(machine, "TokenCost").context("no tag TokenCost")?;
                ensure!(cost.trim_end_matches(" CTK") == cost_ctk.to_string(), "TokenCost is {cost}");
                ensure!(tag(machine, "sublet:provider").is_some(), "no tag sublet:provider");
                Ok(format!("the aws command line says {INSTANCE_TYPE} in {REGION}, TokenCost={cost}"))
            }
        }
    }
}

fn tag(machine: &Value, key: &str) -> Option<String> {
    let tags = machine["Tags"].as_array()?;
    let found = tags.iter().find(|tag| tag["Key"] == key)?;
    found["Value"].as_str().map(ToOwned::to_owned)
}

/// Leases are folders named by 64 hexadecimal digits; the adapter keeps a few files of its own beside.
fn folders(dir: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
            found.push(name);
        }
    }
    Ok(found)
}
