//! [`Hypervisor`]: the adapter trait over everything else in this crate.
//!
//! Calls that change something run as tasks of their own, so a caller who gives up does not leave half a step
//! behind, and take turns by lease. Calls that look take no turn: they answer while a machine boots.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;
use async_trait::async_trait;
use sublet_adapter::support::LeaseLocks;
use sublet_adapter::{Adapter, AdapterError, Instance, InstanceState, KeptDisk, LeaseOrder};
use sublet_base::failpoint;
use sublet_market::{Manifest, Resources, Spec};
use tokio::sync::{Mutex, OnceCell, Semaphore};

use crate::accel;
use crate::config::{Accel, HypervisorConfig};
use crate::console::{self, CONSOLE};
use crate::hostkey::{HostKey, random_bytes};
use crate::image;
use crate::shared::Shared;
use crate::state::{RECORD_VERSION, Record, StateDir, Wanted, write_private};
use crate::{capacity, disk, host, qemu};

/// Runs one QEMU machine per lease on this host.
#[derive(Debug)]
pub struct Hypervisor {
    shared: Arc<Shared>,
}

impl Hypervisor {
    /// An adapter with these settings. The host is looked at by [`Adapter::check`], not here.
    ///
    /// # Errors
    /// [`AdapterError::Configuration`] when the settings cannot be right.
    pub fn new(config: HypervisorConfig) -> Result<Self, AdapterError> {
        config.validate()?;
        let absolute = std::path::absolute(&config.state_dir).map_err(|error| {
            let problem = format!("state_dir {:?} is not a path: {error}", config.state_dir);
            AdapterError::configuration(problem, "for example state_dir = \"/var/lib/sublet/machines\"")
        })?;
        let shared = Shared {
            state: StateDir::new(absolute),
            boots: Semaphore::new(config.concurrent_boots),
            locks: LeaseLocks::default(),
            room: Mutex::default(),
            accel: OnceCell::new(),
            config,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Runs a step to its end even if the caller goes away.
    async fn to_the_end<T, F>(&self, step: impl FnOnce(Arc<Shared>) -> F) -> Result<T, AdapterError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AdapterError>> + Send + 'static,
    {
        joined(tokio::spawn(step(self.shared.clone())).await)
    }
}

#[async_trait]
impl Adapter for Hypervisor {
    fn kind(&self) -> &'static str {
        "hypervisor"
    }

    fn traits(&self) -> Vec<String> {
        let mut traits = vec!["adapter=hypervisor".to_owned(), "arch=x86_64".to_owned()];
        traits.extend(self.shared.accel.get().map(|accel| format!("accel={accel}")));
        traits
            .extend(image::names(&self.shared.config.images_dir).iter().map(|name| format!("image={name}")));
        traits.sort();
        traits
    }

    async fn check(&self) -> Result<(), AdapterError> {
        self.to_the_end(|shared| async move { shared.check().await }).await
    }

    async fn capacity(&self) -> Result<Resources, AdapterError> {
        Ok(self.shared.config.capacity)
    }

    async fn validate(&self, spec: &Spec, manifest: &Manifest) -> Result<(), AdapterError> {
        capacity::fit_spec(&self.shared.config, spec, manifest)?;
        let free = self.shared.blocking("look for free space", StateDir::free_bytes).await?;
        capacity::check_disk(free)
    }

    async fn provision(&self, order: &LeaseOrder) -> Result<Instance, AdapterError> {
        let order = order.clone();
        self.to_the_end(|shared| async move { shared.provision(order).await }).await
    }

    async fn resume(&self, lease: B256) -> Result<Instance, AdapterError> {
        self.to_the_end(|shared| async move { shared.resume(lease).await }).await
    }

    async fn describe(&self, lease: B256) -> Result<Option<Instance>, AdapterError> {
        self.shared.describe(lease).await
    }

    async fn list(&self) -> Result<Vec<Instance>, AdapterError> {
        let leases = self.shared.blocking("list the leases", |state| state.leases()).await?;
        // All at once: one that does not answer keeps no other waiting.
        let looks: Vec<_> = leases
            .into_iter()
            .map(|lease| {
                let shared = self.shared.clone();
                tokio::spawn(async move { shared.describe(lease).await })
            })
            .collect();
        let mut instances = Vec::with_capacity(looks.len());
        for look in looks {
            instances.extend(joined(look.await)?);
        }
        Ok(instances)
    }

    async fn logs(&self, lease: B256, lines: usize) -> Result<Vec<String>, AdapterError> {
        let tail = move |state: &StateDir| {
            let dir = state.lease_dir(lease);
            if dir.is_dir() { console::tail(&dir.join(CONSOLE), lines).map(Some) } else { Ok(None) }
        };
        self.shared.blocking("read the console", tail).await?.ok_or_else(|| {
            AdapterError::permanent(format!("there is no machine for lease {lease}"), "check the lease id")
        })
    }

    async fn stop(&self, lease: B256) -> Result<(), AdapterError> {
        self.to_the_end(|shared| async move { shared.stop(lease).await }).await
    }

    async fn deprovision(&self, lease: B256) -> Result<(), AdapterError> {
        self.to_the_end(|shared| async move { shared.deprovision(lease).await }).await
    }

    fn keeps_disks(&self) -> bool {
        true
    }

    async fn retire(&self, lease: B256) -> Result<(), AdapterError> {
        self.to_the_end(|shared| async move { shared.retire(lease).await }).await
    }

    async fn kept(&self) -> Result<Vec<KeptDisk>, AdapterError> {
        self.shared.kept().await
    }
}

impl Shared {
    async fn check(&self) -> Result<(), AdapterError> {
        self.blocking("prepare state_dir", |state| state.prepare()).await.map_err(|error| {
            let remedy = "make state_dir a folder that the node's user owns and can write";
            AdapterError::configuration(error.problem(), remedy)
        })?;
        host::check_programs(&self.config).await?;
        image::check(&self.config.images_dir)?;
        self.accel().await?;
        for lease in self.blocking("look for leftovers", |state| state.leftovers()).await? {
            // Whoever holds the lock is at work on it right now.
            let Some(_guard) = self.locks.try_lock(lease) else { continue };
            self.blocking("remove leftovers", move |state| state.sweep(lease)).await?;
        }
        Ok(())
    }

