//! libp2p speaks [OpenMetrics], our own metrics the older [Prometheus text format]; a page is one or the other. This
//! turns the first into the second.
//!
//! [OpenMetrics]: https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
//! [Prometheus text format]: https://prometheus.io/docs/instrumenting/exposition_formats/

/// Families whose label values are addresses that strangers make up: as many as they like.
const OMITTED: [&str; 2] =
    ["libp2p_identify_remote_listen_addresses", "libp2p_identify_local_observed_addresses"];

/// The family that lines belong to until the next one begins.
#[derive(Default)]
struct Family<'a> {
    /// As OpenMetrics names it.
    name: &'a str,
    help: &'a str,
    omitted: bool,
}

/// The same metrics in the Prometheus text format. Units, exemplars, time stamps and times of creation are dropped:
/// that format has no place for them, or no use.
pub(super) fn to_prometheus_text(openmetrics: &str) -> String {
    let mut page = String::with_capacity(openmetrics.len());
    let mut family = Family::default();
    for line in openmetrics.lines() {
        match line.strip_prefix("# ").map(|meta| meta.splitn(3, ' ').collect::<Vec<_>>()).as_deref() {
            Some(["EOF"]) => break,
            Some(["HELP", name, help]) => family = Family::new(name, help),
            Some(["TYPE", name, kind]) => {
                // A family may come without a help text.
                if family.name != *name {
                    family = Family::new(name, "");
                }
                family.begin(kind, &mut page);
            }
            Some(_) => {}
            None => family.sample(line, &mut page),
        }
    }
    page
}

impl<'a> Family<'a> {
    fn new(name: &'a str, help: &'a str) -> Self {
        Self { name, help, omitted: OMITTED.contains(&name) }
    }

    /// Writes the head of the family: here the name has the suffix that its samples have.
    fn begin(&self, kind: &str, page: &mut String) {
        if self.omitted {
            return;
        }
        let (suffix, kind) = match kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            "stateset" => ("", "gauge"),
            "gauge" | "histogram" | "summary" => ("", kind),
            _ => ("", "untyped"),
        };
        let name = self.name;
        if !self.help.is_empty() {
            page.push_str(&format!("# HELP {name}{suffix} {}\n", self.help));
        }
        page.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
    }

    fn sample(&self, line: &str, page: &mut String) {
        let Some((series, rest)) = line.split_at_checked(series_len(line)) else { return };
        let metric = series.split('{').next().unwrap_or_default();
        let Some(value) = rest.split_whitespace().next() else { return };
        if self.omitted || metric.strip_prefix(self.name) == Some("_created") {
            return;
        }
        page.push_str(&format!("{series} {value}\n"));
    }
}

/// How long the name and the labels of a sample are; a quoted label value may hold anything.
fn series_len(line: &str) -> usize {
    let (mut quoted, mut escaped, mut in_labels) = (false, false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' => in_labels = true,
            b'}' => return at + 1,
            b' ' if !in_labels => return at,
            _ => {}
        }
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use prometheus_client::{
        encoding::text::encode,
        metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
        registry::{Registry, Unit},
    };

    use super::*;

    #[test]
    fn what_the_library_writes_becomes_prometheus_text() {
        let mut registry = Registry::default();
        let counter = Family::<Vec<(String, String)>, Counter>::default();
        counter.get_or_create(&vec![("to".into(), "a \"b\" } # {".into())]).inc_by(2);
        registry.register_with_unit("sent", "Sent", Unit::Bytes, counter);
        let gauge: Gauge = Gauge::default();
        gauge.set(-3);
        registry.register("level", "How high", gauge);
        let histogram = Histogram::new([1.0]);
        histogram.observe(0.5);
        registry.register("wait", "Waiting", histogram);
        registry.register("build", "Which", Info::new([("version", "1")]));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert_eq!(
            to_prometheus_text(&text),
            "# HELP sent_bytes_total Sent.\n\
             # TYPE sent_bytes_total counter\n\
             sent_bytes_total{to=\"a \\\"b\\\" } # {\"} 2\n\
             # HELP level How high.\n\
             # TYPE level gauge\n\
             level -3\n\
             # HELP wait Waiting.\n\
             # TYPE wait histogram\n\
             wait_sum 0.5\n\
             wait_count 1\n\
             wait_bucket{le=\"1.0\"} 1\n\
             wait_bucket{le=\"+Inf\"} 1\n\
             # HELP build_info Which.\n\
             # TYPE build_info gauge\n\
             build_info{version=\"1\"} 1\n"
        );
    }

    #[test]
    fn what_prometheus_text_cannot_say_is_left_out() {
        let text = "# TYPE odd unknown\nodd 1 1700000000.5\n# HELP n N\n# TYPE n counter\n\
                    n_total{a=\"x\"} 3 # {trace=\"1\"} 1.0\nn_created{a=\"x\"} 17\n# EOF\nafter 1\n";
        assert_eq!(
            to_prometheus_text(text),
            "# TYPE odd untyped\nodd 1\n# HELP n_total N\n# TYPE n_total counter\nn_total{a=\"x\"} 3\n"
        );
    }

    #[test]
    fn families_with_labels_of_strangers_are_omitted() {
        let name = OMITTED[0];
        let text =
            format!("# HELP {name} N\n# TYPE {name} gauge\n{name}{{listen_address=\"/x\"}} 3\n# EOF\n");
        assert_eq!(to_prometheus_text(&text), "");
    }
}
