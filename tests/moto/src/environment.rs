//! The python environment: made once for each state of `requirements.txt`, shared by all tests of this user.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use ring::digest::{SHA256, digest};

use crate::MotoError;

const REQUIREMENTS: &str = include_str!("../requirements.txt");
/// Written last: an environment without it was interrupted and is made anew.
const COMPLETE: &str = ".complete";
/// Hex digits of the requirements' hash in the folder's name: enough to tell versions apart.
const HASH_DIGITS: usize = 16;
/// Of a tool's error output, so much is told.
const LAST_WORDS: usize = 600;

/// The folder of a complete environment. Takes about a minute the first time, and the package index then.
pub(crate) fn ready() -> Result<PathBuf, MotoError> {
    let dir = cache_dir().join(format!("moto-{}", requirements_hash()));
    let failed = |reason: String| MotoError::Environment { place: dir.display().to_string(), reason };
    if dir.join(COMPLETE).exists() {
        return Ok(dir);
    }
    make(&dir).map_err(failed)?;
    Ok(dir)
}

fn make(dir: &Path) -> Result<(), String> {
    let io = |error: io::Error| error.to_string();
    fs::create_dir_all(dir.parent().unwrap_or(dir)).map_err(io)?;
    let lock = File::create(dir.with_extension("lock")).map_err(io)?;
    // Other tests wait here until the first one is done. Released when the file is closed.
    lock.lock().map_err(io)?;
    if dir.join(COMPLETE).exists() {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(io)?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
    let requirements = dir.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(io)?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
    run(Command::new(python(dir)).args(pip).arg(&requirements))?;
    fs::write(dir.join(COMPLETE), "").map_err(io)
}

/// The environment's interpreter.
pub(crate) fn python(dir: &Path) -> PathBuf {
    dir.join("bin/python")
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} ended with {}: {}", output.status, last_words(&output.stderr)))
}

/// The end of a tool's error output, for messages.
pub(crate) fn last_words(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    let start = text.char_indices().rev().nth(LAST_WORDS).map_or(0, |(index, _)| index);
    text[start..].to_owned()
}

fn cache_dir() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("sublet")
}

fn requirements_hash() -> String {
    let mut hash = hex::encode(digest(&SHA256, REQUIREMENTS.as_bytes()));
    hash.truncate(HASH_DIGITS);
    hash
}
