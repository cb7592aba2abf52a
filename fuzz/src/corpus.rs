//! The committed corpora: `corpus/TARGET/seed-*`, which [`Target::seeds`] makes, `corpus/TARGET/found-*`,
//! which the fuzzer has found to go new ways, and `regressions/TARGET/*`, which once broke something.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use alloy_primitives::keccak256;

use crate::Target;

/// What the names of generated files begin with.
const SEED: &str = "seed-";

/// The folder of this crate.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of a target's corpus.
#[must_use]
pub fn folder(target: &Target) -> PathBuf {
    root().join("corpus").join(target.name)
}

/// The generated files as they have to be: name and content.
#[must_use]
pub fn generated(target: &Target) -> Vec<(String, Vec<u8>)> {
    let name = |bytes: &[u8]| format!("{SEED}{}", &hex::encode(keccak256(bytes))[..12]);
    target.seeds().into_iter().map(|bytes| (name(&bytes), bytes)).collect()
}

/// Writes the generated files anew; what the fuzzer has found stays.
///
/// # Errors
/// Those of the file system.
pub fn write(target: &Target) -> io::Result<usize> {
    let folder = folder(target);
    fs::create_dir_all(&folder)?;
    for (name, _) in files(&folder)? {
        if name.starts_with(SEED) {
            fs::remove_file(folder.join(name))?;
        }
    }
    let files = generated(target);
    for (name, bytes) in &files {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(files.len())
}

/// The committed inputs of a target, sorted by name.
///
/// # Errors
/// Those of the file system; no folder is no error.
pub fn read(target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let regressions = root().join("regressions").join(target.name);
    Ok([files(&folder(target))?, files(&regressions)?].concat())
}

fn files(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        files.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    files.sort();
    Ok(files)
}
