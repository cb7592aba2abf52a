//! What a newcomer gets wrong: each mistake is one clear line with the remedy, and a non-zero exit.
//!
//! The commands are the real binary; the chain is a real anvil where one is needed.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use sublet_chain::anvil::{Anvil, AnvilConfig};
use sublet_tests::{
    command::{Outcome, sublet},
    sublet_binary,
};
use tempfile::TempDir;

use crate::support::{devnet, instant_chain};

async fn run(home: &Path, args: &[&str]) -> Outcome {
    sublet(&sublet_binary().unwrap(), home, args).await.unwrap()
}

/// One error line on stderr that says all of `expected`, nothing on stdout, this exit code.
fn assert_refused(outcome: &Outcome, code: i32, expected: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    let errors: Vec<_> = outcome.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{outcome:?}");
    for text in expected {
        assert!(errors[0].contains(text), "'{text}' is missing in: {}", errors[0]);
    }
    assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
}

/// A home that `init` made, with a deployment of a fresh chain.
async fn home_on_chain() -> (TempDir, Anvil, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let anvil = instant_chain().await;
    let deployer = dir.path().join("deployer");
    let outcome = run(&deployer, &["init", "--rpc-url", anvil.url()]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let address = run(&deployer, &["wallet", "address"]).await.stdout;
    anvil.set_balance(address.trim().parse().unwrap(), 10_u128.pow(19)).await.unwrap();
    let deployment = dir.path().join("deployment.json");
    let file = deployment.to_str().unwrap();
    let outcome = run(&deployer, &["chain", "deploy", "--rpc-url", anvil.url(), "--out", file]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let home = dir.path().join("home");
    let args = ["init", "--rpc-url", anvil.url(), "--deployment", file, "--listen", "/ip4/127.0.0.1/tcp/0"];
    assert_eq!(run(&home, &args).await.code, Some(0));
    (dir, anvil, home)
}

#[tokio::test]
async fn commands_without_a_home_or_a_node_say_what_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let outcome = run(&home, &["lease", "list"]).await;
    assert_refused(&outcome, 1, &["not a sublet home", "sublet init"]);
    assert_eq!(run(&home, &["init"]).await.code, Some(0));
    let outcome = run(&home, &["lease", "list"]).await;
    assert_refused(&outcome, 3, &["no node is running", "sublet node run"]);
    let outcome = run(&home, &["node", "run"]).await;
    assert_refused(&outcome, 1, &["deployment.json", "sublet chain deploy"]);
    let outcome = run(&home, &["--output", "json", "lease", "list"]).await;
    let error: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(error["code"], "not_running");
}

#[tokio::test]
async fn what_listens_where_the_last_node_was_is_not_told_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    assert_eq!(run(&home, &["init"]).await.code, Some(0));
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    std::fs::write(home.join("api.address"), stranger.local_addr().unwrap().to_string()).unwrap();
    let heard = std::thread::spawn(move || {
        let (mut peer, _) = stranger.accept().unwrap();
        let mut heard = [0; 4096];
        let read = peer.read(&mut heard).unwrap();
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        String::from_utf8_lossy(&heard[..read]).into_owned()
    });
    let outcome = run(&home, &["lease", "list"]).await;
    assert_refused(&outcome, 3, &["another program answers", "sublet node run"]);
    let heard = heard.join().unwrap();
    let token = std::fs::read_to_string(home.join("api.token")).unwrap();
    assert!(heard.starts_with("GET /v1/hello?nonce=") && !heard.contains(token.trim()), "{heard}");
}

#[tokio::test]
async fn a_lost_configuration_costs_no_key_and_a_mistake_leaves_no_home() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    assert_eq!(run(&home, &["init"]).await.code, Some(0));
    let address = run(&home, &["wallet", "address"]).await.stdout;
    let kept = dir.path().join("node.toml");
    std::fs::rename(home.join("node.toml"), &kept).unwrap();
    for args in [["init"].as_slice(), &["wallet", "address"]] {
        assert_refused(&run(&home, args).await, 1, &["wallet.key", "restore node.toml"]);
    }
    std::fs::rename(&kept, home.join("node.toml")).unwrap();
    assert_eq!(run(&home, &["wallet", "address"]).await.stdout, address);

    let other = dir.path().join("other");
    for (args, code, expected) in [
        (["init", "--listen", "here"], 2, "/ip4/0.0.0.0/tcp/4001"),
        (["init", "--bootstrap", "peer.example.org:4001"], 2, "/p2p/PEERID"),
        (["init", "--rpc-url", "chain"], 1, "chain.rpc_url"),
        (["init", "--poll", "1ms"], 1, "chain.poll"),
    ] {
        let outcome = run(&other, &args).await;
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        assert!(outcome.stderr.contains(expected), "{outcome:?}");
        assert!(!other.exists());
    }
    let full = dir.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("thesis.tex"), "").unwrap();
    assert_refused(&run(&full, &["init"]).await, 1, &["thesis.tex", "--home"]);
}

