//! The tables of `docs/scale.md`, between comments that name them.

use anyhow::Context as _;

use super::model::{Calibration, Market, Needs};

/// Sizes of the market.
const PEERS: [f64; 3] = [1_000.0, 10_000.0, 100_000.0];
/// Numbers of topics.
const SHARDS: [f64; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0];
/// What is comfortable on a line of 10 Mbit/s, each way: a tenth.
const COMFORTABLE: f64 = 1e6;
/// Numbers of connections: few, the model's, and the most that a node takes by default.
const CONNECTIONS: [f64; 3] = [20.0, 50.0, 256.0];

/// All tables, by name.
#[must_use]
pub fn blocks() -> Vec<(&'static str, String)> {
    vec![
        ("calibration", calibration()),
        ("peer", peer()),
        ("shards", shards()),
        ("comfortable", comfortable()),
    ]
}

/// The page with the tables in their places.
///
/// # Errors
/// A place that the page does not have.
pub fn with_blocks(page: &str, blocks: &[(&'static str, String)]) -> anyhow::Result<String> {
    let mut page = page.to_owned();
    for (name, text) in blocks {
        let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let start =
            page.find(&open).with_context(|| format!("the page has no {}", open.trim()))? + open.len();
        let end = page[start..].find(&close).with_context(|| format!("the page has no {close}"))? + start;
        page.replace_range(start..end, text);
    }
    Ok(page)
}

/// A network that was measured by `scale --measure`, and what the model says of it.
struct Row {
    nodes: f64,
    mesh: f64,
    copies: f64,
    bytes: f64,
    idle: f64,
}

/// Orders of 172 bytes, five a second, links of 30 ± 10 ms, everybody connected with everybody.
const MEASURED: [Row; 3] = [
    Row { nodes: 10.0, mesh: 7.4, copies: 6.47, bytes: 2_221.0, idle: 595.0 },
    Row { nodes: 20.0, mesh: 7.1, copies: 7.27, bytes: 2_976.0, idle: 2_372.0 },
    Row { nodes: 40.0, mesh: 7.9, copies: 8.34, bytes: 3_414.0, idle: 3_650.0 },
];
const MEASURED_ENVELOPE: f64 = 172.0;
const MEASURED_RATE: f64 = 5.0;

fn calibration() -> String {
    let mut text = row(&[
        "nodes",
        "peers in the mesh",
        "copies of an order: measured",
        "model",
        "error",
        "bytes for an order: measured",
        "model",
        "error",
        "idle, bytes a second: measured",
        "model",
    ]);
    text += &rule(10);
    let model = Calibration::default();
    for measured in &MEASURED {
        let market = Market {
            connections: measured.nodes - 1.0,
            envelope: MEASURED_ENVELOPE,
            mesh: measured.mesh,
            rate: Some(MEASURED_RATE),
            ..Market::of(measured.nodes)
        };
        let (copies, bytes) = (model.copies(&market), model.bytes_per_order(&market));
        let error = |model: f64, measured: f64| format!("{:+.0} %", (model / measured - 1.0) * 100.0);
        text += &row(&[
            &format!("{:.0}", measured.nodes),
            &format!("{:.1}", measured.mesh),
            &format!("{:.2}", measured.copies),
            &format!("{copies:.2}"),
            &error(copies, measured.copies),
            &format!("{:.0}", measured.bytes),
            &format!("{bytes:.0}"),
            &error(bytes, measured.bytes),
            &format!("{:.0}", measured.idle),
            &format!("{:.0}", model.idle_per_connection * (measured.nodes - 1.0)),
        ]);
    }
    text
}

/// One line of the table of needs.
type Value = fn(&Needs) -> String;

fn peer() -> String {
    let needs = PEERS.map(|peers| Calibration::default().needs(&Market::of(peers)));
    let lines: [(&str, Value); 15] = [
        ("orders a second", |n| format!("{:.1}", n.orders)),
        ("orders in the book", |n| count(n.book)),
        ("copies of orders", |n| bits(n.copies * 8.0)),
        ("announcing orders (IHAVE)", |n| bits(n.telling * 8.0)),
        ("comparing books", |n| bits(n.sync * 8.0)),
        ("being there", |n| bits(n.idle * 8.0)),
        ("IP and TCP headers", |n| bits(n.headers * 8.0)),
        ("**on the wire, each way**", |n| format!("**{}**", bits(n.bits_per_second()))),
        ("of one core", |n| format!("{:.1} %", n.core * 100.0)),
        ("memory of the book", |n| bytes(n.book_bytes)),
        ("digests, gossip, connections", |n| bytes(n.other_bytes)),
        ("requests to the RPC a second", |n| format!("{:.1}", n.rpc)),
        ("at the start: bytes of the book", |n| bytes(n.first_bytes)),
        ("at the start: seconds of one core", |n| format!("{:.1}", n.first_core)),
        ("at the start: requests to the RPC", |n| count(n.first_rpc)),
    ];
    let mut text = row(&["one peer, one topic", "1,000 peers", "10,000 peers", "100,000 peers"]) + &rule(4);
    for (name, value) in lines {
        let values = needs.each_ref().map(value);
        text += &row(&[name, &values[0], &values[1], &values[2]]);
    }
    text
}

fn shards() -> String {
    let mut text = row(&["topics, one followed", "1,000 peers", "10,000 peers", "100,000 peers"]) + &rule(4);
    for shards in SHARDS {
        let cells = PEERS.map(|peers| {
            let needs = Calibration::default().needs(&Market { shards, ..Market::of(peers) });
            format!(
                "{}, {:.1} % of a core, {:.1} RPC/s",
                bits(needs.bits_per_second()),
                needs.core * 100.0,
                needs.rpc
            )
        });
        text += &row(&[&format!("{shards:.0}"), &cells[0], &cells[1], &cells[2]]);
    }
    text
}

/// The fewest topics with which a peer that follows one of them takes at most a tenth of a home connection.
fn comfortable() -> String {
    let mut text = row(&["connections", "1,000 peers", "10,000 peers", "100,000 peers"]) + &rule(4);
    for connections in CONNECTIONS {
        let cells = PEERS.map(|peers| {
            let fits = |shards: &f64| {
                let market = Market { shards: *shards, connections, ..Market::of(peers) };
                Calibration::default().needs(&market).bits_per_second() <= COMFORTABLE
            };
            let fewest = (0..10).map(|power| f64::from(1_u32 << power)).find(fits);
            fewest.map_or_else(|| "none".to_owned(), |shards| format!("{shards:.0}"))
        });
        text += &row(&[&format!("{connections:.0}"), &cells[0], &cells[1], &cells[2]]);
    }
    text
}

fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn rule(columns: usize) -> String {
    row(&vec!["---"; columns])
}

fn bits(per_second: f64) -> String {
    if per_second >= 1e6 {
        format!("{:.1} Mbit/s", per_second / 1e6)
    } else {
        format!("{:.0} kbit/s", per_second / 1e3)
    }
}

fn bytes(count: f64) -> String {
    if count >= 1e6 { format!("{:.1} MB", count / 1e6) } else { format!("{:.0} kB", count / 1e3) }
}

fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
