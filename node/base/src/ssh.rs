//! Logging in to this node's machines: by the system's `ssh`, with the key of the home, trusting the
//! host key that the provider handed over and no other.

use std::{ffi::OsString, path::PathBuf};

use alloy_primitives::B256;
use sublet_market::{Access, Manifest};

use crate::home::{Home, HomeError, write_atomic};

/// The program.
pub const PROGRAM: &str = "ssh";
/// What to do when it is missing.
pub const MISSING: &str = "cannot run ssh: install it with `apt-get install openssh-client`";

/// Writes the file with a machine's host key, and returns the arguments up to the command that is to run there.
///
/// # Errors
/// The file cannot be written.
pub fn arguments(home: &Home, lease: B256, access: &Access) -> Result<Vec<OsString>, HomeError> {
    let known_hosts: PathBuf = home.path().join(format!("known_hosts.{lease}"));
    write_atomic(&known_hosts, &known_host(access), 0o600)?;
    let mut known = OsString::from("-oUserKnownHostsFile=");
    known.push(known_hosts);
    let mut key = OsString::from("-i");
    key.push(home.ssh_key());
    let options = [
        "-F/dev/null",
        "-oStrictHostKeyChecking=yes",
        "-oIdentitiesOnly=yes",
        "-oLogLevel=ERROR",
        "-oConnectTimeout=15",
    ];
    let mut arguments: Vec<OsString> = options.map(OsString::from).into();
    arguments.extend([known, key]);
    arguments.push(format!("-p{}", access.port).into());
    arguments.push(format!("{}@{}", access.user, access.host).into());
    Ok(arguments)
}

/// Whether the home's key is among those that the machine was asked to let in.
pub fn may_log_in(home: &Home, manifest: &Manifest) -> bool {
    let Ok(ours) = std::fs::read_to_string(home.ssh_public_key()) else { return false };
    // Type and key; what follows is a comment.
    let words = |line: &str| line.split_ascii_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
    let ours = words(&ours);
    ours.len() == 2 && manifest.ssh_authorized_keys.iter().any(|key| words(key) == ours)
}

/// ssh looks for `host` on its standard port, and for `[host]:port` on any other.
fn known_host(access: &Access) -> String {
    match access.port {
        22 => format!("{} {}\n", access.host, access.host_key),
        port => format!("[{}]:{port} {}\n", access.host, access.host_key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hosts_are_written_as_ssh_looks_them_up() {
        let access = |port| Access {
            user: "root".into(),
            host: "192.0.2.7".into(),
            port,
            host_key: "ssh-ed25519 AAAA".into(),
        };
        assert_eq!(known_host(&access(22)), "192.0.2.7 ssh-ed25519 AAAA\n");
        assert_eq!(known_host(&access(2022)), "[192.0.2.7]:2022 ssh-ed25519 AAAA\n");
    }
}
