//! A provider's node that starts while no RPC answers: what a node before it has left running is looked after
//! all the same.

use std::time::Duration;

use sublet::devnet::{
    NodeProcess,
    market::{BUYER_FUNDS, SELLERS, add_seller, deposit},
};
use sublet_adapter::InstanceState;
use sublet_tests::{
    command::until,
    images,
    rpc_proxy::{Fault, RpcProxy},
};

use crate::support::{devnet, told, until_offers};

const SOON: Duration = Duration::from_secs(60);
/// Above the interval at which the node notes that it has seen the chain, by as much as blocks may be late.
const NOTED: Duration = Duration::from_secs(20);
/// The lease, in seconds.
const RENTED: u64 = 600;
/// How much of it is left when the chain goes away.
const LEFT: u64 = 25;

async fn runs(provider: &NodeProcess) -> bool {
    let machines = provider.machines().await.unwrap();
    assert_eq!(machines.len(), 1);
    machines[0].state == InstanceState::Running
}

async fn until_runs(provider: &NodeProcess, wanted: bool, limit: Duration) {
    until("the machine is not as it should be", limit, || async {
        Ok((runs(provider).await == wanted).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_machine_that_was_left_running_is_stopped_at_the_end_of_its_funds() {
    let (_dir, mut net) = devnet().await;
    let buyer = net.add_node("buyer", BUYER_FUNDS, None).await.unwrap();
    deposit(&buyer, BUYER_FUNDS).await.unwrap();
    let proxy = RpcProxy::start(net.anvil.url()).await.unwrap();
    net.rpc_url = proxy.url().to_owned();
    let (provider, _) = add_seller(&mut net, &SELLERS[2], &images().unwrap()).await.unwrap();
    until_offers(&buyer, 1).await;
    let rented = told(&buyer, &["rent", "--memory", "256MiB", "--for", "10m", "--yes"]).await;
    let id = rented["id"].as_str().unwrap();
    until_runs(&provider, true, SOON).await;
    let metered = told(&buyer, &["lease", "show", id]).await["metered_seconds"].as_u64().unwrap();
    net.anvil.advance(RENTED - metered - LEFT - NOTED.as_secs()).await.unwrap();
    tokio::time::sleep(NOTED).await;

    proxy.set(Fault::Cut).await.unwrap();
    let provider = net.restart(SELLERS[2].name, None).unwrap();
    until("the node does not say that it waits", SOON, || async {
        Ok(provider.log_tail().contains("waiting for it").then_some(()))
    })
    .await
    .unwrap();
    assert!(runs(&provider).await, "what is paid for runs");
    // Without the chain, its time is counted from when it was noted last.
    until_runs(&provider, false, Duration::from_secs(LEFT) + NOTED + SOON).await;
    // The line follows the stop that it tells of.
    until("the node does not say why", SOON, || async {
        Ok(provider.log_tail().contains("the lease's funds are used up").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(
        told(&buyer, &["lease", "show", id]).await["state"],
        "active",
        "nobody has told the chain yet"
    );
    assert!(provider.exited().is_none(), "it waits on");

    proxy.set(Fault::None).await.unwrap();
    provider.wait_until_up().await.unwrap();
    // HOLD of the development network after the end of the funds.
    net.anvil.advance(RENTED).await.unwrap();
    until("the lease is not over", SOON, || async {
        let lease = told(&buyer, &["lease", "show", id]).await;
        Ok((lease["state"] == "ended" && provider.machines().await.unwrap().is_empty()).then_some(()))
    })
    .await
    .unwrap();
    net.down().await.unwrap();
}

#[tokio::test]
async fn a_node_without_machines_says_at_once_that_the_chain_does_not_answer() {
    let (_dir, mut net) = devnet().await;
    let proxy = RpcProxy::start(net.anvil.url()).await.unwrap();
    net.rpc_url = proxy.url().to_owned();
    add_seller(&mut net, &SELLERS[2], &images().unwrap()).await.unwrap();
    proxy.set(Fault::Cut).await.unwrap();
    let provider = net.restart(SELLERS[2].name, None).unwrap();
    until("the node does not end", SOON, || async { Ok(provider.exited()) }).await.unwrap();
    assert!(provider.log_tail().contains("cannot reach the RPC"), "{}", provider.log_tail());
    net.down().await.unwrap();
}
