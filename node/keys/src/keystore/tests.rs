//! The definition's vectors, another implementation, and damage of every kind.

use alloy::signers::local::PrivateKeySigner;

use super::*;

/// The two test vectors of the Web3 Secret Storage Definition; both have this key and passphrase.
const SECRET: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
const PASSPHRASE: &str = "testpassword";
const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
    "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,
    "dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
    "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
const SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
    "ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{"dklen":32,
    "n":262144,"p":8,"r":1,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
    "mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned().into()).unwrap()
}

#[test]
fn the_definitions_test_vectors_open() {
    for vector in [PBKDF2, SCRYPT] {
        let keystore = Keystore::parse(vector).unwrap();
        assert_eq!(keystore.address(), None);
        assert_eq!(hex::encode(*keystore.decrypt(&passphrase(PASSPHRASE)).unwrap()), SECRET);
    }
}

#[test]
fn what_we_write_opens_here_and_in_another_implementation() {
    let signer = PrivateKeySigner::random();
    let secret = signer.to_bytes().0;
    let ours =
        Keystore::encrypt(&secret, signer.address(), &passphrase("correct horse"), Cost::TEST).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keystore.json");
    std::fs::write(&file, ours.to_text()).unwrap();
    assert_eq!(eth_keystore::decrypt_key(&file, "correct horse").unwrap(), secret);
    let read = Keystore::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(read, ours);
    assert_eq!(read.address(), Some(signer.address()));
    assert_eq!(*read.decrypt(&passphrase("correct horse")).unwrap(), secret);
    let json: serde_json::Value = serde_json::from_str(&ours.to_text()).unwrap();
    assert_eq!(json["address"], hex::encode(signer.address()));
    assert_eq!(json["id"].as_str().unwrap().chars().nth(14), Some('4'));
    assert!(!ours.to_text().contains(&hex::encode(secret)));
}

#[test]
fn what_another_implementation_writes_opens_here() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = alloy::signers::k256::elliptic_curve::rand_core::OsRng;
    let (secret, name) = eth_keystore::new(dir.path(), &mut rng, "correct horse", None).unwrap();
    let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
    let keystore = Keystore::parse(&text).unwrap();
    assert_eq!(keystore.decrypt(&passphrase("correct horse")).unwrap().as_slice(), secret);
}

#[test]
fn no_two_files_are_alike_and_no_other_passphrase_opens_one() {
    let signer = PrivateKeySigner::random();
    let make = || {
        let secret = signer.to_bytes().0;
        Keystore::encrypt(&secret, signer.address(), &passphrase("correct horse"), Cost::TEST).unwrap()
    };
    let (one, two) = (make(), make());
    assert_ne!(one.crypto.ciphertext, two.crypto.ciphertext);
    assert_ne!(one.id, two.id);
    for wrong in ["Correct horse", "correct horse ", "battery staple"] {
        assert_eq!(one.decrypt(&passphrase(wrong)).unwrap_err(), KeystoreError::WrongPassphrase);
    }
    let mut changed = one.clone();
    changed.crypto.ciphertext[0] ^= 1;
    assert_eq!(changed.decrypt(&passphrase("correct horse")).unwrap_err(), KeystoreError::WrongPassphrase);
}

#[test]
fn the_standard_cost_is_geths() {
    let signer = PrivateKeySigner::random();
    let cost = Cost::STANDARD;
    let keystore = Keystore::encrypt(&signer.to_bytes().0, signer.address(), &passphrase("x"), cost).unwrap();
    let json: serde_json::Value = serde_json::from_str(&keystore.to_text()).unwrap();
    let params = &json["crypto"]["kdfparams"];
    assert_eq!((&params["n"], &params["r"], &params["p"]), (&262_144.into(), &8.into(), &1.into()));
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_panic() {
    for (from, to, expected) in [
        ("\"version\":3", "\"version\":1", "version 1"),
        ("aes-128-ctr", "aes-128-cbc", "cipher"),
        ("83dbcc02d8ccb40e466191a123791e0e", "83db", "iv of 2 bytes"),
        ("d172bf74", "", "ciphertext of 28 bytes"),
        ("2103ac29", "zz03ac29", "nvalid character"),
        ("\"dklen\":32", "\"dklen\":16", "dklen = 16"),
        ("262144", "262143", "n = 262143"),
        ("262144", "0", "n = 0"),
        ("\"p\":8", "\"p\":0", "p = 0"),
        ("\"kdf\":\"scrypt\"", "\"kdf\":\"argon2\"", "argon2"),
        ("\"id\"", "\"address\":\"0x12\",\"id\"", "nvalid"),
        ("{\"crypto\"", "{\"cripto\"", "missing field"),
        ("}", "", "EOF"),
    ] {
        assert!(SCRYPT.contains(from), "{from}");
        let said = Keystore::parse(&SCRYPT.replace(from, to)).unwrap_err();
        assert!(matches!(said, KeystoreError::Damaged(_)), "{said}");
        assert!(said.to_string().contains(expected), "{expected}: {said}");
    }
    for length in 0..SCRYPT.len() {
        assert!(Keystore::parse(&SCRYPT[..length]).is_err());
    }
    let prf = PBKDF2.replace("hmac-sha256", "hmac-sha512");
    assert!(Keystore::parse(&prf).unwrap_err().to_string().contains("hmac-sha512"));
}

#[test]
fn a_file_that_would_take_hours_is_refused_at_once() {
    let too_long = PBKDF2.replace("\"c\":262144", "\"c\":4000000000");
    for (text, expected) in [
        (SCRYPT.replace("262144", "1073741824"), "n = 1073741824"),
        (SCRYPT.replace("\"r\":1", "\"r\":4294967295"), "r = 4294967295"),
        (SCRYPT.replace("\"p\":8", "\"p\":4294967295"), "p = 4294967295"),
        // Few rounds, and 2 GiB for the blocks that they begin with.
        (SCRYPT.replace("262144", "2").replace("\"p\":8", "\"p\":16777216"), "p = 16777216"),
        (too_long, "c = 4000000000"),
    ] {
        let said = Keystore::parse(&text).unwrap_err();
        assert!(matches!(&said, KeystoreError::TooCostly(why) if why.contains(expected)), "{said}");
    }
}
