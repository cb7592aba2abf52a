//! Sources of a keystore's passphrase: a file, the environment, or the terminal.

use std::{
    fmt,
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use sublet_base::home::{HomeError, files};
use zeroize::Zeroizing;

/// The environment variable with the passphrase.
pub const VARIABLE: &str = "SUBLET_PASSPHRASE";
/// The environment variable with the passphrase that a keystore shall get.
pub const NEW_VARIABLE: &str = "SUBLET_NEW_PASSPHRASE";
/// Nobody types more; a larger file is another file.
const MOST_BYTES: u64 = 4096;

/// What can be wrong with a passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The file cannot be read, or others can read it.
    #[error(transparent)]
    File(#[from] HomeError),
    /// A directory, a pipe, or far too much.
    #[error("{0} is not a passphrase file: name a plain file (mode 0600) whose first line is the passphrase")]
    NotAFile(PathBuf),
    /// Nothing in it.
    #[error("the passphrase {0} is empty: give one, or none at all for an unprotected key")]
    Empty(String),
    /// The environment variable is not text.
    #[error("{0} is not UTF-8: put the passphrase into a file and name it with --passphrase-file")]
    NotText(&'static str),
    /// The terminal failed.
    #[error("cannot ask for the passphrase on the terminal: {0}; name a file with --passphrase-file")]
    Terminal(std::io::Error),
    /// Typed twice, not the same.
    #[error("the two passphrases differ: run the command again")]
    Differ,
}

/// A passphrase. `Debug` does not show it; it is wiped when it is dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes any text but an empty one.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// The places for one passphrase, from strong to weak.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The file that a flag names.
    pub flag: Option<&'a Path>,
    /// The environment variable.
    pub variable: &'static str,
    /// The file that the configuration names.
    pub config: Option<&'a Path>,
}

impl Sources<'_> {
    /// The passphrase of the strongest place that has one. Nobody is asked.
    ///
    /// # Errors
    /// A place that is named and cannot be used: a weaker one does not stand in for it.
    pub fn read(&self) -> Result<Option<Passphrase>, PassphraseError> {
        if let Some(file) = self.flag {
            return read_file(file).map(Some);
        }
        match std::env::var(self.variable) {
            // An empty variable is how compose files and shells say that there is none.
            Ok(text) if !text.is_empty() => return Ok(Passphrase::new(text.into())),
            Ok(_) | Err(std::env::VarError::NotPresent) => {}
            Err(std::env::VarError::NotUnicode(_)) => return Err(PassphraseError::NotText(self.variable)),
        }
        self.config.map(read_file).transpose()
    }
}

/// The first line of a file that only its owner can read, as geth's `--password` takes it.
pub fn read_file(path: &Path) -> Result<Passphrase, PassphraseError> {
    let meta = std::fs::metadata(path).map_err(files::io("read", path))?;
    // A pipe without a writer would hold us up for good.
    if !meta.is_file() || meta.len() > MOST_BYTES {
        return Err(PassphraseError::NotAFile(path.into()));
    }
    let text = files::read_secret(path)?;
    let line = text.lines().next().unwrap_or_default();
    Passphrase::new(Zeroizing::new(line.to_owned()))
        .ok_or_else(|| PassphraseError::Empty(format!("in {}", path.display())))
}

/// Whether there is somebody to ask.
#[must_use]
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks on the terminal, without echo. `None` for an empty answer.
///
/// # Errors
/// When there is no terminal; see [`can_ask`].
pub fn ask(prompt: &str) -> Result<Option<Passphrase>, PassphraseError> {
    let text = rpassword::prompt_password(prompt).map_err(PassphraseError::Terminal)?;
    Ok(Passphrase::new(Zeroizing::new(text)))
}

/// Asks for a passphrase that does not exist yet, twice. `None` for an empty answer.
///
/// # Errors
/// As [`ask`], and when the two differ.
pub fn ask_new(prompt: &str) -> Result<Option<Passphrase>, PassphraseError> {
    let Some(first) = ask(prompt)? else { return Ok(None) };
    match ask("Repeat it: ")? {
        Some(second) if second.0 == first.0 => Ok(Some(first)),
        _ => Err(PassphraseError::Differ),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn file(dir: &Path, text: &str, mode: u32) -> PathBuf {
        let path = dir.join("passphrase");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_first_line_of_a_file_is_the_passphrase() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["correct horse", "correct horse\n", "correct horse\r\nsecond line\n"] {
            let path = file(dir.path(), text, 0o600);
            assert_eq!(read_file(&path).unwrap().bytes(), b"correct horse");
        }
        let spaces = file(dir.path(), " kept \n", 0o400);
        assert_eq!(read_file(&spaces).unwrap().bytes(), b" kept ");
    }

    #[test]
    fn what_is_no_passphrase_file_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let said = |path: &Path| read_file(path).unwrap_err().to_string();
        assert!(said(&file(dir.path(), "open", 0o644)).contains("chmod 600"));
        assert!(said(&file(dir.path(), "\nsecond", 0o600)).contains("is empty"));
        assert!(said(&file(dir.path(), &"x".repeat(5000), 0o600)).contains("not a passphrase file"));
        assert!(said(dir.path()).contains("not a passphrase file"));
        assert!(said(&dir.path().join("none")).contains("cannot read"));
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(said(&pipe).contains("not a passphrase file"), "and it does not wait for a writer");
    }

    #[test]
    fn a_flag_is_stronger_than_the_configuration_and_does_not_fall_back() {
        let dir = tempfile::tempdir().unwrap();
        let good = file(dir.path(), "correct horse", 0o600);
        let missing = dir.path().join("missing");
        let read = |flag, config| Sources { flag, variable: "SUBLET_TEST_UNSET", config }.read();
        assert_eq!(read(Some(&good), Some(&missing)).unwrap().unwrap().bytes(), b"correct horse");
        assert_eq!(read(None, Some(&good)).unwrap().unwrap().bytes(), b"correct horse");
        assert!(read(Some(&missing), Some(&good)).is_err());
        assert!(read(None, None).unwrap().is_none());
    }

    #[test]
    fn nothing_prints_it() {
        let passphrase = Passphrase::new("correct horse".to_owned().into()).unwrap();
        assert_eq!(format!("{passphrase:?}"), "Passphrase(…)");
        assert!(Passphrase::new(String::new().into()).is_none());
    }
}
