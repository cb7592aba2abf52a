//! Opening the listeners, with errors that say what to do.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, TcpListener, UdpSocket},
};

use libp2p::{
    Multiaddr, Swarm, TransportError,
    core::transport::ListenerId,
    multiaddr::Protocol,
    swarm::{NetworkBehaviour, SwarmEvent},
};

use super::P2pError;

/// Starts to listen on all of `addresses`.
pub(super) fn open<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    addresses: &[Multiaddr],
) -> Result<HashSet<ListenerId>, P2pError> {
    addresses
        .iter()
        .map(|address| {
            probe(address).map_err(|error| explain(address, error))?;
            swarm.listen_on(address.clone()).map_err(|error| explain(address, flatten(error)))
        })
        .collect()
}

/// Takes a listener off `waiting` once it has an address.
pub(super) fn note<E>(waiting: &mut HashSet<ListenerId>, event: &SwarmEvent<E>) -> Result<(), P2pError> {
    match event {
        SwarmEvent::NewListenAddr { listener_id, .. } => {
            waiting.remove(listener_id);
            Ok(())
        }
        SwarmEvent::ListenerClosed { listener_id, addresses, reason: Err(error) }
            if waiting.contains(listener_id) =>
        {
            let address = addresses.first().cloned().unwrap_or_else(Multiaddr::empty);
            Err(explain(&address, io::Error::new(error.kind(), error.to_string())))
        }
        _ => Ok(()),
    }
}

/// Binds a plain socket first, for the transports do not tell of a port in use: TCP listeners have SO_REUSEPORT, so
/// a second node of the same user would share the port in silence and half of all connections would reach the wrong
/// one; QUIC hides the system's error.
fn probe(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind((ip, port)).map(drop),
        Some(Protocol::Udp(port)) if port != 0 => UdpSocket::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

fn explain(address: &Multiaddr, error: io::Error) -> P2pError {
    let address = address.clone();
    match error.kind() {
        io::ErrorKind::AddrInUse => P2pError::AddressInUse { address },
        _ => P2pError::Listen { address, source: error },
    }
}

fn flatten(error: TransportError<io::Error>) -> io::Error {
    match error {
        TransportError::MultiaddrNotSupported(_) => io::Error::new(
            io::ErrorKind::Unsupported,
            "no transport for this kind of address (TCP and QUIC are supported)",
        ),
        TransportError::Other(error) => error,
    }
}
