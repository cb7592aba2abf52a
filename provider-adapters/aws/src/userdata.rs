//! What a new machine is told about its tenant, for cloud-init.
//!
//! A `#cloud-config` is YAML, and JSON is YAML: so whatever a tenant's key line contains, it stays a string.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sublet_adapter::AdapterError;
use zeroize::Zeroizing;

use crate::hostkey::HostKey;

/// EC2's limit before base64.
const MAX_BYTES: usize = 16 * 1024;

/// The user data of a machine, in base64: the tenant's public keys and the machine's own host key, nothing else.
pub(crate) fn user_data(host_key: &HostKey, authorized_keys: &[String]) -> Result<String, AdapterError> {
    let private = host_key.private_pem()?;
    let config = json!({
        "ssh_authorized_keys": authorized_keys,
        "ssh_deletekeys": true,
        "ssh_keys": { "ed25519_private": *private, "ed25519_public": host_key.public_line()? },
        "ssh_pwauth": false,
    });
    let text = Zeroizing::new(format!("#cloud-config\n{config}\n"));
    if text.len() > MAX_BYTES {
        return Err(too_large());
    }
    Ok(STANDARD.encode(text.as_bytes()))
}

/// Whether the keys alone would be too much; the rest is below a kilobyte.
pub(crate) fn check_size(authorized_keys: &[String]) -> Result<(), AdapterError> {
    const REST_BYTES: usize = 1024;
    let keys = json!(authorized_keys).to_string();
    if keys.len() + REST_BYTES > MAX_BYTES { Err(too_large()) } else { Ok(()) }
}

fn too_large() -> AdapterError {
    AdapterError::permanent("the ssh keys do not fit the 16 KiB that EC2 takes", "list fewer ssh keys")
}
