//! The requests to EC2 that the adapter makes, each one named by what it is for.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::{Filter, Image, InstanceType, InstanceTypeInfo};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::{Mutex, OnceCell};

use crate::client;
use crate::config::AwsConfig;
use crate::error::{Failure, explain};
use crate::machine::{Machine, sorted};
use crate::tags;

/// The most that EC2 gives in one answer.
const PAGE: i32 = 1000;
/// Of instances that EC2 shows, those that are not on their way out.
const LIVING: [&str; 4] = ["pending", "running", "stopping", "stopped"];

/// EC2 in the configured region.
#[derive(Debug)]
pub(crate) struct Ec2 {
    pub(crate) config: AwsConfig,
    client: OnceCell<Client>,
    /// Images do not change under their id, so each is asked for once.
    images: Mutex<BTreeMap<String, Image>>,
}

impl Ec2 {
    pub(crate) fn new(config: AwsConfig) -> Self {
        Self { config, client: OnceCell::new(), images: Mutex::default() }
    }

    pub(crate) async fn client(&self) -> &Client {
        self.client.get_or_init(|| client::client(&self.config)).await
    }

    /// Explains a failed request; `what` completes "could not".
    pub(crate) fn failure<E>(&self, what: &str, error: SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        explain(what, &self.config, error)
    }

    /// The machines of a lease, the oldest first: one, unless two nodes with the same account did not see each other.
    pub(crate) async fn of_lease(&self, lease: B256) -> Result<Vec<Machine>, Failure> {
        self.find(tags::filters(Some(lease), self.config.provider)).await
    }

    /// The machines of all leases, by lease and age.
    pub(crate) async fn all(&self) -> Result<Vec<Machine>, Failure> {
        self.find(tags::filters(None, self.config.provider)).await
    }

    async fn find(&self, filters: Vec<Filter>) -> Result<Vec<Machine>, Failure> {
        let living = LIVING.iter().map(|state| (*state).to_owned()).collect();
        let state = Filter::builder().name("instance-state-name").set_values(Some(living)).build();
        let request = self.client().await.describe_instances().set_filters(Some(filters)).filters(state);
        let mut pages = request.into_paginator().page_size(PAGE).send();
        let mut machines = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failure("look for machines", error))?;
            let instances = page.reservations().iter().flat_map(|reservation| reservation.instances());
            machines.extend(instances.filter_map(Machine::read));
        }
        Ok(sorted(machines))
    }

    /// One machine, whatever its state; `None` while EC2 does not show it yet.
    pub(crate) async fn machine(&self, lease: B256, id: &str) -> Result<Option<Machine>, Failure> {
        let answer = self.client().await.describe_instances().instance_ids(id).send().await;
        match answer.map_err(|error| self.failure("look at a machine", error)) {
            Ok(answer) => {
                let mut instances =
                    answer.reservations().iter().flat_map(|reservation| reservation.instances());
                Ok(instances.find_map(|instance| Machine::with_lease(instance, lease)))
            }
            Err(failure) if failure.has_code("InvalidInstanceID.NotFound") => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    pub(crate) async fn start(&self, id: &str) -> Result<(), Failure> {
        let answer = self.client().await.start_instances().instance_ids(id).send().await;
        answer.map(drop).map_err(|error| self.failure("start a stopped machine", error))
    }

    pub(crate) async fn stop(&self, id: &str) -> Result<(), Failure> {
        let answer = self.client().await.stop_instances().instance_ids(id).send().await;
        answer.map(drop).map_err(|error| self.failure("stop a machine", error))
    }

    pub(crate) async fn terminate(&self, ids: Vec<String>) -> Result<(), Failure> {
        let answer = self.client().await.terminate_instances().set_instance_ids(Some(ids)).send().await;
        answer.map(drop).map_err(|error| self.failure("end a machine", error))
    }

    /// Notes on the instance itself that this start of it was seen to be ready.
    pub(crate) async fn note_ready(&self, machine: &Machine) -> Result<(), Failure> {
        let tag = tags::ready_tag(machine.launched);
        let answer = self.client().await.create_tags().resources(&machine.id).tags(tag).send().await;
        answer.map(drop).map_err(|error| self.failure("tag a machine", error))
    }

    /// What the machine has written to its console, as far as EC2 has it.
    pub(crate) async fn console(&self, id: &str) -> Result<Vec<u8>, Failure> {
        let request = || async { self.client().await.get_console_output().instance_id(id) };
        let latest = request().await.latest(true).send().await;
        let latest = latest.map_err(|error| self.failure("read a console", error));
        let answer = match latest {
            // Older types of machines keep only what was written at their last start or stop.
            Err(failure) if failure.has_code("UnsupportedOperation") => {
                let answer = request().await.send().await;
                answer.map_err(|error| self.failure("read a console", error))?
            }
            other => other?,
        };
        let output: String = answer.output().unwrap_or_default().split_whitespace().collect();
        Ok(STANDARD.decode(output).unwrap_or_default())
    }

    /// An image of this region.
    pub(crate) async fn image(&self, ami: &str) -> Result<Image, Failure> {
        let mut images = self.images.lock().await;
        if let Some(image) = images.get(ami) {
            return Ok(image.clone());
        }
        let answer = self.client().await.describe_images().image_ids(ami).send().await;
        let what = format!("look up image {ami}");
        let answer = answer.map_err(|error| self.failure(&what, error))?;
        // EC2 answers with an error when there is none; an empty answer means that it may not be used.
        let image = answer.images().first().cloned().ok_or_else(|| Failure {
            code: None,
            in_doubt: false,
            error: crate::error::refused(
                &what,
                &self.config,
                "InvalidAMIID.Unavailable",
                400,
                "no such image",
            ),
        })?;
        images.insert(ami.to_owned(), image.clone());
        Ok(image)
    }

    /// What types of machine are.
    pub(crate) async fn types(&self, names: &[&str]) -> Result<Vec<InstanceTypeInfo>, Failure> {
        let mut request = self.client().await.describe_instance_types();
        for name in names {
            request = request.instance_types(InstanceType::from(*name));
        }
        let answer = request.send().await;
        let what = format!("look up instance types {}", names.join(", "));
        Ok(answer.map_err(|error| self.failure(&what, error))?.instance_types().to_vec())
    }
}
