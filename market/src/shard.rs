//! Shards: the parts of the order book that travel apart, so that a peer need not hear the whole world's orders.
//!
//! An order belongs to one shard, which follows from the order alone: that of its region, or the
//! main one, which everybody follows, if it names none or several. Regions are names that makers choose, so
//! they are hashed into a fixed number of shards: nobody can make others follow more of them, and the shards
//! need no discovery.

use std::fmt;

use alloy_primitives::keccak256;

use crate::message::OrderMessage;
use crate::traits::Traits;

/// The trait that says where capacity is, or is wanted.
const REGION: &str = "region=";

/// One part of the order book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    /// How many shards the regions share.
    pub const REGIONS: u8 = 16;
    /// All shards: those of the regions, and the main one.
    pub const COUNT: usize = Self::REGIONS as usize + 1;
    /// The shard of orders of no region, or of several. Everybody follows it.
    pub const MAIN: Self = Self(0);

    /// All shards, the main one first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=Self::REGIONS).map(Self)
    }

    /// The shard of a region, by `keccak256` of its name.
    pub fn of_region(region: &str) -> Self {
        Self((keccak256(region)[31] % Self::REGIONS).saturating_add(1))
    }

    /// The shard of an offer with these traits, or of a bid that wants them.
    pub fn of_traits(traits: &Traits) -> Self {
        region_of(traits).map_or(Self::MAIN, Self::of_region)
    }

    /// The shard of an order.
    pub fn of(message: &OrderMessage) -> Self {
        match message {
            OrderMessage::Offer(offer) => Self::of_traits(&offer.order.traits),
            OrderMessage::Bid { spec, .. } => Self::of_traits(&spec.traits),
        }
    }

    /// Its place in [`Shard::all`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// `main`, or the number of a region's shard, from 0.
impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_sub(1) {
            None => f.pad("main"),
            Some(number) => fmt::Display::fmt(&number, f),
        }
    }
}

/// The regions that the traits name. Bids for any of them may find an offer that has these traits.
pub fn regions_of(traits: &Traits) -> impl Iterator<Item = &str> {
    traits.iter().filter_map(|text| text.strip_prefix(REGION))
}

/// The one region that the traits name.
fn region_of(traits: &Traits) -> Option<&str> {
    let mut regions = regions_of(traits);
    regions.next().filter(|_| regions.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(traits: &[&str]) -> Shard {
        Shard::of_traits(&Traits::new(traits.iter().copied()).unwrap())
    }

    #[test]
    fn an_order_belongs_to_its_region_or_to_everybody() {
        assert_eq!(shard(&[]), Shard::MAIN);
        assert_eq!(shard(&["arch=x86_64", "regional=yes"]), Shard::MAIN);
        assert_eq!(shard(&["arch=x86_64", "region=eu-north-1"]), Shard::of_region("eu-north-1"));
        assert_ne!(shard(&["region=eu-north-1"]), Shard::MAIN);
        let two = shard(&["region=eu-north-1", "region=us-east-1"]);
        assert_eq!(two, Shard::MAIN, "an order is in one place only");
        let traits = Traits::new(["region=us-east-1", "arch=x86_64", "region=eu-north-1"]).unwrap();
        let regions: std::collections::BTreeSet<_> = regions_of(&traits).collect();
        assert_eq!(regions, ["eu-north-1", "us-east-1"].into(), "but bids for each find it");
    }

    #[test]
    fn the_shards_are_what_other_versions_take_them_for() {
        let names: Vec<String> = Shard::all().map(|shard| shard.to_string()).collect();
        assert_eq!(names.len(), Shard::COUNT);
        assert_eq!((names[0].as_str(), names[1].as_str(), names[16].as_str()), ("main", "0", "15"));
        assert!(Shard::all().enumerate().all(|(place, shard)| shard.index() == place));
        // Changing this would split the network.
        let known = ["eu-north-1", "us-east-1", "ap-southeast-2"].map(|r| Shard::of_region(r).to_string());
        assert_eq!(known, ["0", "1", "11"]);
    }

    #[test]
    fn every_shard_has_regions() {
        let used: std::collections::BTreeSet<Shard> =
            (0..500).map(|n| Shard::of_region(&format!("region-{n}"))).collect();
        assert!(used.len() == usize::from(Shard::REGIONS) && !used.contains(&Shard::MAIN));
    }
}
