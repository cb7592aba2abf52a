//! Peers on one local network find each other without being told of each other.
//!
//! The network is one of the test's own, in namespaces that need no privileges, so that nothing is announced outside.

use std::process::Command;

use crate::support::{Node, offer};

const NETWORK: &str = "ip link set lo up && ip link add lan0 type veth peer name lan1 \
    && ip addr add 192.0.2.1/24 dev lan0 && ip link set lan0 up && ip link set lan1 up && exec \"$0\" \"$@\"";

#[test]
fn two_nodes_meet_by_mdns_alone() {
    let me = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", NETWORK])
        .arg(me)
        .args(["--exact", "mdns::inside_a_network_of_its_own", "--ignored", "--nocapture"])
        .output()
        .expect("unshare is missing: install util-linux and iproute2");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by two_nodes_meet_by_mdns_alone in its own network"]
async fn inside_a_network_of_its_own() {
    let start = async |mdns| {
        Node::start_with(&[], |config| {
            config.listen = vec!["/ip4/0.0.0.0/tcp/0".parse().unwrap()];
            config.mdns = mdns;
        })
        .await
    };
    let quiet = start(false).await;
    let mut one = start(true).await;
    let mut two = start(true).await;
    one.joined().await;
    two.joined().await;
    two.p2p.publish(offer(1)).await.unwrap();
    assert_eq!(one.order().await.message, offer(1));
    assert_eq!(quiet.p2p.status().await.unwrap().peers.len(), 0, "it is off unless it is asked for");
}
