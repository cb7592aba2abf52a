//! A backend in memory, for unit tests of everything that stands on [`Adapter`]. It keeps every rule of the
//! [conformance suite](crate::conformance), but its machines are entries in a map.
//!
//! A [`FakeHost`] plays the computer and outlives the [`FakeAdapter`]s that are opened on it, as a real host
//! outlives the node's process. Tests hold it to look behind the adapter, end a machine, or order the next
//! call to fail.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{B256, keccak256};
use async_trait::async_trait;
use sublet_market::{Access, Manifest, Resources, Spec};

use crate::{Adapter, AdapterError, Instance, InstanceState, KeptDisk, LeaseOrder};

/// The image that a fake host has unless told otherwise.
pub const FAKE_IMAGE: &str = "debian-guest";

/// The computer that fake adapters run on: cloneable, shared, with controls for tests.
#[derive(Debug, Clone)]
pub struct FakeHost {
    inner: Arc<Mutex<Host>>,
}

#[derive(Debug)]
struct Host {
    capacity: Resources,
    images: Vec<String>,
    machines: BTreeMap<B256, Machine>,
    kept: BTreeMap<B256, KeptDisk>,
    started: u64,
    fail_provision: VecDeque<AdapterError>,
    fail_check: Option<AdapterError>,
}

#[derive(Debug)]
struct Machine {
    image: String,
    instance: Instance,
    total: Resources,
    manifest: B256,
    console: Vec<String>,
}

impl FakeHost {
    /// An idle host with one image, [`FAKE_IMAGE`].
    #[must_use]
    pub fn new(capacity: Resources) -> Self {
        let host = Host {
            capacity,
            images: vec![FAKE_IMAGE.to_owned()],
            machines: BTreeMap::new(),
            kept: BTreeMap::new(),
            started: 0,
            fail_provision: VecDeque::new(),
            fail_check: None,
        };
        Self { inner: Arc::new(Mutex::new(host)) }
    }

    /// Ends a lease's machine behind the adapter's back, as a crash would.
    pub fn crash(&self, lease: B256) {
        if let Some(machine) = self.lock().machines.get_mut(&lease) {
            machine.instance.state =
                InstanceState::Failed { reason: "the machine's process is gone".to_owned() };
        }
    }

    /// Makes the next call of `provision` fail with this; several calls queue up.
    pub fn fail_next_provision(&self, error: AdapterError) {
        self.lock().fail_provision.push_back(error);
    }

    /// Makes `check` fail until called with `None`.
    pub fn fail_check(&self, error: Option<AdapterError>) {
        self.lock().fail_check = error;
    }

    /// How many times a machine was started (again).
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.lock().started
    }

    fn lock(&self) -> MutexGuard<'_, Host> {
        // No code panics while holding the lock half-changed, so a poisoned one is still sound.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An [`Adapter`] over a [`FakeHost`].
#[derive(Debug, Clone)]
pub struct FakeAdapter {
    host: FakeHost,
}

impl FakeAdapter {
    /// An adapter on a new host of its own.
    #[must_use]
    pub fn new(capacity: Resources) -> Self {
        Self::on(FakeHost::new(capacity))
    }

    /// An adapter on a host that may have machines already.
    #[must_use]
    pub fn on(host: FakeHost) -> Self {
        Self { host }
    }

    /// The host underneath, with the controls for tests.
    #[must_use]
    pub fn host(&self) -> &FakeHost {
        &self.host
    }
}

impl Host {
    fn validate(&self, unit: Resources, units: u32, manifest: &Manifest) -> Result<Resources, AdapterError> {
        if unit.gpus != 0 {
            return Err(AdapterError::permanent("the fake adapter has no gpus", "ask for gpus = 0"));
        }
        if unit.vcpus == 0 || unit.memory_mib == 0 || unit.disk_gib == 0 || units == 0 {
            return Err(AdapterError::permanent(
                "the unit is empty",
                "ask for at least 1 vcpu, 96 MiB and 1 GiB",
            ));
        }
        if !self.images.contains(&manifest.image) {
            let problem = format!("there is no image {:?} here", manifest.image);
            return Err(AdapterError::permanent(
                problem,
                format!("choose one of: {}", self.images.join(", ")),
            ));
        }
        match unit.checked_mul(units) {
            Some(total) if self.capacity.covers(&total) => Ok(total),
            _ => Err(AdapterError::permanent("the order is larger than this host", "ask for less")),
        }
    }

    fn has_room_for(&self, need: Resources) -> bool {
        let all = self.machines.values().try_fold(need, |sum, machine| sum.checked_add(&machine.total));
        all.is_some_and(|all| self.capacity.covers(&all))
    }

