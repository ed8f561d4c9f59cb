use std::time::Duration;

use model::{AppendReport, Labels, LogEntries, TenantId};
use storage_api::StreamEntries;

use super::LimitCheck;
use crate::retention::RetentionRules;
use crate::settings::LogLimits;

/// Time, line, metadata.
type Row<'a> = (i64, &'a str, &'a [(&'a str, &'a str)]);

const NOW: i64 = 1_700_000_000_000_000_000;

fn limits() -> LogLimits {
    LogLimits {
        line_bytes_max: 5,
        label_names_max: 2,
        label_name_bytes_max: 12,
        label_value_bytes_max: 6,
        metadata_bytes_max: 8,
        metadata_pairs_max: 2,
        ..LogLimits::default()
    }
}

fn check(labels: &[(&str, &str)], rows: &[Row<'_>]) -> (Vec<String>, AppendReport) {
    check_with(&limits(), labels, rows)
}

fn check_with(limits: &LogLimits, labels: &[(&str, &str)], rows: &[Row<'_>]) -> (Vec<String>, AppendReport) {
    let (retention, tenant) = (RetentionRules::uniform(Duration::from_secs(3600)), TenantId::default());
    let mut limit_check = LimitCheck::new(limits, &retention, &tenant, NOW);
    let mut entries = LogEntries::new();
    rows.iter().for_each(|(at, line, metadata)| entries.push(*at, line, metadata.iter().copied()));
    let mut report = AppendReport::default();
    let labels = Labels::from_pairs(labels.iter().copied());
    let kept = limit_check.check(StreamEntries { labels, entries }, &mut report);
    let lines =
        kept.map_or(Vec::new(), |kept| kept.entries.iter().map(|entry| entry.line.to_owned()).collect());
    (lines, report)
}

#[test]
fn entries_past_a_limit_are_refused_by_name_and_the_others_kept() {
    let hour = 3_600_000_000_000;
    let (kept, report) = check(
        &[("a", "1")],
        &[
            (NOW, "ok 1", &[]),
            (NOW, "too long", &[]),
            (NOW - hour - 1, "old", &[]),
            (NOW - hour, "ok 2", &[]),
            (NOW + 600_000_000_001, "new", &[]),
            (NOW + 600_000_000_000, "ok 3", &[("k", "v"), ("k", "v")]),
            (NOW, "big", &[("key", "value!")]),
            (NOW, "many", &[("a", ""), ("b", ""), ("c", "")]),
            (NOW, "still too long", &[]),
        ],
    );
    assert_eq!(kept, ["ok 1", "ok 2", "ok 3"]);
    let rejected: Vec<_> = report.rejected.iter().map(|r| (r.reason, r.count, r.message.as_str())).collect();
    assert_eq!(
        rejected,
        [
            (
                "line_too_long",
                2,
                "max entry size '5' bytes exceeded for stream '{a=\"1\"}' while adding an entry with length '8' bytes"
            ),
            (
                "greater_than_max_sample_age",
                1,
                "entry for stream '{a=\"1\"}' has timestamp too old: 2023-11-14T21:13:19Z, oldest acceptable timestamp is: 2023-11-14T21:13:20Z"
            ),
            (
                "too_far_in_future",
                1,
                "entry for stream '{a=\"1\"}' has timestamp too new: 2023-11-14T22:23:20Z"
            ),
            (
                "structured_metadata_too_large",
                1,
                "stream '{a=\"1\"}' has structured metadata too large: '9' bytes, limit: '8' bytes. Please see `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it"
            ),
            (
                "structured_metadata_too_many",
                1,
                "stream '{a=\"1\"}' has too many structured metadata labels: '3', limit: '2'. Please see `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it"
            ),
        ]
    );
}

#[test]
fn streams_past_a_limit_are_refused_whole() {
    let rows: &[Row<'_>] = &[(NOW, "a", &[]), (NOW, "b", &[])];
    let refused = |labels: &[(&str, &str)]| {
        let (kept, report) = check(labels, rows);
        assert!(kept.is_empty());
        report.rejected.into_iter().map(|r| (r.reason, r.count, r.message)).next().expect("a reason")
    };
    assert_eq!(refused(&[]).0, "missing_labels");
    let (reason, count, message) = refused(&[("a", "1"), ("b", "1"), ("c", "1")]);
    assert_eq!((reason, count), ("max_label_names_per_series", 2));
    assert_eq!(message, "entry for stream '{a=\"1\", b=\"1\", c=\"1\"}' has 3 label names; limit 2");
    assert_eq!(refused(&[("thirteen_long", "1")]).0, "label_name_too_long");
    assert_eq!(
        refused(&[("a", "seven!!")]).2,
        "stream '{a=\"seven!!\"}' has label value too long: 'seven!!'"
    );
    assert_eq!(check(&[("a", "1"), ("b", "1"), ("service_name", "x")], rows).0, ["a", "b"]);
}

#[test]
fn a_level_that_was_added_counts_against_no_limit() {
    let limits = LogLimits { metadata_bytes_max: 19, ..limits() };
    let level = ("detected_level", "info");
    let check = |metadata: &[(&str, &str)], reason: Option<&str>| {
        let (_, report) = check_with(&limits, &[("a", "1")], &[(NOW, "line", metadata)]);
        assert_eq!(report.rejected.first().map(|refused| refused.reason), reason, "{metadata:?}");
    };
    check(&[("a", "1"), ("b", "2"), level], None);
    check(&[level, ("key", "16 bytes of text")], None);
    check(&[("a", "1"), ("b", "2"), ("c", "3"), level], Some("structured_metadata_too_many"));
    check(&[("key", "17 bytes of text!"), level], Some("structured_metadata_too_large"));
    check(&[("detected_level", "no level")], Some("structured_metadata_too_large"));
}
