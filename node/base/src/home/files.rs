//! Reading and writing the files of a home: secrets stay with their owner, and no crash leaves half a file.

use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use zeroize::Zeroizing;

use super::HomeError;

/// Writes `text` so that after a crash the file is either the old or the new one, never half.
///
/// # Errors
/// With the path; the old file is still there.
pub fn write_atomic(path: &Path, text: &str, mode: u32) -> Result<(), HomeError> {
    let partial = partial_name(path);
    let done = write_new(&partial, text, mode).and_then(|()| fs::rename(&partial, path));
    if done.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&partial);
    }
    done.map_err(io("write", path))
}

/// A name beside `path` that no other write has, in this process or another.
fn partial_name(path: &Path) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{}-{}.partial", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}

/// Writes a file that must not exist yet: what is there may be the only copy of a key.
fn write_new(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Writes a secret that must not exist yet.
///
/// # Errors
/// With the path.
pub fn new_secret(path: &Path, text: &str) -> Result<(), HomeError> {
    write_new(path, &format!("{text}\n"), 0o600).map_err(io("create", path))
}

/// Reads a secret, unless others can read it too.
///
/// # Errors
/// With the path and the remedy.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, HomeError> {
    let mode = fs::metadata(path).map_err(io("read", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(HomeError::Exposed(path.into()));
    }
    Ok(Zeroizing::new(fs::read_to_string(path).map_err(io("read", path))?))
}

/// Names the action and the file of a system error.
pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> HomeError {
    let path = path.to_path_buf();
    move |source| HomeError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_to_files_with_one_stem_do_not_meet() {
        let names = ["api.address", "api.token"].map(|name| partial_name(Path::new(name)));
        assert_ne!(names[0], names[1]);
        assert_ne!(partial_name(Path::new("api.token")), names[1]);
        let dir = tempfile::tempdir().unwrap();
        write_atomic(&dir.path().join("api.address"), "a", 0o600).unwrap();
        write_atomic(&dir.path().join("api.address"), "b", 0o600).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("api.address")).unwrap(), "b");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
