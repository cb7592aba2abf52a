//! The committed corpora: what they are made of, and that every target's properties hold on them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod corpora;
mod generated;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by each test, so that nothing else takes memory while a target's is limited: the limit is that of the
/// whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// Waits for its turn. A test that failed in its own is no reason for the next one to fail.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
