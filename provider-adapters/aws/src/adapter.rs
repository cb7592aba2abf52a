//! [`Aws`]: the adapter trait over everything else in this crate.
//!
//! Calls that change a lease's machine take turns within this process; between processes, EC2's tokens do. Nothing here
//! needs to come to its end: whatever a dropped call has begun is found by tag or by token.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use alloy_primitives::B256;
use async_trait::async_trait;
use sublet_adapter::support::{LeaseLocks, console_tail, ssh_greeting};
use sublet_adapter::{Adapter, AdapterError, Instance, LeaseOrder};
use sublet_market::{Manifest, Resources, Spec};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{AwsConfig, Ready};
use crate::ec2::Ec2;
use crate::hostkey::Secret;
use crate::launch::Plan;
use crate::machine::{Machine, Phase};
use crate::recent::Recent;
use crate::tags::{Labels, order_hash};
use crate::{capacity, error, userdata};

/// The first pause between two looks at a machine that is on its way; each next one is half as long again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Within AWS's rate limits even for some hundred machines at once.
const MAX_PAUSE: Duration = Duration::from_secs(3);
/// While its ssh server is awaited, a machine is looked at so often.
const GREETING_SLICE: Duration = Duration::from_secs(10);

/// Runs one EC2 instance per lease.
#[derive(Debug)]
pub struct Aws {
    ec2: Ec2,
    locks: LeaseLocks,
    /// Held from counting what is free to having ordered it.
    room: Mutex<()>,
    recent: Recent,
    /// Known after the first check.
    architecture: OnceLock<String>,
}

impl Aws {
    /// An adapter with these settings. AWS is asked by [`Adapter::check`], not here.
    ///
    /// # Errors
    /// [`AdapterError::Configuration`] when the settings cannot be right.
    pub fn new(config: AwsConfig) -> Result<Self, AdapterError> {
        config.validate()?;
        Ok(Self {
            ec2: Ec2::new(config),
            locks: LeaseLocks::default(),
            room: Mutex::default(),
            recent: Recent::default(),
            architecture: OnceLock::new(),
        })
    }

    fn config(&self) -> &AwsConfig {
        &self.ec2.config
    }
}

#[async_trait]
impl Adapter for Aws {
    fn kind(&self) -> &'static str {
        "aws"
    }

    fn traits(&self) -> Vec<String> {
        let mut traits = self.config().facts();
        traits.extend(self.architecture.get().map(|architecture| format!("arch={architecture}")));
        traits.sort();
        traits
    }

    async fn check(&self) -> Result<(), AdapterError> {
        let architecture = self.ec2.check().await?;
        self.architecture.get_or_init(|| architecture);
        Ok(())
    }

    async fn capacity(&self) -> Result<Resources, AdapterError> {
        Ok(capacity::capacity(self.config()))
    }

    async fn validate(&self, spec: &Spec, manifest: &Manifest) -> Result<(), AdapterError> {
        capacity::fit_spec(self.config(), spec, manifest)
    }

    async fn provision(&self, order: &LeaseOrder) -> Result<Instance, AdapterError> {
        self.check_provider(order)?;
        let deadline = Instant::now() + self.config().boot_timeout;
        let _turn = self.locks.lock(order.lease).await;
        let id = match self.ec2.of_lease(order.lease).await?.into_iter().next() {
            Some(machine) => same_order(machine, order)?,
            None => self.launch(order).await?,
        };
        self.bring_up(order.lease, &id, deadline).await
    }

    async fn resume(&self, lease: B256) -> Result<Instance, AdapterError> {
        let deadline = Instant::now() + self.config().boot_timeout;
        let _turn = self.locks.lock(lease).await;
        let Some(machine) = self.ec2.of_lease(lease).await?.into_iter().next() else {
            let problem = format!("there is no machine for lease {lease}");
            return Err(AdapterError::permanent(problem, "check the lease id"));
        };
        self.bring_up(lease, &machine.id, deadline).await
    }

    async fn describe(&self, lease: B256) -> Result<Option<Instance>, AdapterError> {
        let machines = self.ec2.of_lease(lease).await?;
        Ok(machines.first().map(|machine| machine.instance(self.config().ready)))
    }

    async fn list(&self) -> Result<Vec<Instance>, AdapterError> {
        let mut machines = self.ec2.all().await?;
        // Sorted by lease and age: the oldest stays, its doubles end with it.
        machines.dedup_by_key(|machine| machine.lease);
        Ok(machines.iter().map(|machine| machine.instance(self.config().ready)).collect())
    }

    async fn logs(&self, lease: B256, lines: usize) -> Result<Vec<String>, AdapterError> {
        let Some(machine) = self.ec2.of_lease(lease).await?.into_iter().next() else {
            let problem = format!("there is no machine for lease {lease}");
            return Err(AdapterError::permanent(problem, "check the lease id"));
        };
        Ok(console_tail(&self.ec2.console(&machine.id).await?, lines))
    }

    async fn stop(&self, lease: B256) -> Result<(), AdapterError> {
        let _turn = self.locks.lock(lease).await;
        let deadline = Instant::now() + self.config().stop_timeout;
        let mut pauses = Pauses::default();
        loop {
            let machines = self.ec2.of_lease(lease).await?;
            if machines.iter().all(|machine| machine.phase == Phase::Stopped) {
                return Ok(());
            }
            // A pending machine cannot be stopped yet.
            for machine in machines.iter().filter(|machine| machine.phase == Phase::Running) {
                self.ec2.stop(&machine.id).await?;
            }
            pauses.next(deadline).await.map_err(|()| {
                let problem = format!("the machine of lease {lease} has not stopped in time");
                AdapterError::retryable(problem, "it is retried; raise stop_timeout if this persists")
            })?;
        }
    }

    async fn deprovision(&self, lease: B256) -> Result<(), AdapterError> {
        let _turn = self.locks.lock(lease).await;
        let deadline = Instant::now() + self.config().api_timeout;
        let mut pauses = Pauses::default();
        loop {
            if self.end(lease).await? {
                self.recent.forget(lease);
                return Ok(());
            }
            pauses.next(deadline).await.map_err(|()| {
                let problem =
                    format!("EC2 still shows the machine of lease {lease}, or may have one that it hides");
                AdapterError::retryable(problem, "it is retried")
            })?;
        }
    }
}

