//! Bringing one lease's machine up and down. The caller holds the lease's lock.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use alloy_primitives::B256;
use sublet_adapter::AdapterError;
use sublet_adapter::support::ssh_greeting;
use sublet_base::failpoint;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::console::{self, CONSOLE};
use crate::process::Process;
use crate::shared::Shared;
use crate::state::{Record, Wanted};
use crate::{image, qemu, qmp};

/// How long a started QEMU may take to show up among the processes: it takes a millisecond.
const APPEARS_WITHIN: Duration = Duration::from_secs(1);
const APPEARS_POLL: Duration = Duration::from_millis(5);
/// A free port may be taken by somebody else before QEMU has it; so often in a row means that something else is wrong.
const PORT_ATTEMPTS: u32 = 5;
/// The power button does nothing before the guest listens to it, so it is pressed again.
const BUTTON_EVERY: Duration = Duration::from_secs(2);
/// QEMU writes back its disks and exits well within this; then it is killed.
const QUIT_WITHIN: Duration = Duration::from_secs(3);
/// The kernel ends a killed process at once unless it hangs in the disk.
const KILL_WITHIN: Duration = Duration::from_secs(10);
/// How much of the console an error shows.
const ERROR_LINES: usize = 5;

/// How waiting for ssh ended when not well.
enum NotReady {
    Ended,
    TimedOut,
    Mute(qmp::QmpError),
}

impl Shared {
    /// Starts a lease's machine, or takes over one that is starting, and returns when ssh greets.
    pub(crate) async fn bring_up(&self, mut record: Record) -> Result<Record, AdapterError> {
        let patience = self.config.boot_timeout;
        let _turn = timeout(patience, self.boots.acquire()).await.map_err(|_| {
            let problem = format!("other machines have been booting for {} s", patience.as_secs());
            AdapterError::retryable(problem, "try again, or raise concurrent_boots")
        })?;
        let deadline = Instant::now() + patience;
        let mut attempts = 1;
        loop {
            let process = match self.process(record.lease).await? {
                Some(process) => Some(process),
                None => self.launch(&mut record).await?,
            };
            failpoint::reach(&["hypervisor.spawned"]);
            let Err(why) = self.wait_for_ssh(&record, process.as_ref(), deadline).await else { break };
            let log = self.tail(record.lease, qemu::LOG, ERROR_LINES);
            if matches!(why, NotReady::Ended)
                && qemu::is_port_taken(&log.join("\n"))
                && attempts < PORT_ATTEMPTS
            {
                attempts += 1;
                record.ssh_port = None;
                continue;
            }
            self.end(record.lease, None).await?;
            return Err(self.explain(&record, &why, &log));
        }
        failpoint::reach(&["hypervisor.booted"]);
        record.ready = true;
        self.save(&record).await?;
        Ok(record)
    }

    /// Starts QEMU. `None` when it has ended already.
    async fn launch(&self, record: &mut Record) -> Result<Option<Process>, AdapterError> {
        let accel = self.accel().await?;
        let image = image::load(&self.config.images_dir, &record.image).map_err(|error| {
            AdapterError::configuration(error.problem(), "restore the image in images_dir; a lease uses it")
        })?;
        let ssh = ssh_address(self.config.ssh_bind, record.ssh_port).map_err(|error| {
            AdapterError::retryable(format!("no free port for ssh: {error}"), "try again")
        })?;
        record.ssh_port = Some(ssh.port());
        record.wanted = Wanted::Run;
        record.ready = false;
        // The intent is on disk before there is a process.
        self.save(record).await?;
        let machine = qemu::Machine {
            lease: record.lease,
            image: &image,
            accel,
            total: record.total(),
            ssh,
            sandbox: self.config.sandbox,
        };
        let mut child =
            qemu::spawn(&self.config, &machine, &self.state.lease_dir(record.lease)).map_err(|error| {
                AdapterError::configuration(
                    format!("qemu cannot be started: {error}"),
                    "run the adapter's check",
                )
            })?;
        tracing::info!(lease = %record.lease, pid = child.id(), port = ssh.port(), %accel, "machine started");
        // For a moment between two programs the kernel shows no command line: looking once could miss a machine that
        // has just been started.
        let deadline = Instant::now() + APPEARS_WITHIN;
        let found = loop {
            let found = self.process(record.lease).await?;
            let ended = !matches!(child.try_wait(), Ok(None));
            if found.is_some() || ended || Instant::now() > deadline {
                break found;
            }
            sleep(APPEARS_POLL).await;
        };
        // Forgotten on purpose: it is not ours to wait for, and the runtime reaps it.
        drop(child);
        Ok(found)
    }

