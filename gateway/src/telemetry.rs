//! The process' own metrics: one recorder, what its metrics mean, and the gauges about the process itself.

pub(crate) mod exposition;
mod help;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Label, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use runtime::Tasks;
use serde_json::Value;

/// Upper bounds of histograms, seconds: what takes from 0.1 ms to 10 s.
const BUCKETS: [f64; 16] =
    [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Upper bounds of sizes of batches, items, as the collector has them (`bucket_boundaries` in the metadata.yaml of
/// exporterhelper and batchprocessor).
const ITEM_BUCKETS: [f64; 22] = [
    10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1e3, 2e3, 3e3, 4e3, 5e3, 6e3, 7e3, 8e3, 9e3, 1e4,
    2e4, 3e4, 5e4, 1e5,
];
/// Upper bounds of sizes of batches, bytes, as the collector's batchprocessor has them.
const BYTE_BUCKETS: [f64; 39] = [
    10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1e3, 2e3, 3e3, 4e3, 5e3, 6e3, 7e3, 8e3, 9e3, 1e4,
    2e4, 3e4, 5e4, 1e5, 2e5, 3e5, 4e5, 5e5, 6e5, 7e5, 8e5, 9e5, 1e6, 2e6, 3e6, 4e6, 5e6, 6e6, 7e6, 8e6, 9e6,
];
/// Time between two rounds of housekeeping, without which histograms grow.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Clock ticks a second in /proc/self/stat: fixed on Linux, whatever the kernel's own (proc(5), USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// The process' recorder. There is one, however many gateways a test starts.
pub(crate) fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let sizes = |builder: PrometheusBuilder, suffix: &str, buckets: &[f64]| {
            builder.set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), buckets)
        };
        let builder = PrometheusBuilder::new()
            .set_buckets(&BUCKETS)
            .and_then(|builder| sizes(builder, "_batch_send_size", &ITEM_BUCKETS))
            .and_then(|builder| sizes(builder, "_batch_send_size_bytes", &BYTE_BUCKETS));
        let recorder = builder.expect("no list of buckets is empty").build_recorder();
        let handle = recorder.handle();
        // Only fails when another recorder is there, and nothing else installs one.
        let _ = metrics::set_global_recorder(recorder);
        help::describe();
        handle
    };
    HANDLE.get_or_init(install).clone()
}

/// Keeps the recorder in order and the process' gauges up to date until shutdown.
pub(crate) fn keep_up(
    handle: PrometheusHandle,
    tasks: &Tasks,
    started_ms: i64,
    resource: &BTreeMap<String, Value>,
) {
    gauge!("target_info", target_labels(resource)).set(1.0);
    reloaded(true, started_ms);
    let stop = tasks.clone();
    tasks.spawn("metrics_upkeep", async move {
        gauge!("process_start_time_seconds").set(started_ms as f64 / 1000.0);
        gauge!("tidegate_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let mut uptime = Duration::ZERO;
        loop {
            process_gauges(uptime);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(UPKEEP_INTERVAL) => uptime += UPKEEP_INTERVAL,
            }
            handle.run_upkeep();
        }
    });
}

/// Notes how a load of the config went, by Prometheus' names (cmd/prometheus/main.go).
pub(crate) fn reloaded(successful: bool, now_ms: i64) {
    gauge!("prometheus_config_last_reload_successful").set(f64::from(u8::from(successful)));
    if successful {
        gauge!("prometheus_config_last_reload_success_timestamp_seconds").set(now_ms as f64 / 1000.0);
    }
}

/// Names of the collector (otelcol_process_*) and of every Prometheus client (process_*).
fn process_gauges(uptime: Duration) {
    gauge!("otelcol_process_uptime").set(uptime.as_secs_f64());
    if let Some(cpu_seconds) = cpu_seconds() {
        // A counter of the recorder counts whole numbers; `exposition` says that this one is a counter.
        gauge!("process_cpu_seconds_total").set(cpu_seconds);
        gauge!("otelcol_process_cpu_seconds").set(cpu_seconds);
    }
    if let Some(bytes) = resident_bytes() {
        gauge!("process_resident_memory_bytes").set(bytes as f64);
        gauge!("otelcol_process_memory_rss").set(bytes as f64);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        gauge!("process_open_fds").set(open.count() as f64);
    }
}

/// Labels of `target_info`: the attributes of the process, names as Prometheus takes them.
fn target_labels(resource: &BTreeMap<String, Value>) -> Vec<Label> {
    let mut attributes = BTreeMap::from([
        ("service.name".to_owned(), Value::from("tidegate")),
        ("service.version".to_owned(), Value::from(env!("CARGO_PKG_VERSION"))),
    ]);
    attributes.extend(resource.iter().map(|(name, value)| (name.clone(), value.clone())));
    attributes.retain(|_, value| !value.is_null());
    let name = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    attributes.iter().map(|(key, value)| Label::new(name(key), text(value))).collect()
}

/// User and system time of the process: fields 14 and 15 of /proc/self/stat.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, field 2, is in parentheses and may hold spaces.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let user: f64 = fields.nth(11)?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// Resident size: `VmRSS` of /proc/self/status, which is in KiB whatever the page size.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_of_batches_have_the_collectors_buckets() {
        let page = super::recorder();
        for (name, below, above) in [
            ("otelcol_processor_batch_batch_send_size", "8000", "9000"),
            ("otelcol_exporter_queue_batch_send_size_bytes", "8000", "9000"),
            ("tidegate_log_store_flush_duration_seconds", "0.005", "10"),
        ] {
            let value = if name.ends_with("seconds") { 7.6 } else { 8192.0 };
            metrics::histogram!(name, "of" => "a_test").record(value);
            let text = page.render();
            let line =
                |bound: &str, count| format!("{name}_bucket{{of=\"a_test\",le=\"{bound}\"}} {count}\n");
            assert!(text.contains(&line(below, 0)) && text.contains(&line(above, 1)), "{text}");
        }
    }
}
