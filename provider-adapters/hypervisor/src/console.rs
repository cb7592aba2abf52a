//! The guest's serial console: a file that QEMU appends to and that we read and keep short.
//!
//! The guest decides what is in it and how much, so it is bounded here (a tenant must not fill the provider's disk) and
//! stripped of control characters before it reaches a terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sublet_adapter::support::console_tail;

pub(crate) const CONSOLE: &str = "console.log";

/// Above this size, the file is cut.
const MAX_BYTES: u64 = 1024 * 1024;
/// What stays when it is cut, and the most that is read at a time.
const KEEP_BYTES: u64 = 256 * 1024;

/// The last lines of a text file, cleaned, oldest first. None when there is no file.
pub(crate) fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    let bytes = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => last_bytes(&mut file?)?,
    };
    Ok(console_tail(&bytes, lines))
}

/// Cuts the console to its end when it has grown too long. QEMU opened it for appending, so it goes on at the new end.
pub(crate) fn trim(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if file.metadata()?.len() <= MAX_BYTES {
        return Ok(());
    }
    let kept = last_bytes(&mut file)?;
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&kept)
}

fn last_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    let start = file.metadata()?.len().saturating_sub(KEEP_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(KEEP_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_tail_is_clean_and_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CONSOLE);
        assert_eq!(tail(&path, 3).unwrap(), Vec::<String>::new());
        fs::write(&path, "one\r\n\x1b[31mtwo\x07\n\n\u{9b}th\tree\n").unwrap();
        assert_eq!(tail(&path, 2).unwrap(), ["[31mtwo", "th ree"]);
        assert_eq!(tail(&path, 0).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_flood_is_cut_and_the_writer_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CONSOLE);
        let mut writer = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let line = format!("{}\n", "y".repeat(99));
        for _ in 0..20_000 {
            writer.write_all(line.as_bytes()).unwrap();
        }
        trim(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), KEEP_BYTES);
        writer.write_all(b"the end\n").unwrap();
        assert_eq!(tail(&path, 1).unwrap(), ["the end"]);
        trim(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), KEEP_BYTES + 8);
    }
}
