//! TCP ports for children of this process and for tests, which are told a number before they bind it.
//!
//! Chosen below the kernel's range for outgoing connections (32768 and above on Linux), so that between the
//! choice and the binding no connection of anybody takes it; and each process begins at a place of its own,
//! so that two that choose at the same time do not choose the same.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

const FIRST: u16 = 20_000;
const COUNT: u32 = 10_000;
/// Spreads the process ids, which follow each other, over the range: a prime near its golden section.
const STRIDE: u32 = 6_173;

/// A port on loopback that is free now, and none that this process was given before.
///
/// # Errors
/// None of the range is free.
pub fn free_port() -> io::Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(STRIDE);
    for _ in 0..COUNT {
        let nth = start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + u16::try_from(nth).unwrap_or_default();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    let range = format!("no port of {FIRST} to {} is free on loopback", u32::from(FIRST) + COUNT - 1);
    Err(io::Error::new(io::ErrorKind::AddrInUse, range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_differ() {
        let ports: std::collections::BTreeSet<u16> = (0..20).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 20);
        assert!(ports.iter().all(|port| (20_000..30_000).contains(port)));
    }
}
