//! The configuration of this host.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sublet_adapter::AdapterError;
use sublet_adapter::support::duration_text;
use sublet_market::Resources;

/// Settings of the hypervisor adapter: a table of the node's configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HypervisorConfig {
    /// Where the machines' disks, keys and consoles are kept; made with mode 0700.
    pub state_dir: PathBuf,
    /// Where the guest images are: one folder for each, as `guest/build.sh` writes it.
    pub images_dir: PathBuf,
    /// All that leases may use together.
    pub capacity: Resources,
    /// Hardware acceleration; `auto` takes KVM only after a guest has really booted under it.
    #[serde(default)]
    pub accel: AccelChoice,
    /// The emulator: a name on the PATH or a path.
    #[serde(default = "default_qemu")]
    pub qemu_binary: PathBuf,
    /// The disk tool of the same QEMU: a name on the PATH or a path.
    #[serde(default = "default_qemu_img")]
    pub qemu_img_binary: PathBuf,
    /// The address on which the machines' ssh ports are opened, one free port for each.
    #[serde(default = "default_ssh_bind")]
    pub ssh_bind: Ipv4Addr,
    /// The host name or address that tenants are told; `ssh_bind` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_host: Option<String>,
    /// How long a machine may take until its ssh port answers.
    #[serde(default = "default_boot_timeout", with = "duration_text")]
    pub boot_timeout: Duration,
    /// How long a machine may take to switch itself off before it is ended.
    #[serde(default = "default_stop_timeout", with = "duration_text")]
    pub stop_timeout: Duration,
    /// How many machines may boot at once; the others wait for their turn.
    #[serde(default = "default_concurrent_boots")]
    pub concurrent_boots: usize,
    /// Whether QEMU confines itself with its seccomp filter. Off only where the host's QEMU lacks it.
    #[serde(default = "default_sandbox")]
    pub sandbox: bool,
}

/// Which accelerator to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccelChoice {
    /// KVM if a probe shows that guests boot under it, software emulation otherwise.
    #[default]
    Auto,
    /// KVM or nothing.
    Kvm,
    /// Software emulation: works everywhere, many times slower.
    Tcg,
}

impl HypervisorConfig {
    /// Defaults for everything that has one.
    #[must_use]
    pub fn new(state_dir: PathBuf, images_dir: PathBuf, capacity: Resources) -> Self {
        Self {
            state_dir,
            images_dir,
            capacity,
            accel: AccelChoice::default(),
            qemu_binary: default_qemu(),
            qemu_img_binary: default_qemu_img(),
            ssh_bind: default_ssh_bind(),
            ssh_host: None,
            boot_timeout: default_boot_timeout(),
            stop_timeout: default_stop_timeout(),
            concurrent_boots: default_concurrent_boots(),
            sandbox: default_sandbox(),
        }
    }

    /// What can be said about the settings without looking at the host.
    ///
    /// # Errors
    /// [`AdapterError::Configuration`] with the key and a valid example.
    pub fn validate(&self) -> Result<(), AdapterError> {
        let wrong = |problem: &str, remedy: &str| Err(AdapterError::configuration(problem, remedy));
        if self.ssh_bind.is_unspecified() && self.ssh_host.is_none() {
            return wrong(
                "ssh_bind is every address, so tenants cannot be told where to connect",
                "set ssh_host too, for example ssh_host = \"provider.example.org\"",
            );
        }
        if self.concurrent_boots == 0 {
            return wrong(
                "concurrent_boots is 0, so no machine would ever start",
                "set concurrent_boots = 2",
            );
        }
        if self.boot_timeout.is_zero() {
            return wrong(
                "boot_timeout is zero, so no machine would ever be ready",
                "set boot_timeout = \"60s\"",
            );
        }
        if self.capacity.gpus != 0 {
            return wrong("this adapter cannot pass gpus to machines", "set capacity.gpus = 0");
        }
        if self.capacity.vcpus == 0 || self.capacity.memory_mib == 0 || self.capacity.disk_gib == 0 {
            return wrong(
                "capacity has no vcpus, no memory_mib or no disk_gib, so nothing could be leased",
                "for example capacity = { vcpus = 4, memory_mib = 4096, disk_gib = 40, gpus = 0, disk_iops = 0, net_mbps = 0 }",
            );
        }
        Ok(())
    }

    /// The host that tenants are told.
    pub(crate) fn public_host(&self) -> String {
        self.ssh_host.clone().unwrap_or_else(|| self.ssh_bind.to_string())
    }
}

fn default_qemu() -> PathBuf {
    "qemu-system-x86_64".into()
}

fn default_qemu_img() -> PathBuf {
    "qemu-img".into()
}

fn default_ssh_bind() -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

/// Twenty times what a boot takes under software emulation on an idle host.
fn default_boot_timeout() -> Duration {
    Duration::from_secs(60)
}

/// A guest with little to do needs about a second.
fn default_stop_timeout() -> Duration {
    Duration::from_secs(20)
}

/// Booting is the one time when every machine wants a whole core.
fn default_concurrent_boots() -> usize {
    2
}

fn default_sandbox() -> bool {
    true
}

/// How instructions of the guest are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accel {
    Kvm,
    Tcg,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        state_dir = "/var/lib/sublet/machines"
        images_dir = "/var/lib/sublet/images"
        capacity = { vcpus = 4, memory_mib = 4096, disk_gib = 40, gpus = 0, disk_iops = 0, net_mbps = 0 }
        boot_timeout = "90s"
    "#;

    #[test]
    fn the_least_file_is_enough_and_round_trips() {
        let config: HypervisorConfig = toml::from_str(EXAMPLE).unwrap();
        config.validate().unwrap();
        assert_eq!(config.accel, AccelChoice::Auto);
        assert_eq!(config.boot_timeout, Duration::from_secs(90));
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<HypervisorConfig>(&text).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = toml::from_str::<HypervisorConfig>(&format!("{EXAMPLE}\nacell = \"kvm\"")).unwrap_err();
        assert!(error.to_string().contains("acell"), "{error}");
    }

    #[test]
    fn a_bad_duration_names_itself_and_an_example() {
        let error =
            toml::from_str::<HypervisorConfig>(&format!("{EXAMPLE}\nstop_timeout = \"soon\"")).unwrap_err();
        assert!(error.to_string().contains("soon") && error.to_string().contains("90s"), "{error}");
    }

    #[test]
    fn an_address_for_everybody_needs_a_name() {
        let mut config: HypervisorConfig = toml::from_str(EXAMPLE).unwrap();
        config.ssh_bind = Ipv4Addr::UNSPECIFIED;
        assert!(config.validate().unwrap_err().to_string().contains("ssh_host"));
        config.ssh_host = Some("provider.example.org".to_owned());
        config.validate().unwrap();
        assert_eq!(config.public_host(), "provider.example.org");
    }
}
