//! Generators of orders that pass their own checks.

use alloy_primitives::{Address, B256};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use sublet_market::{
    Accept, Access, AccessState, Bid, Decline, DeclineCode, Domain, Manifest, Offer, Order, OrderKey,
    OrderMessage, Resources, Signed, Spec, TradeRequest, TradeResponse, Traits,
};

pub(crate) fn domain() -> Domain {
    Domain { chain_id: 1, market: Address::repeat_byte(1), salt: B256::repeat_byte(2) }
}

pub(crate) fn key() -> OrderKey {
    OrderKey::from_bytes(&[7; 32]).unwrap()
}

pub(crate) fn signed<T: Order>(order: T) -> Signed<T> {
    key().sign(order, &domain())
}

/// Signed by an operator, or as if the maker had signed.
fn sent<T: Order>(order: T) -> Signed<T> {
    let operated = order.digest(&domain())[0] & 1 == 1;
    let signed = signed(order);
    Signed { operator: signed.operator.filter(|_| operated), ..signed }
}

pub(crate) fn word() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_filter("not zero", |bytes| *bytes != [0; 32]).prop_map(B256::from)
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_filter("not zero", |bytes| *bytes != [0; 20]).prop_map(Address::from)
}

fn resources() -> impl Strategy<Value = Resources> {
    (1..100_u32, any::<[u16; 5]>()).prop_map(|(vcpus, rest)| {
        let [memory_mib, disk_gib, gpus, disk_iops, net_mbps] = rest.map(u32::from);
        Resources { vcpus, memory_mib, disk_gib, gpus, disk_iops, net_mbps }
    })
}

fn traits() -> impl Strategy<Value = Traits> {
    btree_set("[a-z][a-z0-9._-]{0,20}=[!-~]{1,40}", 0..=32).prop_map(|texts| Traits::new(texts).unwrap())
}

pub(crate) fn offer() -> impl Strategy<Value = Offer> {
    let terms = (1..=u64::MAX, 0..=86_400_u32, 300..=31_622_400_u32, 300..=31_622_400_u32, 1..=1_800_u32);
    let rest = (any::<bool>(), traits(), any::<u64>(), any::<u64>(), any::<u64>());
    (address(), word(), resources(), any::<u32>(), terms, rest).prop_map(
        |(provider, node, unit, units, terms, rest)| {
            let (price_per_second, bond_seconds, one, other, activate_within) = terms;
            let (burn, traits, series, seq, valid_until) = rest;
            Offer {
                provider,
                node,
                unit,
                units,
                price_per_second,
                bond_seconds,
                min_duration: one.min(other),
                max_duration: one.max(other),
                activate_within,
                burn,
                traits,
                series,
                seq,
                valid_until,
            }
        },
    )
}

fn spec() -> impl Strategy<Value = Spec> {
    (resources(), 1..1_000_u32, traits(), word()).prop_map(|(unit, units, traits, manifest)| Spec {
        unit,
        units,
        traits,
        manifest,
    })
}

pub(crate) fn bid() -> impl Strategy<Value = (Bid, Spec)> {
    let terms =
        (1..=u64::MAX, 0..=86_400_u32, any::<u64>(), 300..=31_622_400_u32, any::<u64>(), any::<u32>());
    (address(), address(), word(), spec(), terms, any::<u64>()).prop_map(
        |(buyer, settler, node, spec, terms, salt)| {
            let (max_rate, min_bond_seconds, min_points, duration, valid_until, epoch) = terms;
            let bid = Bid {
                buyer,
                settler,
                spec: spec.hash_struct(),
                node,
                max_rate,
                min_bond_seconds,
                min_points,
                duration,
                valid_until,
                epoch,
                salt,
            };
            (bid, spec)
        },
    )
}

pub(crate) fn accept() -> impl Strategy<Value = Accept> {
    let terms =
        (1..=u64::MAX, 0..=86_400_u32, 1..=1_800_u32, 300..=31_622_400_u32, any::<bool>(), any::<u64>());
    (word(), word(), address(), word(), terms).prop_map(|(bid, offer, provider, node, terms)| {
        let (rate, bond_seconds, activate_within, max_duration, burn, settle_by) = terms;
        Accept {
            bid,
            offer,
            provider,
            node,
            rate,
            bond_seconds,
            activate_within,
            max_duration,
            burn,
            settle_by,
        }
    })
}

pub(crate) fn message() -> impl Strategy<Value = OrderMessage> {
    prop_oneof![
        offer().prop_map(|offer| OrderMessage::Offer(sent(offer))),
        bid().prop_map(|(bid, spec)| OrderMessage::Bid { bid: sent(bid), spec }),
    ]
}

pub(crate) fn ask() -> impl Strategy<Value = TradeRequest> {
    (bid(), word(), vec(any::<u8>(), 0..20_000)).prop_map(|((bid, spec), offer, manifest)| {
        TradeRequest::Ask { bid: sent(bid), spec, offer, manifest }
    })
}

pub(crate) fn request() -> impl Strategy<Value = TradeRequest> {
    prop_oneof![
        ask(),
        word().prop_map(|lease| TradeRequest::Access { lease }),
        word().prop_map(|lease| TradeRequest::Console { lease }),
        (word(), offer(), any::<u64>()).prop_map(|(bid, offer, rate)| TradeRequest::Quote {
            bid,
            offer: signed(offer),
            rate
        }),
    ]
}

pub(crate) fn response() -> impl Strategy<Value = TradeResponse> {
    let codes: Vec<DeclineCode> = DeclineCode::all().collect();
    let access =
        ("[a-z_][a-z0-9_-]{0,31}", "[a-z0-9][a-z0-9.:-]{0,100}", 1..=u16::MAX, "[A-Za-z0-9+/]{20,90}={0,2}");
    prop_oneof![
        accept().prop_map(|accept| TradeResponse::Accept(sent(accept))),
        (proptest::sample::select(codes), any::<String>())
            .prop_map(|(code, detail)| TradeResponse::Declined(Decline::new(code, detail))),
        access.prop_map(|(user, host, port, key)| {
            let host_key = format!("ssh-ed25519 {key}");
            TradeResponse::Access(AccessState::Ready(Access { user, host, port, host_key }))
        }),
        Just(TradeResponse::Noted),
        vec("[ -~]{0,80}", 0..=64).prop_map(TradeResponse::Console),
        "[ -~]{0,512}".prop_map(|state| TradeResponse::Access(AccessState::Pending { state })),
        "[ -~]{0,512}".prop_map(|reason| TradeResponse::Access(AccessState::Gone { reason })),
    ]
}

pub(crate) fn manifest() -> impl Strategy<Value = Manifest> {
    let keys = vec("ssh-ed25519 [A-Za-z0-9+/]{10,200}", 1..=16);
    (word(), "[a-z0-9][a-z0-9.-]{0,63}", keys, proptest::option::of(word())).prop_map(
        |(salt, image, ssh_authorized_keys, disk_of)| Manifest { salt, image, ssh_authorized_keys, disk_of },
    )
}
