//! Wallet keys under a passphrase, by the commands that people type; what goes wrong is one clear line, and
//! nothing waits for somebody who is not there.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use sublet::devnet::NodeProcess;
use sublet_base::home::Home;
use sublet_tests::{
    command::{Outcome, run, sublet, until},
    sublet_binary,
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::support::instant_chain;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A file that only its owner can read.
    fn secret(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        self.text(name)
    }

    async fn sublet(&self, home: &str, args: &[&str]) -> Outcome {
        sublet(&sublet_binary().unwrap(), &self.path(home), args).await.unwrap()
    }

    async fn with_env(&self, home: &str, args: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let mut command = Command::new(sublet_binary().unwrap());
        command.arg("--home").arg(self.path(home)).args(args).envs(variables.iter().copied());
        run(command).await.unwrap()
    }
}

fn ok(outcome: &Outcome) -> &str {
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    outcome.stdout.trim()
}

/// One error line that says all of `expected`.
fn refused(outcome: &Outcome, expected: &[&str]) {
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let errors: Vec<_> = outcome.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{outcome:?}");
    for text in expected {
        assert!(errors[0].contains(text), "'{text}' is missing in: {}", errors[0]);
    }
}

#[tokio::test]
async fn a_home_under_a_passphrase_runs_with_it_and_not_without() {
    let place = Place::new();
    let anvil = instant_chain().await;
    let pass = place.secret("pass", "correct horse battery\n");
    let rpc = ["--rpc-url", anvil.url()];
    // The environment, for a deployer; the contracts are deployed with its keystore.
    let secret = [("SUBLET_PASSPHRASE", "deployers passphrase")];
    ok(&place.with_env("deployer", &[&["init"], &rpc[..]].concat(), &secret).await);
    assert!(place.path("deployer/keystore.json").is_file() && !place.path("deployer/wallet.key").exists());
    let address = place.sublet("deployer", &["wallet", "address"]).await;
    anvil.set_balance(ok(&address).parse().unwrap(), 10_u128.pow(19)).await.unwrap();
    let out = place.text("deployment.json");
    let deploy = [&["chain", "deploy", "--out", &out], &rpc[..]].concat();
    refused(
        &place.sublet("deployer", &deploy).await,
        &["keystore.json needs its passphrase", "SUBLET_PASSPHRASE"],
    );
    ok(&place.with_env("deployer", &deploy, &secret).await);

    // A file, which init notes in node.toml: the node starts unattended.
    let listen = ["--deployment", &out, "--listen", "/ip4/127.0.0.1/tcp/0", "--passphrase-file", &pass];
    ok(&place.sublet("home", &[&["init"], &rpc[..], &listen].concat()).await);
    let config = fs::read_to_string(place.path("home/node.toml")).unwrap();
    assert!(config.contains(&format!("passphrase_file = \"{pass}\"")), "{config}");
    let home = Home::new(place.path("home"));
    let node = NodeProcess::start("node", &sublet_binary().unwrap(), home.clone()).await.unwrap();
    let address = place.sublet("home", &["wallet", "address"]).await;
    assert_eq!(node.status().await.unwrap().address.to_string(), ok(&address));
    assert!(!node.log_tail().contains("correct horse"));
    node.stop(std::time::Duration::from_secs(20)).await;

    // Wrong, absent, or readable by all: said at once, by a command that nobody sits at.
    fs::write(&pass, "wrong\n").unwrap();
    refused(
        &place.sublet("home", &["node", "run"]).await,
        &["keystore.json does not open with this passphrase"],
    );
    fs::set_permissions(&pass, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&place.sublet("home", &["node", "run"]).await, &["can be read by other users", "chmod 600"]);
    fs::remove_file(&pass).unwrap();
    refused(&place.sublet("home", &["node", "run"]).await, &["cannot read", "pass"]);
    let keystore = place.path("home/keystore.json");
    let half = fs::read_to_string(&keystore).unwrap().split_at(100).0.to_owned();
    fs::write(&keystore, half).unwrap();
    let outcome = place.sublet("home", &["node", "run"]).await;
    refused(
        &outcome,
        &["keystore.json is not a complete Web3 Secret Storage file", "restore it from a backup"],
    );
}

