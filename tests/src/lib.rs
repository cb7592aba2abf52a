//! End to end: the demo, the reference experiments, and what both stand on.
//!
//! Everything here drives real parts from outside: the `sublet` binary as a user types it, node processes,
//! anvil, QEMU guests, the system's ssh.

pub mod chaos;
pub mod command;
pub mod compose;
pub mod demo;
#[cfg(feature = "cloud")]
pub mod experiments;
pub mod hostile;
pub mod leftovers;
pub mod network;
pub mod propagation;
pub mod rpc_proxy;
pub mod samples;
pub mod scale;
pub mod shaper;
pub mod story;
pub mod sync;
pub mod validation;

use std::path::PathBuf;

use anyhow::Context as _;
use sublet::{devnet::market::IMAGE, devnet::market::default_images};

/// The `sublet` binary beside this one (cargo puts tests one folder deeper), or the one that `SUBLET_BIN` names.
pub fn sublet_binary() -> anyhow::Result<PathBuf> {
    if let Some(named) = std::env::var_os("SUBLET_BIN") {
        return Ok(named.into());
    }
    let me = std::env::current_exe()?;
    let found = me.ancestors().skip(1).take(2).map(|dir| dir.join("sublet")).find(|path| path.is_file());
    found.context("the sublet binary is not built: run `cargo build -p sublet`, or name it with SUBLET_BIN")
}

/// The folder with the demo's guest image.
pub fn images() -> anyhow::Result<PathBuf> {
    let images = default_images();
    let image = images.join(IMAGE);
    anyhow::ensure!(
        image.is_dir(),
        "there is no guest image at {0}: build it with `make guest` or `guest/build.sh {0}`",
        image.display()
    );
    Ok(images)
}

/// Writes `reports/NAME.json` of the workspace.
pub fn write_report<T: serde::Serialize>(name: &str, report: &T) -> anyhow::Result<PathBuf> {
    let dir = std::env::current_dir()?.join("reports");
    std::fs::create_dir_all(&dir)?;
    let path = dir.join(format!("{name}.json"));
    std::fs::write(&path, serde_json::to_string_pretty(report)? + "\n")?;
    Ok(path)
}

/// Base units as people write them, without the unit: for fields that are named `_ctk`.
pub fn ctk(base_units: u128) -> String {
    let text = sublet_market::amount::format_amount(base_units);
    text.trim_end_matches(" CTK").to_owned()
}

/// Networks in which everybody is connected with everybody: four descriptors for each pair, and some.
const DESCRIPTORS: u64 = 16_384;

/// Lets this process open as many sockets as such a network takes.
pub fn raise_descriptors() -> anyhow::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = DESCRIPTORS.min(hard);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    }
    Ok(())
}
