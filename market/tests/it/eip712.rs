//! The hashes of orders against an independent implementation (alloy's `sol!` structs), and against the fixed
//! vector that the contracts' tests read as well. `SUBLET_WRITE_VECTORS=1` regenerates the vector.

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{Eip712Domain, SolStruct};
use serde_json::{Value, json};
use sublet_market::orders::{ACCEPT_TYPE, BID_TYPE, OFFER_TYPE, RESOURCES_TYPE, SPEC_TYPE};
use sublet_market::{Accept, Bid, Domain, Offer, Order, OrderKey, Resources, Spec, Traits};

mod sol {
    alloy_sol_types::sol! {
        struct Resources { uint32 vcpus; uint32 memoryMib; uint32 diskGib; uint32 gpus; uint32 diskIops; uint32 netMbps; }
        struct Offer {
            address provider; bytes32 node; Resources unit; uint32 units; uint64 pricePerSecond; uint32 bondSeconds;
            uint32 minDuration; uint32 maxDuration; uint32 activateWithin; bool burn; string[] traits; uint64 series;
            uint64 seq; uint64 validUntil;
        }
        struct Spec { Resources unit; uint32 units; string[] traits; bytes32 manifest; }
        struct Bid {
            address buyer; address settler; bytes32 spec; bytes32 node; uint64 maxRate; uint32 minBondSeconds;
            uint64 minPoints; uint32 duration; uint64 validUntil; uint32 epoch; uint64 salt;
        }
        struct Accept {
            bytes32 bid; bytes32 offer; address provider; bytes32 node; uint64 rate; uint32 bondSeconds;
            uint32 activateWithin; uint32 maxDuration; bool burn; uint64 settleBy;
        }
    }
}

const VECTOR_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/eip712.json");
const BUYER_KEY: u64 = 0xA11CE;
const PROVIDER_KEY: u64 = 0xB0B;

fn domain() -> Domain {
    Domain { chain_id: 31_337, market: Address::repeat_byte(0x11), salt: B256::repeat_byte(0x22) }
}

fn key(number: u64) -> OrderKey {
    OrderKey::from_bytes(&B256::from(U256::from(number)).0).unwrap()
}

fn unit() -> Resources {
    Resources { vcpus: 2, memory_mib: 4_096, disk_gib: 20, gpus: 0, disk_iops: 100, net_mbps: 50 }
}

fn spec() -> Spec {
    let traits = Traits::new(["region=eu-north-1", "arch=x86_64"]).unwrap();
    Spec { unit: unit(), units: 3, traits, manifest: B256::repeat_byte(0x33) }
}

fn offer() -> Offer {
    Offer {
        provider: key(PROVIDER_KEY).address(),
        node: B256::repeat_byte(0x55),
        unit: unit(),
        units: 10,
        price_per_second: 1_000_000_000,
        bond_seconds: 600,
        min_duration: 300,
        max_duration: 86_400,
        activate_within: 600,
        burn: true,
        traits: Traits::new(["adapter=hypervisor", "arch=x86_64", "region=eu-north-1"]).unwrap(),
        series: 1,
        seq: 2,
        valid_until: 1_800_003_600,
    }
}

fn bid() -> Bid {
    let buyer = key(BUYER_KEY).address();
    Bid {
        buyer,
        settler: buyer,
        spec: spec().hash_struct(),
        node: B256::repeat_byte(0x44),
        max_rate: 4_000_000_000,
        min_bond_seconds: 300,
        min_points: 0,
        duration: 3_600,
        valid_until: 1_800_000_600,
        epoch: 0,
        salt: 7,
    }
}

fn accept() -> Accept {
    Accept {
        bid: bid().digest(&domain()),
        offer: offer().digest(&domain()),
        provider: key(PROVIDER_KEY).address(),
        node: B256::repeat_byte(0x55),
        rate: 3_000_000_000,
        bond_seconds: 600,
        activate_within: 600,
        max_duration: 86_400,
        burn: true,
        settle_by: 1_800_000_300,
    }
}

