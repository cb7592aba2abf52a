//! Frames, comparisons of books, addresses.

use libp2p::{Multiaddr, PeerId, identity::Keypair};
use sublet_p2p::fuzzing;

use super::{after, market};

/// A peer that is the same on every run.
pub(crate) fn met() -> (PeerId, Vec<Multiaddr>) {
    let key = Keypair::ed25519_from_bytes([14; 32]).unwrap_or_else(|error| unreachable!("{error}"));
    (key.public().to_peer_id(), vec![parse("/ip4/192.0.2.7/tcp/4001")])
}

fn parse(text: &str) -> Multiaddr {
    text.parse().unwrap_or_else(|error| unreachable!("{error}"))
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), message].concat()
}

/// Even control bytes are requests, odd ones answers; the rest of the byte is how much comes at a time.
pub(crate) fn trade_frames() -> Vec<Vec<u8>> {
    let requests = market::requests().into_iter().map(|message| after(4, &frame(&message)));
    let responses = market::responses().into_iter().map(|message| after(1, &frame(&message)));
    // A length that is not there, and one above the limit.
    let claims = [0xffff_u32, 65_537].map(|length| after(0, &length.to_be_bytes()));
    requests.chain(responses).chain(claims).collect()
}

pub(crate) fn sync_frames() -> Vec<Vec<u8>> {
    let (book, digest) = ([15; 32], [16; 32]);
    let mut frames = Vec::new();
    for (query, reply) in fuzzing::conversation() {
        frames.push(after(2, &frame(&[&[1][..], &book, &query].concat())));
        frames.push(after(3, &frame(&[&[1][..], &reply].concat())));
    }
    for digests in [1, 3, 512] {
        frames.push(after(4, &frame(&[&[2][..], &book, &digest.repeat(digests)].concat())));
    }
    let envelopes: Vec<u8> = market::orders()
        .iter()
        .flat_map(|order| {
            [&u16::try_from(order.len()).unwrap_or_default().to_be_bytes(), &order[..]].concat()
        })
        .collect();
    for message in
        [&[2, 0, 9][..], &envelopes].concat().chunks(usize::MAX).chain([&[3, 0][..], &[3, 1], &[2, 0, 1]])
    {
        frames.push(after(5, &frame(message)));
    }
    frames
}

pub(crate) fn queries() -> Vec<Vec<u8>> {
    fuzzing::conversation().into_iter().map(|(query, _)| query).collect()
}

/// A whole comparison, each of its answers alone, and the answers in the wrong order.
pub(crate) fn replies() -> Vec<Vec<u8>> {
    let piece = |reply: &[u8]| {
        let length = u16::try_from(reply.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes(), reply].concat()
    };
    let mut pieces: Vec<Vec<u8>> = fuzzing::conversation().iter().map(|(_, reply)| piece(reply)).collect();
    let whole = pieces.concat();
    pieces.reverse();
    let reversed = pieces.concat();
    pieces.extend([whole, reversed]);
    pieces
}

pub(crate) fn addresses() -> Vec<Vec<u8>> {
    let (peer, _) = met();
    let lists: [&[&str]; 4] = [
        &["/ip4/192.0.2.7/tcp/4001", "/ip4/127.0.0.1/tcp/1", "/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/1"],
        &["/ip4/127.0.0.1/tcp/1", "/ip6/::1/udp/4001/quic-v1", "/dns4/node.example.org/tcp/443/wss"],
        &["/dnsaddr/example.org", "/unix/%2Ftmp%2Fs", "/memory/7"],
        &["/ip6/2001:db8::1/tcp/4001"],
    ];
    let mut seeds = Vec::new();
    for list in lists {
        let mut said: Vec<Multiaddr> = list.iter().map(|text| parse(text)).collect();
        said.push(parse(&format!("/ip4/198.51.100.1/tcp/4001/p2p/{peer}")));
        let pieces = said.iter().flat_map(|address| {
            let bytes = address.to_vec();
            [vec![u8::try_from(bytes.len()).unwrap_or_default()], bytes].concat()
        });
        // An agent string after a length that there is not.
        seeds.push(pieces.chain(*b"\xffsublet/0.1.0 \x1b[31m").collect());
    }
    seeds
}

pub(crate) fn peer_files() -> Vec<Vec<u8>> {
    let (peer, addresses) = met();
    let empty = fuzzing::peers("[]", 8, peer, addresses.clone());
    let one = r#"[{"peer":"12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5","addresses":["/ip4/192.0.2.9/tcp/4001","/ip6/::1/udp/1/quic-v1"],"seen":1900000000}]"#;
    let two = fuzzing::peers(one, 8, peer, addresses);
    [Some("[]".to_owned()), Some(one.to_owned()), empty, two]
        .into_iter()
        .flatten()
        .map(String::into_bytes)
        .collect()
}
