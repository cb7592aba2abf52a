//! A disk outlives its lease for a while: a new lease gets it back, nobody else does, and then it goes.

use std::{path::Path, time::Duration};

use serde_json::Value;
use sublet::devnet::{
    NodeProcess,
    market::{BUYER_FUNDS, SELLERS, add_seller, deposit},
};
use sublet_tests::{command::until, images};

use crate::support::{ask, devnet, told};

const SOON: Duration = Duration::from_secs(100);

async fn in_guest(node: &NodeProcess, id: &str, command: &str) -> String {
    until("the command does not run in the machine", SOON, || async {
        let login = ask(node, &["lease", "ssh", id, "--", command]).await;
        Ok((login.code == Some(0)).then(|| login.stdout.trim().to_owned()))
    })
    .await
    .unwrap()
}

/// The folders of the provider's machines, and of disks without one.
fn folders(provider: &NodeProcess) -> (usize, usize) {
    let machines = provider.home().path().join("machines");
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let names = names(&machines);
    let leases = names.iter().filter(|name| name.len() == 64).count();
    (leases, names.iter().filter(|name| name.starts_with(".kept-")).count())
}

async fn until_folders(provider: &NodeProcess, wanted: (usize, usize)) {
    until("the folders are not as they should be", SOON, || async {
        Ok((folders(provider) == wanted).then_some(()))
    })
    .await
    .unwrap();
}

async fn end(provider: &NodeProcess, buyer: &NodeProcess, id: &str) {
    assert_eq!(ask(buyer, &["lease", "close", id]).await.code, Some(0));
    until_folders(provider, (0, 1)).await;
    until("the lease is not over for its buyer", SOON, || async {
        Ok((told(buyer, &["bid", "show", id]).await["phase"] == "done").then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_new_lease_has_the_disk_of_an_old_one_until_its_time_is_over() {
    let (_dir, mut net) = devnet().await;
    // Whom all know: the provider has another address after each start.
    net.add_node("hub", 0, None).await.unwrap();
    let (provider, _) = add_seller(&mut net, &SELLERS[2], &images().unwrap()).await.unwrap();
    let buyer = net.add_node("buyer", BUYER_FUNDS, None).await.unwrap();
    let other = net.add_node("other", BUYER_FUNDS, None).await.unwrap();
    deposit(&buyer, BUYER_FUNDS).await.unwrap();
    deposit(&other, BUYER_FUNDS).await.unwrap();
    until("the offer does not reach the buyer", SOON, || async {
        let offers = told(&buyer, &["offer", "list"]).await;
        let traits = offers[0]["traits"].as_array().cloned().unwrap_or_default();
        Ok(traits.contains(&Value::from("disk-kept=3600s")).then_some(()))
    })
    .await
    .unwrap();

    let first = told(&buyer, &["rent", "--memory", "256MiB", "--for", "10m", "--yes"]).await;
    let first = first["id"].as_str().unwrap().to_owned();
    in_guest(&buyer, &first, "echo of the first life > /data/note && sync").await;
    let early = ask(&buyer, &["lease", "revive", &first]).await;
    assert!(early.stderr.contains("not over"), "{early:?}");
    end(&provider, &buyer, &first).await;
    let kept = provider.home().path().join("machines").join(format!(".kept-{}", &first[2..]));
    until("the keys are still there", SOON, || async { Ok((!kept.join("hostkey").exists()).then_some(())) })
        .await
        .unwrap();
    assert!(kept.join("disk.qcow2").exists());
    let theft = ask(&other, &["lease", "revive", &first]).await;
    assert_eq!(theft.code, Some(1), "{theft:?}");

    // The provider's node dies when the disk has two names: in the old folder and in the new one.
    let provider = net.restart(SELLERS[2].name, Some("hypervisor.disk.taken")).unwrap();
    provider.wait_until_up().await.unwrap();
    let again = ["lease", "revive", &first, "--for", "10m"];
    let second = told(&buyer, &again).await["id"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    until("the node does not end where the disk is taken", SOON, || async {
        Ok(provider.exited().map(drop))
    })
    .await
    .unwrap();
    assert!(provider.log_tail().contains("hypervisor.disk.taken"), "{}", provider.log_tail());
    assert_eq!(folders(&provider), (1, 1));
    let provider = net.restart(SELLERS[2].name, None).unwrap();
    assert_eq!(in_guest(&buyer, &second, "cat /data/note").await, "of the first life");
    assert_eq!(folders(&provider), (1, 0), "the disk is the new machine's");
    end(&provider, &buyer, &second).await;
    // Of the first lease nothing is left to revive: its provider says so.
    let gone = ask(&buyer, &["lease", "revive", &first, "--for", "10m"]).await;
    assert_eq!(gone.code, Some(0), "{gone:?}");
    until("the provider does not say why", SOON, || async {
        let bids = told(&buyer, &["bid", "list"]).await;
        let mut declines =
            bids.as_array().unwrap().iter().flat_map(|bid| bid["declines"].as_array().unwrap());
        Ok(declines.any(|no| no["detail"].as_str().unwrap().contains("not kept here")).then_some(()))
    })
    .await
    .unwrap();

    net.anvil.advance(3_700).await.unwrap();
    until_folders(&provider, (0, 0)).await;
    net.down().await.unwrap();
}
