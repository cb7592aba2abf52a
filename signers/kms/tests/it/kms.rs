//! Keys in a KMS that is as strict as AWS: what signs, what does not, and what is said then.
//!
//! The AWS command line, which shares no code with the client under test, makes the keys.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, hex, keccak256};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey};
use serde_json::Value;
use sublet_moto::{Fault, Moto, MotoOptions, REGION};
use sublet_signer_kms::{KmsAccess, KmsError, KmsKey};
use tempfile::TempDir;

struct Kms {
    moto: Moto,
    access: KmsAccess,
    dir: TempDir,
}

impl Kms {
    async fn new() -> Self {
        let moto = Moto::start(MotoOptions::default()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let credentials = dir.path().join("credentials");
        std::fs::write(&credentials, moto.credentials()).unwrap();
        let access = KmsAccess {
            region: Some(REGION.into()),
            endpoint_url: Some(moto.endpoint().into()),
            profile: None,
            credentials_file: Some(credentials),
        };
        Self { moto, access, dir }
    }

    async fn aws(&self, arguments: &[&str]) -> Value {
        self.moto.aws_cli(&[&["kms"], arguments].concat()).await.unwrap()
    }

    /// Makes a key and returns its ARN.
    async fn make(&self, spec: &str, usage: &str) -> String {
        let made = self.aws(&["create-key", "--key-spec", spec, "--key-usage", usage]).await;
        made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
    }

    async fn wallet(&self) -> String {
        self.make("ECC_SECG_P256K1", "SIGN_VERIFY").await
    }

    async fn open(&self, key: &str) -> Result<KmsKey, KmsError> {
        KmsKey::open(key, &self.access).await
    }

    fn file(&self, name: &str, bytes: &[u8]) -> (PathBuf, String) {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let argument = format!("fileb://{}", path.display());
        (path, argument)
    }
}

/// Ethereum's ecrecover, by a library that the signer's check does not share its bytes with.
fn recover(digest: B256, signature: &[u8; 65]) -> Address {
    let id = if signature[64] == 28 { RecoveryId::One } else { RecoveryId::Zero };
    let full = RecoverableSignature::from_compact(&signature[..64], id).unwrap();
    let key: PublicKey = full.recover(Message::from_digest(digest.0)).unwrap();
    Address::from_word(keccak256(&key.serialize_uncompressed()[1..]))
}

#[tokio::test]
async fn signatures_recover_to_the_address_of_the_key() {
    let kms = Kms::new().await;
    let arn = kms.wallet().await;
    let key = kms.open(&arn).await.unwrap();
    for n in 0..6 {
        let digest = keccak256([n]);
        let signature = key.sign(digest).await.unwrap();
        assert_eq!(recover(digest, &signature), key.address());
        // EIP-2: the lower of the two, in half of the cases not the one that KMS gave.
        let half = hex!("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0");
        assert!(signature[32..64] <= half[..]);
    }
}

#[tokio::test]
async fn one_key_has_one_address_by_whatever_name() {
    let kms = Kms::new().await;
    let arn = kms.wallet().await;
    let id = arn.rsplit('/').next().unwrap();
    kms.aws(&["create-alias", "--alias-name", "alias/wallet", "--target-key-id", id]).await;
    let by_arn = kms.open(&arn).await.unwrap();
    let by_alias = kms.open("alias/wallet").await.unwrap();
    assert_eq!(by_alias.address(), by_arn.address());
    assert_eq!(by_alias.arn(), arn);
    assert_eq!(kms.open(id).await.unwrap().address(), by_arn.address());
    // Another key behind the alias is another wallet: not for a node that runs.
    let other = kms.wallet().await;
    kms.aws(&["update-alias", "--alias-name", "alias/wallet", "--target-key-id", &other]).await;
    let digest = keccak256("one");
    assert_eq!(recover(digest, &by_alias.sign(digest).await.unwrap()), by_arn.address());
    assert_ne!(kms.open("alias/wallet").await.unwrap().address(), by_arn.address());
}

#[tokio::test]
async fn the_test_server_signs_a_digest_as_it_is_and_hashes_a_message_once() {
    let kms = Kms::new().await;
    let arn = kms.wallet().await;
    let sign = |message: String, kind: &'static str| {
        let (kms, arn) = (&kms, &arn);
        async move {
            let algorithm = ["--signing-algorithm", "ECDSA_SHA_256", "--message-type", kind];
            let named = ["sign", "--key-id", arn, "--message", &message];
            kms.aws(&[&named[..], &algorithm].concat()).await["Signature"].as_str().unwrap().to_owned()
        }
    };
    let message = b"a message of no particular length";
    let digest = sha256(message);
    let (_, raw) = kms.file("message", message);
    let (_, hashed) = kms.file("digest", &digest);
    // The two kinds of signing are one: a digest's signature verifies over the message that it is the digest of.
    for (signed, kind) in [(&raw, "RAW"), (&hashed, "DIGEST")] {
        let signature = sign(signed.clone(), kind).await;
        let bytes = base64(&signature);
        let (_, signature) = kms.file("signature", &bytes);
        for (message, kind) in [(&raw, "RAW"), (&hashed, "DIGEST")] {
            let arguments = ["verify", "--key-id", &arn, "--message", message, "--signature", &signature];
            let algorithm = ["--signing-algorithm", "ECDSA_SHA_256", "--message-type", kind];
            let verified = kms.aws(&[&arguments[..], &algorithm].concat()).await;
            assert_eq!(verified["SignatureValid"], true);
        }
    }
    let (_, short) = kms.file("short", &digest[..31]);
    let algorithm = ["--signing-algorithm", "ECDSA_SHA_256", "--message-type", "DIGEST"];
    let named = ["kms", "sign", "--key-id", &arn, "--message", &short];
    let said = kms.moto.aws_cli(&[&named[..], &algorithm].concat()).await.unwrap_err().to_string();
    assert!(said.contains("Digest is invalid length"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_a_wallet_is_said_at_the_start_with_the_remedy() {
    let kms = Kms::new().await;
    let p256 = kms.make("ECC_NIST_P256", "SIGN_VERIFY").await;
    let rsa = kms.make("RSA_2048", "SIGN_VERIFY").await;
    let symmetric = kms.make("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").await;
    for (key, expected) in [
        (p256.as_str(), "--key-spec ECC_SECG_P256K1"),
        (&rsa, "--key-spec ECC_SECG_P256K1"),
        (&symmetric, "--key-spec ECC_SECG_P256K1"),
        ("alias/none", "check kms_key"),
        ("1234abcd-12ab-34cd-56ef-1234567890ab", "check kms_key"),
    ] {
        let said = kms.open(key).await.unwrap_err().to_string();
        assert!(said.contains(expected), "{key}: {said}");
    }
}

#[tokio::test]
async fn a_key_that_is_taken_away_signs_no_more_and_says_why() {
    let kms = Kms::new().await;
    let arn = kms.wallet().await;
    let id = arn.rsplit('/').next().unwrap();
    let key = kms.open(&arn).await.unwrap();
    let digest = keccak256("one");
    kms.aws(&["disable-key", "--key-id", id]).await;
    let said = key.sign(digest).await.unwrap_err();
    assert!(matches!(said, KmsError::NotUsable { .. }) && said.to_string().contains("enable it"), "{said}");
    assert!(kms.open(&arn).await.is_err());
    kms.aws(&["enable-key", "--key-id", id]).await;
    assert_eq!(recover(digest, &key.sign(digest).await.unwrap()), key.address());
    kms.aws(&["schedule-key-deletion", "--key-id", id, "--pending-window-in-days", "7"]).await;
    let said = key.sign(digest).await.unwrap_err().to_string();
    assert!(said.contains("cancel its deletion"), "{said}");
}

#[tokio::test]
async fn trouble_that_passes_is_waited_out_and_other_trouble_is_not() {
    let kms = Kms::new().await;
    let arn = kms.wallet().await;
    let key = kms.open(&arn).await.unwrap();
    let digest = keccak256("one");
    for fault in
        [Fault::new("Sign", "ThrottlingException", 400), Fault::new("Sign", "KMSInternalException", 500)]
    {
        kms.moto.fault(&Fault { times: 2, ..fault }).await.unwrap();
        assert_eq!(recover(digest, &key.sign(digest).await.unwrap()), key.address());
    }
    kms.moto.fault(&Fault::new("Sign", "AccessDeniedException", 400)).await.unwrap();
    let said = key.sign(digest).await.unwrap_err().to_string();
    assert!(said.contains("allow kms:GetPublicKey and kms:Sign"), "{said}");
    assert!(key.sign(digest).await.is_ok(), "one refusal is not for ever");
}

#[tokio::test]
async fn nobody_there_and_wrong_credentials_are_told_apart() {
    let kms = Kms::new().await;
    let arn = kms.wallet().await;
    let elsewhere = KmsAccess { endpoint_url: Some("http://127.0.0.1:9".into()), ..kms.access.clone() };
    let said = KmsKey::open(&arn, &elsewhere).await.unwrap_err();
    assert!(matches!(said, KmsError::Unreachable { .. }), "{said}");
    let (file, _) = kms.file("wrong", b"[default]\naws_access_key_id = AKIAX\naws_secret_access_key = x\n");
    let stranger = KmsAccess { credentials_file: Some(file), ..kms.access.clone() };
    let said = KmsKey::open(&arn, &stranger).await.unwrap_err();
    assert!(matches!(said, KmsError::Denied { .. }), "{said}");
    let nobody = KmsAccess { credentials_file: Some(kms.dir.path().join("none")), ..kms.access.clone() };
    let said = KmsKey::open(&arn, &nobody).await.unwrap_err();
    assert!(matches!(said, KmsError::Credentials(_)) && said.to_string().lines().count() == 1, "{said}");
}

fn sha256(message: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, message).as_ref().to_vec()
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}
