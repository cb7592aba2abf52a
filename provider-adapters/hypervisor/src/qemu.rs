//! QEMU's command line, and starting it.
//!
//! It runs in a session of its own, in the lease's folder, with nothing of ours open: stdin is null, its
//! messages go to `qemu.log`, its environment is empty but for PATH. So it outlives the node and knows none
//! of its secrets. All names on the command line are relative to the folder: nothing has to be escaped, and
//! no socket path is too long.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use alloy_primitives::B256;
use sublet_market::Resources;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::config::{Accel, HypervisorConfig};
use crate::console::CONSOLE;
use crate::image::Image;
use crate::process::{PID_FILE, marker};
use crate::{host, qmp};

pub(crate) const DISK: &str = "disk.qcow2";
pub(crate) const BASE: &str = "base.qcow2";
pub(crate) const HOST_KEY: &str = "hostkey";
pub(crate) const AUTHORIZED_KEYS: &str = "authorized_keys";
pub(crate) const HOST_NAME: &str = "hostname";
/// QEMU's own messages.
pub(crate) const LOG: &str = "qemu.log";

/// Where the guest has its ssh server (QEMU's user-mode network, guest/init).
const GUEST_SSH: &str = "10.0.2.15:22";
/// Everything that a running machine does not need: forking, other users' rights, scheduling, old system calls.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// Making an empty disk takes milliseconds; only a host's disk that hangs takes longer.
const DISK_WITHIN: Duration = Duration::from_secs(30);

/// A machine as QEMU sees it.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) lease: B256,
    pub(crate) image: &'a Image,
    pub(crate) accel: Accel,
    /// All units together.
    pub(crate) total: Resources,
    /// The host's end of the guest's ssh port.
    pub(crate) ssh: SocketAddrV4,
    pub(crate) sandbox: bool,
}

/// How QEMU failed although it could be started.
pub(crate) fn is_port_taken(log: &str) -> bool {
    log.contains("Could not set up host forwarding rule")
}

/// Starts a machine in its folder. The child may be forgotten: the machine is found again by its marker.
pub(crate) fn spawn(config: &HypervisorConfig, machine: &Machine<'_>, dir: &Path) -> io::Result<Child> {
    let mut command = Command::new(host::SETSID);
    command
        .arg(absolute(&config.qemu_binary)?)
        .args(arguments(machine))
        .current_dir(dir)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(dir.join(LOG))?);
    command.spawn()
}

/// A path stays valid in another folder; a bare name is looked up on the PATH.
fn absolute(binary: &Path) -> io::Result<PathBuf> {
    if binary.components().count() > 1 { std::path::absolute(binary) } else { Ok(binary.to_owned()) }
}

fn arguments(machine: &Machine<'_>) -> Vec<OsString> {
    let mut arguments =
        base_arguments(machine.accel, machine.image, machine.total.memory_mib, machine.total.vcpus);
    let mut drive = format!("if=none,id=disk0,file={DISK},format=qcow2,discard=unmap");
    if machine.total.disk_iops > 0 {
        drive.push_str(&format!(",throttling.iops-total={}", machine.total.disk_iops));
    }
    let text = [
        ("-name", marker(machine.lease)),
        ("-chardev", format!("file,id=console,path={CONSOLE},append=on")),
        ("-serial", "chardev:console".to_owned()),
        // restrict: the guest reaches neither the host (10.0.2.2 would be its loopback) nor any network.
        ("-netdev", format!("user,id=net0,restrict=on,hostfwd=tcp:{}-{GUEST_SSH}", machine.ssh)),
        ("-device", "virtio-net-pci,netdev=net0,romfile=".to_owned()),
        ("-drive", drive),
        ("-device", "virtio-blk-pci,drive=disk0".to_owned()),
        ("-fw_cfg", format!("name=opt/sublet/authorized_keys,file={AUTHORIZED_KEYS}")),
        ("-fw_cfg", format!("name=opt/sublet/hostkey,file={HOST_KEY}")),
        ("-fw_cfg", format!("name=opt/sublet/hostname,file={HOST_NAME}")),
        ("-qmp", format!("unix:{},server=on,wait=off", qmp::SOCKET)),
        ("-pidfile", PID_FILE.to_owned()),
    ];
    arguments.extend(text.into_iter().flat_map(|(option, value)| [option.into(), value.into()]));
    if machine.sandbox {
        arguments.extend(["-sandbox".into(), SANDBOX.into()]);
    }
    arguments
}

