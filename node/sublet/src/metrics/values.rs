//! Values into metrics: what Prometheus' types do not take as they are.

use prometheus::{Gauge, IntCounter};
use sublet_engine::counters::Register;

pub(super) fn float(new: Register<'_>, name: &str, help: &str) -> prometheus::Result<Gauge> {
    new.register(Gauge::new(name, help)?)
}

/// Brings a counter to the value of one that is kept elsewhere. One page is made at a time, so nobody else does the
/// same at once.
pub(super) fn raise_to(counter: &IntCounter, value: u64) {
    counter.inc_by(value.saturating_sub(counter.get()));
}

pub(super) fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_is_kept_elsewhere_follows_and_never_falls() {
        let counter = IntCounter::new("n", "N").unwrap();
        raise_to(&counter, 3);
        raise_to(&counter, 3);
        raise_to(&counter, 2);
        assert_eq!(counter.get(), 3);
    }
}
