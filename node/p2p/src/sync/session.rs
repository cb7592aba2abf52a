//! The asking side of one comparison, as a state machine: answers go in, the next question comes out, and in
//! the end the digests that we lack. Without I/O and without a clock.

use std::collections::HashSet;

use alloy_primitives::B256;
use negentropy::{Error, Id, Negentropy};

use super::{
    snapshot::Snapshot,
    wire::{MAX_DIGESTS, MAX_QUERY_BYTES},
};

/// Questions of one comparison. Two full books without a common order need about 80; equal ones 1.
const MAX_ROUNDS: usize = 256;

/// Digests that one session asks for: as many as a book of the default limits holds, cancels included. 10 MB. What a
/// larger book has beyond that is for the next session.
pub(super) const MAX_NEEDED: usize = 300_000;

/// Why a comparison cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the comparison did not end within {MAX_ROUNDS} rounds")]
    Rounds,
    #[error("invalid comparison: {0}")]
    Compared(#[from] Error),
    #[error("an answer to another question")]
    OtherAnswer,
    #[error("{envelopes} orders for {covered} of {asked} digests")]
    Count { envelopes: usize, covered: usize, asked: usize },
}

/// One comparison under way.
pub(super) struct Session {
    negentropy: Negentropy<'static, Snapshot>,
    rounds: usize,
    needed: HashSet<B256>,
}

impl Broken {
    /// Whether no honest peer does this. A comparison may be long because both books are larger than usual.
    pub(super) fn is_peer_fault(&self) -> bool {
        !matches!(self, Self::Rounds)
    }
}

impl Session {
    /// Begins, with the first question.
    pub(super) fn start(own: Snapshot) -> Result<(Self, Vec<u8>), Error> {
        let mut negentropy = Negentropy::owned(own, MAX_QUERY_BYTES as u64)?;
        let query = negentropy.initiate()?;
        Ok((Self { negentropy, rounds: 1, needed: HashSet::new() }, query))
    }

    /// Takes an answer; the next question, or nothing if the comparison is over, or has found enough for one session.
    pub(super) fn answered(&mut self, reply: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let (mut have, mut need): (Vec<Id>, Vec<Id>) = (Vec::new(), Vec::new());
        let query = self.negentropy.reconcile_with_ids(reply, &mut have, &mut need)?;
        let room = MAX_NEEDED.saturating_sub(self.needed.len());
        self.needed.extend(need.into_iter().take(room).map(|id| B256::from(id.to_bytes())));
        if self.needed.len() >= MAX_NEEDED {
            return Ok(None);
        }
        if query.is_some() {
            self.rounds += 1;
            if self.rounds > MAX_ROUNDS {
                return Err(Broken::Rounds);
            }
        }
        Ok(query)
    }

    /// What the peer has and we lack.
    pub(super) fn into_needed(self) -> Vec<B256> {
        self.needed.into_iter().collect()
    }
}

/// What is left of a request for orders after an answer that covers the first `covered` digests.
pub(super) fn left_of(asked: &[B256], covered: u16, envelopes: usize) -> Result<&[B256], Broken> {
    let covered = usize::from(covered);
    // An answer that covers nothing would be asked for again for ever.
    if covered == 0 || covered > asked.len() || envelopes > covered {
        return Err(Broken::Count { envelopes, covered, asked: asked.len() });
    }
    Ok(&asked[covered..])
}

/// The requests for a list of digests.
pub(super) fn batches(needed: &[B256]) -> impl Iterator<Item = Vec<B256>> {
    needed.chunks(MAX_DIGESTS).map(<[B256]>::to_vec)
}
