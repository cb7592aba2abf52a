//! A machine that is smaller than what is paid for: its buyer's node sees that, and rejects the lease.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use sublet::devnet::{
    Devnet, NodeProcess,
    market::{BUYER_FUNDS, SELLERS, add_seller, deposit},
};
use sublet_api::types::{BidInfo, LeaseInfo};
use sublet_market::{EndReason, LeaseState};
use sublet_tests::{
    command::{json, until},
    images,
};

use crate::support::{devnet, reconfigured, until_offers};

const SOON: Duration = Duration::from_secs(90);

/// QEMU that is given less memory than was asked for.
const STINGY: &str = r#"#!/bin/sh
[ "$1" = --version ] && exec qemu-system-x86_64 "$@"
for word do
  shift
  [ "$word" = 256M ] && word=160M
  set -- "$@" "$word"
done
exec qemu-system-x86_64 "$@"
"#;

fn stingy_qemu(dir: &Path) -> PathBuf {
    let path = dir.join("qemu");
    fs::write(&path, STINGY).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Starts a node again with more in a section of its configuration; the section is added if there is none.
async fn configure(net: &mut Devnet, node: &NodeProcess, section: &str, line: &str) -> NodeProcess {
    reconfigured(net, node.name(), |text| {
        if text.contains(section) {
            text.replace(section, &format!("{section}\n{line}"))
        } else {
            format!("{text}\n{section}\n{line}\n")
        }
    })
    .await
}

#[tokio::test]
async fn a_machine_with_less_memory_than_was_paid_for_is_rejected() {
    let (dir, mut net) = devnet().await;
    let buyer = net.add_node("buyer", BUYER_FUNDS, None).await.unwrap();
    let buyer = configure(&mut net, &buyer, "[buyer]", "give_up_after = \"10s\"").await;
    deposit(&buyer, BUYER_FUNDS).await.unwrap();
    let (provider, _) = add_seller(&mut net, &SELLERS[2], &images().unwrap()).await.unwrap();
    let qemu = format!("qemu_binary = {:?}", stingy_qemu(dir.path()));
    configure(&mut net, &provider, "[provider.hypervisor]", &qemu).await;
    let (binary, home) = (buyer.binary(), buyer.home().path());
    until_offers(&buyer, 1).await;

    let posted = ["bid", "post", "--memory", "256MiB", "--max-rate", "0.01 CTK/s", "--for", "10m"];
    let bid: BidInfo = json(binary, home, &posted).await.unwrap();
    let id = bid.id.to_string();
    let lease: LeaseInfo = until("the lease is not over", SOON, || async {
        let leases: Vec<LeaseInfo> = json(binary, home, &["lease", "list"]).await?;
        Ok(leases.into_iter().find(|lease| lease.state == LeaseState::Ended && lease.ended.is_some()))
    })
    .await
    .unwrap();
    assert_eq!(lease.ended.map(|end| end.reason), Some(EndReason::Rejected));
    let bid: BidInfo = json(binary, home, &["bid", "show", &id]).await.unwrap();
    let failure = bid.failure.unwrap_or_default();
    assert!(failure.starts_with("the machine is not what is paid for: the machine has 1"), "{failure}");
    assert!(failure.contains("MiB of memory, 256 MiB are paid for"), "{failure}");
    net.down().await.unwrap();
}
