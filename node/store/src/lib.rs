//! The node's durable state: a `redb` file with one table for each kind of record.
//!
//! Every write is one durable transaction: when `put` has returned, the record survives a power cut. Values are
//! JSON, so that a field can be added without a migration; the schema version guards against a file that a
//! newer binary has written.

mod file;
mod journal;
mod reason;
mod records;

use std::{path::Path, sync::Arc};

use alloy_primitives::B256;
use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};
use serde::{Serialize, de::DeserializeOwned};

use self::file::StoreFile;
pub use self::journal::ClosedStore;
pub use self::reason::DeclineReason;
pub use self::records::{ChainLease, Decline, Ending, LeaseEnd, OfferTemplate, Promise, Purchase};

/// The version of the tables and records below.
const SCHEMA_VERSION: u64 = 1;
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const VERSION_KEY: &str = "schema_version";
const MARKET_KEY: &str = "market_domain";

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("another sublet node is running on this home ({0}): stop it, or choose another home with --home")]
    Locked(String),
    /// Written by a newer binary.
    #[error("the store has schema version {found}, this binary knows {known}: use the newer sublet binary")]
    Newer {
        /// The file's version.
        found: u64,
        /// This binary's version.
        known: u64,
    },
    /// The home was used with another deployment.
    #[error(
        "this home belongs to another market (chain, contract or salt differ): make a new one with `sublet \
         init`, or restore chain.deployment"
    )]
    OtherMarket,
    /// The database failed: disk full, no permission.
    #[error("the store failed: {0}; check the free space and the permissions of the home directory")]
    Database(Box<redb::Error>),
    /// It failed a moment ago, and is not tried again yet; the text is that of the failure.
    #[error("{0}")]
    Failing(String),
    /// The file is not what was written.
    #[error(
        "the store {path} is damaged ({reason}): restore a backup, or move it away and start the node, which \
         then reads its leases from the chain and recovers its machines"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// A record does not read back.
    #[error(
        "cannot read a record in table {table} of the store: {source}; restore a backup of the store, or use \
         the binary that wrote it"
    )]
    Record {
        /// The table.
        table: &'static str,
        /// What the decoder said.
        source: serde_json::Error,
    },
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(e: E) -> Self {
        Self::Database(Box::new(e.into()))
    }
}

/// A kind of record and the table that holds it.
pub trait Row: Serialize + DeserializeOwned {
    /// The name of the table with what is open.
    const TABLE: &'static str;
    /// The name of the table with what is over.
    const PAST_TABLE: &'static str;
    /// The record's key, unique within the table.
    fn key(&self) -> Vec<u8>;
}

