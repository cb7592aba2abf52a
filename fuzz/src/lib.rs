//! Fuzzing of untrusted input: one target for each reader of bytes from outside.
//!
//! ```text
//!   seeds (real messages) ─▶ broken variations ─▶ corpus/TARGET/*   (committed)
//!                                                     │
//!        libFuzzer, `make fuzz` ─────────────────────▶├─▶ run(TARGET, bytes) ─▶ panics if a property does not hold
//!        an ordinary test, `make test` ──────────────▶┘         under a limit of memory ([`memory`])
//! ```
//!
//! A target says more than "it does not panic": what is accepted is written again byte by byte, what is
//! refused is refused within memory that a message of the largest size explains, and texts for people are one
//! line without control characters. The list of targets is in `docs/fuzzing.md`.

pub mod corpus;
pub mod memory;
mod mutate;
mod seeds;
mod targets;

use sublet_market::codec::{MAX_ORDER_BYTES, MAX_TRADE_BYTES};

/// Bytes in a KiB.
const KIB: usize = 1_024;

/// Frames are tried up to somewhat more than the largest trade message, and than the largest question of a
/// sync session.
const MAX_FRAME_BYTES: usize = 68 * KIB;

/// A reader of foreign bytes, and what must hold for it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Where the bytes come from.
    pub from: &'static str,
    /// Bytes that the fuzzer tries at most.
    pub max_len: usize,
    /// Bytes of memory that it may hold at a time, whatever it is given.
    pub memory: usize,
    check: fn(&[u8]) -> bool,
    seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// Gives the target its bytes; whether it read them as a message.
    ///
    /// # Panics
    /// When a property does not hold. More memory than allowed ends the process.
    pub fn run(&self, bytes: &[u8]) -> bool {
        memory::within(self.memory, || (self.check)(bytes))
    }

    /// Real messages.
    #[must_use]
    pub fn real(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }

    /// Real messages, and real messages broken in some way: always the same.
    #[must_use]
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        let real = self.real();
        let mut random = mutate::Random::new(self.name);
        let broken: Vec<Vec<u8>> =
            real.iter().flat_map(|seed| mutate::variations(seed, &mut random)).collect();
        let mut all: Vec<Vec<u8>> = [real, broken].concat();
        all.retain(|bytes| bytes.len() <= self.max_len);
        all.sort();
        all.dedup();
        all
    }

    /// Other inputs that are near to `seed`: always the same for the same `round`.
    #[must_use]
    pub fn neighbours(&self, seed: &[u8], rounds: u64) -> Vec<Vec<u8>> {
        let mut random = mutate::Random::new(self.name);
        (0..rounds).map(|_| mutate::mutate(seed, &mut random)).collect()
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("order", "gossip", MAX_ORDER_BYTES, 128 * KIB, targets::market::order, seeds::market::orders),
    target("gossip", "gossip", MAX_ORDER_BYTES, 256 * KIB, targets::p2p::gossip, seeds::market::orders),
    target(
        "trade_request",
        "peers",
        MAX_TRADE_BYTES,
        512 * KIB,
        targets::market::trade_request,
        seeds::market::requests,
    ),
    target(
        "trade_response",
        "peers",
        MAX_TRADE_BYTES,
        512 * KIB,
        targets::market::trade_response,
        seeds::market::responses,
    ),
    target("manifest", "peers", 24 * KIB, 256 * KIB, targets::market::manifest, seeds::market::manifests),
    target(
        "trade_frame",
        "peers",
        MAX_FRAME_BYTES,
        KIB * KIB,
        targets::p2p::trade_frame,
        seeds::p2p::trade_frames,
    ),
    target(
        "sync_frame",
        "peers",
        MAX_FRAME_BYTES,
        KIB * KIB,
        targets::p2p::sync_frame,
        seeds::p2p::sync_frames,
    ),
    target("sync_answer", "peers", 8 * KIB, 2 * KIB * KIB, targets::p2p::sync_answer, seeds::p2p::queries),
    target("sync_session", "peers", 32 * KIB, 2 * KIB * KIB, targets::p2p::sync_session, seeds::p2p::replies),
    target("addresses", "peers", KIB, 128 * KIB, targets::p2p::addresses, seeds::p2p::addresses),
    target("peer_file", "the disk", 4 * KIB, 256 * KIB, targets::p2p::peer_file, seeds::p2p::peer_files),
    target("event", "the RPC", KIB, 128 * KIB, targets::chain::event, seeds::chain::events),
    target("view", "the RPC", KIB, 128 * KIB, targets::chain::view, seeds::chain::views),
    target("revert", "the RPC", 2 * KIB, 128 * KIB, targets::chain::revert, seeds::chain::reverts),
    target("rpc_json", "the RPC", 4 * KIB, 512 * KIB, targets::chain::rpc_json, seeds::chain::rpc_json),
    target(
        "deployment",
        "whoever deployed",
        2 * KIB,
        128 * KIB,
        targets::files::deployment,
        seeds::files::deployments,
    ),
    target(
        "keystore",
        "other wallets",
        2 * KIB,
        512 * KIB,
        targets::files::keystore,
        seeds::files::keystores,
    ),
    target(
        "api_body",
        "local programs",
        4 * KIB,
        256 * KIB,
        targets::files::api_body,
        seeds::files::api_bodies,
    ),
    target("console", "guests", 8 * KIB, 256 * KIB, targets::files::console, seeds::files::consoles),
];

const fn target(
    name: &'static str,
    from: &'static str,
    max_len: usize,
    memory: usize,
    check: fn(&[u8]) -> bool,
    seeds: fn() -> Vec<Vec<u8>>,
) -> Target {
    Target { name, from, max_len, memory, check, seeds }
}

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