#[tokio::test]
async fn a_plain_key_is_noted_encrypted_and_its_passphrase_changed() {
    let place = Place::new();
    let made = place.sublet("home", &["init"]).await;
    ok(&made);
    assert!(
        made.stderr.contains("wallet.key (mode 0600)") && made.stderr.contains("wallet encrypt"),
        "{made:?}"
    );
    let address = ok(&place.sublet("home", &["wallet", "address"]).await).to_owned();
    refused(&place.sublet("home", &["wallet", "encrypt"]).await, &["a keystore needs a passphrase"]);
    refused(&place.sublet("home", &["wallet", "passphrase"]).await, &["no keystore", "wallet encrypt"]);
    let (one, two) = (place.secret("one", "first one"), place.secret("two", "second one"));
    ok(&place.sublet("home", &["wallet", "encrypt", "--passphrase-file", &one]).await);
    assert!(!place.path("home/wallet.key").exists());
    assert_eq!(ok(&place.sublet("home", &["wallet", "address"]).await), address);

    let change = |old: &str, new: &str| {
        let args = ["wallet", "passphrase", "--passphrase-file", old, "--new-passphrase-file", new];
        args.map(ToOwned::to_owned)
    };
    let before = fs::read(place.path("home/keystore.json")).unwrap();
    let wrong = change(&two, &one);
    let outcome = place.sublet("home", &wrong.each_ref().map(String::as_str)).await;
    refused(&outcome, &["does not open with this passphrase"]);
    assert_eq!(fs::read(place.path("home/keystore.json")).unwrap(), before);
    let right = change(&one, &two);
    let outcome = place.sublet("home", &right.each_ref().map(String::as_str)).await;
    assert!(ok(&outcome).contains(&address), "{outcome:?}");
    let meta = fs::metadata(place.path("home/keystore.json")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    // An independent implementation agrees on both.
    assert!(eth_keystore::decrypt_key(place.path("home/keystore.json"), "first one").is_err());
    let secret = eth_keystore::decrypt_key(place.path("home/keystore.json"), "second one").unwrap();
    let key = alloy::signers::local::PrivateKeySigner::from_slice(&secret).unwrap();
    assert_eq!(key.address().to_string(), address);
}

#[tokio::test]
async fn a_keystore_of_another_program_becomes_the_wallet() {
    let place = Place::new();
    let mut rng = alloy::signers::k256::elliptic_curve::rand_core::OsRng;
    let (secret, _) = eth_keystore::new(place.0.path(), &mut rng, "correct horse", Some("UTC--key")).unwrap();
    let address = alloy::signers::local::PrivateKeySigner::from_slice(&secret).unwrap().address().to_string();
    let file = place.text("UTC--key");
    let init = ["init", "--keystore", &file];
    let secret = [("SUBLET_PASSPHRASE", "correct horse")];
    refused(
        &place.with_env("home", &init, &secret).await,
        &["UTC--key can be read by other users", "chmod 600"],
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    refused(&place.sublet("home", &init).await, &["UTC--key needs its passphrase"]);
    let wrong = [("SUBLET_PASSPHRASE", "battery staple")];
    refused(&place.with_env("home", &init, &wrong).await, &["UTC--key does not open"]);
    assert!(!place.path("home").exists(), "nothing is half made");
    ok(&place.with_env("home", &init, &secret).await);
    assert_eq!(ok(&place.sublet("home", &["wallet", "address"]).await), address);
    assert!(Path::new(&file).exists());
}

/// Waits until what is typed at a terminal is not shown: the prompt is there a moment before.
async fn until_silent(terminal: &Path) {
    until("the terminal still echoes", std::time::Duration::from_secs(30), || async {
        let device = fs::read_to_string(terminal)?;
        let state = Command::new("stty").args(["-F", device.trim(), "-a"]).output().await?.stdout;
        let state = String::from_utf8_lossy(&state).into_owned();
        Ok(state.split_whitespace().any(|flag| flag == "-echo").then_some(()))
    })
    .await
    .unwrap();
}

/// Runs a command on a terminal of its own and gives each prompt of the dialogue its answer.
async fn type_in(place: &Place, args: &str, dialogue: &[(&str, &str)]) -> (Option<i32>, String) {
    use tokio::io::AsyncReadExt as _;
    let home = place.text("home");
    let terminal = place.path("terminal");
    let binary = sublet_binary().unwrap().display().to_string();
    let line = format!("tty >{}; exec {binary} --home {home} {args}", terminal.display());
    let mut command = Command::new("script");
    command.args(["-qefc", &line, "/dev/null"]).env_remove("SUBLET_PASSPHRASE").kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = String::new();
    let mut shown = 0;
    let mut buffer = [0; 1024];
    let talk = async {
        let mut waiting = dialogue.iter().peekable();
        loop {
            if let Some((prompt, answer)) = waiting.peek()
                && let Some(at) = seen[shown..].find(prompt)
            {
                shown += at + prompt.len();
                until_silent(&terminal).await;
                keyboard.write_all(format!("{answer}\r").as_bytes()).await.unwrap();
                waiting.next();
                continue;
            }
            match screen.read(&mut buffer).await {
                Ok(read) if read > 0 => seen.push_str(&String::from_utf8_lossy(&buffer[..read])),
                _ => break,
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), talk).await.expect("no end at the terminal");
    (child.wait().await.unwrap().code(), seen)
}

#[tokio::test]
async fn whoever_sits_at_a_terminal_is_asked_and_nothing_is_echoed() {
    let place = Place::new();
    let dialogue = [("(empty: keep it in a plain file): ", "correct horse"), ("Repeat it: ", "another")];
    let (code, seen) = type_in(&place, "init", &dialogue).await;
    assert!(code == Some(1) && seen.contains("the two passphrases differ"), "{seen}");
    let dialogue =
        [("(empty: keep it in a plain file): ", "correct horse"), ("Repeat it: ", "correct horse")];
    let (code, seen) = type_in(&place, "init", &dialogue).await;
    assert_eq!(code, Some(0), "{seen}");
    assert!(place.path("home/keystore.json").is_file() && !seen.contains("correct horse"), "{seen}");
    // Mistyped once; then the node goes on to what is missing next, its deployment file.
    let prompt = "keystore.json: ";
    let (code, seen) = type_in(&place, "node run", &[(prompt, "wrong"), (prompt, "correct horse")]).await;
    assert!(code == Some(1) && seen.contains("does not open with this passphrase"), "{seen}");
    assert!(seen.contains("deployment.json") && !seen.contains("correct horse"), "{seen}");
}

#[tokio::test]
async fn an_empty_answer_keeps_the_key_in_a_plain_file() {
    let place = Place::new();
    let (code, seen) = type_in(&place, "init", &[("plain file): ", "")]).await;
    assert!(code == Some(0) && seen.contains("wallet encrypt"), "{seen}");
    assert!(place.path("home/wallet.key").is_file());
}