fn sol_domain() -> Eip712Domain {
    let Domain { chain_id, market, salt } = domain();
    Eip712Domain::new(
        Some("Sublet".into()),
        Some("1".into()),
        Some(U256::from(chain_id)),
        Some(market),
        Some(salt),
    )
}

fn sol_resources(r: Resources) -> sol::Resources {
    sol::Resources {
        vcpus: r.vcpus,
        memoryMib: r.memory_mib,
        diskGib: r.disk_gib,
        gpus: r.gpus,
        diskIops: r.disk_iops,
        netMbps: r.net_mbps,
    }
}

fn texts(traits: &Traits) -> Vec<String> {
    traits.iter().map(str::to_owned).collect()
}

fn sol_offer(o: &Offer) -> sol::Offer {
    sol::Offer {
        provider: o.provider,
        node: o.node,
        unit: sol_resources(o.unit),
        units: o.units,
        pricePerSecond: o.price_per_second,
        bondSeconds: o.bond_seconds,
        minDuration: o.min_duration,
        maxDuration: o.max_duration,
        activateWithin: o.activate_within,
        burn: o.burn,
        traits: texts(&o.traits),
        series: o.series,
        seq: o.seq,
        validUntil: o.valid_until,
    }
}

fn sol_spec(s: &Spec) -> sol::Spec {
    sol::Spec { unit: sol_resources(s.unit), units: s.units, traits: texts(&s.traits), manifest: s.manifest }
}

fn sol_bid(b: &Bid) -> sol::Bid {
    sol::Bid {
        buyer: b.buyer,
        settler: b.settler,
        spec: b.spec,
        node: b.node,
        maxRate: b.max_rate,
        minBondSeconds: b.min_bond_seconds,
        minPoints: b.min_points,
        duration: b.duration,
        validUntil: b.valid_until,
        epoch: b.epoch,
        salt: b.salt,
    }
}

fn sol_accept(a: &Accept) -> sol::Accept {
    sol::Accept {
        bid: a.bid,
        offer: a.offer,
        provider: a.provider,
        node: a.node,
        rate: a.rate,
        bondSeconds: a.bond_seconds,
        activateWithin: a.activate_within,
        maxDuration: a.max_duration,
        burn: a.burn,
        settleBy: a.settle_by,
    }
}

/// The vector, computed here: the contracts' tests read `testdata/eip712.json`, which must be this.
fn vector() -> Value {
    let (offer, spec, bid, accept) = (offer(), spec(), bid(), accept());
    let private_key = |number: u64| B256::from(U256::from(number));
    json!({
        "description": "Fixed EIP-712 vector: market/tests/it/eip712.rs computes it, the contracts' tests read it as well.",
        "domain": {
            "name": "Sublet", "version": "1", "chainId": domain().chain_id, "verifyingContract": domain().market,
            "salt": domain().salt, "separator": domain().separator(),
        },
        "types": {
            "resources": RESOURCES_TYPE, "offer": format!("{OFFER_TYPE}{RESOURCES_TYPE}"),
            "spec": format!("{SPEC_TYPE}{RESOURCES_TYPE}"), "bid": BID_TYPE, "accept": ACCEPT_TYPE,
        },
        "typeHashes": { "bid": keccak256(BID_TYPE), "accept": keccak256(ACCEPT_TYPE) },
        "buyer": { "privateKey": private_key(BUYER_KEY), "address": bid.buyer },
        "provider": { "privateKey": private_key(PROVIDER_KEY), "address": accept.provider },
        "spec": {
            "unit": spec.unit, "units": spec.units, "traits": spec.traits, "manifest": spec.manifest,
            "hashStruct": spec.hash_struct(),
        },
        "offer": { "hashStruct": offer.hash_struct(), "digest": offer.digest(&domain()) },
        "bid": {
            "buyer": bid.buyer, "settler": bid.settler, "spec": bid.spec, "node": bid.node, "maxRate": bid.max_rate,
            "minBondSeconds": bid.min_bond_seconds, "minPoints": bid.min_points, "duration": bid.duration,
            "validUntil": bid.valid_until, "epoch": bid.epoch, "salt": bid.salt,
            "hashStruct": bid.hash_struct(), "digest": bid.digest(&domain()),
            "signature": key(BUYER_KEY).sign(bid.clone(), &domain()).signature,
        },
        "accept": {
            "bid": accept.bid, "offer": accept.offer, "provider": accept.provider, "node": accept.node,
            "rate": accept.rate, "bondSeconds": accept.bond_seconds, "activateWithin": accept.activate_within,
            "maxDuration": accept.max_duration, "burn": accept.burn, "settleBy": accept.settle_by,
            "hashStruct": accept.hash_struct(), "digest": accept.digest(&domain()),
            "signature": key(PROVIDER_KEY).sign(accept.clone(), &domain()).signature,
        },
    })
}

