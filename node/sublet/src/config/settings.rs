//! What of the configuration the engines are told.

use sublet_engine::{buyer::BuyerSettings, provider::ProviderSettings};

use super::{Config, ProviderConfig};

impl Config {
    /// What the provider engine of a node with this section is to do.
    #[must_use]
    pub fn selling(&self, section: &ProviderConfig) -> ProviderSettings {
        ProviderSettings {
            floor: self.market.floor,
            offer_lifetime: self.market.offer_lifetime,
            settle_within: section.settle_within,
            claim_every: section.claim_every,
            claim_at_least: section.claim_at_least,
            backoff: section.backoff,
            discount_percent: section.discount_percent,
            max_offline: section.max_offline,
            keep_disk_for: section.keep_disk_for,
        }
    }

    /// What the buyer engine is to do.
    #[must_use]
    pub fn buying(&self) -> BuyerSettings {
        BuyerSettings {
            floor: self.market.floor,
            give_up_after: self.buyer.give_up_after,
            collect_for: self.buyer.collect_for,
        }
    }
}