/// What a lease's machine and the KVM probe have in common.
pub(crate) fn base_arguments(accel: Accel, image: &Image, memory_mib: u32, vcpus: u32) -> Vec<OsString> {
    // Without rdrand, the guest's ssh server waits a second for entropy; under KVM the real processor is the fastest.
    let (accel, cpu) = match accel {
        Accel::Kvm => ("kvm", "host"),
        Accel::Tcg => ("tcg", "qemu64,+rdrand"),
    };
    let mut arguments: Vec<OsString> = ["-nodefaults", "-no-user-config"].map(OsString::from).to_vec();
    let pairs: [(&str, OsString); 8] = [
        ("-display", "none".into()),
        ("-machine", format!("q35,accel={accel}").into()),
        ("-cpu", cpu.into()),
        ("-smp", vcpus.to_string().into()),
        ("-m", format!("{memory_mib}M").into()),
        ("-kernel", image.kernel.clone().into()),
        ("-initrd", image.initrd.clone().into()),
        ("-append", image.cmdline.clone().into()),
    ];
    arguments.extend(pairs.into_iter().flat_map(|(option, value)| [option.into(), value]));
    arguments.extend(["-device", "virtio-rng-pci"].map(OsString::from));
    arguments
}

/// Makes the tenant's disk in a folder that has the base already.
pub(crate) async fn create_disk(config: &HypervisorConfig, dir: &Path, size_gib: u32) -> io::Result<()> {
    let size = format!("{size_gib}G");
    qemu_img(config, dir, &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", BASE, DISK, &size]).await
}

/// Makes a disk larger, unless it has that size.
pub(crate) async fn grow_disk(config: &HypervisorConfig, dir: &Path, size_gib: u32) -> io::Result<()> {
    qemu_img(config, dir, &["resize", "-q", "-f", "qcow2", DISK, &format!("{size_gib}G")]).await
}

async fn qemu_img(config: &HypervisorConfig, dir: &Path, args: &[&str]) -> io::Result<()> {
    let mut command = Command::new(absolute(&config.qemu_img_binary)?);
    let output = command.args(args).current_dir(dir).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(DISK_WITHIN, output).await??;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn line(total: Resources, accel: Accel) -> String {
        let image = Image {
            kernel: "/images/a, b/kernel".into(),
            initrd: "/images/a, b/initrd".into(),
            base: "/images/a, b/base.qcow2".into(),
            cmdline: "quiet".to_owned(),
            user: "root".to_owned(),
            min_memory_mib: 96,
            min_disk_gib: 1,
            ready_line: "ready".to_owned(),
        };
        let ssh = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 2222);
        let machine =
            Machine { lease: B256::repeat_byte(0xab), image: &image, accel, total, ssh, sandbox: true };
        let arguments = arguments(&machine);
        arguments.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn the_lease_gets_what_it_pays_for_and_no_network() {
        let total =
            Resources { vcpus: 3, memory_mib: 768, disk_gib: 9, disk_iops: 500, ..Resources::default() };
        let line = line(total, Accel::Tcg);
        for part in
            ["|-smp|3|", "|-m|768M|", "|restrict=on,", "iops-total=500", "q35,accel=tcg", "qemu64,+rdrand"]
        {
            assert!(line.replace("id=net0,", "|").contains(part), "{part} in {line}");
        }
        assert!(line.contains(&format!("|-name|{}|", marker(B256::repeat_byte(0xab)))));
        assert!(line.contains("hostfwd=tcp:127.0.0.1:2222-10.0.2.15:22"));
    }

    #[test]
    fn no_limit_means_no_throttle() {
        let total = Resources { vcpus: 1, memory_mib: 96, disk_gib: 1, ..Resources::default() };
        assert!(!line(total, Accel::Kvm).contains("throttling"));
        assert!(line(total, Accel::Kvm).contains("|-cpu|host|"));
    }
}
