//! The sender's journal, in the store.

use std::path::PathBuf;

use sublet_chain::{Flight, Journal};

use crate::{Row, Store};

impl Row for Flight {
    const TABLE: &'static str = "flights";
    const PAST_TABLE: &'static str = "past_flights";
    fn key(&self) -> Vec<u8> {
        [self.from.as_slice(), &self.nonce.to_be_bytes()].concat()
    }
}

impl Journal for Store {
    fn flights(&self) -> Result<Vec<Flight>, String> {
        self.all().map_err(|error| error.to_string())
    }

    fn note(&self, flight: &Flight) -> Result<(), String> {
        self.put(flight).map_err(|error| error.to_string())
    }

    fn forget(&self, flight: &Flight) -> Result<(), String> {
        self.remove::<Flight>(&flight.key()).map_err(|error| error.to_string())
    }
}

/// The journal of a home whose node does not run: the store is opened for each note, so that one that starts meanwhile
/// finds it free.
#[derive(Debug)]
pub struct ClosedStore(PathBuf);

impl ClosedStore {
    /// The journal in the store at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn store(&self) -> Result<Store, String> {
        Store::open(&self.0).map_err(|error| error.to_string())
    }
}

impl Journal for ClosedStore {
    fn flights(&self) -> Result<Vec<Flight>, String> {
        self.store()?.flights()
    }

    fn note(&self, flight: &Flight) -> Result<(), String> {
        self.store()?.note(flight)
    }

    fn forget(&self, flight: &Flight) -> Result<(), String> {
        self.store()?.forget(flight)
    }
}