/// The node's durable memory; clones share it.
#[derive(Clone)]
pub struct Store(Arc<StoreFile>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens or creates the file. Fails when another process holds it, and when it is damaged.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self(Arc::new(StoreFile::open(path)?));
        match store.meta::<u64>(VERSION_KEY)? {
            None => store.put_meta(VERSION_KEY, &SCHEMA_VERSION)?,
            Some(found) if found > SCHEMA_VERSION => {
                return Err(StoreError::Newer { found, known: SCHEMA_VERSION });
            }
            Some(_) => {}
        }
        Ok(store)
    }

    /// Fails while nothing can be written: for what must not be done before it can be noted.
    pub fn check_writable(&self) -> Result<(), StoreError> {
        self.0.failing().map_or(Ok(()), |why| Err(StoreError::Failing(why)))
    }

    /// Ties the store to one market for good: leases of another chain must never be taken for leases of this one.
    pub fn bind_market(&self, domain: B256) -> Result<(), StoreError> {
        match self.meta::<B256>(MARKET_KEY)? {
            None => self.put_meta(MARKET_KEY, &domain),
            Some(bound) if bound == domain => Ok(()),
            Some(_) => Err(StoreError::OtherMarket),
        }
    }

    /// Writes a record, durably, in place of the one with the same key.
    pub fn put<R: Row>(&self, record: &R) -> Result<(), StoreError> {
        self.insert(R::TABLE, &record.key(), record)
    }

    /// Changes a record in one transaction: nobody else's change to it is lost. `None` when it is not there.
    pub fn update<R: Row>(&self, key: &[u8], change: impl FnOnce(&mut R)) -> Result<Option<R>, StoreError> {
        self.0.write(|database| {
            let tx = database.begin_write()?;
            let changed = {
                let mut table = tx.open_table(definition(R::TABLE))?;
                let found = table.get(key)?.map(|value| decode::<R>(R::TABLE, value.value())).transpose()?;
                let Some(mut record) = found else { return Ok(None) };
                change(&mut record);
                table.insert(key, encode(R::TABLE, &record)?.as_slice())?;
                record
            };
            tx.commit()?;
            Ok(Some(changed))
        })
    }

    /// The record with this key.
    pub fn get<R: Row>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        self.get_from(R::TABLE, key)
    }

    /// Moves a record that is over to the past, in one transaction: passes do not read it any more, people can.
    pub fn archive<R: Row>(&self, key: &[u8]) -> Result<(), StoreError> {
        self.0.write(|database| {
            let tx = database.begin_write()?;
            {
                let mut table = tx.open_table(definition(R::TABLE))?;
                let Some(found) = table.remove(key)?.map(|value| value.value().to_vec()) else {
                    return Ok(());
                };
                tx.open_table(definition(R::PAST_TABLE))?.insert(key, found.as_slice())?;
            }
            Ok(tx.commit()?)
        })
    }

    /// Moves a record back from the past, in one transaction, and changes it: what it told of has not
    /// happened after all. Says whether it was there.
    pub fn restore<R: Row>(&self, key: &[u8], change: impl FnOnce(&mut R)) -> Result<bool, StoreError> {
        self.0.write(|database| {
            let tx = database.begin_write()?;
            {
                let mut past = tx.open_table(definition(R::PAST_TABLE))?;
                let Some(found) = past.remove(key)?.map(|value| value.value().to_vec()) else {
                    return Ok(false);
                };
                let mut record = decode::<R>(R::PAST_TABLE, &found)?;
                change(&mut record);
                tx.open_table(definition(R::TABLE))?.insert(key, encode(R::TABLE, &record)?.as_slice())?;
            }
            tx.commit()?;
            Ok(true)
        })
    }

    /// The record with this key, be it open or past.
    pub fn find<R: Row>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        match self.get(key)? {
            Some(found) => Ok(Some(found)),
            None => self.get_from(R::PAST_TABLE, key),
        }
    }

    /// All records of a kind: the open ones first, then the past ones, each in the order of their keys.
    pub fn all_and_past<R: Row>(&self) -> Result<Vec<R>, StoreError> {
        let mut records = self.all()?;
        records.extend(self.all_from(R::PAST_TABLE)?);
        Ok(records)
    }

    /// All open records of a kind, in the order of their keys.
    pub fn all<R: Row>(&self) -> Result<Vec<R>, StoreError> {
        self.all_from(R::TABLE)
    }

    /// Removes a record; no error when it is not there.
    pub fn remove<R: Row>(&self, key: &[u8]) -> Result<(), StoreError> {
        self.0.write(|database| {
            let tx = database.begin_write()?;
            tx.open_table(definition(R::TABLE))?.remove(key)?;
            Ok(tx.commit()?)
        })
    }

    /// A single value, such as the watcher's cursor.
    pub fn meta<V: DeserializeOwned>(&self, key: &str) -> Result<Option<V>, StoreError> {
        self.0.read(|database| {
            let tx = database.begin_read()?;
            let table = match tx.open_table(META) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            table.get(key)?.map(|value| decode("meta", value.value())).transpose()
        })
    }

    /// Writes a single value, durably.
    pub fn put_meta<V: Serialize>(&self, key: &str, value: &V) -> Result<(), StoreError> {
        let bytes = encode("meta", value)?;
        self.0.write(|database| {
            let tx = database.begin_write()?;
            tx.open_table(META)?.insert(key, bytes.as_slice())?;
            Ok(tx.commit()?)
        })
    }

    fn get_from<R: Row>(&self, name: &'static str, key: &[u8]) -> Result<Option<R>, StoreError> {
        self.0.read(|database| {
            let tx = database.begin_read()?;
            let table = match tx.open_table(definition(name)) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            table.get(key)?.map(|value| decode::<R>(name, value.value())).transpose()
        })
    }

    fn all_from<R: Row>(&self, name: &'static str) -> Result<Vec<R>, StoreError> {
        self.0.read(|database| {
            let tx = database.begin_read()?;
            let table = match tx.open_table(definition(name)) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(e) => return Err(e.into()),
            };
            let mut records = Vec::new();
            for row in table.iter()? {
                records.push(decode(name, row?.1.value())?);
            }
            Ok(records)
        })
    }

    fn insert<V: Serialize>(&self, table: &'static str, key: &[u8], value: &V) -> Result<(), StoreError> {
        let bytes = encode(table, value)?;
        self.0.write(|database| {
            let tx = database.begin_write()?;
            tx.open_table(definition(table))?.insert(key, bytes.as_slice())?;
            Ok(tx.commit()?)
        })
    }
}