    /// The accelerator, decided once.
    pub(crate) async fn accel(&self) -> Result<Accel, AdapterError> {
        self.accel.get_or_try_init(|| accel::choose(&self.config)).await.copied()
    }

    async fn provision(&self, order: LeaseOrder) -> Result<Instance, AdapterError> {
        let _guard = self.locks.lock(order.lease).await;
        let record = match self.load(order.lease).await? {
            Some(record) => same_order(record, &order)?,
            None => {
                let record = self.begin(&order).await?;
                failpoint::reach(&["hypervisor.folder"]);
                record
            }
        };
        self.release_kept(&order).await?;
        self.run(record).await
    }

    async fn resume(&self, lease: B256) -> Result<Instance, AdapterError> {
        let _guard = self.locks.lock(lease).await;
        let record = self.load(lease).await?.ok_or_else(|| {
            AdapterError::permanent(format!("there is no machine for lease {lease}"), "check the lease id")
        })?;
        self.run(record).await
    }

    /// Makes the machine of a record run, unless it does. The caller holds the lease's lock.
    async fn run(&self, record: Record) -> Result<Instance, AdapterError> {
        let lease = record.lease;
        match self.instance_state(&record).await? {
            InstanceState::Running => {}
            InstanceState::Starting => drop(self.bring_up(record).await?),
            InstanceState::Stopped | InstanceState::Failed { .. } => {
                // A machine that QEMU has halted (its disk failed, say) still has its process.
                self.end(lease, None).await?;
                self.bring_up(record).await?;
            }
        }
        self.describe(lease).await?.ok_or_else(|| {
            AdapterError::retryable(
                format!("the folder of lease {lease} has vanished"),
                "leave state_dir to the node",
            )
        })
    }

    /// Takes the room that an order needs, and puts on disk all that its machine is made of.
    async fn begin(&self, order: &LeaseOrder) -> Result<Record, AdapterError> {
        let fit = capacity::fit(&self.config, &order.unit, order.units, &order.manifest)?;
        let disk_of = self.check_kept(order, fit.total.disk_gib).await?;
        self.blocking("prepare state_dir", |state| state.prepare()).await?;
        let _room = self.room.lock().await;
        let held = self.blocking("read the leases", held).await?;
        capacity::check_room(&self.config.capacity, held, order, &fit.total)?;
        let key = HostKey::generate()?;
        let record = Record {
            version: RECORD_VERSION,
            lease: order.lease,
            id: format!("qemu-{}", hex::encode(random_bytes::<16>()?)),
            image: order.manifest.image.clone(),
            unit: order.unit,
            units: order.units,
            manifest: order.manifest_hash()?,
            user: fit.image.user.clone(),
            host_key: key.public_line()?,
            ssh_port: None,
            wanted: Wanted::Run,
            ready: false,
        };
        self.create_folder(&record, order, key, fit, disk_of).await?;
        Ok(record)
    }

