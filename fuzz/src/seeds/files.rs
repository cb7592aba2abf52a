//! Files and bodies as other programs write them.

use super::after;

pub(crate) fn deployments() -> Vec<Vec<u8>> {
    let word = |byte: &str| format!("0x{}", byte.repeat(32));
    let text = format!(
        r#"{{"chain_id":31337,"token":"0x{}","market":"0x{}","salt":"{}","block":4,"params":{{"fee_bps":100,"hold":600,"notice":60,"half_life_days":90}},"code_hashes":{{"token":"{}","market":"{}"}}}}"#,
        "11".repeat(20),
        "22".repeat(20),
        word("33"),
        word("44"),
        word("55")
    );
    vec![text.into_bytes()]
}

pub(crate) fn keystores() -> Vec<Vec<u8>> {
    // The two files of the Web3 Secret Storage Definition.
    let crypto = |kdf: &str, mac: &str, text: &str, iv: &str| {
        format!(
            r#"{{"crypto":{{"cipher":"aes-128-ctr","cipherparams":{{"iv":"{iv}"}},"ciphertext":"{text}",{kdf},"mac":"{mac}"}},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}}"#
        )
    };
    let pbkdf2 = crypto(
        r#""kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"}"#,
        "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
        "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "6087dab2f9fdbbfaddc31a909735c1e6",
    );
    let scrypt = crypto(
        r#""kdf":"scrypt","kdfparams":{"dklen":32,"n":262144,"p":8,"r":1,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"}"#,
        "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
        "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
        "83dbcc02d8ccb40e466191a123791e0e",
    );
    let with_address = scrypt.replacen('{', r#"{"address":"008aeeda4d805471df9b2a5b0f38a0c3bcba786b","#, 1);
    let old_name = scrypt.replace("\"crypto\"", "\"Crypto\"");
    let costly = scrypt.replace("262144", "4294967296");
    [pbkdf2, scrypt, with_address, old_name, costly].into_iter().map(String::into_bytes).collect()
}

pub(crate) fn api_bodies() -> Vec<Vec<u8>> {
    let bid = r#"{"unit":{"vcpus":1,"memory_mib":256,"disk_gib":1,"gpus":0,"disk_iops":0,"net_mbps":0},"units":1,"traits":["arch=x86_64"],"max_rate":"2500000000000000","min_bond_seconds":60,"min_points":0,"duration":3600,"valid_for":300,"image":"debian-12","ssh_authorized_keys":["ssh-ed25519 AAAA me"],"top_up_budget":"0","on_failure":"rebid"}"#;
    let offer = r#"{"unit":{"vcpus":1,"memory_mib":256,"disk_gib":1,"gpus":0,"disk_iops":0,"net_mbps":0},"units":4,"price_per_second":"1000000","bond_seconds":600,"min_duration":300,"max_duration":86400,"activate_within":300,"burn":false,"traits":[]}"#;
    let status = format!(
        r#"{{"version":"0.1.0","address":"0x{a}","node":"0x{w}","peer_id":"12D3KooW","listen":["/ip4/127.0.0.1/tcp/1"],"peers":[],"chain_id":31337,"chain_time":1900000000,"watched_until":1900000000,"market":"0x{a}","token":"0x{a}","provider":true,"book":{{"offers":1,"bids":0}},"gossip":{{"received":3}}}}"#,
        a = "11".repeat(20),
        w = "22".repeat(32)
    );
    let lease = format!(
        r#"{{"id":"0x{w}","role":"buyer","state":"active","buyer":"0x{a}","provider":"0x{a}","rate":"1000000","started_at":1,"paid_until":2,"funded_until":3,"metered_seconds":4,"metered":"5","bond":"6","ended":null,"provider_phase":null,"instance":null,"access":{{"user":"root","host":"::1","port":22,"host_key":"ssh-ed25519 AAAA"}},"trouble":null,"console":["login:"],"events":[]}}"#,
        a = "11".repeat(20),
        w = "22".repeat(32)
    );
    vec![
        after(0, bid.as_bytes()),
        after(1, offer.as_bytes()),
        after(2, br#"{"seconds":3600}"#),
        after(3, br#"{"amount":"1000000000000000000"}"#),
        after(4, br#"{"error":"no such path: see docs/api.md","code":"not_found"}"#),
        after(5, status.as_bytes()),
        after(6, lease.as_bytes()),
    ]
}

pub(crate) fn consoles() -> Vec<Vec<u8>> {
    let boot =
        b"[    0.000000] Linux version 6.1.0\r\n\x1b[2J\x1b[31mlogin:\x07\n\n\xc2\x9bth\tree\n\xff\xfe\n";
    vec![after(100, boot), after(2, &b"x".repeat(2_000)), after(0, boot), after(255, &b"\n\r\n".repeat(30))]
}
