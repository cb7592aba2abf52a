//! The model: plain arithmetic over what a market is like ([`Market`]) and what was measured ([`Calibration`]).
//!
//! Everything is for one peer. Bytes received and bytes sent are the same on the mean: whatever one sends
//! another receives.

use super::measure::Measured;

/// What the market is like. Defaults are those of a node's configuration, or guesses that are said to be such.
#[derive(Debug, Clone, Copy)]
pub struct Market {
    /// Peers in all.
    pub peers: f64,
    /// Of these, providers (a guess).
    pub providers: f64,
    /// Offers of a provider (a guess).
    pub offers: f64,
    /// Seconds after which an offer is signed anew: half of `offer_lifetime`.
    pub renewal: f64,
    /// Bids of a buyer in an hour (a guess).
    pub bids_per_hour: f64,
    /// Seconds that a bid stands: the longest.
    pub bid_life: f64,
    /// Topics that orders are spread over.
    pub shards: f64,
    /// Shards that the peer follows.
    pub followed: f64,
    /// Connections of the peer.
    pub connections: f64,
    /// Bytes of an order's envelope: an offer with five traits, or a bid with its spec.
    pub envelope: f64,
    /// Seconds between two blocks.
    pub block: f64,
    /// Peers of a topic in the mesh.
    pub mesh: f64,
    /// Orders a second in the followed topics, where it is not made up of the above.
    pub rate: Option<f64>,
}

impl Market {
    /// A market of so many peers on one topic.
    #[must_use]
    pub fn of(peers: f64) -> Self {
        Self {
            peers,
            providers: 0.2,
            offers: 2.0,
            renewal: 300.0,
            bids_per_hour: 1.0,
            bid_life: 600.0,
            shards: 1.0,
            followed: 1.0,
            connections: 50.0,
            envelope: 300.0,
            block: 2.0,
            mesh: Calibration::default().mesh,
            rate: None,
        }
    }

    /// The network that was measured.
    #[must_use]
    pub fn of_measured(measured: &Measured) -> Self {
        // Small numbers of nodes and bytes.
        let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let peers = number(measured.nodes);
        Self {
            connections: peers - 1.0,
            envelope: number(measured.envelope),
            mesh: measured.mesh,
            rate: Some(measured.rate),
            ..Self::of(peers)
        }
    }

    /// The part of all orders that the peer hears.
    #[must_use]
    pub fn share(&self) -> f64 {
        (self.followed / self.shards).min(1.0)
    }

    /// Live offers in the peer's book.
    #[must_use]
    pub fn live_offers(&self) -> f64 {
        self.peers * self.providers * self.offers * self.share()
    }

    /// Bids a second that the peer hears of.
    #[must_use]
    pub fn bids_per_second(&self) -> f64 {
        self.peers * (1.0 - self.providers) * self.bids_per_hour / 3_600.0 * self.share()
    }

    /// Live bids in the peer's book.
    #[must_use]
    pub fn live_bids(&self) -> f64 {
        self.bids_per_second() * self.bid_life
    }

    /// Orders in the peer's book.
    #[must_use]
    pub fn book(&self) -> f64 {
        self.live_offers() + self.live_bids()
    }

    /// Orders a second that the peer hears of.
    #[must_use]
    pub fn orders_per_second(&self) -> f64 {
        self.rate.unwrap_or_else(|| self.live_offers() / self.renewal + self.bids_per_second())
    }
}

/// What was measured, and what is known of the protocols.
#[derive(Debug, Clone, Copy)]
pub struct Calibration {
    /// Peers in a node's mesh.
    pub mesh: f64,
    /// Copies that come over one link of the mesh, 0.5 (one way only) to 1 (both ends send before they hear).
    pub crossing: f64,
    /// Bytes around a gossip message: the topic's name and gossipsub's fields, yamux 12, noise 18.
    pub frame: f64,
    /// Bytes a second that an idle node receives for each connection: pings, identify, Kademlia.
    pub idle_per_connection: f64,
    /// Bytes of IP and TCP headers for each piece on the wire, with half an acknowledgement.
    pub headers: f64,
    /// Seconds of one core for the check of a new order (`make bench`: 11,116 a second) and its way into the
    /// book (28,097).
    pub check: f64,
    /// Seconds of one core for a copy that is known already: assumed, not measured.
    pub copy: f64,
    /// Bytes of the book for an offer (`make bench`, 100,000 of them).
    pub offer: f64,
    /// Bytes of the book for a bid with its spec (likewise).
    pub bid: f64,
    /// Bytes that a connection takes, buffers of libp2p and the kernel's aside: assumed, not measured.
    pub connection: f64,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            mesh: 6.8,
            crossing: 0.85,
            frame: 126.0,
            idle_per_connection: 90.0,
            headers: 78.0,
            check: 1.0 / 11_116.0 + 1.0 / 28_097.0,
            copy: 20e-6,
            offer: 465.0,
            bid: 661.0,
            connection: 200_000.0,
        }
    }
}

