//! The readers of `/sublet/sync/1` for the fuzz targets: see [`crate::fuzzing`].

use std::{io, sync::LazyLock};

use alloy_primitives::{B256, keccak256};

use super::{
    answer,
    session::{Broken, Session},
    snapshot::Snapshot,
    wire::SyncCodec,
};
use crate::fuzzing::{request_again, response_again};

/// Orders of either side: enough for a comparison of several rounds.
const ORDERS: u64 = 700;
/// What only one side has, on each side.
const DIFFERENCE: u64 = 40;

static OURS: LazyLock<Snapshot> = LazyLock::new(|| set(0));

/// A request of the protocol from the wire, `step` bytes at a time.
///
/// # Errors
/// What breaks the protocol.
pub fn sync_request(wire: &[u8], step: usize) -> io::Result<Vec<u8>> {
    request_again(&mut SyncCodec::default(), wire, step)
}

/// An answer of the protocol from the wire, `step` bytes at a time.
///
/// # Errors
/// What breaks the protocol.
pub fn sync_response(wire: &[u8], step: usize) -> io::Result<Vec<u8>> {
    response_again(&mut SyncCodec::default(), wire, step)
}

/// What a peer's question in a comparison is answered with; nothing if it cannot be read.
pub fn answer(query: &[u8]) -> Option<Vec<u8>> {
    answer::compare(&OURS, query).ok()
}

/// A comparison in which the peer's answers are these: how many digests it makes us ask for, and how many questions we
/// had.
///
/// # Errors
/// Why the peer is banned.
pub fn converse<'a>(replies: impl Iterator<Item = &'a [u8]>) -> Result<(usize, usize), String> {
    let (mut session, _) = Session::start(OURS.clone()).map_err(|error| error.to_string())?;
    let mut questions = 1;
    for reply in replies {
        match session.answered(reply) {
            Ok(Some(_)) => questions += 1,
            Ok(None) => break,
            Err(broken @ Broken::Compared(_)) => return Err(broken.to_string()),
            Err(broken) => return Err(format!("{broken} after {questions} questions")),
        }
    }
    Ok((session.into_needed().len(), questions))
}

/// The questions and answers of an honest comparison.
pub fn conversation() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut said = Vec::new();
    let Ok((mut session, mut query)) = Session::start(set(DIFFERENCE)) else { return said };
    while let Some(reply) = answer(&query) {
        let next = session.answered(&reply);
        said.push((query, reply));
        let Ok(Some(next)) = next else { break };
        query = next;
    }
    said
}

fn set(first: u64) -> Snapshot {
    let items = (first..first + ORDERS).map(|n| (1_800_000_000 + n % 50, digest(n)));
    // Only a digest twice would be refused.
    Snapshot::new(items).unwrap_or_else(|error| unreachable!("{error}"))
}

fn digest(n: u64) -> B256 {
    keccak256(n.to_be_bytes())
}
