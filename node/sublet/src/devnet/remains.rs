//! Cleanup after a devnet: its nodes, their machines, its directory. Dropping this ends all of them, so
//! that an error half-way up or a panic leaves nothing behind either.
//!
//! Machines run detached from their nodes on purpose, and a drop cannot wait for an adapter: here they are found
//! by what the kernel says of them (the marker of the hypervisor adapter on the command line, a working directory
//! under the devnet's own) and killed.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::NodeProcess;

/// How the hypervisor adapter marks its machines, as an argument.
const MARKER: &[u8] = b"guest=sublet-";
/// A killed process is gone within milliseconds, unless its disk hangs.
const KILL_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// The directory of a devnet and the nodes that live in it.
pub(super) struct Remains {
    /// Made by us; removed in the end.
    pub(super) dir: PathBuf,
    /// In the order of their start.
    pub(super) nodes: Vec<NodeProcess>,
}

impl Remains {
    /// Makes the directory, which must not exist yet.
    pub(super) fn new(dir: PathBuf) -> std::io::Result<Self> {
        if let Some(above) = dir.parent() {
            fs::create_dir_all(above)?;
        }
        fs::create_dir(&dir)?;
        Ok(Self { dir, nodes: Vec::new() })
    }

    /// Ends everything at once and says what could not be ended. Does nothing the second time.
    pub(super) fn clear(&mut self) -> Result<(), String> {
        // Nodes first: a living one would start its machines again. Clones elsewhere name the same process.
        for node in self.nodes.drain(..) {
            node.kill();
        }
        if !self.dir.exists() {
            return Ok(());
        }
        let machines = kill_machines(&self.dir);
        let removed = fs::remove_dir_all(&self.dir)
            .map_err(|e| format!("{} cannot be removed ({e})", self.dir.display()));
        machines.and(removed)
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        // Whoever wants to know calls `clear` before.
        let _ = self.clear();
    }
}

/// Kills every machine that works under `dir`, and waits until none is left.
fn kill_machines(dir: &Path) -> Result<(), String> {
    let Ok(dir) = dir.canonicalize() else { return Ok(()) };
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let machines = machines_under(&dir);
        if machines.is_empty() {
            return Ok(());
        }
        for machine in &machines {
            match kill(*machine, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(e) => return Err(format!("machine with pid {machine} cannot be ended ({e})")),
            }
        }
        if Instant::now() > deadline {
            return Err(format!("machines are still there: pids {machines:?}"));
        }
        thread::sleep(POLL);
    }
}

fn machines_under(dir: &Path) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_machine_under(*pid, dir)).map(Pid::from_raw).collect()
}

fn is_machine_under(pid: i32, dir: &Path) -> bool {
    let proc = Path::new("/proc").join(pid.to_string());
    // Both fail for other users' processes and for ones that have just ended: not ours.
    let Ok(arguments) = fs::read(proc.join("cmdline")) else { return false };
    arguments.split(|byte| *byte == 0).any(|argument| argument.starts_with(MARKER))
        && fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that looks like a machine: it carries the marker as an argument that does nothing.
    fn pretend(dir: &Path, argument: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "read line", argument]).current_dir(dir).stdin(Stdio::piped());
        let child = command.spawn().unwrap();
        // The kernel tells of a new program's arguments a moment after it has begun.
        let begun = || !fs::read(format!("/proc/{}/cmdline", child.id())).unwrap().is_empty();
        let later = || std::thread::sleep(std::time::Duration::from_millis(1));
        assert!((0..10_000).any(|_| begun() || {
            later();
            false
        }));
        child
    }

    #[test]
    fn a_drop_ends_the_machines_and_removes_the_directory_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("net");
        let remains = Remains::new(root.clone()).unwrap();
        let machines = root.join("ada/machines/00");
        fs::create_dir_all(&machines).unwrap();
        let mut ours = pretend(&machines, "guest=sublet-00");
        let mut elsewhere = pretend(dir.path(), "guest=sublet-00");
        let mut unmarked = pretend(&machines, "guest=other");
        drop(remains);
        assert!(!root.exists());
        let killed = ours.wait().unwrap();
        assert_eq!(killed.signal(), Some(9), "{killed}");
        for other in [&mut elsewhere, &mut unmarked] {
            assert!(other.try_wait().unwrap().is_none(), "it was left alone");
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }

    #[test]
    fn a_directory_that_is_there_is_nobodys_to_remove() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Remains::new(dir.path().into()).is_err());
        assert!(dir.path().exists());
    }
}
