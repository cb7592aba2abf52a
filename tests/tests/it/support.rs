//! What many subjects need: a network, or a chain without one, providers, and how to ask a node.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use alloy::signers::local::PrivateKeySigner;
use serde_json::Value;
use sublet::{
    devnet::{DEVNET_PARAMS, Devnet, DevnetOptions, NodeProcess},
    setup::{Backend, ProviderSetup},
};
use sublet_api::types::{OfferInfo, PostOffer};
use sublet_chain::anvil::{Anvil, AnvilConfig};
use sublet_chain::{DeployOptions, Deployment, deploy};
use sublet_market::Resources;
use sublet_tests::{
    command::{Outcome, json, sublet, until},
    images, sublet_binary,
};
use tempfile::TempDir;

/// What gossip lost comes with the next comparison of books, within a minute.
const HEARD: Duration = Duration::from_secs(100);
/// A page of metrics is made within a second; a loaded machine takes longer.
const PAGE_LIMIT: Duration = Duration::from_secs(60);

/// Where blocks are not what is tested, nobody waits a second for each.
const QUICK_BLOCKS: Duration = Duration::from_millis(250);

/// A network without nodes, and the folder around it.
pub(crate) async fn devnet() -> (TempDir, Devnet) {
    devnet_with_blocks(QUICK_BLOCKS).await
}

/// The same, with a block each `block_time`.
pub(crate) async fn devnet_with_blocks(block_time: Duration) -> (TempDir, Devnet) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("net");
    let options = DevnetOptions { dir: root, binary: sublet_binary().unwrap(), params: DEVNET_PARAMS };
    let chain = AnvilConfig { block_time: Some(block_time), ..AnvilConfig::default() };
    (dir, Devnet::start_on(chain, options).await.unwrap())
}

/// A chain that makes a block of each transaction at once.
pub(crate) async fn instant_chain() -> Anvil {
    Anvil::start(AnvilConfig { block_time: None, ..AnvilConfig::default() }).await.unwrap()
}

/// Such a chain with a market on it, and the key that deployed it.
pub(crate) async fn instant_market() -> (Anvil, Deployment, PrivateKeySigner) {
    let anvil = instant_chain().await;
    let deployer = anvil.funded_signer().await.unwrap();
    let (deployment, _) = deploy(anvil.url(), deployer.clone(), DeployOptions::default()).await.unwrap();
    (anvil, deployment, deployer)
}

/// A host of so much, which boots the demo's guest under emulation.
pub(crate) fn host(vcpus: u32, memory_mib: u32, disk_gib: u32) -> ProviderSetup {
    let capacity = Resources { vcpus, memory_mib, disk_gib, ..Resources::default() };
    let backend = Backend::Hypervisor { images_dir: images().unwrap(), capacity, accel: "tcg".into() };
    ProviderSetup { claim_every: "30s".into(), backend }
}

/// One vCPU, so much memory, 1 GiB of disk.
pub(crate) fn unit(memory_mib: u32) -> Resources {
    Resources { vcpus: 1, memory_mib, disk_gib: 1, ..Resources::default() }
}

/// Announces an offer.
pub(crate) async fn post_offer(node: &NodeProcess, offer: &PostOffer) {
    let _: OfferInfo = node.client().unwrap().post("/v1/offers", offer).await.unwrap();
}

/// Starts a node again with another text in its configuration.
pub(crate) async fn reconfigured(
    net: &mut Devnet,
    name: &str,
    edit: impl FnOnce(String) -> String,
) -> NodeProcess {
    let path = net.nodes().iter().find(|node| node.name() == name).unwrap().home().config();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, edit(text)).unwrap();
    let node = net.restart(name, None).unwrap();
    node.wait_until_up().await.unwrap();
    node
}

/// What a command on a node's home comes to, whatever it is.
pub(crate) async fn ask(node: &NodeProcess, args: &[&str]) -> Outcome {
    sublet(node.binary(), node.home().path(), args).await.unwrap()
}

/// What a command on a node's home answers; it must succeed.
pub(crate) async fn told(node: &NodeProcess, args: &[&str]) -> Value {
    json(node.binary(), node.home().path(), args).await.unwrap()
}

/// Waits until a node's book has so many offers, and says which.
pub(crate) async fn until_offers(node: &NodeProcess, count: usize) -> Value {
    until("the book does not have the offers", HEARD, async || {
        let offers = told(node, &["offer", "list"]).await;
        Ok((offers.as_array().unwrap().len() == count).then_some(offers))
    })
    .await
    .unwrap()
}

/// Where a running node's API and its page of metrics are.
pub(crate) fn api_address(home: &Path) -> SocketAddr {
    fs::read_to_string(home.join("api.address")).unwrap().trim().parse().unwrap()
}

/// The page of metrics of the node that runs in this home.
pub(crate) async fn metrics_page(home: &Path) -> String {
    let client = reqwest::Client::builder().no_proxy().timeout(PAGE_LIMIT).build().unwrap();
    let page = client.get(format!("http://{}/metrics", api_address(home))).send().await.unwrap();
    page.text().await.unwrap()
}