/// gossipsub: ids of so many heart beats are told of, each of a second.
const HISTORY_GOSSIP: f64 = 3.0;
/// gossipsub: to at least so many peers outside the mesh…
const GOSSIP_LAZY: f64 = 6.0;
/// …or to this part of them.
const GOSSIP_FACTOR: f64 = 0.25;
/// Bytes of a message id in a list: a hash, its tag and its length.
const ID_BYTES: f64 = 34.0;
/// Bytes of comparing books, for each order that only one side has (decision 12: 0.36 MB for 200), and without any.
const COMPARE_BYTES: f64 = 1_800.0;
const EQUAL_BYTES: f64 = 800.0;
/// Seconds between two comparisons of ours.
const SYNC_INTERVAL: f64 = 60.0;
/// Seconds in which an order has not come everywhere, or is not yet in the set that is compared.
const ON_THE_WAY: f64 = 1.5;
/// Digests that are remembered: for one to two minutes, 65,536 in each of two generations, with the table's
/// free places.
const DIGEST_BYTES: f64 = 64.0;
const MOST_DIGESTS: f64 = 131_072.0;
/// gossipsub remembers ids for 15 s and messages for 8.
const ID_SECONDS: f64 = 15.0;
const MESSAGE_SECONDS: f64 = 8.0;
const ID_ENTRY_BYTES: f64 = 120.0;

impl Calibration {
    /// Copies of one order that a peer receives. Its publisher sends it to everybody it is connected with.
    #[must_use]
    pub fn copies(&self, market: &Market) -> f64 {
        let population = (market.peers * market.share()).max(2.0);
        // Whoever publishes hears it from nobody first.
        let flood = (market.connections / population).min(1.0 - 1.0 / population);
        flood + market.mesh.min(population - 1.0) * self.crossing
    }

    /// Peers outside the mesh that are told of messages at each heart beat.
    fn told(market: &Market) -> f64 {
        let outside = (market.connections - market.mesh).max(0.0);
        (outside * GOSSIP_FACTOR).floor().max(GOSSIP_LAZY).min(outside)
    }

    /// Bytes a second of telling peers outside the mesh what there is (IHAVE): the frame once a heart beat, if there is
    /// anything to tell, and the ids.
    fn telling(&self, market: &Market) -> f64 {
        let ids = market.orders_per_second() * HISTORY_GOSSIP;
        let anything = 1.0 - (-ids).exp();
        Self::told(market) * (self.frame * anything + ids * ID_BYTES)
    }

    /// Bytes of TCP payload that a peer receives for one order in all.
    #[must_use]
    pub fn bytes_per_order(&self, market: &Market) -> f64 {
        self.copies(market) * (market.envelope + self.frame)
            + self.telling(market) / market.orders_per_second()
    }

    /// What one peer needs.
    #[must_use]
    pub fn needs(&self, market: &Market) -> Needs {
        let orders = market.orders_per_second();
        let copies = orders * self.copies(market) * (market.envelope + self.frame);
        let telling = self.telling(market);
        let differing = orders * ON_THE_WAY * 2.0;
        // We ask once in an interval, and are asked as often.
        let sync = 2.0 * (EQUAL_BYTES * market.followed + differing * COMPARE_BYTES) / SYNC_INTERVAL;
        let idle = self.idle_per_connection * market.connections;
        let pieces = orders * self.copies(market) + Self::told(market);
        let digests = (orders * 120.0).min(MOST_DIGESTS) * DIGEST_BYTES;
        let gossip = orders * (ID_SECONDS * ID_ENTRY_BYTES + MESSAGE_SECONDS * market.envelope);
        Needs {
            orders,
            book: market.book(),
            copies,
            telling,
            sync,
            idle,
            headers: pieces * self.headers,
            core: orders * (self.check + self.copies(market) * self.copy),
            book_bytes: market.live_offers() * self.offer + market.live_bids() * self.bid,
            other_bytes: digests + gossip + market.connections * self.connection,
            first_bytes: market.book() * (market.envelope + ID_BYTES),
            first_core: market.book() * self.check,
            rpc: 2.0 + 4.0 / market.block + market.bids_per_second(),
            first_rpc: market.peers * market.providers * market.share(),
        }
    }
}

/// What one peer needs. Bytes a second are received, and as many are sent.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// Orders a second that it hears of.
    pub orders: f64,
    /// Orders in its book.
    pub book: f64,
    /// Bytes a second of copies of orders.
    pub copies: f64,
    /// Bytes a second of IHAVE.
    pub telling: f64,
    /// Bytes a second of comparing books.
    pub sync: f64,
    /// Bytes a second of being there.
    pub idle: f64,
    /// Bytes a second of IP and TCP headers.
    pub headers: f64,
    /// The part of one core that is busy.
    pub core: f64,
    /// Bytes of the book.
    pub book_bytes: f64,
    /// Bytes of digests, gossip and connections.
    pub other_bytes: f64,
    /// Bytes of the first fetch of the book.
    pub first_bytes: f64,
    /// Seconds of one core for it.
    pub first_core: f64,
    /// Requests a second to the RPC.
    pub rpc: f64,
    /// Requests to the RPC at the start: every provider's account.
    pub first_rpc: f64,
}

impl Needs {
    /// Bits a second on the wire, each way.
    #[must_use]
    pub fn bits_per_second(&self) -> f64 {
        (self.copies + self.telling + self.sync + self.idle + self.headers) * 8.0
    }
}
