//! A provider that fails its buyer: the lease is ended, and the buyer's node finds another machine by itself.

use std::{fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sublet::devnet::{
    Devnet, NodeProcess,
    market::{BUYER_FUNDS, SELLERS, Seller, add_seller, deposit},
};
use sublet_api::types::{BidInfo, LeaseInfo};
use sublet_base::phase::BuyerPhase;
use sublet_market::LeaseState;
use sublet_tests::{
    command::{json, until},
    images,
};

use crate::support::{ask, devnet, reconfigured, until_offers};

const SOON: Duration = Duration::from_secs(90);
/// As cleo of the demo, and a little dearer.
const DORA: Seller = Seller { name: "dora", price_per_second: 2_600_000_000_000_000, ..SELLERS[2] };

/// The node's process and that of its one machine die, as with the power of the host.
fn cut_power(node: &NodeProcess) {
    node.kill();
    let machines = node.home().path().join("machines");
    let pids = fs::read_dir(machines).unwrap().filter_map(|entry| {
        let pid = fs::read_to_string(entry.unwrap().path().join("pid")).ok()?;
        pid.trim().parse().ok()
    });
    let pids: Vec<i32> = pids.collect();
    assert_eq!(pids.len(), 1, "one machine");
    kill(Pid::from_raw(pids[0]), Signal::SIGKILL).unwrap();
}

/// A buyer that does not wait for two minutes.
async fn impatient_buyer(net: &mut Devnet) -> NodeProcess {
    net.add_node("buyer", BUYER_FUNDS, None).await.unwrap();
    let buyer = reconfigured(net, "buyer", |text| text + "\n[buyer]\ngive_up_after = \"10s\"\n").await;
    deposit(&buyer, BUYER_FUNDS).await.unwrap();
    buyer
}

async fn bids(node: &NodeProcess) -> Vec<BidInfo> {
    json(node.binary(), node.home().path(), &["bid", "list"]).await.unwrap()
}

#[tokio::test]
async fn a_machine_that_is_gone_is_left_and_another_provider_is_found() {
    let (_dir, mut net) = devnet().await;
    net.add_node("hub", 0, None).await.unwrap();
    let (cleo, _) = add_seller(&mut net, &SELLERS[2], &images().unwrap()).await.unwrap();
    add_seller(&mut net, &DORA, &images().unwrap()).await.unwrap();
    let buyer = impatient_buyer(&mut net).await;
    let (binary, home) = (buyer.binary(), buyer.home().path());
    until_offers(&buyer, 2).await;

    let args = ["bid", "post", "--memory", "256MiB", "--max-rate", "0.003 CTK/s", "--for", "10m"];
    let args = [&args[..], &["--on-failure", "rebid", "--wait"]].concat();
    let bid: BidInfo = json(binary, home, &args).await.unwrap();
    let failed = cleo.address().unwrap();
    assert_eq!(bid.provider, Some(failed), "the cheapest");
    cut_power(&cleo);

    let second = until("another machine is there", SOON, async || {
        let found = bids(&buyer).await.into_iter().find(|other| other.continues == Some(bid.id));
        Ok(found.filter(|found| found.access.is_some()))
    })
    .await
    .unwrap();
    assert_eq!(second.avoid, [failed]);
    assert_ne!(second.provider, Some(failed));
    assert!(second.duration < bid.duration, "only what is left of the time");
    let login = ask(&buyer, &["lease", "ssh", &second.id.to_string(), "--", "uname"]).await;
    assert_eq!(login.stdout.trim(), "Linux", "{login:?}");

    // The provider that is gone is asked for the machine's last words before.
    let first = until("the first bid is over", SOON, async || {
        let found = bids(&buyer).await.into_iter().find(|other| other.id == bid.id);
        Ok(found.filter(|found| found.phase == BuyerPhase::Done))
    })
    .await
    .unwrap();
    assert!(first.failure.unwrap().starts_with("the machine is gone: the machine does not answer"));
    let lease: LeaseInfo = json(binary, home, &["lease", "show", &bid.id.to_string()]).await.unwrap();
    assert_eq!((lease.state, lease.ended.unwrap().reason.as_str()), (LeaseState::Ended, "closed"));
    let ended = ask(&buyer, &["lease", "close", &second.id.to_string()]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    net.down().await.unwrap();
}
