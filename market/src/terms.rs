//! What a provider or a buyer asks for, before anything is signed: one shape for the command line, the local
//! API, the engines and the disk. The signed orders have the same fields, in the order that EIP-712 wants,
//! beside what the engines add.

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::{Offer, Resources, Traits, text_number};

/// What an offer offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferTerms {
    /// What one unit is.
    pub unit: Resources,
    /// How many units there are when nothing is leased, or are left.
    pub units: u32,
    /// Price of one unit, base units a second.
    #[serde(with = "text_number")]
    pub price_per_second: u64,
    /// The bond, in seconds of the rate.
    pub bond_seconds: u32,
    /// Shortest lease, seconds.
    pub min_duration: u32,
    /// Longest lease with its top-ups, seconds.
    pub max_duration: u32,
    /// Seconds from settlement until the machine must run.
    pub activate_within: u32,
    /// Earnings are burned instead of paid out.
    pub burn: bool,
    /// `key=value` facts about the machines.
    pub traits: Traits,
}

/// A version of an offer: what the engine adds to the terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferVersion {
    /// Whose capacity, balance and points stand behind it.
    pub provider: Address,
    /// ed25519 key of the peer to ask.
    pub node: B256,
    /// The maker's own number for this line of offers.
    pub series: u64,
    /// Version within the series.
    pub seq: u64,
    /// Last second at which it counts, Unix time.
    pub valid_until: u64,
}

impl OfferTerms {
    /// The offer to sign, as one version.
    #[must_use]
    pub fn offer(self, version: OfferVersion) -> Offer {
        let OfferVersion { provider, node, series, seq, valid_until } = version;
        let Self {
            unit,
            units,
            price_per_second,
            bond_seconds,
            min_duration,
            max_duration,
            activate_within,
            burn,
            traits,
        } = self;
        Offer {
            provider,
            node,
            unit,
            units,
            price_per_second,
            bond_seconds,
            min_duration,
            max_duration,
            activate_within,
            burn,
            traits,
            series,
            seq,
            valid_until,
        }
    }
}

impl Offer {
    /// What it offers.
    #[must_use]
    pub fn terms(&self) -> OfferTerms {
        OfferTerms {
            unit: self.unit,
            units: self.units,
            price_per_second: self.price_per_second,
            bond_seconds: self.bond_seconds,
            min_duration: self.min_duration,
            max_duration: self.max_duration,
            activate_within: self.activate_within,
            burn: self.burn,
            traits: self.traits.clone(),
        }
    }
}

/// What a bid asks for, with what its machine is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BidTerms {
    /// What one unit must have at least.
    pub unit: Resources,
    /// How many units, in one machine.
    pub units: u32,
    /// `key=value` facts that the offer must have.
    pub traits: Traits,
    /// Top rate for all units, base units a second.
    #[serde(with = "text_number")]
    pub max_rate: u64,
    /// Seconds of the rate that the provider must lock.
    pub min_bond_seconds: u32,
    /// Reputation that the provider must have.
    pub min_points: u64,
    /// Seconds to pay in advance.
    pub duration: u32,
    /// Seconds that the bid stands (at most 600).
    pub valid_for: u32,
    /// Image to boot.
    pub image: String,
    /// OpenSSH public keys that may log in.
    pub ssh_authorized_keys: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> OfferTerms {
        OfferTerms {
            unit: Resources { vcpus: 1, memory_mib: 2, disk_gib: 3, ..Resources::default() },
            units: 4,
            price_per_second: u64::MAX,
            bond_seconds: 5,
            min_duration: 6,
            max_duration: 7,
            activate_within: 8,
            burn: true,
            traits: Traits::new(["region=eu"]).unwrap(),
        }
    }

    #[test]
    fn an_offer_keeps_its_terms() {
        let version = OfferVersion {
            provider: Address::repeat_byte(1),
            node: B256::repeat_byte(2),
            series: 3,
            seq: 4,
            valid_until: 5,
        };
        let offer = terms().offer(version);
        assert_eq!(offer.terms(), terms());
        assert_eq!((offer.provider, offer.node), (version.provider, version.node));
        assert_eq!((offer.series, offer.seq, offer.valid_until), (3, 4, 5));
    }

    #[test]
    fn prices_are_decimal_strings_in_json() {
        let json = serde_json::to_value(terms()).unwrap();
        assert_eq!(json["price_per_second"], "18446744073709551615");
        assert_eq!(json["traits"], serde_json::json!(["region=eu"]));
        assert_eq!(serde_json::from_value::<OfferTerms>(json).unwrap(), terms());
    }
}