    async fn create_folder(
        &self,
        record: &Record,
        order: &LeaseOrder,
        key: HostKey,
        fit: capacity::Fit,
        disk_of: Option<B256>,
    ) -> Result<(), AdapterError> {
        let (record, config) = (record.clone(), self.config.clone());
        let keys = order.manifest.ssh_authorized_keys.join("\n") + "\n";
        let runtime = tokio::runtime::Handle::current();
        self.blocking("make the lease's folder", move |state| {
            state.create(&record, |dir| {
                write_guest_files(dir, &record, &key, &keys)?;
                let kept = disk_of.map(|old| state.kept_dir(old));
                runtime.block_on(disk::place(&config, dir, kept.as_deref(), &fit.image, fit.total.disk_gib))
            })
        })
        .await
    }

    async fn stop(&self, lease: B256) -> Result<(), AdapterError> {
        let _guard = self.locks.lock(lease).await;
        // On a full disk it cannot be noted, and the machine is to end all the same.
        let noted = self.want_stop(lease).await;
        self.end(lease, Some(self.config.stop_timeout)).await?;
        noted
    }

    async fn deprovision(&self, lease: B256) -> Result<(), AdapterError> {
        let _guard = self.locks.lock(lease).await;
        self.end_for_good(lease).await?;
        self.blocking("remove a lease's folder", move |state| state.remove(lease)).await
    }

    /// Ends the machine. The caller holds the lease's lock.
    pub(crate) async fn end_for_good(&self, lease: B256) -> Result<(), AdapterError> {
        // What cannot be noted on a full disk must not keep the machine from being removed: that frees it.
        if let Err(error) = self.want_stop(lease).await {
            tracing::debug!(%lease, %error, "cannot record the end of a machine");
        }
        self.end(lease, None).await?;
        failpoint::reach(&["hypervisor.ended"]);
        Ok(())
    }

    /// Notes that the machine's end is wanted. One whose record is damaged is ended all the same.
    async fn want_stop(&self, lease: B256) -> Result<(), AdapterError> {
        let Ok(Some(mut record)) = self.load(lease).await else { return Ok(()) };
        if record.wanted == Wanted::Stop {
            return Ok(());
        }
        record.wanted = Wanted::Stop;
        self.save(&record).await
    }

    async fn load(&self, lease: B256) -> Result<Option<Record>, AdapterError> {
        self.blocking("read a lease's record", move |state| state.load(lease)).await.map_err(|error| {
            AdapterError::configuration(error.problem(), "deprovision the lease; its record is damaged")
        })
    }

    pub(crate) async fn save(&self, record: &Record) -> Result<(), AdapterError> {
        let record = record.clone();
        self.blocking("write a lease's record", move |state| state.save(&record)).await
    }

    /// Disk and process work, off the threads that serve others.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&StateDir) -> io::Result<T> + Send + 'static,
    ) -> Result<T, AdapterError> {
        let state = self.state.clone();
        let done = tokio::task::spawn_blocking(move || {
            work(&state).map_err(|error| {
                let problem = format!("could not {what} in {}: {error}", state.root().display());
                AdapterError::retryable(problem, "check the folder's permissions and free space")
            })
        });
        joined(done.await)
    }
}

/// A panic of a task is a panic of whoever waits for it; a task is cancelled only when the runtime ends.
fn joined<T>(result: Result<Result<T, AdapterError>, tokio::task::JoinError>) -> Result<T, AdapterError> {
    match result {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => {
            Err(AdapterError::retryable("the node is shutting down", "call again after it has started"))
        }
    }
}

fn same_order(record: Record, order: &LeaseOrder) -> Result<Record, AdapterError> {
    let manifest = order.manifest_hash()?;
    let same = record.unit == order.unit && record.units == order.units && record.manifest == manifest;
    if same {
        return Ok(record);
    }
    let problem = format!("lease {} has a machine that was made from another order", record.lease);
    Err(AdapterError::permanent(problem, "deprovision it before ordering anew"))
}

/// What the leases here hold. One whose record is damaged holds nothing that could be counted.
fn held(state: &StateDir) -> io::Result<Vec<Resources>> {
    let leases = state.leases()?;
    Ok(leases
        .into_iter()
        .filter_map(|lease| state.load(lease).ok().flatten())
        .map(|record| record.total())
        .collect())
}

fn write_guest_files(dir: &Path, record: &Record, key: &HostKey, authorized_keys: &str) -> io::Result<()> {
    write_private(&dir.join(qemu::HOST_KEY), &key.to_dropbear())?;
    write_private(&dir.join(qemu::AUTHORIZED_KEYS), authorized_keys.as_bytes())?;
    let name = format!("sublet-{}", &hex::encode(record.lease)[..8]);
    write_private(&dir.join(qemu::HOST_NAME), name.as_bytes())
}