    async fn wait_for_ssh(
        &self,
        record: &Record,
        process: Option<&Process>,
        deadline: Instant,
    ) -> Result<(), NotReady> {
        let (Some(process), Some(port)) = (process, record.ssh_port) else { return Err(NotReady::Ended) };
        let address = SocketAddrV4::new(loopback_if_any(self.config.ssh_bind), port);
        tokio::select! {
            biased;
            _ = process.ended() => return Err(NotReady::Ended),
            () = ssh_greeting(address.into()) => {}
            () = sleep_until(deadline) => return Err(NotReady::TimedOut),
        }
        // Whoever took the port before QEMU could have greeted; QEMU answers here only when it has its port.
        match qmp::status(&self.state.lease_dir(record.lease)).await {
            Ok(_) => Ok(()),
            Err(_) if timeout(QUIT_WITHIN, process.ended()).await.is_ok() => Err(NotReady::Ended),
            Err(error) => Err(NotReady::Mute(error)),
        }
    }

    fn explain(&self, record: &Record, why: &NotReady, log: &[String]) -> AdapterError {
        let console = self.tail(record.lease, CONSOLE, ERROR_LINES).join(" | ");
        let problem = match why {
            NotReady::Ended => format!("qemu ended before the guest was up ({})", log.join(" | ")),
            NotReady::TimedOut => {
                let seconds = self.config.boot_timeout.as_secs();
                format!("ssh did not answer within {seconds} s; the console's last lines: {console}")
            }
            NotReady::Mute(error) => format!("the guest is up, but {error}"),
        };
        let dir = self.state.lease_dir(record.lease);
        AdapterError::retryable(
            problem,
            format!("try again, and see {CONSOLE} and {} in {}", qemu::LOG, dir.display()),
        )
    }

    /// Ends a lease's machine: with the power button if there is patience for that, then without asking.
    pub(crate) async fn end(&self, lease: B256, patience: Option<Duration>) -> Result<(), AdapterError> {
        let Some(process) = self.process(lease).await? else { return Ok(()) };
        let dir = self.state.lease_dir(lease);
        if let Some(patience) = patience {
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline {
                if let Err(error) = qmp::power_button(&dir).await {
                    tracing::debug!(%lease, %error, "power button");
                }
                let next = deadline.min(Instant::now() + BUTTON_EVERY);
                if timeout_at(next, process.ended()).await.is_ok() {
                    return Ok(());
                }
            }
            tracing::warn!(%lease, "the guest did not shut down");
        }
        if qmp::quit(&dir).await.is_ok() && timeout(QUIT_WITHIN, process.ended()).await.is_ok() {
            return Ok(());
        }
        let stuck = |why: String| {
            let problem = format!("qemu (pid {}) of lease {lease} cannot be ended: {why}", process.pid());
            AdapterError::retryable(problem, "try again; check whether the host's disk hangs")
        };
        process.kill().map_err(|error| stuck(error.to_string()))?;
        match timeout(KILL_WITHIN, process.ended()).await {
            Ok(ended) => ended.map_err(|error| stuck(error.to_string())),
            Err(_) => Err(stuck("it survives being killed".to_owned())),
        }
    }

    /// The process of a lease's machine, if it runs.
    pub(crate) async fn process(&self, lease: B256) -> Result<Option<Process>, AdapterError> {
        let dir: PathBuf = self.state.lease_dir(lease);
        self.blocking("look for a machine's process", move |_| Process::find(lease, &dir)).await
    }

    /// The last lines of a log in a lease's folder, none when it cannot be read.
    pub(crate) fn tail(&self, lease: B256, file: &str, lines: usize) -> Vec<String> {
        console::tail(&self.state.lease_dir(lease).join(file), lines).unwrap_or_default()
    }
}

/// The port that the machine had, so that tenants find it again, or else a free one.
fn ssh_address(bind: Ipv4Addr, before: Option<u16>) -> io::Result<SocketAddrV4> {
    if let Some(port) = before.filter(|port| TcpListener::bind((bind, *port)).is_ok()) {
        return Ok(SocketAddrV4::new(bind, port));
    }
    let port = TcpListener::bind((bind, 0))?.local_addr()?.port();
    Ok(SocketAddrV4::new(bind, port))
}

/// Where we ourselves reach a port that is open on every address.
fn loopback_if_any(bind: Ipv4Addr) -> Ipv4Addr {
    if bind.is_unspecified() { Ipv4Addr::LOCALHOST } else { bind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_keeps_its_port_unless_it_is_taken() {
        let first = ssh_address(Ipv4Addr::LOCALHOST, None).unwrap();
        assert_eq!(ssh_address(Ipv4Addr::LOCALHOST, Some(first.port())).unwrap(), first);
        let taken = TcpListener::bind(first).unwrap();
        assert_ne!(ssh_address(Ipv4Addr::LOCALHOST, Some(first.port())).unwrap(), first);
        drop(taken);
    }
}
