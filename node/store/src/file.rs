//! The store's file, and its recovery when the disk fails.
//!
//! After a failed write `redb` refuses everything until its file is opened again, and then goes on from the
//! last whole transaction. So the next caller does that here: reading works again at once, and
//! writing is tried again after a short pause, until there is space. Nothing that was answered with "done" is
//! lost by it, as every write is one durable transaction.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use redb::{Database, DatabaseError, StorageError};

use super::StoreError;

/// Each try after a failed write costs a reopening, which reads the whole file.
const PAUSE: Duration = Duration::from_secs(2);

/// The open file; at times none, between a failure and the next try.
pub(super) struct StoreFile {
    path: PathBuf,
    database: RwLock<Option<Database>>,
    /// When writing last failed, and how.
    failed: Mutex<Option<(Instant, String)>>,
}

impl StoreFile {
    /// Opens or creates the file, and looks whether it is whole.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut database = open(path)?;
        let whole = guarded(path, || database.check_integrity())?;
        if !whole {
            tracing::warn!(path = %path.display(), "the store was damaged and has been repaired: the newest changes may be lost");
        }
        Ok(Self { path: path.to_owned(), database: RwLock::new(Some(database)), failed: Mutex::default() })
    }

    /// Looks something up.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with(work)
    }

    /// Changes something. For a while after a failure it is not even tried.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some((at, why)) = &*self.failed()
            && at.elapsed() < PAUSE
        {
            return Err(StoreError::Failing(why.clone()));
        }
        let done = self.with(work)?;
        if self.failed().take().is_some() {
            tracing::info!("the store can be written again");
        }
        Ok(done)
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.database().is_none() {
            self.reopen().map_err(|error| self.give_up(error))?;
        }
        let database = self.database();
        let done = match &*database {
            Some(database) => work(database),
            // Another one's failure has closed it again in between.
            None => Err(StoreError::Failing(self.why())),
        };
        drop(database);
        done.map_err(|error| self.give_up(error))
    }

    /// Closes the file if nothing more can be done with it as it is open, and notes why.
    fn give_up(&self, error: StoreError) -> StoreError {
        let StoreError::Database(inner) = &error else { return error };
        match **inner {
            redb::Error::Io(_) => *self.failed() = Some((Instant::now(), error.to_string())),
            redb::Error::PreviousIo => {}
            _ => return error,
        }
        self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        // What it was is known from the first time.
        if matches!(**inner, redb::Error::PreviousIo) { StoreError::Failing(self.why()) } else { error }
    }

    /// Why nothing can be written, until something could be again.
    pub(super) fn failing(&self) -> Option<String> {
        self.failed().as_ref().map(|(_, why)| why.clone())
    }

    fn why(&self) -> String {
        self.failing().unwrap_or_else(|| "an earlier write failed".to_owned())
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some(open(&self.path)?);
        }
        Ok(())
    }

    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> Result<Database, StoreError> {
    guarded(path, || Database::create(path))
}

/// Runs what reads the file as a whole, and tells damage from other trouble. `redb` checks what it reads, and
/// yet a page that makes no sense may end in a panic of it.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, DatabaseError>) -> Result<T, StoreError> {
    let damaged = |reason: String| StoreError::Damaged { path: path.display().to_string(), reason };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(StoreError::Locked(path.display().to_string())),
        Ok(Err(DatabaseError::Storage(StorageError::Corrupted(reason)))) => Err(damaged(reason)),
        Ok(Err(DatabaseError::Storage(StorageError::Io(error)))) if is_damage(error.kind()) => {
            Err(damaged(error.to_string()))
        }
        Ok(Err(DatabaseError::RepairAborted)) => Err(damaged("it could not be repaired".to_owned())),
        Ok(Err(DatabaseError::UpgradeRequired(version))) => {
            Err(damaged(format!("it says that its format is {version}, which this binary cannot read")))
        }
        Ok(Err(other)) => Err(other.into()),
        Err(_) => Err(damaged("a part of it is invalid".to_owned())),
    }
}

/// What an I/O error says of the file's contents, not of the disk.
fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TABLE: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("t");

    fn filled(path: &Path) {
        let file = StoreFile::open(path).unwrap();
        for key in 0..200 {
            file.write(|database| {
                let tx = database.begin_write()?;
                tx.open_table(TABLE)?.insert(key, [7u8; 900].as_slice())?;
                Ok(tx.commit()?)
            })
            .unwrap();
        }
    }

    /// Every kind of damage is told from trouble with the disk, and names the file and what to do.
    #[test]
    fn a_damaged_file_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let whole = dir.path().join("whole");
        filled(&whole);
        let bytes = fs::read(&whole).unwrap();
        let half = bytes[..bytes.len() / 2].to_vec();
        let text = b"this is no database at all".repeat(1_000);
        let mut headless = bytes.clone();
        headless[..4096].fill(0);
        let mut scribbled = bytes.clone();
        for page in scribbled.chunks_mut(4096).skip(1).step_by(2) {
            page.fill(0xa5);
        }
        for (what, bytes) in
            [("half", half), ("text", text), ("headless", headless), ("scribbled", scribbled)]
        {
            let path = dir.path().join(what);
            fs::write(&path, bytes).unwrap();
            let error = StoreFile::open(&path).err().unwrap_or_else(|| panic!("{what}: opened"));
            assert!(matches!(error, StoreError::Damaged { .. }), "{what}: {error}");
            let said = error.to_string();
            assert!(said.contains(path.to_str().unwrap()) && said.contains("backup"), "{what}: {said}");
        }
        StoreFile::open(&whole).unwrap();
    }

    /// An error that is handed in stands in for a full disk; `make chaos` has a real one.
    #[test]
    fn a_failed_write_is_refused_for_a_while_and_reading_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        filled(&path);
        let file = StoreFile::open(&path).unwrap();
        let failing = || {
            file.write::<()>(|_| Err(redb::Error::Io(io::Error::from_raw_os_error(nix::libc::ENOSPC)).into()))
        };
        let said = failing().unwrap_err().to_string();
        assert!(said.contains("No space left") && said.contains("free space"), "{said}");
        let read =
            || file.read(|database| Ok(database.begin_read()?.open_table(TABLE)?.get(7)?.is_some())).unwrap();
        use redb::ReadableDatabase as _;
        assert!(read(), "the file is opened anew");
        // However long the opening took.
        file.failed().as_mut().unwrap().0 = Instant::now();
        let refused = file.write(|_| -> Result<(), _> { unreachable!("too soon") }).unwrap_err();
        assert!(refused.to_string().contains("No space left"), "{refused}");
        *file.failed() = Some((Instant::now() - PAUSE, "long ago".into()));
        file.write(|database| Ok(database.begin_write()?.commit()?)).unwrap();
        assert!(file.failed().is_none());
    }
}
