//! Finding a lease's QEMU again, waiting for its end and ending it.
//!
//! A machine belongs to no process that remembers it: it is found by what the kernel tells about it, so a
//! node that was restarted, or has lost its files, still finds it. It is ours when its command line carries
//! the lease's marker *and* it works in the lease's folder; another user's process or a recycled pid has
//! neither. The pidfd that is opened before the check makes sure that exactly the process that was checked is
//! waited for and killed.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use alloy_primitives::B256;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Where QEMU notes its number, inside a lease's folder.
pub(crate) const PID_FILE: &str = "pid";

/// The argument by which a machine's process is recognised, also QEMU's name for the guest.
pub(crate) fn marker(lease: B256) -> String {
    format!("guest=sublet-{}", hex::encode(lease))
}

/// A running QEMU of ours.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    fd: OwnedFd,
}

impl Process {
    /// The process that runs a lease's machine in this folder, if any.
    pub(crate) fn find(lease: B256, dir: &Path) -> io::Result<Option<Self>> {
        // A folder that is not there has no machine: it is removed only after its machine has ended.
        let Ok(dir) = dir.canonicalize() else { return Ok(None) };
        let marker = marker(lease);
        // QEMU's own note of its number spares the search nearly always; it is only a hint.
        let hint = fs::read_to_string(dir.join(PID_FILE)).ok().and_then(|text| parse_pid(text.trim()));
        if let Some(process) = hint.and_then(|pid| Self::open(pid, &marker, &dir)) {
            return Ok(Some(process));
        }
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let found = name.to_str().and_then(parse_pid).and_then(|pid| Self::open(pid, &marker, &dir));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn open(pid: Pid, marker: &str, dir: &Path) -> Option<Self> {
        if !is_machine(pid, marker, dir) {
            return None;
        }
        let fd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        // It may have ended before it was opened, and its number be another's by now: look once more.
        is_machine(pid, marker, dir).then_some(Self { pid, fd })
    }

    /// The process's number, for messages.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Returns once the process has ended, whoever its parent is.
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for types that may close early; an OwnedFd cannot"
    )]
    pub(crate) async fn ended(&self) -> io::Result<()> {
        let fd = AsyncFd::with_interest(self.fd.try_clone()?, Interest::READABLE)?;
        fd.readable().await.map(drop)
    }

    /// Ends it without asking. Fine when it has ended already.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

fn is_machine(pid: Pid, marker: &str, dir: &Path) -> bool {
    let proc = Path::new("/proc").join(pid.as_raw_nonzero().get().to_string());
    // Both fail for other users' processes and for ones that have just ended: not ours. A zombie has no arguments.
    let Ok(arguments) = fs::read(proc.join("cmdline")) else { return false };
    let marked = arguments.split(|byte| *byte == 0).any(|argument| OsStr::from_bytes(argument) == marker);
    marked && fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd == dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A process that looks like a machine: it carries the marker as an argument that does nothing.
    fn pretend(lease: B256, dir: &Path) -> std::process::Child {
        let script = "read line";
        Command::new("sh")
            .args(["-c", script, &marker(lease)])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
    }

    #[tokio::test]
    async fn only_the_marked_process_in_the_folder_is_found_and_killed() {
        let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let lease = B256::repeat_byte(1);
        let mut ours = pretend(lease, here.path());
        let mut foreign = pretend(lease, elsewhere.path());
        let mut other = pretend(B256::repeat_byte(2), here.path());

        let found = Process::find(lease, here.path()).unwrap().expect("it runs");
        assert_eq!(u32::try_from(found.pid()).unwrap(), ours.id());
        found.kill().unwrap();
        found.ended().await.unwrap();
        assert!(Process::find(lease, here.path()).unwrap().is_none(), "a zombie is not a machine");
        ours.wait().unwrap();
        found.kill().unwrap();

        for child in [&mut foreign, &mut other] {
            assert!(child.try_wait().unwrap().is_none(), "it was left alone");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_folder_that_is_gone_has_no_process() {
        assert!(Process::find(B256::ZERO, Path::new("/nonexistent")).unwrap().is_none());
    }
}
