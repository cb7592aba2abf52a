//! The demo, the experiments and `sublet devnet` end cleanly however they end: told to the end (`make demo` checks
//! that itself), interrupted, unread, failing in the middle.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sublet_tests::{leftovers::assert_gone, sublet_binary};

/// A loaded machine takes its time to bring up a chain and two nodes.
const SOON: Duration = Duration::from_secs(90);

/// A harness under test; a failing assertion ends it in order too.
struct Running {
    child: Option<Child>,
    /// Where it writes its report; the repository stays as it is.
    _cwd: tempfile::TempDir,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let cwd = tempfile::tempdir().unwrap();
        command.current_dir(cwd.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: Some(command.spawn().unwrap()), _cwd: cwd }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("not waited for yet")
    }

    fn pid(&mut self) -> u32 {
        self.child().id()
    }

    fn dir(&mut self, name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("sublet-{name}-{}", self.pid()))
    }

    /// Waits until it has got as far as this file.
    fn wait_for(&mut self, file: &Path) {
        let deadline = Instant::now() + SOON;
        while !file.exists() {
            assert!(Instant::now() < deadline, "{} did not come", file.display());
            assert!(self.child().try_wait().unwrap().is_none(), "it ended before {}", file.display());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&mut self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    fn end(mut self) -> (Output, String) {
        let output = self.child.take().expect("waited for once").wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let mut demo = Running::start(&mut Command::new(env!("CARGO_BIN_EXE_demo")));
    let dir = demo.dir("demo");
    // In the middle of things: the second provider's node is up.
    demo.wait_for(&dir.join("ben/api.address"));
    demo.signal(Signal::SIGINT);
    let (output, stderr) = demo.end();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("everything is taken down"), "{stderr}");
    assert_gone(&dir).unwrap();
}

#[test]
fn a_demo_that_nobody_reads_any_more_takes_itself_down() {
    let mut demo = Running::start(&mut Command::new(env!("CARGO_BIN_EXE_demo")));
    let dir = demo.dir("demo");
    // As `make demo | head -2`.
    let mut lines = BufReader::new(demo.child().stdout.take().unwrap()).lines();
    assert_eq!(lines.by_ref().take(2).count(), 2);
    drop(lines);
    let (output, stderr) = demo.end();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_gone(&dir).unwrap();
}

#[test]
fn a_failing_demo_says_why_and_leaves_nothing_behind() {
    let mut demo = Running::start(Command::new(env!("CARGO_BIN_EXE_demo")).env("SUBLET_BIN", "/bin/false"));
    let dir = demo.dir("demo");
    let (output, stderr) = demo.end();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("demo: failed: node 'ada' did not start"), "{stderr}");
    assert_gone(&dir).unwrap();
}

#[test]
fn terminated_experiments_leave_nothing_behind() {
    let mut experiments = Running::start(&mut Command::new(env!("CARGO_BIN_EXE_experiments")));
    let dir = experiments.dir("experiments");
    experiments.wait_for(&dir.join("provider/api.address"));
    experiments.signal(Signal::SIGTERM);
    let (output, stderr) = experiments.end();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert_gone(&dir).unwrap();
}

#[test]
fn a_terminated_devnet_leaves_nothing_behind() {
    let mut devnet = Running::start(Command::new(sublet_binary().unwrap()).arg("devnet"));
    let dir = devnet.dir("devnet");
    devnet.wait_for(&dir.join("ada/api.address"));
    devnet.signal(Signal::SIGTERM);
    let (output, stderr) = devnet.end();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("error: interrupted before the network was up"), "{stderr}");
    assert_gone(&dir).unwrap();
}