    fn provision(&mut self, order: &LeaseOrder) -> Result<Instance, AdapterError> {
        if let Some(error) = self.fail_provision.pop_front() {
            return Err(error);
        }
        let total = self.validate(order.unit, order.units, &order.manifest)?;
        let manifest = order.manifest_hash()?;
        if let Some(machine) = self.machines.get_mut(&order.lease) {
            if machine.total != total || machine.manifest != manifest {
                return Err(AdapterError::permanent(
                    "the lease has a machine of another order",
                    "deprovision it before ordering anew",
                ));
            }
            if !machine.instance.is_running() {
                machine.instance.state = InstanceState::Running;
                self.started += 1;
            }
            return Ok(machine.instance.clone());
        }
        if !self.has_room_for(total) {
            return Err(AdapterError::quota("the host is full", "retry when another lease has ended"));
        }
        if self.kept.remove(&order.lease).is_none()
            && let Some(old) = order.manifest.disk_of
            && self.kept.remove(&old).is_none()
        {
            return Err(AdapterError::permanent(
                "that disk is not kept here",
                "ask for a machine with a new one",
            ));
        }
        self.started += 1;
        let instance = Instance {
            lease: order.lease,
            id: format!("fake-{}", self.started),
            state: InstanceState::Running,
            access: Some(fake_access(order.lease, self.started)),
            total,
        };
        let console = vec!["fake guest: booting".to_owned(), "fake guest: ready".to_owned()];
        let image = order.manifest.image.clone();
        self.machines
            .insert(order.lease, Machine { image, instance: instance.clone(), total, manifest, console });
        Ok(instance)
    }
}

/// Nothing listens there: port 1 upwards on the loopback, and a key that is only shaped like one.
fn fake_access(lease: B256, serial: u64) -> Access {
    Access {
        user: "root".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: u16::try_from(serial % 1000 + 1).unwrap_or(1),
        host_key: format!("ssh-ed25519 fake{}", keccak256(lease)),
    }
}

#[async_trait]
impl Adapter for FakeAdapter {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn traits(&self) -> Vec<String> {
        let mut traits = vec!["adapter=fake".to_owned(), "arch=x86_64".to_owned()];
        traits.extend(self.host.lock().images.iter().map(|image| format!("image={image}")));
        traits.sort();
        traits
    }

    async fn check(&self) -> Result<(), AdapterError> {
        self.host.lock().fail_check.clone().map_or(Ok(()), Err)
    }

    async fn capacity(&self) -> Result<Resources, AdapterError> {
        Ok(self.host.lock().capacity)
    }

    async fn validate(&self, spec: &Spec, manifest: &Manifest) -> Result<(), AdapterError> {
        self.host.lock().validate(spec.unit, spec.units, manifest).map(drop)
    }

    async fn provision(&self, order: &LeaseOrder) -> Result<Instance, AdapterError> {
        // As a real backend would, give other tasks a turn, so that tests see their races.
        tokio::task::yield_now().await;
        self.host.lock().provision(order)
    }

    async fn resume(&self, lease: B256) -> Result<Instance, AdapterError> {
        let mut host = self.host.lock();
        let host = &mut *host;
        let Some(machine) = host.machines.get_mut(&lease) else {
            return Err(AdapterError::permanent("there is no machine for this lease", "check the lease id"));
        };
        if !machine.instance.is_running() {
            machine.instance.state = InstanceState::Running;
            host.started += 1;
        }
        Ok(machine.instance.clone())
    }

    async fn describe(&self, lease: B256) -> Result<Option<Instance>, AdapterError> {
        Ok(self.host.lock().machines.get(&lease).map(|machine| machine.instance.clone()))
    }

    async fn list(&self) -> Result<Vec<Instance>, AdapterError> {
        Ok(self.host.lock().machines.values().map(|machine| machine.instance.clone()).collect())
    }

    async fn logs(&self, lease: B256, lines: usize) -> Result<Vec<String>, AdapterError> {
        let host = self.host.lock();
        let Some(machine) = host.machines.get(&lease) else {
            return Err(AdapterError::permanent("there is no machine for this lease", "check the lease id"));
        };
        Ok(machine.console[machine.console.len().saturating_sub(lines)..].to_vec())
    }

    async fn stop(&self, lease: B256) -> Result<(), AdapterError> {
        if let Some(machine) = self.host.lock().machines.get_mut(&lease) {
            machine.instance.state = InstanceState::Stopped;
        }
        Ok(())
    }

    async fn deprovision(&self, lease: B256) -> Result<(), AdapterError> {
        let mut host = self.host.lock();
        host.machines.remove(&lease);
        host.kept.remove(&lease);
        Ok(())
    }

    fn keeps_disks(&self) -> bool {
        true
    }

    async fn retire(&self, lease: B256) -> Result<(), AdapterError> {
        let mut host = self.host.lock();
        if let Some(Machine { image, total, .. }) = host.machines.remove(&lease) {
            host.kept.insert(lease, KeptDisk { lease, image, disk_gib: total.disk_gib });
        }
        Ok(())
    }

    async fn kept(&self) -> Result<Vec<KeptDisk>, AdapterError> {
        Ok(self.host.lock().kept.values().cloned().collect())
    }
}
