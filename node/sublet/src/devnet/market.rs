//! The small market that the demo and `sublet devnet` show: three providers at different prices, one buyer.
//!
//! The cheapest is too small for the demo's bid. The next fits and declines, because its host does not have the
//! image that the bid's private manifest names. The dearest takes it.

use std::path::{Path, PathBuf};

use sublet_api::types::{Amount, MoveTokens, OfferInfo, PostOffer, Transaction};
use sublet_market::{OfferTerms, Resources, Traits, amount::BASE_UNITS_PER_CTK};

use super::{Devnet, DevnetError, NodeProcess, process::ProcessError};
use crate::setup::{Backend, ProviderSetup};

/// The image that the demo boots; a folder of the images directory.
pub const IMAGE: &str = "debian-guest";
/// 0.0001 CTK, in base units.
const TENTH_OF_MILLI: u64 = 100_000_000_000_000;

/// What a provider of the small market sells.
#[derive(Debug, Clone)]
pub struct Seller {
    /// The node's name.
    pub name: &'static str,
    /// Memory of its one unit, MiB.
    pub memory_mib: u32,
    /// Base units a second.
    pub price_per_second: u64,
    /// The only image that its host has, if not all.
    pub only_image: Option<&'static str>,
}

/// The three providers, cheapest first.
pub const SELLERS: [Seller; 3] = [
    Seller { name: "ada", memory_mib: 128, price_per_second: 10 * TENTH_OF_MILLI, only_image: None },
    Seller {
        name: "ben",
        memory_mib: 256,
        price_per_second: 20 * TENTH_OF_MILLI,
        only_image: Some("debian-other"),
    },
    Seller { name: "cleo", memory_mib: 256, price_per_second: 25 * TENTH_OF_MILLI, only_image: None },
];

/// What each provider puts into the Market for its bonds.
pub const SELLER_FUNDS: u128 = 20 * BASE_UNITS_PER_CTK;
/// What the buyer starts with.
pub const BUYER_FUNDS: u128 = 50 * BASE_UNITS_PER_CTK;

/// Starts a provider, funds it, and posts its offer. Also returns the transactions of its deposit.
pub async fn add_seller(
    net: &mut Devnet,
    seller: &Seller,
    images: &Path,
) -> Result<(NodeProcess, Vec<Transaction>), DevnetError> {
    let images_dir = match seller.only_image {
        Some(name) => images_with_one(net, seller.name, name, images)?,
        None => images.to_path_buf(),
    };
    let capacity = Resources { vcpus: 1, memory_mib: 512, disk_gib: 4, ..Resources::default() };
    let setup = ProviderSetup {
        claim_every: "30s".into(),
        backend: Backend::Hypervisor { images_dir, capacity, accel: "tcg".into() },
    };
    let node = net.add_node(seller.name, SELLER_FUNDS, Some(setup)).await?;
    let deposited = deposit(&node, SELLER_FUNDS).await?;
    let unit = Resources { vcpus: 1, memory_mib: seller.memory_mib, disk_gib: 1, ..Resources::default() };
    let offer = offer_of(unit, seller.price_per_second, false);
    let _: OfferInfo = node
        .client()
        .map_err(ProcessError::Api)?
        .post("/v1/offers", &offer)
        .await
        .map_err(ProcessError::Api)?;
    Ok((node, deposited))
}

/// An offer of one unit with the market's usual terms.
pub fn offer_of(unit: Resources, price_per_second: u64, burn: bool) -> PostOffer {
    let terms = OfferTerms {
        unit,
        units: 1,
        price_per_second,
        bond_seconds: 600,
        min_duration: 300,
        max_duration: 30 * 86_400,
        activate_within: 300,
        burn,
        traits: Traits::default(),
    };
    PostOffer { terms }
}

/// Moves tokens of a node's wallet into the Market.
pub async fn deposit(node: &NodeProcess, amount: u128) -> Result<Vec<Transaction>, DevnetError> {
    let body = MoveTokens { amount: Amount(amount) };
    let client = node.client().map_err(ProcessError::Api)?;
    Ok(client.post("/v1/wallet/deposit", &body).await.map_err(ProcessError::Api)?)
}

/// An images folder in which the demo's image has another name.
fn images_with_one(net: &Devnet, node: &str, image: &str, images: &Path) -> Result<PathBuf, DevnetError> {
    let dir = net.dir().join(format!("images-{node}"));
    let made = std::fs::create_dir_all(&dir)
        .and_then(|()| std::os::unix::fs::symlink(images.join(IMAGE), dir.join(image)));
    made.map_err(|source| DevnetError::Io { path: dir.clone(), source })?;
    Ok(dir)
}

/// Where the guest images are: `SUBLET_IMAGES`, or the cache folder that `make` builds them in.
pub fn default_images() -> PathBuf {
    if let Some(named) = std::env::var_os("SUBLET_IMAGES") {
        return named.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.unwrap_or_else(|| ".cache".into()).join("sublet/images")
}
