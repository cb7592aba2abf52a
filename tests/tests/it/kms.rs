//! Wallet keys in KMS: a trade between two nodes that have offer, bid, accept and every transaction signed there, and a
//! transaction whose key fails on the way.

use std::{path::Path, time::Duration};

use alloy::providers::{Provider as _, ext::AnvilApi as _};
use alloy_primitives::Address;
use serde_json::Value;
use sublet::devnet::{
    Devnet, NewNode, NodeProcess,
    market::{BUYER_FUNDS, SELLER_FUNDS, deposit, offer_of},
};
use sublet_api::types::{BidInfo, LeaseInfo};
use sublet_chain::{Call, Chain, ChainError, ChainOptions, SendOptions};
use sublet_keys::{NewWallet, Stored};
use sublet_market::LeaseState;
use sublet_moto::{Fault, Moto, MotoOptions, REGION};
use sublet_signer_kms::KmsAccess;
use sublet_tests::command::{json, until};

use crate::support::{ask, devnet, host, instant_market, post_offer, unit, until_offers};

const SOON: Duration = Duration::from_secs(60);
const BID: [&str; 9] =
    ["bid", "post", "--memory", "256MiB", "--max-rate", "0.003 CTK/s", "--for", "5m", "--wait"];
/// 0.0025 CTK a second.
const PRICE: u64 = 2_500_000_000_000_000;

async fn kms(dir: &Path) -> (Moto, KmsAccess) {
    let moto = Moto::start(MotoOptions::default()).await.unwrap();
    let credentials = dir.join("credentials");
    std::fs::write(&credentials, moto.credentials()).unwrap();
    let access = KmsAccess {
        region: Some(REGION.into()),
        endpoint_url: Some(moto.endpoint().into()),
        profile: None,
        credentials_file: Some(credentials),
    };
    (moto, access)
}

/// Makes a key in KMS, gives it an alias, and says what a node with it as its wallet is.
async fn wallet(moto: &Moto, access: &KmsAccess, alias: &str) -> (NewWallet, Address, String) {
    let spec = ["kms", "create-key", "--key-spec", "ECC_SECG_P256K1", "--key-usage", "SIGN_VERIFY"];
    let made = moto.aws_cli(&spec).await.unwrap();
    let id = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let named = ["kms", "create-alias", "--alias-name", alias, "--target-key-id", &id];
    assert_eq!(moto.aws_cli(&named).await.unwrap(), Value::Null);
    let key = alias.to_owned();
    let address = Stored::Kms { key: key.clone(), access: access.clone() }.address().await.unwrap();
    (NewWallet::Kms { key, access: access.clone(), address }, address, id)
}

async fn sell(net: &mut Devnet, wallet: NewWallet) -> NodeProcess {
    let new = NewNode { ctk: SELLER_FUNDS, provider: Some(host(1, 512, 4)), wallet, maker: None };
    let node = net.add_node_with("seller", new).await.unwrap();
    deposit(&node, SELLER_FUNDS).await.unwrap();
    post_offer(&node, &offer_of(unit(256), PRICE, false)).await;
    node
}

#[tokio::test]
async fn two_nodes_with_keys_in_kms_trade() {
    let dir = tempfile::tempdir().unwrap();
    let (moto, access) = kms(dir.path()).await;
    let (sellers, seller_address, _) = wallet(&moto, &access, "alias/seller").await;
    let (buyers, buyer_address, buyer_key) = wallet(&moto, &access, "alias/buyer").await;

    let (_net_dir, mut net) = devnet().await;
    let seller = sell(&mut net, sellers).await;
    let buyer = net
        .add_node_with("buyer", NewNode { ctk: BUYER_FUNDS, wallet: buyers, ..NewNode::default() })
        .await
        .unwrap();
    let (binary, home) = (buyer.binary(), buyer.home().path());
    for node in [&seller, &buyer] {
        assert!(!node.home().wallet_key().exists() && !node.home().keystore().exists());
    }
    let said = ask(&buyer, &["wallet", "address"]).await;
    assert_eq!(said.stdout.trim(), buyer_address.to_string(), "{said:?}");
    deposit(&buyer, BUYER_FUNDS).await.unwrap();
    assert_eq!(net.bank.maker(buyer_address).await.unwrap().free, BUYER_FUNDS);
    until_offers(&buyer, 1).await;

    // A key that is taken away: the command says so, and the node lives.
    moto.aws_cli(&["kms", "disable-key", "--key-id", &buyer_key]).await.unwrap();
    let said = ask(&buyer, &BID).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("is disabled") && said.stderr.contains("enable it"), "{said:?}");
    moto.aws_cli(&["kms", "enable-key", "--key-id", &buyer_key]).await.unwrap();

    let bid: BidInfo = json(binary, home, &BID).await.unwrap();
    let id = bid.id.to_string();
    let lease: LeaseInfo = json(binary, home, &["lease", "show", &id]).await.unwrap();
    assert_eq!(lease.state, LeaseState::Active);
    // The Market has recovered both signatures and settled between exactly these two.
    let settled = net.bank.lease(bid.id).await.unwrap();
    assert_eq!((settled.buyer, settled.provider), (buyer_address, seller_address));
    let closed = ask(&buyer, &["lease", "close", &id]).await;
    assert_eq!(closed.code, Some(0), "{closed:?}");
    assert_eq!(net.bank.lease(bid.id).await.unwrap().state, LeaseState::Ended);
    net.down().await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_is_out_there_is_not_given_up_when_kms_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (moto, access) = kms(dir.path()).await;
    let (_, address, _) = wallet(&moto, &access, "alias/wallet").await;
    let (anvil, deployment, _) = instant_market().await;
    anvil.set_balance(address, 10_u128.pow(19)).await.unwrap();
    let signer = Stored::Kms { key: "alias/wallet".into(), access }.open(None).await.unwrap();
    let send = SendOptions { resend_after: Duration::from_millis(200), ..SendOptions::default() };
    let options = ChainOptions { send, ..ChainOptions::default() };
    let chain = Chain::connect_with(&[anvil.url()], deployment, signer, options).await.unwrap();
    anvil.provider().anvil_set_auto_mine(false).await.unwrap();
    let mut sent = tokio::spawn({
        let chain = chain.clone();
        async move { chain.execute(Call::Approve { amount: 7 }).await }
    });
    until("nothing was sent", SOON, || async {
        Ok((anvil.provider().get_transaction_count(address).pending().await? == 1).then_some(()))
    })
    .await
    .unwrap();
    // From here on no dearer version can be signed; the first one is there and may be mined any moment.
    let refused = Fault { times: u32::MAX, ..Fault::new("Sign", "AccessDeniedException", 400) };
    moto.fault(&refused).await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_secs(3), &mut sent).await;
    assert!(given_up.is_err(), "{given_up:?}");
    anvil.mine(1).await.unwrap();
    sent.await.unwrap().unwrap();
    assert_eq!(chain.allowance(address).await.unwrap(), 7);
    let said = chain.execute(Call::Approve { amount: 8 }).await.unwrap_err();
    assert!(matches!(said, ChainError::Signing(_)) && said.to_string().contains("kms:Sign"), "{said}");
}