fn definition(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

fn encode<V: Serialize>(table: &'static str, value: &V) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|source| StoreError::Record { table, source })
}

fn decode<V: DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<V, StoreError> {
    serde_json::from_slice(bytes).map_err(|source| StoreError::Record { table, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Note {
        id: u8,
        text: String,
    }

    impl Row for Note {
        const TABLE: &'static str = "notes";
        const PAST_TABLE: &'static str = "past_notes";
        fn key(&self) -> Vec<u8> {
            vec![self.id]
        }
    }

    fn note(id: u8, text: &str) -> Note {
        Note { id, text: text.into() }
    }

    #[test]
    fn records_survive_a_reopening_and_replace_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let store = Store::open(&path).unwrap();
        assert!(store.all::<Note>().unwrap().is_empty());
        store.put(&note(2, "b")).unwrap();
        store.put(&note(1, "a")).unwrap();
        store.put(&note(2, "c")).unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.all::<Note>().unwrap(), [note(1, "a"), note(2, "c")]);
        assert_eq!(store.get::<Note>(&[2]).unwrap(), Some(note(2, "c")));
        assert!(store.update::<Note>(&[9], |_| unreachable!()).unwrap().is_none());
        store.update::<Note>(&[2], |n| n.text.push('!')).unwrap();
        assert_eq!(store.get::<Note>(&[2]).unwrap(), Some(note(2, "c!")));
        store.remove::<Note>(&[2]).unwrap();
        assert_eq!(store.get::<Note>(&[2]).unwrap(), None);
    }

    #[test]
    fn what_is_over_is_found_and_not_read_in_passes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        store.put(&note(1, "a")).unwrap();
        store.put(&note(2, "b")).unwrap();
        store.archive::<Note>(&[1]).unwrap();
        store.archive::<Note>(&[9]).unwrap();
        assert_eq!(store.all::<Note>().unwrap(), [note(2, "b")]);
        assert_eq!(store.find::<Note>(&[1]).unwrap(), Some(note(1, "a")));
        assert_eq!(store.all_and_past::<Note>().unwrap(), [note(2, "b"), note(1, "a")]);
    }

    #[test]
    fn a_second_opener_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let _held = Store::open(&path).unwrap();
        let said = Store::open(&path).err().unwrap().to_string();
        assert!(said.contains("another sublet node"), "{said}");
    }

    #[test]
    fn a_home_stays_with_its_market() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db")).unwrap();
        store.bind_market(B256::repeat_byte(1)).unwrap();
        store.bind_market(B256::repeat_byte(1)).unwrap();
        assert!(matches!(store.bind_market(B256::repeat_byte(2)), Err(StoreError::OtherMarket)));
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let store = Store::open(&path).unwrap();
        store.put_meta(VERSION_KEY, &(SCHEMA_VERSION + 1)).unwrap();
        drop(store);
        assert!(matches!(Store::open(&path), Err(StoreError::Newer { .. })));
    }
}
