//! The result for people.

use super::{Report, Results};

pub(super) fn render(results: &Results) -> String {
    let is_alone = results.loads.len() == 1;
    let mut parts: Vec<String> = results.loads.iter().map(|load| one(load, is_alone)).collect();
    if let Some(search) = &results.search {
        parts.push(search.text());
    }
    parts.join("\n\n")
}

/// Name and text of a line.
type Row = (&'static str, String);

fn one(report: &Report, is_alone: bool) -> String {
    let mut rows = Vec::new();
    if !is_alone {
        rows.push(("load", report.name.clone()));
    }
    counts(report, &mut rows);
    times(report, &mut rows);
    verdicts(report, &mut rows);
    rows.iter().map(|(name, value)| format!("{name:<11} {value}")).collect::<Vec<_>>().join("\n")
}

fn counts(report: &Report, rows: &mut Vec<Row>) {
    let wanted = report.wanted_per_second.map_or_else(
        || "as fast as answers came".to_owned(),
        |wanted| format!("{wanted:.0}/s wanted, {} unsent", report.unsent),
    );
    let (refused, hints) = (report.refused_requests, report.refused_requests_with_retry_hint);
    rows.extend([
        ("signal", format!("{} ({} to {})", report.signal, report.kind, report.endpoint)),
        ("duration", format!("{:.2} s, {} connections", report.duration_seconds, report.connections)),
        (
            "sent",
            format!(
                "{} items in {} requests of {} ({:.1} MB); {wanted}",
                report.sent,
                report.requests,
                report.batch,
                report.bytes as f64 / 1e6
            ),
        ),
        ("acked", format!("{} ({:.0}/s)", report.acked, report.acked_per_second)),
        ("rejected", report.rejected.to_string()),
        ("refused", format!("{refused} requests ({hints} with a retry hint)")),
        ("unanswered", format!("{} requests", report.unanswered_requests)),
    ]);
}

fn times(report: &Report, rows: &mut Vec<Row>) {
    let latency = &report.latency_ms;
    rows.push((
        "latency",
        format!(
            "p50 {:.2} ms  p90 {:.2} ms  p99 {:.2} ms  p99.9 {:.2} ms  max {:.2} ms (from when due; p99 from when sent {:.2} ms)",
            latency.p50, latency.p90, latency.p99, latency.p999, latency.max, report.service_ms.p99
        ),
    ));
    let (own, lag_ms) = (&report.generator.usage, report.generator.lag_p99_ms);
    rows.push((
        "generator",
        format!(
            "{:.2} CPU-s, {:.2} cores, sent at most {lag_ms:.1} ms late (99 %)",
            own.cpu_seconds, own.cores
        ),
    ));
    if let Some(target) = &report.target {
        let (cpu, cores, peak) = (target.cpu_seconds, target.cores, target.rss_peak_mib);
        rows.push(("target", format!("{cpu:.2} CPU-s, {cores:.2} cores, resident {peak:.0} MiB at most")));
    }
}

fn verdicts(report: &Report, rows: &mut Vec<Row>) {
    if let Some(example) = &report.example_failure {
        rows.push(("example", example.clone()));
    }
    if let Some(verdict) = &report.verify {
        let word = if report.fault().is_none() { "ok" } else { "FAILED" };
        rows.push((
            "verify",
            format!(
                "{word}: {} checked, {} lost, {} duplicated, {} wrong, {} late",
                verdict.checked, verdict.lost, verdict.duplicated, verdict.wrong, verdict.late
            ),
        ));
        rows.extend(verdict.example.iter().map(|example| ("first", example.clone())));
    }
    rows.extend(report.gap().map(|gap| ("gap", gap)));
    for checked in &report.thresholds {
        let word = if checked.passed { "ok" } else { "MISSED" };
        let value = checked.value.map_or_else(|| "not known".to_owned(), |value| format!("is {value:.3}"));
        rows.push(("threshold", format!("{word}: {} ({value})", checked.threshold)));
    }
    rows.extend(report.generator.warning.iter().map(|warning| ("warning", warning.clone())));
}
