//! The state of a lease's machine now: its record, its process, and what QEMU reports.
//!
//! Nothing here waits: the answers come while a machine boots, and while another one hangs.

use alloy_primitives::B256;
use qapi::qmp::RunState;
use sublet_adapter::{AdapterError, Instance, InstanceState};
use sublet_market::{Access, Resources};

use crate::console::{self, CONSOLE};
use crate::qmp;
use crate::shared::Shared;
use crate::state::{Record, Wanted};

impl Shared {
    /// What there is now, without waiting for anybody.
    pub(crate) async fn describe(&self, lease: B256) -> Result<Option<Instance>, AdapterError> {
        let loaded = self.blocking("read a lease", move |state| {
            // A good moment to keep the console short: every pass of the node comes by here.
            let _ = console::trim(&state.lease_dir(lease).join(CONSOLE));
            Ok(state.load(lease).map_err(|error| error.to_string()))
        });
        let record = match loaded.await? {
            Ok(None) => return Ok(None),
            Ok(Some(record)) => record,
            Err(why) => {
                let reason = format!("its record cannot be read ({why}); deprovision it");
                let id = format!("qemu-damaged-{}", hex::encode(lease));
                return Ok(Some(Instance {
                    lease,
                    id,
                    state: InstanceState::Failed { reason },
                    access: None,
                    // It holds nothing that could be counted.
                    total: Resources::default(),
                }));
            }
        };
        let access = record.ssh_port.map(|port| Access {
            user: record.user.clone(),
            host: self.config.public_host(),
            port,
            host_key: record.host_key.clone(),
        });
        let state = self.instance_state(&record).await?;
        let total = record.total();
        Ok(Some(Instance { lease, id: record.id, state, access, total }))
    }

    pub(crate) async fn instance_state(&self, record: &Record) -> Result<InstanceState, AdapterError> {
        let runs = self.process(record.lease).await?.is_some();
        if runs && !record.ready {
            return Ok(InstanceState::Starting);
        }
        if runs {
            return Ok(match qmp::status(&self.state.lease_dir(record.lease)).await {
                Ok(status) => state_of(status),
                // Whatever carries the marker, QEMU is gone from it: one that lives listens there.
                Err(error) if error.is_refused() => InstanceState::Failed {
                    reason: "the machine's process runs, but nothing listens on its control socket"
                        .to_owned(),
                },
                Err(error) => {
                    // Another conversation holds the socket, or the host is slow: the process is what counts.
                    tracing::debug!(lease = %record.lease, %error, "status");
                    InstanceState::Running
                }
            });
        }
        if record.wanted == Wanted::Stop {
            return Ok(InstanceState::Stopped);
        }
        // Between the record and the process lies a moment in which the one who provisions holds the lock.
        if !record.ready && self.locks.try_lock(record.lease).is_none() {
            return Ok(InstanceState::Starting);
        }
        let last = self.tail(record.lease, CONSOLE, 1).concat();
        let reason = if record.ready {
            format!("the machine has ended by itself or was killed; the console's last line: {last}")
        } else {
            format!("the machine did not finish starting; the console's last line: {last}")
        };
        Ok(InstanceState::Failed { reason })
    }
}

/// QEMU's view of a machine that has been up.
fn state_of(status: RunState) -> InstanceState {
    match status {
        RunState::running | RunState::suspended => InstanceState::Running,
        other => {
            InstanceState::Failed { reason: format!("qemu says that the machine is in state {other:?}") }
        }
    }
}
