//! The answering side: one request in, one answer out, nothing kept in between. A peer costs us no memory, and a
//! comparison may go on over a changed book: it then finds a little more or less.

use alloy_primitives::B256;
use negentropy::{Error, Negentropy};
use sublet_market::Shard;

use super::{
    Orders, Snapshots,
    snapshot::Snapshot,
    wire::{FULL_ANSWER_BYTES, MAX_REPLY_BYTES, Request, Response},
};

/// Answers a request about a shard's book. Takes milliseconds for a large book.
///
/// # Errors
/// A question that cannot be read: the peer's fault.
pub(super) fn answer(snapshots: &Snapshots, shard: Shard, request: Request) -> Result<Response, Error> {
    match request {
        Request::Compare { query, .. } => {
            Ok(Response::Compared { reply: compare(&snapshots.get(shard)?, &query)? })
        }
        Request::Fetch { digests, .. } => Ok(fetch(snapshots.orders().as_ref(), &digests)),
    }
}

pub(super) fn compare(own: &Snapshot, query: &[u8]) -> Result<Vec<u8>, Error> {
    Negentropy::borrowed(own, MAX_REPLY_BYTES as u64)?.reconcile(query)
}

fn fetch(orders: &dyn Orders, digests: &[B256]) -> Response {
    let (mut covered, mut size, mut envelopes) = (0, 0, Vec::new());
    for envelope in orders.envelopes(digests) {
        covered += 1;
        let Some(envelope) = envelope else { continue };
        size += envelope.len() + 2;
        envelopes.push(envelope);
        if size >= FULL_ANSWER_BYTES {
            break;
        }
    }
    Response::Orders { covered, envelopes }
}
