use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::NumberDataPoint;
use opentelemetry_proto::tonic::metrics::v1::{
    Histogram, HistogramDataPoint, Metric, Sum, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span::Event};
use parquet::file::reader::{FileReader, SerializedFileReader};
use pipelines::{Batch, Exporter};
use prost::Message;
use serde_json::{Value, json};

use crate::Stores;
use crate::testing::{batch, context, create, gauge, logs, metrics, text};

async fn start(folder: &Path) -> Arc<dyn Exporter> {
    let config = json!({"directory": folder, "sending_queue": {"enabled": false}});
    let exporter = create("parquet", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    exporter
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The rows of a file as a general reader of Parquet sees them.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let file = std::fs::File::open(path).expect("there");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let rows = reader.get_row_iter(None).expect("rows");
    let texts = |row: parquet::record::Row| {
        row.get_column_iter().map(|(name, field)| (name.clone(), field.to_string())).collect()
    };
    rows.map(|row| texts(row.expect("a row"))).collect()
}

async fn written(sent: Batch) -> (Vec<PathBuf>, Vec<BTreeMap<String, String>>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let exporter = start(folder.path()).await;
    let items = sent.items;
    assert_eq!(exporter.consume(sent).await.expect("written").stored, items);
    let files = files(folder.path());
    let all = files.iter().flat_map(|path| rows(path)).collect();
    let names = files.iter().map(|path| path.strip_prefix(folder.path()).expect("inside").to_owned());
    (names.collect(), all, folder)
}

fn check(row: &BTreeMap<String, String>, want: &[(&str, &str)]) {
    for (name, value) in want {
        assert_eq!(row[*name], *value, "{name}");
    }
}

#[tokio::test]
async fn log_records_are_rows_when_they_are_acknowledged() {
    let (files, rows, _folder) = written(logs(&["one", "two"])).await;
    assert_eq!(files.len(), 1);
    let folder = files[0].parent().expect("a folder");
    assert_eq!(folder, Path::new("logs/date=1970-01-01/hour=00"));
    assert_eq!(files[0].extension().and_then(|ending| ending.to_str()), Some("parquet"));
    assert_eq!(rows.len(), 2);
    check(
        &rows[1],
        &[
            ("time", "2000000"),
            ("observed_time", "null"),
            ("severity_number", "0"),
            ("body", "\"two\""),
            ("trace_id", "null"),
            ("attributes", "{}"),
            ("resource_attributes", "{\"service.name\" -> \"shop\"}"),
            ("scope_name", "\"\""),
        ],
    );
}

#[tokio::test]
async fn rows_lie_in_the_folder_of_their_hour() {
    let hour = 3_600_000;
    let (files, rows, _folder) =
        written(gauge(&[("a", hour, 1.5), ("b", hour + 1, 2.0), ("c", 1, 3.0)])).await;
    let folders: Vec<_> = files.iter().map(|file| file.parent().expect("a folder").to_owned()).collect();
    assert_eq!(
        folders,
        [Path::new("metrics/date=1970-01-01/hour=00"), Path::new("metrics/date=1970-01-01/hour=01")]
    );
    assert_eq!(
        rows.iter().map(|row| row["value_double"].as_str()).collect::<Vec<_>>(),
        ["3.0", "1.5", "2.0"]
    );
    check(
        &rows[1],
        &[
            ("name", "\"level\""),
            ("type", "\"gauge\""),
            ("attributes", "{\"n\" -> \"a\"}"),
            ("value_int", "null"),
            ("bucket_counts", "[]"),
            ("is_monotonic", "null"),
        ],
    );
}

#[tokio::test]
async fn every_field_of_sums_and_histograms_has_a_column() {
    let number = NumberDataPoint {
        time_unix_nano: 7,
        start_time_unix_nano: 5,
        value: Some(number_data_point::Value::AsInt(-3)),
        flags: 1,
        ..NumberDataPoint::default()
    };
    let sum = Sum { data_points: vec![number], aggregation_temporality: 1, is_monotonic: true };
    let point = HistogramDataPoint {
        time_unix_nano: 8,
        count: 6,
        sum: Some(10.5),
        min: Some(1.0),
        bucket_counts: vec![1, 2, 3],
        explicit_bounds: vec![0.5, 5.0],
        ..HistogramDataPoint::default()
    };
    let histogram = Histogram { data_points: vec![point], aggregation_temporality: 2 };
    let metric = |name: &str, data| Metric {
        name: name.to_owned(),
        unit: "s".to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    let list = vec![metric("s", Data::Sum(sum)), metric("h", Data::Histogram(histogram))];
    let (_, rows, _folder) = written(metrics(list, 2)).await;
    check(
        &rows[0],
        &[
            ("time", "7"),
            ("start_time", "5"),
            ("type", "\"sum\""),
            ("unit", "\"s\""),
            ("temporality", "\"delta\""),
            ("is_monotonic", "true"),
            ("value_int", "-3"),
            ("value_double", "null"),
            ("flags", "1"),
        ],
    );
    check(
        &rows[1],
        &[
            ("type", "\"histogram\""),
            ("temporality", "\"cumulative\""),
            ("count", "6"),
            ("sum", "10.5"),
            ("min", "1.0"),
            ("max", "null"),
            ("bucket_counts", "[1, 2, 3]"),
            ("explicit_bounds", "[0.5, 5.0]"),
        ],
    );
}

#[tokio::test]
async fn spans_keep_their_ids_times_and_events() {
    let event = Event {
        time_unix_nano: 4,
        name: "e".to_owned(),
        attributes: vec![text("k", "v")],
        ..Event::default()
    };
    let span = Span {
        trace_id: vec![0xab; 16],
        span_id: vec![1; 8],
        name: "get".to_owned(),
        kind: 2,
        start_time_unix_nano: 3,
        end_time_unix_nano: 9,
        events: vec![event],
        ..Span::default()
    };
    let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    let group = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![group] };
    let (_, rows, _folder) = written(batch(Signal::Traces, request.encode_to_vec(), 1)).await;
    let trace_id = format!("\"{}\"", "ab".repeat(16));
    check(
        &rows[0],
        &[
            ("start_time", "3"),
            ("end_time", "9"),
            ("trace_id", &trace_id),
            ("span_id", "\"0101010101010101\""),
            ("parent_span_id", "null"),
            ("name", "\"get\""),
            ("kind", "2"),
            ("links", "null"),
        ],
    );
    assert!(rows[0]["events"].contains("time_unix_nano"), "{}", rows[0]["events"]);
}

#[tokio::test]
async fn a_second_attempt_replaces_the_file_of_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let retry = json!({"initial_interval": "1ms", "max_interval": "1ms"});
    let config =
        json!({"directory": folder.path(), "sending_queue": {"enabled": false}, "retry_on_failure": retry});
    let exporter = create("parquet", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    let day = folder.path().join("metrics/date=1970-01-01");
    // Where the second file's folder is to be is a file, so that an attempt fails when the first file is written.
    std::fs::create_dir_all(&day).expect("made");
    let blocker = day.join("hour=01");
    std::fs::write(&blocker, "").expect("written");
    let two_hours = gauge(&[("a", 1, 1.0), ("b", 3_600_000, 2.0)]);
    let mut delivery = exporter.consume(two_hours);
    let first = day.join("hour=00");
    while !first.exists() || files(&first).is_empty() {
        tokio::select! {
            biased;
            _ = &mut delivery => panic!("cannot be delivered yet"),
            () = tokio::task::yield_now() => {}
        }
    }
    std::fs::remove_file(&blocker).expect("removed");
    delivery.await.expect("written");
    let files = files(folder.path());
    assert_eq!(files.len(), 2, "{files:?}");
}

#[tokio::test]
async fn equal_batches_without_times_are_two_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let exporter = start(folder.path()).await;
    for _ in 0..2 {
        exporter.consume(gauge(&[("a", 0, 1.0)])).await.expect("written");
    }
    let files = files(folder.path());
    let rows: usize = files.iter().map(|file| rows(file).len()).sum();
    assert_eq!((files.len(), rows), (2, 2), "{files:?}");
}

