//! A few faults of many, less than eight minutes of them (`make chaos` has them all), and proof that the
//! table of crashes knows every place.

use std::{path::Path, time::Duration};

use sublet_tests::{
    chaos::{self, CASES, Case, RpcFaults, SHORT_CONTEST_DEPTHS, SHORT_DEPTHS, SHORT_HOST_FAULTS},
    images,
};

use crate::support::{devnet, devnet_with_blocks};

/// Where depths are counted in blocks, or the end of funds is compared with blocks, they come as on the devnet.
const BLOCKS_COUNT: Duration = Duration::from_secs(1);

/// Transactions that a user sends for its own account, each complete in itself: no trade hangs on them.
const BY_HAND: [&str; 8] =
    ["approve", "deposit", "withdraw", "transfer", "setOperator", "cancel", "bumpEpoch", "flushBurn"];

#[tokio::test]
async fn a_trade_survives_a_crash_at_any_place() {
    let (_dir, mut net) = devnet().await;
    let cases: Vec<Case> = CASES.iter().filter(|case| case.short).copied().collect();
    let rows = chaos::run(&mut net, &images().unwrap(), &cases).await.unwrap();
    net.down().await.unwrap();
    let failed: Vec<_> = rows.iter().filter(|row| row.verdict != "pass").collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn a_machine_is_stopped_only_when_the_chain_is_out_of_sight_for_long() {
    let (_dir, mut net) = devnet().await;
    let rows = chaos::dark(&mut net, &images().unwrap()).await.unwrap();
    net.down().await.unwrap();
    assert!(rows.iter().all(|row| row.verdict == "pass"), "{rows:#?}");
}

async fn rpc_faults(which: RpcFaults, count: usize) {
    let (_dir, mut net) = devnet_with_blocks(BLOCKS_COUNT).await;
    let rows = chaos::rpc_faults(&mut net, &images().unwrap(), which, 4 * chaos::LATEST_STOP).await.unwrap();
    net.down().await.unwrap();
    assert!(rows.len() == count && rows.iter().all(|row| row.verdict == "pass"), "{rows:#?}");
}

#[tokio::test]
async fn a_trade_survives_an_rpc_that_fails() {
    rpc_faults(RpcFaults::Trades, 3).await;
}

#[tokio::test]
async fn a_machine_stops_at_the_end_of_its_funds_whether_or_not_the_chain_is_seen() {
    rpc_faults(RpcFaults::FundsEnd, 1).await;
}

#[tokio::test]
async fn what_ends_is_gone_and_for_sale_again_within_seconds() {
    let (_dir, mut net) = devnet().await;
    let rows = chaos::prompt(&mut net, &images().unwrap(), 6 * chaos::PROMPT).await.unwrap();
    net.down().await.unwrap();
    assert!(rows.len() == 4 && rows.iter().all(|row| row.verdict == "pass"), "{rows:#?}");
}

#[tokio::test]
async fn a_trade_survives_blocks_that_are_taken_back() {
    let (_dir, mut net) = devnet_with_blocks(BLOCKS_COUNT).await;
    let rows = chaos::reorgs(&mut net, &images().unwrap(), &SHORT_DEPTHS).await.unwrap();
    net.down().await.unwrap();
    assert!(rows.len() == 5 && rows.iter().all(|row| row.verdict == "pass"), "{rows:#?}");
}

#[tokio::test]
async fn a_machine_opens_to_whom_the_chain_gives_it_and_to_nobody_else() {
    let (_dir, mut net) = devnet_with_blocks(BLOCKS_COUNT).await;
    let rows = chaos::contests(&mut net, &images().unwrap(), &SHORT_CONTEST_DEPTHS).await.unwrap();
    net.down().await.unwrap();
    assert!(rows.len() == 1 && rows.iter().all(|row| row.verdict == "pass"), "{rows:#?}");
}

/// Places with a whole name.
#[test]
fn the_table_knows_every_named_place_in_the_sources() {
    let mut places = Vec::new();
    for folder in ["node", "provider-adapters/hypervisor/src"] {
        collect(&root().join(folder), &mut places);
    }
    assert!(places.len() >= 15, "only {places:?}");
    for place in places {
        assert!(CASES.iter().any(|case| case.failpoint == place), "no case ends a node at {place}");
    }
}

/// Places that are named after a step of an engine, or after a transaction.
#[test]
fn the_table_knows_both_sides_of_every_step_and_three_of_every_transaction() {
    let mut places = Vec::new();
    for (engine, file) in [("buyer", "buyer/decide.rs"), ("provider", "provider/decide.rs")] {
        let steps = names_in(&format!("node/engine/src/{file}"));
        assert!(steps.len() >= 12, "only {steps:?}");
        for step in steps.iter().filter(|step| *step != "wait") {
            places.extend(["before", "after"].map(|side| format!("{engine}.{step}.{side}")));
        }
    }
    let calls = names_in("node/chain/src/call.rs");
    assert!(BY_HAND.iter().all(|call| calls.iter().any(|known| known == call)), "only {calls:?}");
    for call in calls.iter().filter(|call| !BY_HAND.contains(&call.as_str())) {
        places.extend(["signed", "sent", "mined"].map(|side| format!("sender.{call}.{side}")));
    }
    let unknown: Vec<_> =
        places.iter().filter(|place| !CASES.iter().any(|case| case.failpoint == *place)).collect();
    assert!(unknown.is_empty(), "no case ends a node at {unknown:?}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The names that a file's enumeration gives its variants: `Self::TopUp => "top_up",` and the like.
fn names_in(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let names = text.lines().filter_map(|line| {
        let (variant, name) = line.trim().strip_prefix("Self::")?.split_once(" => \"")?;
        let name = name.strip_suffix("\",")?;
        (!variant.is_empty()).then(|| name.to_owned())
    });
    names.collect()
}

fn collect(folder: &Path, places: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, places);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let calls = text.split("failpoint::reach(&[\"").skip(1);
        places.extend(calls.filter_map(|call| Some(call.split_once("\"])")?.0.to_owned())));
    }
    // A name in parts has more quotes in it.
    places.retain(|place| !place.contains('"'));
}

#[tokio::test]
async fn what_goes_wrong_on_the_host_costs_nobody_a_machine() {
    let (_dir, mut net) = devnet().await;
    let rows = chaos::host_faults(&mut net, &images().unwrap(), &SHORT_HOST_FAULTS).await.unwrap();
    net.down().await.unwrap();
    let all = rows.len() == SHORT_HOST_FAULTS.len();
    assert!(all && rows.iter().all(|row| row.verdict == "pass"), "{rows:#?}");
}
