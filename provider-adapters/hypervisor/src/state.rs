//! What the adapter keeps on disk: one folder per lease, named by the lease's id in hexadecimal.
//!
//! ```text
//! STATE_DIR/              0700
//!   <lease>/              instance.json  the record below
//!                         disk.qcow2     the tenant's disk, over base.qcow2 (a hard link to the image's: a rebuilt image changes nothing)
//!                         hostkey authorized_keys hostname       what the guest is given, 0600
//!                         console.log qemu.log qmp.sock pid      of the running machine
//!   .kept-<lease>/        what is left of a machine whose disk is kept: instance.json, disk.qcow2, base.qcow2
//!   .new-<lease>/         a folder in the making: nothing was reserved or started yet
//!   .gone-<lease>/        a folder being removed: nothing of it runs any more
//!   accel.json            what the KVM probe found
//! ```
//!
//! A lease's folder appears by one rename, complete, and disappears by one. So whatever moment the node dies
//! at, the next one finds either a whole record or leftovers that it may delete.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use sublet_market::Resources;

const RECORD: &str = "instance.json";
const DRAFT_PREFIX: &str = ".new-";
const GRAVE_PREFIX: &str = ".gone-";
const KEPT_PREFIX: &str = ".kept-";
/// The version of [`Record`] that this code writes and reads.
pub(crate) const RECORD_VERSION: u32 = 1;

/// What is known of a lease's machine, on disk before anything is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) lease: B256,
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) unit: Resources,
    pub(crate) units: u32,
    /// Hash of the manifest that the machine was made from.
    pub(crate) manifest: B256,
    pub(crate) user: String,
    /// The public half of the guest's host key, as an OpenSSH line.
    pub(crate) host_key: String,
    /// The host's port that leads to the guest's ssh, from the first start on.
    pub(crate) ssh_port: Option<u16>,
    pub(crate) wanted: Wanted,
    /// Whether ssh has answered since the last start.
    pub(crate) ready: bool,
}

/// What the machine was last asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    Run,
    Stop,
}

impl Record {
    /// What the whole lease needs. It was computed before the record was written, so it fits.
    pub(crate) fn total(&self) -> Resources {
        self.unit.checked_mul(self.units).unwrap_or(self.unit)
    }
}

/// The folder of all leases. All methods block on the disk.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    root: PathBuf,
}

impl StateDir {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lease_dir(&self, lease: B256) -> PathBuf {
        self.root.join(hex::encode(lease))
    }

    fn draft_dir(&self, lease: B256) -> PathBuf {
        self.root.join(format!("{DRAFT_PREFIX}{}", hex::encode(lease)))
    }

    /// Where the disk of a lease without a machine is.
    pub(crate) fn kept_dir(&self, lease: B256) -> PathBuf {
        self.root.join(format!("{KEPT_PREFIX}{}", hex::encode(lease)))
    }

    fn grave_dir(&self, lease: B256) -> PathBuf {
        self.root.join(format!("{GRAVE_PREFIX}{}", hex::encode(lease)))
    }