#[tokio::test]
async fn equal_batches_of_two_tenants_are_two_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let exporter = start(folder.path()).await;
    for tenant in ["default", "blue"] {
        let tenant = model::TenantId::new(tenant).expect("an id");
        exporter.consume(Batch { tenant, ..logs(&["one"]) }).await.expect("written");
    }
    assert_eq!(files(folder.path()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_a_bucket_have_the_same_names_below_its_prefix() {
    let folder = tempfile::tempdir().expect("a folder");
    let bucket = json!({"type": "FILESYSTEM", "config": {"directory": folder.path()}, "prefix": "telemetry"});
    let config = json!({"bucket": bucket, "partition_by": "day", "sending_queue": {"enabled": false}});
    let exporter = create("parquet", &config, &context(), &Stores::default()).expect("a good config");
    exporter.start().await.expect("starts");
    exporter.consume(logs(&["one", "two"])).await.expect("written");
    let files = files(folder.path());
    assert_eq!(files.len(), 1);
    let at = folder.path().join("telemetry/logs/date=1970-01-01");
    assert_eq!(files[0].parent(), Some(&*at));
    assert_eq!(rows(&files[0]).len(), 2);
}

/// A batch of `records` empty log records below a resource of `attributes` attributes of `value`.
fn repetitive(records: usize, attributes: usize, value: &str) -> Batch {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;

    let attributes = (0..attributes).map(|n| text(&format!("key{n}"), value)).collect();
    let scope = ScopeLogs { log_records: vec![LogRecord::default(); records], ..ScopeLogs::default() };
    let resource = Resource { attributes, ..Resource::default() };
    let resource =
        ResourceLogs { resource: Some(resource), scope_logs: vec![scope], ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![resource] };
    batch(Signal::Logs, request.encode_to_vec(), records as u64)
}

#[tokio::test]
async fn many_rows_are_several_row_groups_and_none_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let exporter = start(folder.path()).await;
    exporter.consume(repetitive(122_881, 2, "a")).await.expect("written");
    let files = files(folder.path());
    let file = std::fs::File::open(&files[0]).expect("there");
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!((files.len(), groups), (1, vec![122_880, 1]));
    for group in 0..2 {
        let group = reader.get_row_group(group).expect("there");
        let row = group.get_row_iter(None).expect("rows").next().expect("a row").expect("readable");
        let resource = row.get_column_iter().find(|(name, _)| *name == "resource_attributes");
        let shown = resource.expect("a column").1.to_string();
        assert_eq!(shown, "{\"key0\" -> \"a\", \"key1\" -> \"a\"}");
    }
}

#[tokio::test]
async fn a_batch_that_would_grow_a_thousand_times_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let exporter = start(folder.path()).await;
    // 20 bytes a record would be 1 MB a record: 20,000 of them are 20 GB.
    let error = exporter.consume(repetitive(20_000, 1, &"a".repeat(1 << 20))).await.expect_err("too large");
    assert!(!error.kind().is_retryable() && error.to_string().contains("1024 times"), "{error}");
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn what_a_crash_left_behind_is_removed_after_a_day() {
    let folder = tempfile::tempdir().expect("a folder");
    let unfinished = folder.path().join(".unfinished");
    std::fs::create_dir(&unfinished).expect("made");
    let [old, new] = ["old", "new"].map(|name| unfinished.join(name));
    for path in [&old, &new] {
        std::fs::write(path, "PAR1").expect("made");
    }
    let file = std::fs::File::options().append(true).open(&old).expect("there");
    file.set_modified(std::time::UNIX_EPOCH).expect("set");
    start(folder.path()).await;
    assert_eq!(files(folder.path()), [new]);
}

#[test]
fn faulty_configs_are_refused_by_path() {
    let check = |value: Value, want: &str| {
        let error =
            create("parquet", &value, &context(), &Stores::default()).err().expect("a fault").to_string();
        assert!(error.starts_with(want), "{error}");
    };
    check(json!({}), "directory: want the path of a folder");
    check(json!({"directory": "x", "bucket": {"type": "S3"}}), "bucket: files go to a directory or a bucket");
    check(json!({"bucket": {"type": "S3", "config": {}}}), "bucket::config::bucket");
    check(json!({"bucket": {"type": "FLOPPY"}}), "bucket::type: unknown type");
    check(json!({"directory": "x", "compression_level": 99}), "compression_level: must be between 1 and 22");
    check(json!({"directory": "x", "partition_by": "month"}), "partition_by: unknown variant `month`");
}
