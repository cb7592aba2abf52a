//! Nodes that hold an operator's key only: the makers' keys are in homes of their own, in which no node ever runs.

use std::{path::PathBuf, time::Duration};

use alloy_primitives::Address;
use serde_json::Value;
use sublet::devnet::{
    Devnet, NewNode, NodeProcess,
    market::{BUYER_FUNDS, SELLER_FUNDS},
};
use sublet_tests::{
    command::{json, succeed, until},
    sublet_binary,
};

use crate::support::{ask, devnet, host, told, until_offers};

const SOON: Duration = Duration::from_secs(100);
const OFFER: [&str; 8] = ["offer", "post", "--memory", "256MiB", "--disk", "1GiB", "--price", "0.0025 CTK/s"];

/// A maker's home: a key, tokens, and no node.
struct Vault {
    home: PathBuf,
    address: Address,
}

impl Vault {
    async fn make(net: &Devnet, name: &str, funds: u128) -> Self {
        let home = net.dir().join(name);
        let deployment = net.dir().join("deployment.json").display().to_string();
        let args = ["init", "--no-passphrase", "--rpc-url", net.anvil.url(), "--deployment", &deployment];
        let made: Value = json(&sublet_binary().unwrap(), &home, &args).await.unwrap();
        let address = made["address"].as_str().unwrap().parse().unwrap();
        net.fund(address, funds).await.unwrap();
        Self { home, address }
    }

    async fn run(&self, args: &[&str]) -> String {
        succeed(&sublet_binary().unwrap(), &self.home, args).await.unwrap()
    }

    async fn free(&self) -> u128 {
        let wallet =
            json::<Value>(&sublet_binary().unwrap(), &self.home, &["wallet", "balance"]).await.unwrap();
        assert_eq!(wallet["address"], self.address.to_checksum(None).to_lowercase(), "{wallet}");
        assert!(wallet.get("reserved").is_none(), "nobody has looked: {wallet}");
        wallet["free"].as_str().unwrap().parse().unwrap()
    }

    async fn operator(&self, word: &str, node: &NodeProcess) -> String {
        let key = node.address().unwrap().to_string();
        self.run(&["wallet", "operator", word, &key]).await
    }
}

#[tokio::test]
async fn two_operators_trade_with_money_that_they_cannot_take() {
    let (_dir, mut net) = devnet().await;
    // It hears of everything, and knows nobody.
    let stranger = net.add_node("stranger", 0, None).await.unwrap();
    let sells = Vault::make(&net, "vault-seller", SELLER_FUNDS).await;
    let buys = Vault::make(&net, "vault-buyer", BUYER_FUNDS).await;
    sells.run(&["wallet", "deposit", "20"]).await;
    buys.run(&["wallet", "deposit", "50"]).await;
    assert_eq!((sells.free().await, buys.free().await), (SELLER_FUNDS, BUYER_FUNDS));

    let new = NewNode { provider: Some(host(1, 512, 4)), maker: Some(sells.address), ..NewNode::default() };
    let provider = net.add_node_with("provider", new).await.unwrap();
    let new = NewNode { maker: Some(buys.address), ..NewNode::default() };
    let buyer = net.add_node_with("buyer", new).await.unwrap();

    // Nobody has approved the keys yet.
    let refused =
        ask(&buyer, &["bid", "post", "--memory", "256MiB", "--for", "10m", "--max-rate", "0.0025 CTK/s"])
            .await;
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("sublet wallet operator approve"), "{refused:?}");
    for (vault, node) in [(&sells, &provider), (&buys, &buyer)] {
        let said = vault.operator("show", node).await;
        assert!(said.contains("no"), "{said}");
        vault.operator("approve", node).await;
        let wallet = told(node, &["wallet", "balance"]).await;
        assert_eq!(wallet["operator"]["approved"], true, "{wallet}");
    }

    succeed(provider.binary(), provider.home().path(), &OFFER).await.unwrap();
    let heard = until_offers(&stranger, 1).await;
    assert_eq!(heard[0]["provider"], sells.address.to_string().to_lowercase(), "{heard}");
    let rent = ["rent", "--memory", "256MiB", "--for", "10m", "--yes"];
    until_offers(&buyer, 1).await;
    let rented = told(&buyer, &rent).await;
    let id = rented["id"].as_str().unwrap();
    let login = ask(&buyer, &["lease", "ssh", id, "--", "uname"]).await;
    assert_eq!(login.stdout.trim(), "Linux", "{login:?}");
    assert_eq!(ask(&buyer, &["lease", "close", id]).await.code, Some(0));

    // The makers' accounts have paid and earned; the operators cannot take anything out.
    until("the lease has paid", SOON, async || Ok((sells.free().await > SELLER_FUNDS).then_some(())))
        .await
        .unwrap();
    assert!(buys.free().await < BUYER_FUNDS);
    for node in [&provider, &buyer] {
        let refused = ask(node, &["wallet", "withdraw", "1"]).await;
        assert_ne!(refused.code, Some(0));
        assert!(refused.stderr.contains("in the home that has the maker's key"), "{refused:?}");
    }

    // What a revoked key has signed leaves every book at once.
    until_offers(&stranger, 1).await;
    sells.operator("revoke", &provider).await;
    until_offers(&stranger, 0).await;
    buys.run(&["wallet", "withdraw", "1"]).await;
    net.down().await.unwrap();
}