    /// Makes the folder if it is not there, and sees that it can be written and is nobody else's to read.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        private_dir_builder().recursive(true).create(&self.root)?;
        let mode = fs::metadata(&self.root)?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700))?;
        }
        let probe = self.root.join(".writable");
        write_private(&probe, b"")?;
        match fs::remove_file(probe) {
            // Another call was here at the same time.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// What the file system of the folder has free for us; `None` before there is a folder.
    pub(crate) fn free_bytes(&self) -> io::Result<Option<u64>> {
        match rustix::fs::statvfs(&self.root) {
            Ok(disk) => Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All leases that have a folder, sorted.
    pub(crate) fn leases(&self) -> io::Result<Vec<B256>> {
        let mut leases = self.with_prefix("")?;
        leases.sort();
        Ok(leases)
    }

    /// Leases of which a removal or an unfinished beginning is left.
    pub(crate) fn leftovers(&self) -> io::Result<Vec<B256>> {
        let mut leases = self.with_prefix(DRAFT_PREFIX)?;
        leases.extend(self.with_prefix(GRAVE_PREFIX)?);
        Ok(leases)
    }

    fn with_prefix(&self, prefix: &str) -> io::Result<Vec<B256>> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut leases = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let Some(digits) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else { continue };
            let mut lease = B256::ZERO;
            if hex::decode_to_slice(digits, lease.as_mut_slice()).is_ok() {
                leases.push(lease);
            }
        }
        Ok(leases)
    }

    /// The record of a lease; `None` when the lease has no folder.
    pub(crate) fn load(&self, lease: B256) -> io::Result<Option<Record>> {
        let dir = self.lease_dir(lease);
        match load_in(&dir, lease) {
            Err(error) if error.kind() == ErrorKind::NotFound && !dir.exists() => Ok(None),
            record => record.map(Some),
        }
    }

    /// Replaces a record; after this it survives a power failure.
    pub(crate) fn save(&self, record: &Record) -> io::Result<()> {
        save_in(&self.lease_dir(record.lease), record)
    }

    /// Makes a lease's folder: `fill` puts the files into a draft, which then becomes the folder in one step.
    pub(crate) fn create<E: From<io::Error>>(
        &self,
        record: &Record,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let draft = self.draft_dir(record.lease);
        remove_all(&draft)?;
        private_dir_builder().create(&draft)?;
        let filled = fill(&draft).and_then(|()| {
            save_in(&draft, record)?;
            fs::rename(&draft, self.lease_dir(record.lease))?;
            Ok(sync_dir(&self.root)?)
        });
        if filled.is_err() {
            // The first error is the one to tell; whatever stays is swept later.
            let _ = remove_all(&draft);
        }
        filled
    }

    /// Removes everything of a lease. Its machine must not run any more.
    pub(crate) fn remove(&self, lease: B256) -> io::Result<()> {
        self.bury(lease, &self.lease_dir(lease))?;
        self.remove_kept(lease)
    }

    /// Removes the disk that is kept of a lease.
    pub(crate) fn remove_kept(&self, lease: B256) -> io::Result<()> {
        self.bury(lease, &self.kept_dir(lease))?;
        self.sweep(lease)
    }

    fn bury(&self, lease: B256, dir: &Path) -> io::Result<()> {
        let grave = self.grave_dir(lease);
        remove_all(&grave)?;
        match fs::rename(dir, &grave) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            renamed => renamed.and_then(|()| sync_dir(&self.root)),
        }
    }

    /// Keeps only record and disk of a lease. Its machine must not run any more.
    pub(crate) fn retire(&self, lease: B256, disk: &[&str]) -> io::Result<()> {
        let kept = self.kept_dir(lease);
        if self.lease_dir(lease).exists() {
            // A second name for the same disk, that was not taken away yet.
            self.remove_kept(lease)?;
        }
        match fs::rename(self.lease_dir(lease), &kept) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            renamed => renamed.and_then(|()| sync_dir(&self.root))?,
        }
        let entries = match fs::read_dir(&kept) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        // The tenant's keys and console are nobody's business any more.
        for entry in entries {
            let entry = entry?;
            let stays = entry.file_name().to_str().is_some_and(|name| name == RECORD || disk.contains(&name));
            if !stays {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The leases whose disks are kept, sorted, with their records where these can be read.
    pub(crate) fn kept(&self) -> io::Result<Vec<(B256, Option<Record>)>> {
        let mut leases = self.with_prefix(KEPT_PREFIX)?;
        leases.sort();
        Ok(leases.into_iter().map(|lease| (lease, load_in(&self.kept_dir(lease), lease).ok())).collect())
    }

    /// Removes what an interrupted beginning or removal has left of a lease.
    pub(crate) fn sweep(&self, lease: B256) -> io::Result<()> {
        remove_all(&self.draft_dir(lease))?;
        remove_all(&self.grave_dir(lease))
    }
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Replaces a file in one step: readers see the old or the new one, also after a power failure.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("tmp");
    write_private(&draft, bytes)?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// The same content under a second name, without a copy where the file system can do that.
pub(crate) fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    // Another file system, or an image of another user.
    fs::copy(from, to).map(drop)
}

fn load_in(dir: &Path, lease: B256) -> io::Result<Record> {
    let record: Record = serde_json::from_slice(&fs::read(dir.join(RECORD))?)?;
    if record.version != RECORD_VERSION || record.lease != lease {
        let problem = format!("{RECORD} has version {} and lease {}", record.version, record.lease);
        return Err(io::Error::new(ErrorKind::InvalidData, problem));
    }
    Ok(record)
}

fn save_in(dir: &Path, record: &Record) -> io::Result<()> {
    replace(&dir.join(RECORD), &serde_json::to_vec_pretty(record)?)
}

fn private_dir_builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn remove_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests;