#[test]
fn hashes_agree_with_alloy() {
    let sol_domain = sol_domain();
    assert_eq!(domain().separator(), sol_domain.separator());
    assert_eq!(unit().hash_struct(), sol_resources(unit()).eip712_hash_struct());
    assert_eq!(spec().hash_struct(), sol_spec(&spec()).eip712_hash_struct());
    assert_eq!(offer().digest(&domain()), sol_offer(&offer()).eip712_signing_hash(&sol_domain));
    assert_eq!(bid().digest(&domain()), sol_bid(&bid()).eip712_signing_hash(&sol_domain));
    assert_eq!(accept().digest(&domain()), sol_accept(&accept()).eip712_signing_hash(&sol_domain));
    let bare = Offer { traits: Traits::default(), burn: false, ..offer() };
    assert_eq!(bare.hash_struct(), sol_offer(&bare).eip712_hash_struct());
}

#[test]
fn type_strings_agree_with_alloy() {
    assert_eq!(BID_TYPE, sol::Bid::eip712_encode_type());
    assert_eq!(ACCEPT_TYPE, sol::Accept::eip712_encode_type());
    assert_eq!([OFFER_TYPE, RESOURCES_TYPE].concat(), sol::Offer::eip712_encode_type());
    assert_eq!([SPEC_TYPE, RESOURCES_TYPE].concat(), sol::Spec::eip712_encode_type());
}

#[test]
fn the_vector_file_is_what_this_code_computes() {
    let text = format!("{:#}\n", vector());
    if std::env::var_os("SUBLET_WRITE_VECTORS").is_some() {
        std::fs::write(VECTOR_PATH, &text).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(VECTOR_PATH).unwrap(),
        text,
        "run with SUBLET_WRITE_VECTORS=1 to write it anew"
    );
}

#[test]
fn signatures_recover_to_their_maker() {
    assert_eq!(key(BUYER_KEY).sign(bid(), &domain()).signer(&domain()), Ok(bid().buyer));
    assert_eq!(key(PROVIDER_KEY).sign(accept(), &domain()).signer(&domain()), Ok(accept().provider));
    let elsewhere = Domain { salt: B256::ZERO, ..domain() };
    assert_ne!(key(BUYER_KEY).sign(bid(), &domain()).signer(&elsewhere), Ok(bid().buyer));
}

#[test]
fn the_orders_of_the_vector_fit() {
    offer().check().unwrap();
    spec().check().unwrap();
    bid().check().unwrap();
    let (bid_digest, offer_digest) = (accept().bid, accept().offer);
    sublet_market::check_accept(
        &bid(),
        &spec(),
        &offer(),
        bid_digest,
        offer_digest,
        &accept(),
        1_800_000_000,
    )
    .unwrap();
}
