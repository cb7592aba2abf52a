//! What an operator's monitoring sees of a real node: the page, and whether the node is up and ready.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    process::Stdio,
    time::{Duration, Instant},
};

use sublet_tests::command::sublet;
use tokio::io::AsyncWriteExt as _;

use crate::support::{api_address, ask, devnet};

const TOKENS: u128 = 10_u128.pow(18);
/// What should be there is there within a poll of the chain, or a page's second; a loaded machine takes longer.
const LIMIT: Duration = Duration::from_secs(30);

struct Answer {
    status: u16,
    content_type: String,
    body: String,
}

/// Without the bearer token.
async fn get(address: SocketAddr, path: &str) -> Answer {
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
    let response = client.get(format!("http://{address}{path}")).send().await.unwrap();
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: response.status().as_u16(),
        content_type: content_type.unwrap_or_default(),
        body: response.text().await.unwrap(),
    }
}

async fn page(address: SocketAddr) -> String {
    let Answer { status, content_type, body } = get(address, "/metrics").await;
    assert_eq!((status, content_type.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"), "{body}");
    body
}

/// Samples by name and labels.
fn samples(page: &str) -> BTreeMap<&str, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

/// Asks for the page until the samples are as wanted.
async fn wait_for(address: SocketAddr, what: &str, wanted: impl Fn(&BTreeMap<&str, f64>) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let page = page(address).await;
        if wanted(&samples(&page)) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} does not come about:\n{page}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Prometheus's own judgement of a page: it reads, and follows the conventions.
async fn assert_promtool_is_content(page: &str) {
    let mut promtool = tokio::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("promtool is missing: run scripts/install-tools");
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).await.unwrap();
    let output = promtool.wait_with_output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{page}");
}

#[tokio::test]
async fn a_running_node_shows_its_metrics_and_that_it_is_ready() {
    let (_dir, mut net) = devnet().await;
    let first = net.add_node("first", 50 * TOKENS, None).await.unwrap();
    let _second = net.add_node("second", 0, None).await.unwrap();
    let address = api_address(first.home().path());

    let health = get(address, "/healthz").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let ready = get(address, "/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "{\"ready\":true,\"missing\":[]}"));
    // Open are these three, and nothing else.
    assert_eq!(get(address, "/v1/status").await.status, 401);

    wait_for(address, "a peer", |now| now["sublet_peers"] == 1.0).await;
    assert_eq!(ask(&first, &["wallet", "deposit", "10"]).await.code, Some(0));
    wait_for(address, "the deposit", |now| now["sublet_wallet_free_ctk"] == 10.0).await;
    let page = page(address).await;
    assert_promtool_is_content(&page).await;
    let now = samples(&page);
    for (name, value) in [
        (concat!("sublet_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
        ("sublet_chain_healthy", 1.0),
        ("sublet_book_orders{kind=\"offer\"}", 0.0),
        ("sublet_transactions_total{call=\"deposit\",result=\"mined\"}", 1.0),
        ("sublet_asks_total{result=\"accepted\"}", 0.0),
        ("sublet_engine_steps_total{engine=\"buyer\",result=\"done\",step=\"settle\"}", 0.0),
    ] {
        assert_eq!(now.get(name), Some(&value), "{name} in:\n{page}");
    }
    for start in [
        "process_resident_memory_bytes",
        "sublet_chain_head_timestamp_seconds",
        "sublet_chain_head_seen_timestamp_seconds",
        "sublet_chain_watched_timestamp_seconds",
        "sublet_transactions_gas_total{call=\"deposit\"}",
        "libp2p_swarm_connections_established_total{",
        "libp2p_identify_received_total",
        "libp2p_gossipsub_mesh_peer_counts{",
        "libp2p_bandwidth_bytes_total{",
    ] {
        let counted =
            |now: &BTreeMap<&str, f64>| now.iter().any(|(name, n)| name.starts_with(start) && *n > 0.0);
        wait_for(address, start, counted).await;
    }
    // Addresses are what strangers make up.
    assert!(!page.contains("listen_address=") && !page.contains("observed_address="), "{page}");
    net.down().await.unwrap();
}

#[tokio::test]
async fn the_page_is_served_on_the_configured_address_too() {
    let (_dir, mut net) = devnet().await;
    let node = net.add_node("only", 0, None).await.unwrap();
    let (name, binary, home) = (node.name().to_owned(), node.binary().to_owned(), node.home().clone());
    node.stop(Duration::from_secs(20)).await;
    // A port that was free a moment ago.
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), format!("{config}\n[metrics]\nlisten = \"{listen}\"\n")).unwrap();

    let node = sublet::devnet::NodeProcess::start(&name, &binary, home.clone()).await.unwrap();
    assert_promtool_is_content(&page(listen).await).await;
    assert_eq!(get(listen, "/readyz").await.status, 200);
    assert_eq!(get(listen, "/v1/status").await.status, 404, "the API is not served there");
    node.stop(Duration::from_secs(20)).await;
    assert_eq!(node.exited().and_then(|status| status.code()), Some(0));

    let _taken = TcpListener::bind(listen).unwrap();
    let outcome = sublet(&binary, home.path(), &["node", "run"]).await.unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(
        outcome.stderr.contains("metrics.listen") && outcome.stderr.contains(&listen.to_string()),
        "{outcome:?}"
    );
    net.down().await.unwrap();
}
