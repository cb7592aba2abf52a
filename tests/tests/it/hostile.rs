//! A small network with hostile peers in it: every honest order reaches every honest node, and who breaks the
//! rules is banned.

use std::time::Duration;

use sublet_tests::{hostile::Role, propagation::measure_besieged, shaper::Shape};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_orders_get_through_and_offenders_are_sent_away() {
    let link =
        Shape { delay: Duration::from_millis(50), jitter: Duration::from_millis(20), ..Shape::default() };
    let seen = measure_besieged(10, &Role::ALL, 40, 10, link).await.unwrap();
    eprintln!(
        "p50 {:.0} ms, p99 {:.0} ms, {} by sync, {} rejected, {:?} banned",
        seen.propagation.percentile(50),
        seen.propagation.percentile(99),
        seen.propagation.by_sync,
        seen.rejected,
        seen.blamed
    );
    assert_eq!(seen.propagation.millis.len(), seen.propagation.wanted, "deliveries");
    assert_eq!(seen.sent_away.len(), seen.offenders(), "banned: {:?}", seen.sent_away);
    let honest_too = seen.blamed.iter().any(|blamed| usize::try_from(*blamed).unwrap() > seen.offenders());
    assert!(!honest_too, "{:?}", seen.blamed);
    assert!(seen.rejected >= 4, "the hostile peers did something");
}