impl Aws {
    fn check_provider(&self, order: &LeaseOrder) -> Result<(), AdapterError> {
        match self.config().provider {
            Some(own) if own != order.provider => {
                let problem = format!("lease {} names provider {}, not {own}", order.lease, order.provider);
                Err(AdapterError::configuration(
                    problem,
                    "set provider in [provider.aws] to the node's account",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Takes the room that an order needs and orders its machine.
    async fn launch(&self, order: &LeaseOrder) -> Result<String, AdapterError> {
        let plan = self.plan(order)?;
        let _room = self.room.lock().await;
        let mut machines = self.ec2.all().await?;
        machines.dedup_by_key(|machine| machine.lease);
        let mut seen: Vec<B256> = machines.iter().map(|machine| machine.lease).collect();
        // Its own earlier attempt, whose end is not known, takes no room from it.
        seen.push(order.lease);
        let mut held = self.recent.unseen(&seen);
        // One whose tags are damaged holds nothing that could be counted, but it is one.
        held.extend(
            machines
                .iter()
                .map(|machine| machine.labels.as_ref().map_or(Resources::default(), |labels| labels.total)),
        );
        capacity::check_room(self.config(), &held, order, &plan.fit.total)?;
        self.recent.begin(order.lease, plan.fit.total);
        match self.ec2.run(&plan).await {
            Ok(id) => {
                tracing::info!(lease = %order.lease, instance = %id, "a machine is ordered");
                self.recent.launched(order.lease, &id);
                Ok(id)
            }
            Err(failure) => {
                if !failure.in_doubt {
                    self.recent.forget(order.lease);
                }
                Err(failure.into())
            }
        }
    }

    fn plan<'a>(&'a self, order: &'a LeaseOrder) -> Result<Plan<'a>, AdapterError> {
        let fit = capacity::fit(self.config(), &order.unit, order.units, &order.manifest)?;
        let host_key = Secret::load(&self.config().state_dir)?.host_key(order.lease)?;
        let labels = Labels {
            lease: order.lease,
            provider: order.provider,
            order: order_hash(order)?,
            total: fit.total,
            user: fit.image.user.clone(),
            ssh_port: fit.image.ssh_port,
            host_key: host_key.public_line()?,
            ready_since: None,
        };
        let user_data = userdata::user_data(&host_key, &order.manifest.ssh_authorized_keys)?;
        Ok(Plan { order, fit, labels, user_data })
    }

    /// Waits until a machine is ready, and starts it where it is stopped.
    async fn bring_up(&self, lease: B256, id: &str, deadline: Instant) -> Result<Instance, AdapterError> {
        let mut pauses = Pauses::default();
        let mut seen = "not shown by EC2 yet".to_owned();
        loop {
            if let Some(machine) = self.ec2.machine(lease, id).await? {
                match machine.phase {
                    Phase::Gone => return Err(self.ended(&machine)),
                    Phase::Stopped => self.ec2.start(id).await?,
                    Phase::Running
                        if machine.is_ready(self.config().ready)
                            || self.greets(&machine, deadline).await? =>
                    {
                        // Read again: what is returned is what EC2 shows to everybody.
                        if let Some(instance) = self.describe(lease).await?.filter(Instance::is_running) {
                            return with_access(instance);
                        }
                    }
                    Phase::Pending | Phase::Running | Phase::Stopping => {}
                }
                seen = format!("{:?}", machine.phase).to_lowercase();
            }
            pauses.next(deadline).await.map_err(|()| self.too_slow(lease, id, &seen))?;
        }
    }

    /// Whether an ssh server greets within some seconds; if so, that is noted.
    async fn greets(&self, machine: &Machine, deadline: Instant) -> Result<bool, AdapterError> {
        if self.config().ready == Ready::Running {
            return Ok(true);
        }
        let access = machine.access().ok_or_else(|| no_address(&machine.id))?;
        let Ok(address) = access.host.parse::<IpAddr>() else { return Err(no_address(&machine.id)) };
        let patience = GREETING_SLICE.min(deadline.saturating_duration_since(Instant::now()));
        if timeout(patience, ssh_greeting(SocketAddr::new(address, access.port))).await.is_err() {
            return Ok(false);
        }
        self.ec2.note_ready(machine).await?;
        Ok(true)
    }

    /// One step of removing a lease's machines: true when there is none.
    async fn end(&self, lease: B256) -> Result<bool, AdapterError> {
        let mut ids: Vec<String> =
            self.ec2.of_lease(lease).await?.into_iter().map(|machine| machine.id).collect();
        match self.recent.get(lease).map(|launch| launch.id) {
            // Ordered, and nothing was heard: until EC2 would show it, there may be one.
            Some(None) if ids.is_empty() => return Ok(false),
            // This is what came of it: the next look asks for it by name.
            Some(None) => self.recent.launched(lease, &ids[0]),
            Some(Some(id)) if !ids.contains(&id) => {
                match self.ec2.machine(lease, &id).await? {
                    Some(machine) if machine.phase == Phase::Gone => {}
                    // Shown by neither way, though it was made a moment ago.
                    _ => ids.push(id),
                }
            }
            _ => {}
        }
        if ids.is_empty() {
            return Ok(true);
        }
        match self.ec2.terminate(ids).await {
            Err(failure) if !failure.has_code("InvalidInstanceID.NotFound") => Err(failure.into()),
            _ => Ok(false),
        }
    }

    fn ended(&self, machine: &Machine) -> AdapterError {
        let (code, message) = machine.reason.clone().unwrap_or_default();
        // "Client.VolumeLimitExceeded", "Server.InsufficientInstanceCapacity": the same words as in refusals.
        let bare = code.split_once('.').map_or(code.as_str(), |(_, code)| code);
        let status = if code.starts_with("Client.") && bare.ends_with("LimitExceeded") { 400 } else { 500 };
        error::refused(&format!("keep instance {}", machine.id), self.config(), bare, status, &message)
    }

    fn too_slow(&self, lease: B256, id: &str, seen: &str) -> AdapterError {
        let after = self.config().boot_timeout.as_secs();
        let problem = format!("instance {id} of lease {lease} is not ready after {after} s ({seen})");
        let remedy = match self.config().ready {
            Ready::Ssh => {
                "open port 22 in security_group_ids, use a subnet_id with public addresses, or raise \
                 boot_timeout"
            }
            Ready::Running => "raise boot_timeout",
        };
        AdapterError::retryable(problem, remedy)
    }
}

/// The machine's id, if it was made from this order.
fn same_order(machine: Machine, order: &LeaseOrder) -> Result<String, AdapterError> {
    let remedy = "deprovision it before ordering anew";
    match &machine.labels {
        Ok(labels) if labels.order == order_hash(order)? => Ok(machine.id),
        Ok(_) => {
            let problem = format!("lease {} has a machine that was made from another order", order.lease);
            Err(AdapterError::permanent(problem, remedy))
        }
        Err(why) => {
            let problem = format!("the tags of instance {} are damaged: {why}", machine.id);
            Err(AdapterError::configuration(problem, remedy))
        }
    }
}

fn with_access(instance: Instance) -> Result<Instance, AdapterError> {
    if instance.access.is_some() { Ok(instance) } else { Err(no_address(&instance.id)) }
}

fn no_address(id: &str) -> AdapterError {
    AdapterError::configuration(
        format!("instance {id} has no public address, so its tenant cannot log in"),
        "set subnet_id to a subnet that gives machines public IPv4 addresses",
    )
}

/// Growing pauses up to a deadline.
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    /// Waits; an error when the time is over.
    async fn next(&mut self, deadline: Instant) -> Result<(), ()> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(());
        }
        sleep(self.0.min(left)).await;
        self.0 = (self.0 * 3 / 2).min(MAX_PAUSE);
        Ok(())
    }
}
