//! Which accelerator the machines get.
//!
//! `/dev/kvm` may be there and guests hang under it all the same (some nested set-ups do that). So KVM is
//! believed only after an image has booted under it up to its ready line. That takes seconds, or the whole
//! time-out where it hangs, so the answer is kept in the state folder for as long as host kernel and QEMU
//! stay the same.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sublet_adapter::AdapterError;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::config::{Accel, AccelChoice, HypervisorConfig};
use crate::image::{self, Image};
use crate::state::replace;
use crate::{host, qemu};

/// The answer's file in the state folder.
const CACHE: &str = "accel.json";
const KVM_DEVICE: &str = "/dev/kvm";
/// A guest boots within two seconds under KVM. A host so loaded that it takes longer is served by tcg for a while.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);
/// Enough for every image; a probe has no lease whose size it could take.
const PROBE_MEMORY_MIB: u32 = 256;

#[derive(Debug, Serialize, Deserialize)]
struct Cached {
    /// What the answer depends on.
    host: String,
    /// Why KVM cannot be used; `None` when it can.
    kvm_fails_with: Option<String>,
}

/// Decides for this host, with a probe where one is needed.
pub(crate) async fn choose(config: &HypervisorConfig) -> Result<Accel, AdapterError> {
    match config.accel {
        AccelChoice::Tcg => Ok(Accel::Tcg),
        AccelChoice::Kvm => match probe_kvm(config).await? {
            None => Ok(Accel::Kvm),
            Some(why) => Err(AdapterError::configuration(
                format!("accel is \"kvm\", but {why}"),
                "load the kvm module and give this user access to /dev/kvm (group kvm), or set accel = \"auto\"",
            )),
        },
        AccelChoice::Auto => match cached_probe(config).await? {
            None => Ok(Accel::Kvm),
            Some(why) => {
                tracing::info!(%why, "machines run under software emulation");
                Ok(Accel::Tcg)
            }
        },
    }
}

/// Why KVM cannot be used, from the cache if it still holds.
async fn cached_probe(config: &HypervisorConfig) -> Result<Option<String>, AdapterError> {
    if let Err(why) = device_opens() {
        // Costs nothing to find out again.
        return Ok(Some(why));
    }
    let path = config.state_dir.join(CACHE);
    let host = host_identity(config).await?;
    let cached = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Cached>(&bytes).ok());
    if let Some(cached) = cached.filter(|cached| cached.host == host) {
        return Ok(cached.kvm_fails_with);
    }
    let kvm_fails_with = probe_kvm(config).await?;
    let answer = Cached { host, kvm_fails_with };
    write_cache(&path, &answer).map_err(|error| {
        let problem = format!("cannot write the result of the kvm probe to {}: {error}", path.display());
        AdapterError::configuration(problem, "make state_dir writable for the node's user")
    })?;
    Ok(answer.kvm_fails_with)
}

fn write_cache(path: &Path, answer: &Cached) -> io::Result<()> {
    replace(path, &serde_json::to_vec_pretty(answer)?)
}

async fn host_identity(config: &HypervisorConfig) -> Result<String, AdapterError> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let qemu = host::version(&config.qemu_binary).await?;
    Ok(format!("linux {}, {qemu}", kernel.trim()))
}

fn device_opens() -> Result<(), String> {
    let opened = OpenOptions::new().read(true).write(true).open(KVM_DEVICE);
    opened.map(drop).map_err(|error| format!("{KVM_DEVICE} cannot be opened ({error})"))
}

/// Boots the first image under KVM. `Some(why)` when that does not work.
async fn probe_kvm(config: &HypervisorConfig) -> Result<Option<String>, AdapterError> {
    if let Err(why) = device_opens() {
        return Ok(Some(why));
    }
    image::check(&config.images_dir)?;
    let Some(name) = image::names(&config.images_dir).into_iter().next() else {
        return Ok(Some("there is no image to try it with".to_owned()));
    };
    let image = image::load(&config.images_dir, &name)?;
    tracing::info!(image = name, "probing whether guests boot under kvm");
    let booted = boots(&config.qemu_binary, Accel::Kvm, &image, PROBE_TIMEOUT).await;
    Ok(booted.err().map(|why| format!("a guest did not boot under kvm ({why})")))
}

/// Boots an image without disk or network until it says that it is ready. The machine is gone when this returns.
async fn boots(qemu: &Path, accel: Accel, image: &Image, patience: Duration) -> Result<(), String> {
    let memory_mib = image.min_memory_mib.max(PROBE_MEMORY_MIB);
    let mut child = Command::new(qemu)
        .args(qemu::base_arguments(accel, image, memory_mib, 1))
        .args(["-no-reboot", "-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    let Some(console) = child.stdout.take() else { return Err("no console".to_owned()) };
    let mut lines = BufReader::new(console).split(b'\n');
    let ready = async {
        while let Ok(Some(line)) = lines.next_segment().await {
            if String::from_utf8_lossy(&line).contains(&image.ready_line) {
                return Ok(());
            }
        }
        Err("qemu ended before the guest was up".to_owned())
    };
    let result = timeout(patience, ready).await;
    // Only a machine that is gone for sure leaves the next one its memory.
    child.kill().await.map_err(|error| error.to_string())?;
    result.unwrap_or_else(|_| Err(format!("nothing within {} s", patience.as_secs())))
}
