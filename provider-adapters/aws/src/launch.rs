//! Ordering a new machine: what is asked of EC2, and why asking twice gives one.

use alloy_primitives::{B256, keccak256};
use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, CreditSpecificationRequest, EbsBlockDevice, HttpTokensState, Image,
    InstanceMetadataOptionsRequest, InstanceType, ResourceType, ShutdownBehavior, TagSpecification,
};
use sublet_adapter::{AdapterError, LeaseOrder};

use crate::capacity::Fit;
use crate::ec2::Ec2;
use crate::error::Failure;
use crate::machine::{Machine, Phase};
use crate::tags::Labels;

/// How often a lease's machine may have been ended by others within a day (so long EC2 remembers a token) and is still
/// replaced.
const MAX_GENERATIONS: u32 = 16;
/// Types whose processors run on credit; by default EC2 would bill the provider for a tenant who overdraws.
const BURSTABLE: [&str; 4] = ["t2.", "t3.", "t3a.", "t4g."];
/// EC2's code for a token whose machine was ended.
const SPENT: &str = "IdempotentInstanceTerminated";
/// EC2's answer to a rehearsal that would have been carried out.
const WOULD_WORK: &str = "DryRunOperation";

/// All that a machine is made from.
pub(crate) struct Plan<'a> {
    pub(crate) order: &'a LeaseOrder,
    pub(crate) fit: Fit<'a>,
    pub(crate) labels: Labels,
    /// In base64; holds the private host key, so there is no `Debug`.
    pub(crate) user_data: String,
}

/// EC2's idempotency token for the lease's n-th machine: at most 64 ASCII characters. The first is the lease itself.
pub(crate) fn client_token(lease: B256, generation: u32) -> String {
    if generation == 0 {
        return hex::encode(lease);
    }
    hex::encode(keccak256([lease.as_slice(), &generation.to_be_bytes()].concat()))
}

impl Ec2 {
    /// Orders the machine, or finds the one that an earlier such order has made. Returns its id.
    ///
    /// A token lives for about a day and outlives its machine, so the token of one that was ended is passed over: who
    /// asks later or elsewhere goes the same way, to the same machine.
    pub(crate) async fn run(&self, plan: &Plan<'_>) -> Result<String, Failure> {
        let image = self.image(&plan.fit.image.ami).await?;
        for generation in 0..MAX_GENERATIONS {
            let lease = plan.order.lease;
            let request = self.request(plan.fit.instance_type, &plan.fit.image.ami).await;
            let request = request
                .client_token(client_token(lease, generation))
                .user_data(&plan.user_data)
                .set_block_device_mappings(Some(disks(&image, plan.fit.total.disk_gib)))
                .set_tag_specifications(Some(tag_specifications(plan)));
            let answer = request.send().await.map_err(|error| self.failure("start a machine", error));
            let answer = match answer {
                Err(failure) if failure.has_code(SPENT) => continue,
                other => other?,
            };
            let machine = answer.instances().first().and_then(|one| Machine::with_lease(one, lease));
            match machine {
                Some(machine) if machine.phase == Phase::Gone => {}
                Some(machine) => return Ok(machine.id),
                None => return Err(unheard()),
            }
        }
        let problem = format!("the machine of lease {} was ended {MAX_GENERATIONS} times", plan.order.lease);
        let error = AdapterError::configuration(problem, "see in the account's CloudTrail who ends it");
        Err(Failure { code: None, in_doubt: false, error })
    }

