//! A bench with real machines for the tests: the guest image (built once, then cached), a state folder of its own, a
//! real ssh client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use alloy_primitives::B256;
use async_trait::async_trait;
use sublet_adapter::conformance::Bench;
use sublet_adapter::{Adapter, LeaseOrder};
use sublet_adapter_hypervisor::{AccelChoice, Hypervisor, HypervisorConfig};
use sublet_market::{Access, Resources};
use tempfile::TempDir;
use tokio::process::Command;

pub(crate) const IMAGE: &str = "debian-guest";

/// One host with software emulation and room for two machines. Dropping it ends whatever machines are left.
pub(crate) struct HypervisorBench {
    dir: TempDir,
    pub(crate) config: HypervisorConfig,
}

impl HypervisorBench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = HypervisorConfig::new(dir.path().join("state"), images_dir(), capacity());
        config.accel = AccelChoice::Tcg;
        // Other tests may use every core at the same time.
        config.boot_timeout = std::time::Duration::from_secs(120);
        Self { dir, config }
    }

    pub(crate) fn lease_dir(&self, lease: B256) -> PathBuf {
        self.config.state_dir.join(hex(lease))
    }

    /// A new key pair: the private half's file and the line for `authorized_keys`.
    pub(crate) async fn ssh_key(&self) -> (PathBuf, String) {
        let path = self.dir.path().join("id_ed25519");
        if !path.exists() {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "tenant", "-f"]).arg(&path);
            let done = keygen.status().await;
            let done =
                done.expect("ssh-keygen cannot be started; as root: apt-get install -y openssh-client");
            assert!(done.success());
        }
        let line = fs::read_to_string(path.with_extension("pub")).unwrap();
        (path, line.trim().to_owned())
    }

    /// Runs a command in the guest, refusing every host key but the one that the adapter told.
    pub(crate) async fn ssh(&self, access: &Access, command: &str) -> Result<String, String> {
        let (key, _) = self.ssh_key().await;
        let known_hosts = self.dir.path().join(format!("known_hosts_{}", access.port));
        fs::write(&known_hosts, format!("[{}]:{} {}\n", access.host, access.port, access.host_key)).unwrap();
        let option = |name: &str, value: &str| ["-o".to_owned(), format!("{name}={value}")];
        let output = Command::new("ssh")
            .args(["-F", "/dev/null", "-p", &access.port.to_string(), "-i"])
            .arg(key)
            .args(option("StrictHostKeyChecking", "yes"))
            .args(option("UserKnownHostsFile", &known_hosts.display().to_string()))
            .args(option("BatchMode", "yes"))
            .args(option("ConnectTimeout", "60"))
            .arg(format!("{}@{}", access.user, access.host))
            .arg(command)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("ssh cannot be started; as root: apt-get install -y openssh-client");
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// An order whose tenant is the bench itself.
    pub(crate) async fn order(&self, name: &str) -> LeaseOrder {
        let mut order = sublet_adapter::conformance::order(self, name);
        order.manifest.ssh_authorized_keys = vec![self.ssh_key().await.1];
        order
    }

    /// The numbers of all processes that work in a lease's folder.
    pub(crate) fn processes(&self, lease: B256) -> Vec<i32> {
        processes_in(&self.lease_dir(lease))
    }
}

impl Drop for HypervisorBench {
    fn drop(&mut self) {
        for folder in fs::read_dir(&self.config.state_dir).into_iter().flatten().flatten() {
            processes_in(&folder.path()).into_iter().for_each(kill);
        }
    }
}

#[async_trait]
impl Bench for HypervisorBench {
    fn open(&self) -> Arc<dyn Adapter> {
        Arc::new(Hypervisor::new(self.config.clone()).unwrap())
    }

    async fn crash(&self, lease: B256) {
        let processes = self.processes(lease);
        assert_eq!(processes.len(), 1, "one machine per lease");
        processes.iter().copied().for_each(kill);
        while !self.processes(lease).is_empty() {
            tokio::task::yield_now().await;
        }
    }

    async fn leftovers(&self, lease: B256) -> Vec<String> {
        let mut left: Vec<String> =
            self.processes(lease).iter().map(|pid| format!("process {pid}")).collect();
        for entry in fs::read_dir(&self.config.state_dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains(&hex(lease)) {
                left.push(format!("file {name}"));
            }
        }
        left
    }

    fn image(&self) -> String {
        IMAGE.to_owned()
    }

    fn unit(&self) -> Resources {
        Resources { vcpus: 1, memory_mib: 128, disk_gib: 2, ..Resources::default() }
    }
}

/// Room for exactly two of the bench's units.
pub(crate) fn capacity() -> Resources {
    Resources { vcpus: 2, memory_mib: 256, disk_gib: 4, disk_iops: 2000, ..Resources::default() }
}

/// `SUBLET_IMAGES`, or a cache in the home folder; the image in it is brought up to date by its build script.
pub(crate) fn images_dir() -> PathBuf {
    let cache = || {
        PathBuf::from(std::env::var_os("HOME").expect("HOME or SUBLET_IMAGES")).join(".cache/sublet/images")
    };
    let dir = std::env::var_os("SUBLET_IMAGES").map_or_else(cache, PathBuf::from);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/build.sh");
    let built = std::process::Command::new("bash").arg(script).arg(dir.join(IMAGE)).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    dir
}

fn processes_in(dir: &Path) -> Vec<i32> {
    let Ok(dir) = dir.canonicalize() else { return Vec::new() };
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == dir)).collect()
}

fn kill(pid: i32) {
    // Found a moment ago in a folder that only machines of this bench work in.
    let _ = std::process::Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status();
}

fn hex(lease: B256) -> String {
    format!("{lease:x}")
}
