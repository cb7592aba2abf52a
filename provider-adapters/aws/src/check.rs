//! Checks whether the account can run machines, in the order in which things are set up.

use aws_sdk_ec2::types::{ArchitectureValues, Image, InstanceTypeInfo};
use sublet_adapter::AdapterError;
use sublet_market::Resources;

use crate::ec2::Ec2;
use crate::hostkey::Secret;

impl Ec2 {
    /// The secret, the credentials and the region, the images, the types, the permissions. Returns the architecture.
    pub(crate) async fn check(&self) -> Result<String, AdapterError> {
        Secret::load(&self.config.state_dir)?;
        let mut architecture = None;
        for (name, image) in &self.config.images {
            let found = self.image(&image.ami).await?;
            let its = architecture_of(name, &found)?;
            match &architecture {
                Some(first) if *first != its => return Err(mixed(&format!("image {name:?} is for {its}"))),
                _ => architecture = Some(its),
            }
        }
        let architecture = architecture.unwrap_or_default();
        let names: Vec<&str> = self.config.types().map(|(name, _)| name).collect();
        let infos = self.types(&names).await?;
        for (name, claimed) in self.config.types() {
            let info = infos.iter().find(|info| info.instance_type().is_some_and(|its| its.as_str() == name));
            let Some(info) = info else { return Err(not_offered(name, &self.config.region)) };
            check_type(name, claimed, info, &architecture)?;
        }
        // All machines are asked for in the same way, so one rehearsal for each type says it for every image.
        if let Some(image) = self.config.images.values().next() {
            for name in names {
                self.rehearse(name, &image.ami).await?;
            }
        }
        Ok(architecture)
    }
}

/// The architecture by its common name.
fn architecture_of(name: &str, image: &Image) -> Result<String, AdapterError> {
    match image.architecture() {
        Some(ArchitectureValues::X8664) => Ok("x86_64".to_owned()),
        Some(ArchitectureValues::Arm64) => Ok("aarch64".to_owned()),
        other => {
            let its = other.map_or("nothing that EC2 names", |its| its.as_str());
            let problem = format!("image {name:?} is for {its}");
            Err(AdapterError::configuration(problem, "choose an image for x86_64 or arm64"))
        }
    }
}

fn check_type(
    name: &str,
    claimed: &Resources,
    info: &InstanceTypeInfo,
    architecture: &str,
) -> Result<(), AdapterError> {
    let vcpus = info.v_cpu_info().and_then(|cpus| cpus.default_v_cpus()).unwrap_or(0);
    let memory = info.memory_info().and_then(|memory| memory.size_in_mib()).unwrap_or(0);
    if i64::from(claimed.vcpus) > i64::from(vcpus) || i64::from(claimed.memory_mib) > memory {
        let problem = format!("instance_types claims more for {name:?} than it has");
        return Err(AdapterError::configuration(
            problem,
            format!("set vcpus to at most {vcpus} and memory_mib to at most {memory}"),
        ));
    }
    let gpus =
        info.gpu_info().map_or(0, |info| info.gpus().iter().filter_map(|gpu| gpu.count()).sum::<i32>());
    if i64::from(claimed.gpus) > i64::from(gpus) {
        let problem = format!("instance_types claims gpus for {name:?} that it has not");
        return Err(AdapterError::configuration(problem, format!("set gpus to at most {gpus}")));
    }
    let supported = info.processor_info().map_or(&[][..], |info| info.supported_architectures());
    let same = |its: &str| its == architecture || (its == "arm64" && architecture == "aarch64");
    if supported.is_empty() || supported.iter().any(|its| same(its.as_str())) {
        return Ok(());
    }
    Err(mixed(&format!("instance type {name:?} does not run images for {architecture}")))
}

fn mixed(problem: &str) -> AdapterError {
    AdapterError::configuration(problem, "use images and instance_types of one architecture")
}

fn not_offered(name: &str, region: &str) -> AdapterError {
    let problem = format!("instance type {name:?} is not offered in {region}");
    AdapterError::configuration(problem, "choose another for instance_types, for example \"t3.micro\"")
}
