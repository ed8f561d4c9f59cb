//! The text of `/metrics`, with the names that a reader asks for.
//!
//! The collector names its own counters without `_total` and unit where nothing else is said, and with both where a
//! reader is configured; dashboards exist for either. Names of others (`process_*`, `prometheus_*`, `tidegate_*`) are
//! the same everywhere.

use metrics_exporter_prometheus::PrometheusHandle;

/// How metrics `otelcol_*` are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Whether counters end in `_total`.
    pub(crate) with_type_suffix: bool,
    /// Whether names end in their unit.
    pub(crate) with_units: bool,
}

/// The recorder counts in whole numbers only, and seconds of CPU have decimals.
const CPU_AS_GAUGE: &str = "# TYPE process_cpu_seconds_total gauge\n";
const CPU_AS_COUNTER: &str = "# TYPE process_cpu_seconds_total counter\n";

/// Metrics of which the unit is not in the name, with the unit.
const UNITS: [(&str, &str); 2] =
    [("otelcol_process_uptime", "seconds"), ("otelcol_process_memory_rss", "bytes")];

/// The whole text.
pub(crate) fn text(handle: &PrometheusHandle, names: Names) -> String {
    let text = handle.render().replace(CPU_AS_GAUGE, CPU_AS_COUNTER);
    if names == Names::default() { text } else { renamed(&text, names) }
}

fn renamed(text: &str, names: Names) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    // A family's HELP may come before its TYPE, so the types are known first.
    let counters: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .filter(|name| name.starts_with("otelcol_"))
        .collect();
    for line in text.lines() {
        let start = ["# HELP ", "# TYPE "].into_iter().find(|start| line.starts_with(start)).unwrap_or("");
        let rest = &line[start.len()..];
        let end = rest.find([' ', '{']).unwrap_or(rest.len());
        let name = &rest[..end];
        out.push_str(start);
        out.push_str(name);
        if let Some((_, unit)) = UNITS.iter().find(|(own, _)| names.with_units && *own == name) {
            out.push('_');
            out.push_str(unit);
        }
        let is_counter = counters.contains(&name) && !name.ends_with("_total");
        if names.with_type_suffix && is_counter {
            out.push_str("_total");
        }
        out.push_str(&rest[end..]);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Names, renamed};

    #[test]
    fn only_the_collectors_names_change_and_only_as_asked() {
        let text = "# HELP otelcol_x What.\n# TYPE otelcol_x counter\notelcol_x{a=\"b c\"} 1\notelcol_x 2\n\n\
                    # TYPE otelcol_process_uptime gauge\notelcol_process_uptime 3\n# TYPE y counter\ny 4\n";
        let both = Names { with_type_suffix: true, with_units: true };
        assert_eq!(
            renamed(text, both),
            "# HELP otelcol_x_total What.\n# TYPE otelcol_x_total counter\notelcol_x_total{a=\"b c\"} 1\notelcol_x_total 2\n\n\
             # TYPE otelcol_process_uptime_seconds gauge\notelcol_process_uptime_seconds 3\n# TYPE y counter\ny 4\n"
        );
        let units = Names { with_type_suffix: false, with_units: true };
        assert!(renamed(text, units).starts_with("# HELP otelcol_x What.\n"));
    }
}