#[tokio::test]
async fn values_out_of_bounds_name_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let bid = ["bid", "post", "--max-rate", "0.001 CTK/s"];
    let offer = ["offer", "post", "--price", "0.001 CTK/s"];
    for (command, option, value, bound) in [
        (bid, "--valid-for", "11m", "from 1s to 10m"),
        (bid, "--for", "4m", "from 5m to 366d"),
        (bid, "--min-bond", "2d", "at most 1d"),
        (bid, "--units", "0", "1.."),
        (offer, "--activate-within", "31m", "from 1s to 30m"),
        (offer, "--bond", "25h", "at most 1d"),
        (offer, "--max-duration", "400d", "from 5m to 366d"),
    ] {
        let outcome = run(dir.path(), &[command.as_slice(), &[option, value]].concat()).await;
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(option) && outcome.stderr.contains(bound), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    assert_eq!(run(&home, &["init"]).await.code, Some(0));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = std::process::Command::new(sublet_binary().unwrap());
    command.arg("--home").arg(&home).args(["wallet", "address"]).stdout(writer);
    let outcome = command.stderr(std::process::Stdio::piped()).output().unwrap();
    assert!(outcome.status.success(), "{outcome:?}");
    assert!(outcome.stderr.is_empty(), "{outcome:?}");
}

#[tokio::test]
async fn a_wrong_configuration_names_the_file_and_the_key() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &["init"]).await.code, Some(0));
    let path = dir.path().join("node.toml");
    let text = std::fs::read_to_string(&path).unwrap().replace("confirmations", "confirmation");
    std::fs::write(&path, text).unwrap();
    let outcome = run(dir.path(), &["node", "run"]).await;
    assert_refused(
        &outcome,
        1,
        &["node.toml line ", "(chain.confirmation)", "expected one of", "`confirmations`"],
    );
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
}

#[tokio::test]
async fn a_wrong_key_file_is_refused_without_showing_it() {
    let (_dir, _anvil, home) = home_on_chain().await;
    let key = home.join("wallet.key");
    std::fs::write(&key, "deadbeef\n").unwrap();
    let outcome = run(&home, &["node", "run"]).await;
    assert_refused(&outcome, 1, &["wallet.key", "64 hexadecimal digits"]);
    assert!(!outcome.stderr.contains("deadbeef"), "{outcome:?}");
    std::fs::write(&key, format!("{}\n", "11".repeat(32))).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = run(&home, &["node", "run"]).await;
    assert_refused(&outcome, 1, &["can be read by other users", "chmod 600"]);
}

#[tokio::test]
async fn an_unreachable_or_wrong_chain_is_named() {
    let (_dir, anvil, home) = home_on_chain().await;
    let config = std::fs::read_to_string(home.join("node.toml")).unwrap();
    // A port that was free a moment ago: nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = format!("http://{free}");
    std::fs::write(home.join("node.toml"), config.replace(anvil.url(), &nowhere)).unwrap();
    let outcome = run(&home, &["node", "run"]).await;
    assert_refused(&outcome, 1, &["cannot reach the RPC", &nowhere, "chain.rpc_url"]);

    let other = AnvilConfig { block_time: None, chain_id: Some(4_242), ..AnvilConfig::default() };
    let other = Anvil::start(other).await.unwrap();
    std::fs::write(home.join("node.toml"), config.replace(anvil.url(), other.url())).unwrap();
    let outcome = run(&home, &["node", "run"]).await;
    assert_refused(&outcome, 1, &["31337", "4242"]);
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let (_dir, _anvil, home) = home_on_chain().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let path = home.join("node.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("/tcp/0", &format!("/tcp/{port}"))).unwrap();
    assert_refused(&run(&home, &["node", "run"]).await, 1, &[&port, "in use"]);
    std::fs::write(&path, format!("{config}\n[api]\nlisten = \"127.0.0.1:{port}\"\n")).unwrap();
    assert_refused(&run(&home, &["node", "run"]).await, 1, &["local API", &port, "api.listen"]);
}

#[tokio::test]
async fn a_missing_qemu_is_named_with_the_package() {
    let (dir, anvil, _home) = home_on_chain().await;
    let provider = dir.path().join("provider");
    let (file, images) = (dir.path().join("deployment.json"), dir.path().join("images"));
    std::fs::create_dir(&images).unwrap();
    let args = [
        "init",
        "--rpc-url",
        anvil.url(),
        "--deployment",
        file.to_str().unwrap(),
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
        "--provider",
        "--accel",
        "tcg",
        "--images",
        images.to_str().unwrap(),
    ];
    assert_eq!(run(&provider, &args).await.code, Some(0));
    let path = provider.join("node.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{config}qemu_binary = \"/nonexistent/qemu-system-x86_64\"\n")).unwrap();
    let outcome = run(&provider, &["node", "run"]).await;
    assert_refused(&outcome, 1, &["qemu", "apt-get install"]);
}