    /// Asks EC2 whether it would start such a machine.
    pub(crate) async fn rehearse(&self, instance_type: &str, ami: &str) -> Result<(), Failure> {
        let answer = self.request(instance_type, ami).await.dry_run(true).send().await;
        match answer.map_err(|error| self.failure("rehearse starting a machine", error)) {
            Err(failure) if failure.has_code(WOULD_WORK) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn request(&self, instance_type: &str, ami: &str) -> RunInstancesFluentBuilder {
        let config = &self.config;
        // Version 2 of the metadata service: a request forged through a tenant's web server does not reach it.
        let metadata =
            InstanceMetadataOptionsRequest::builder().http_tokens(HttpTokensState::Required).build();
        let credits = BURSTABLE
            .iter()
            .any(|family| instance_type.starts_with(family))
            .then(|| CreditSpecificationRequest::builder().cpu_credits("standard").build());
        let groups = Some(config.security_group_ids.clone()).filter(|groups| !groups.is_empty());
        self.client()
            .await
            .run_instances()
            .image_id(ami)
            .instance_type(InstanceType::from(instance_type))
            .min_count(1)
            .max_count(1)
            .instance_initiated_shutdown_behavior(ShutdownBehavior::Stop)
            .metadata_options(metadata)
            .set_credit_specification(credits)
            .set_subnet_id(config.subnet_id.clone())
            .set_security_group_ids(groups)
            .set_key_name(config.key_name.clone())
    }
}

/// The image's disks, all of which end with the machine; the first one of at least the ordered size.
fn disks(image: &Image, disk_gib: u32) -> Vec<BlockDeviceMapping> {
    let root = image.root_device_name();
    let ordered = i32::try_from(disk_gib).unwrap_or(i32::MAX);
    let mut disks: Vec<BlockDeviceMapping> = Vec::new();
    for mapping in image.block_device_mappings() {
        let Some(ebs) = mapping.ebs() else { continue };
        let mut disk = EbsBlockDevice::builder().delete_on_termination(true);
        if mapping.device_name() == root {
            disk = disk.volume_size(ordered.max(ebs.volume_size().unwrap_or(0)));
        }
        let name = mapping.device_name().map(str::to_owned);
        disks.push(BlockDeviceMapping::builder().set_device_name(name).ebs(disk.build()).build());
    }
    disks
}

/// The volumes carry the tags too: a bill by tag is then complete.
fn tag_specifications(plan: &Plan<'_>) -> Vec<TagSpecification> {
    let tags = plan.labels.tags(plan.order.cost);
    let specification =
        |kind| TagSpecification::builder().resource_type(kind).set_tags(Some(tags.clone())).build();
    vec![specification(ResourceType::Instance), specification(ResourceType::Volume)]
}

fn unheard() -> Failure {
    let error = AdapterError::retryable("EC2 answered without naming the machine", "it is retried");
    Failure { code: None, in_doubt: true, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ec2::types::EbsBlockDevice;

    #[test]
    fn tokens_are_short_and_differ_by_lease_and_generation() {
        let (a, b) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let tokens = [client_token(a, 0), client_token(a, 1), client_token(a, 2), client_token(b, 0)];
        assert_eq!(tokens[0], "01".repeat(32));
        for (index, token) in tokens.iter().enumerate() {
            assert_eq!(token.len(), 64);
            assert!(!tokens[..index].contains(token));
        }
    }

    #[test]
    fn every_disk_ends_with_the_machine_and_only_the_first_one_grows() {
        let disk = |name: &str, size| {
            let ebs = EbsBlockDevice::builder().volume_size(size).delete_on_termination(false).build();
            BlockDeviceMapping::builder().device_name(name).ebs(ebs).build()
        };
        let image = Image::builder()
            .root_device_name("/dev/xvda")
            .block_device_mappings(disk("/dev/xvda", 8))
            .block_device_mappings(disk("/dev/xvdb", 100))
            .build();
        let sizes = |gib| {
            let disks = disks(&image, gib);
            assert!(disks.iter().all(|disk| disk.ebs().unwrap().delete_on_termination() == Some(true)));
            disks.iter().map(|disk| disk.ebs().unwrap().volume_size()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(20), [Some(20), None]);
        assert_eq!(sizes(4), [Some(8), None]);
    }
}
