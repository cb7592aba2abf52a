//! Orders and the messages of a trade.

use alloy_primitives::{Address, B256, keccak256};
use sublet_market::{
    Accept, Access, AccessState, Bid, Decline, DeclineCode, Domain, Manifest, Offer, Order, OrderKey,
    OrderMessage, Resources, Rule, Signed, Spec, TradeRequest, TradeResponse, Traits,
    codec::{encode_manifest, encode_order, encode_trade_request, encode_trade_response},
};

/// The market that the seeds are signed for.
pub(crate) fn domain() -> Domain {
    Domain { chain_id: 31_337, market: Address::repeat_byte(1), salt: B256::repeat_byte(2) }
}

fn key() -> OrderKey {
    OrderKey::from_bytes(&[7; 32]).unwrap_or_else(|error| unreachable!("{error}"))
}

fn sign<T: Order>(order: T) -> Signed<T> {
    key().sign(order, &domain())
}

fn traits(count: usize) -> Traits {
    let long = (0..count).map(|n| format!("key-{n:02}={}", "v".repeat(if count > 4 { 57 } else { n + 1 })));
    Traits::new(long).unwrap_or_else(|error| unreachable!("{error}"))
}

fn unit(scale: u32) -> Resources {
    Resources {
        vcpus: scale,
        memory_mib: scale.saturating_mul(256),
        disk_gib: scale,
        gpus: scale / 2,
        disk_iops: scale / 3,
        net_mbps: scale / 4,
    }
}

fn offer(scale: u32, traits: Traits) -> Offer {
    Offer {
        provider: key().address(),
        node: B256::repeat_byte(3),
        unit: unit(scale),
        units: scale,
        price_per_second: u64::from(scale) * 1_000_000,
        bond_seconds: 600.min(scale),
        min_duration: 300,
        max_duration: 86_400,
        activate_within: 300,
        burn: scale.is_multiple_of(2),
        traits,
        series: u64::from(scale) << 20,
        seq: u64::from(scale),
        valid_until: 1_900_000_000,
    }
}

fn spec(scale: u32, traits: Traits, manifest: B256) -> Spec {
    Spec { unit: unit(scale), units: scale, traits, manifest }
}

fn bid(scale: u32, spec: &Spec) -> Bid {
    Bid {
        buyer: key().address(),
        settler: Address::repeat_byte(4),
        spec: spec.hash_struct(),
        node: B256::repeat_byte(5),
        max_rate: u64::from(scale) << 30,
        min_bond_seconds: 60,
        min_points: u64::from(scale),
        duration: 3_600,
        valid_until: 1_900_000_000,
        epoch: scale,
        salt: u64::MAX - u64::from(scale),
    }
}

/// Sizes that integers are encoded in: 1, 3 and 5 bytes.
const SCALES: [(u32, usize); 4] = [(1, 0), (7, 1), (300, 3), (70_000, 32)];

pub(crate) fn orders() -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for (scale, count) in SCALES {
        messages.push(OrderMessage::from(sign(offer(scale, traits(count)))));
        let spec = spec(scale, traits(count), B256::repeat_byte(6));
        messages.push(OrderMessage::Bid { bid: sign(bid(scale, &spec)), spec });
    }
    // Signed by an operator, for a maker of another key.
    let (operated, spec) =
        (Offer { provider: Address::repeat_byte(17), ..offer(7, traits(1)) }, spec(7, traits(1), B256::ZERO));
    messages.push(sign(operated).into());
    let bid = sign(Bid { buyer: Address::repeat_byte(18), ..bid(7, &spec) });
    messages.push(OrderMessage::Bid { bid, spec });
    // A cancel.
    messages.push(sign(Offer { units: 0, ..offer(7, traits(1)) }).into());
    messages.iter().map(encode_order).collect()
}

fn manifest(keys: usize, key_bytes: usize) -> Manifest {
    let line = |n: usize| format!("ssh-ed25519 {}{n:02}", "A".repeat(key_bytes.saturating_sub(14)));
    Manifest {
        salt: B256::repeat_byte(8),
        image: if keys > 1 { "debian-12".repeat(7) } else { "debian-12".into() },
        ssh_authorized_keys: (0..keys).map(line).collect(),
        disk_of: (keys > 1).then_some(B256::repeat_byte(9)),
    }
}

pub(crate) fn manifests() -> Vec<Vec<u8>> {
    [(1, 80), (3, 200), (16, 1_024)]
        .iter()
        .filter_map(|(keys, bytes)| encode_manifest(&manifest(*keys, *bytes)).ok())
        .collect()
}

pub(crate) fn requests() -> Vec<Vec<u8>> {
    let mut requests = vec![TradeRequest::Access { lease: B256::repeat_byte(9) }];
    for ((scale, count), manifest) in SCALES.into_iter().zip(manifests()) {
        let spec = spec(scale, traits(count), keccak256(&manifest));
        let bid = sign(bid(scale, &spec));
        requests.push(TradeRequest::Ask { bid, spec, offer: B256::repeat_byte(10), manifest });
    }
    requests.push(TradeRequest::Console { lease: B256::repeat_byte(9) });
    requests.push(TradeRequest::Quote {
        bid: B256::repeat_byte(11),
        offer: sign(offer(7, traits(1))),
        rate: 7_000_000,
    });
    requests.iter().filter_map(|request| encode_trade_request(request).ok()).collect()
}

pub(crate) fn responses() -> Vec<Vec<u8>> {
    let accept = Accept {
        bid: B256::repeat_byte(11),
        offer: B256::repeat_byte(12),
        provider: key().address(),
        node: B256::repeat_byte(13),
        rate: 1_000_000,
        bond_seconds: 600,
        activate_within: 300,
        max_duration: 86_400,
        burn: true,
        settle_by: 1_900_000_000,
    };
    let access = Access {
        user: "root".into(),
        host: "2001:db8::1".into(),
        port: 2_222,
        host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA+/=".into(),
    };
    let responses = [
        TradeResponse::Accept(sign(accept)),
        TradeResponse::Declined(Decline::new(
            DeclineCode::Rule(Rule::Price),
            "the top rate is below the price",
        )),
        TradeResponse::Declined(Decline::new(DeclineCode::Busy, "\u{e9}".repeat(256))),
        TradeResponse::Declined(Decline::new(DeclineCode::ShuttingDown, "")),
        TradeResponse::Access(AccessState::Pending { state: "boots".into() }),
        TradeResponse::Access(AccessState::Ready(access)),
        TradeResponse::Noted,
        TradeResponse::Console(vec!["login:".into(), "x".repeat(512), String::new()]),
        TradeResponse::Access(AccessState::Gone { reason: "the lease is over".into() }),
    ];
    responses.iter().filter_map(|response| encode_trade_response(response).ok()).collect()
}
