//! Texts from outside: files of other wallets and of the deployer, bodies of the local API, consoles.

use serde::{Serialize, de::DeserializeOwned};
use sublet_adapter::support::console_tail;
use sublet_api::types::{ErrorBody, LeaseInfo, MoveTokens, PostBid, PostOffer, Status, TopUp};
use sublet_chain::Deployment;
use sublet_keys::keystore::Keystore;

/// A deployment file.
pub(crate) fn deployment(bytes: &[u8]) -> bool {
    same_again::<Deployment>(bytes)
}

/// A keystore of another wallet. Opening one is left to tests of its own: it may rightly take seconds.
pub(crate) fn keystore(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match Keystore::parse(text) {
        Ok(keystore) => {
            let again = Keystore::parse(&keystore.to_text()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(again, keystore);
            true
        }
        Err(error) => {
            super::assert_plain(&error.to_string(), 4_096);
            false
        }
    }
}

/// The first byte says which body; the rest is its JSON.
pub(crate) fn api_body(bytes: &[u8]) -> bool {
    let Some((&which, json)) = bytes.split_first() else { return false };
    match which % 7 {
        0 => same_again::<PostBid>(json),
        1 => same_again::<PostOffer>(json),
        2 => same_again::<TopUp>(json),
        3 => same_again::<MoveTokens>(json),
        4 => same_again::<ErrorBody>(json),
        5 => same_again::<Status>(json),
        _ => same_again::<LeaseInfo>(json),
    }
}

/// What is read is written as something that reads as the same.
fn same_again<T: Serialize + DeserializeOwned>(json: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<T>(json) else { return false };
    let write = |value: &T| serde_json::to_string(value).unwrap_or_else(|error| panic!("no JSON: {error}"));
    let text = write(&value);
    let read: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(write(&read), text);
    true
}

/// A guest's console: the first byte is how many lines are wanted.
pub(crate) fn console(bytes: &[u8]) -> bool {
    let Some((&wanted, text)) = bytes.split_first() else { return false };
    let lines = console_tail(text, usize::from(wanted));
    assert!(lines.len() <= usize::from(wanted));
    for line in &lines {
        super::assert_plain(line, 4_000);
        assert!(!line.is_empty());
    }
    true
}