#[tokio::test]
async fn a_second_node_on_the_same_home_is_refused() {
    let (_dir, mut net) = devnet().await;
    let node = net.add_node("only", 0, None).await.unwrap();
    assert_refused(&run(node.home().path(), &["node", "run"]).await, 1, &["another sublet node is running"]);
    net.down().await.unwrap();
}

/// A bid that looks for a provider holds its budget of 1.5 CTK of the 10 that are free.
async fn what_is_reserved_is_not_withdrawn(home: &Path) {
    let bid = ["--output", "json", "bid", "post", "--max-rate", "0.0025 CTK/s", "--for", "10m"];
    let posted: serde_json::Value = serde_json::from_str(&run(home, &bid).await.stdout).unwrap();
    let id = posted["id"].as_str().unwrap();
    let shown = run(home, &["wallet", "balance"]).await.stdout;
    assert!(shown.contains("10 CTK (1.5 CTK of it reserved)"), "{shown}");
    let dear = ["bid", "post", "--max-rate", "0.015 CTK/s", "--for", "10m"];
    assert_refused(&run(home, &dear).await, 4, &["9 CTK free in the Market beside 1.5 CTK", "deposit 0.5"]);
    let all = ["wallet", "withdraw", "10"];
    assert_refused(&run(home, &all).await, 4, &["1.5 CTK of the 10 CTK", "withdraw at most 8.5 CTK"]);
    assert_refused(&run(home, &["wallet", "withdraw", "11"]).await, 4, &["not 11 CTK"]);
    assert_eq!(run(home, &["wallet", "withdraw", "8.5"]).await.code, Some(0));
    assert_eq!(run(home, &["bid", "cancel", id]).await.code, Some(0));
    assert_eq!(run(home, &["wallet", "withdraw", "1.5"]).await.code, Some(0));
}

#[tokio::test]
async fn a_bid_that_nothing_fits_says_why_and_what_a_provider_cannot_pay_for_is_refused() {
    let (_dir, mut net) = devnet().await;
    let buyer = net.add_node("buyer", 50 * 10_u128.pow(18), None).await.unwrap();
    let home = buyer.home().path();
    let bid = ["bid", "post", "--max-rate", "0.0025 CTK/s", "--for", "10m", "--valid-for", "9s", "--wait"];
    assert_refused(&run(home, &bid).await, 4, &["1.5 CTK", "sublet wallet deposit"]);
    assert_eq!(run(home, &["wallet", "deposit", "10"]).await.code, Some(0));
    assert_refused(&run(home, &bid).await, 4, &["no machine", "no offers"]);
    let bids = run(home, &["--output", "json", "bid", "list"]).await.stdout;
    let bids: serde_json::Value = serde_json::from_str(&bids).unwrap();
    let id = bids[0]["id"].as_str().unwrap();
    let explained = run(home, &["--output", "json", "bid", "explain", id]).await.stdout;
    let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
    assert_eq!(explained["explanation"]["offers"], 0);
    assert_eq!(explained["declines"], serde_json::json!([]));
    // Nothing was paid for the attempt.
    let balance = run(home, &["--output", "json", "wallet", "balance"]).await.stdout;
    let balance: serde_json::Value = serde_json::from_str(&balance).unwrap();
    assert_eq!(balance["free"], "10000000000000000000");
    what_is_reserved_is_not_withdrawn(home).await;
    let offer = ["offer", "post", "--price", "0.001 CTK/s"];
    assert_refused(&run(home, &offer).await, 1, &["not a provider", "[provider]"]);
    for (args, expected) in [
        (vec!["wallet", "deposit", "lots"], "2.5 CTK"),
        (vec!["bid", "post", "--max-rate", "cheap"], "0.0025 CTK/s"),
        (vec!["lease", "show", "0x12"], "64 hexadecimal digits"),
    ] {
        let outcome = run(home, &args).await;
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(expected), "{outcome:?}");
    }
    net.down().await.unwrap();
}
