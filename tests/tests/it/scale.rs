//! The page about scale says what the model says.

use sublet_tests::scale::{
    model::{Calibration, Market},
    page,
};

const PAGE: &str = include_str!("../../../docs/scale.md");

#[test]
fn the_page_is_what_the_model_prints() {
    let wanted = page::with_blocks(PAGE, &page::blocks()).unwrap();
    assert!(PAGE == wanted, "run `cargo run -p sublet-tests --bin scale -- --write`");
}

#[test]
fn a_place_that_is_missing_is_named() {
    let said = page::with_blocks("no places", &page::blocks()).unwrap_err().to_string();
    assert!(said.contains("<!-- calibration -->"), "{said}");
}

#[test]
fn topics_divide_what_a_peer_hears_and_connections_cost() {
    let model = Calibration::default();
    let one = Market::of(10_000.0);
    let sixteen = Market { shards: 16.0, ..one };
    assert!((one.orders_per_second() / sixteen.orders_per_second() - 16.0).abs() < 1e-9);
    assert!(model.needs(&sixteen).bits_per_second() < model.needs(&one).bits_per_second() / 3.0);
    let all = Market { followed: 16.0, ..sixteen };
    assert!((model.needs(&all).orders - model.needs(&one).orders).abs() < 1e-9);
    let crowded = Market { connections: 256.0, ..one };
    assert!(model.needs(&crowded).telling > 4.0 * model.needs(&one).telling);
}
