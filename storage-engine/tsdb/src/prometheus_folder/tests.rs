//! A head put together by hand: what of it is handed on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use format::XorAppender;
use model::{AppendReport, Labels, MetricMetadata, MetricType};
use runtime::LocalDisk;
use storage_api::{SampleBatch, SeriesRef, StorageResult};

use super::{PrometheusFolder, PrometheusHeadReport, PrometheusHeadSink};

/// Remembers floats by metric name.
#[derive(Default)]
struct Sink {
    names: Vec<String>,
    floats: BTreeMap<String, Vec<(i64, f64)>>,
    metadata: Vec<(String, MetricType)>,
}

impl PrometheusHeadSink for Sink {
    fn series(&mut self, labels: &Labels) -> StorageResult<SeriesRef> {
        let name = labels.metric_name().expect("has one");
        let known = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        Ok(SeriesRef(known as u64))
    }

    fn append(&mut self, batch: SampleBatch) -> StorageResult<AppendReport> {
        for (index, series) in batch.refs.iter().enumerate() {
            let name = self.names[usize::try_from(series.0).expect("small")].clone();
            self.floats.entry(name).or_default().push((batch.timestamps_ms[index], batch.values[index]));
        }
        Ok(AppendReport { stored: batch.len() as u64, ..AppendReport::default() })
    }

    fn metadata(&mut self, metric: &str, metadata: &MetricMetadata) {
        self.metadata.push((metric.to_owned(), metadata.metric_type));
    }
}

fn fragment(record: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&u16::try_from(record.len()).expect("short").to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(record).to_be_bytes());
    bytes.extend_from_slice(record);
    bytes
}

fn series(number: u64, name: &str) -> Vec<u8> {
    let mut record = vec![1];
    record.extend_from_slice(&number.to_be_bytes());
    record.extend_from_slice(&[1, 8]);
    record.extend_from_slice(b"__name__");
    record.push(u8::try_from(name.len()).expect("short"));
    record.extend_from_slice(name.as_bytes());
    fragment(&record)
}

/// Samples of one series, each in a record of its own.
fn samples(number: u64, samples: &[(i64, f64)]) -> Vec<u8> {
    let record = |(time_ms, value): &(i64, f64)| {
        let mut record = vec![2];
        record.extend_from_slice(&number.to_be_bytes());
        record.extend_from_slice(&time_ms.to_be_bytes());
        record.extend_from_slice(&[0, 0]);
        record.extend_from_slice(&value.to_be_bytes());
        fragment(&record)
    };
    samples.iter().flat_map(record).collect()
}

fn head_chunk(number: u64, samples: &[(i64, f64)]) -> Vec<u8> {
    let (mut appender, mut data) = (XorAppender::EMPTY, Vec::new());
    samples.iter().for_each(|(time_ms, value)| appender.append(&mut data, *time_ms, *value));
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend_from_slice(&samples[0].0.to_be_bytes());
    bytes.extend_from_slice(&samples[samples.len() - 1].0.to_be_bytes());
    bytes.extend_from_slice(&[1, u8::try_from(data.len()).expect("short")]);
    bytes.extend_from_slice(&data);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("has one")).expect("can be made");
    std::fs::write(path, bytes).expect("can be written");
}

fn read(dir: &Path) -> (Sink, PrometheusHeadReport) {
    let folder = PrometheusFolder::open(Arc::new(LocalDisk), dir).expect("opens");
    let (mut sink, mut seen) = (Sink::default(), (0, 0));
    let report = folder.read_head(&mut sink, &mut |done, all| seen = (done, all)).expect("reads");
    assert_eq!(seen.0, seen.1, "progress ends at all bytes");
    (sink, report)
}

#[test]
fn a_head_is_its_checkpoint_its_log_its_chunks_and_its_late_samples() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    // The checkpoint covers segments 0 to 1, so that segment 1 does not count.
    write(&path("wal/checkpoint.00000001/00000000"), &[series(1, "a"), samples(1, &[(10, 1.0)])].concat());
    write(&path("wal/00000001"), &samples(1, &[(11, 99.0)]));
    let deletion = fragment(&[&[3][..], &1u64.to_be_bytes(), &[60, 80]].concat());
    let metadata = fragment(b"\x06\x02\x01\x01\x04HELP\x01h");
    let second = [
        series(2, "b"),
        metadata,
        samples(1, &[(20, 2.0), (30, 3.0), (50, 5.0)]),
        samples(2, &[(20, 7.0)]),
        deletion,
        samples(77, &[(20, 8.0)]),
    ];
    write(&path("wal/00000002"), &second.concat());
    // A crash cut the newest segment.
    let torn = samples(2, &[(40, 9.0), (41, 10.0)]);
    write(&path("wal/00000003"), &torn[..torn.len() - 3]);
    let header = [0x01, 0x30, 0xbc, 0x91, 1, 0, 0, 0];
    let chunk = head_chunk(1, &[(10, 1.0), (20, 2.0)]);
    write(&path("chunks_head/000001"), &[&header[..], &chunk, &[0; 64]].concat());
    write(&path("wbl/00000000"), &samples(2, &[(5, 0.5)]));

    let (sink, report) = read(dir.path());
    assert_eq!(sink.floats["a"], [(10, 1.0), (20, 2.0), (50, 5.0)], "30 to 40 were deleted");
    assert_eq!(sink.floats["b"], [(20, 7.0), (40, 9.0), (5, 0.5)]);
    assert_eq!(sink.metadata, [("b".to_owned(), MetricType::Counter)]);
    assert_eq!((report.series, report.floats, report.repeated), (2, 6, 2));
    assert_eq!((report.deleted, report.unknown), (1, 1));
    assert!(report.torn_bytes > 0 && report.faults.is_empty(), "{report:?}");
}

#[test]
fn damage_costs_what_is_damaged_and_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut first = [series(1, "a"), samples(1, &[(10, 1.0), (20, 2.0)])].concat();
    let at = first.len() - 4;
    first[at] ^= 1;
    std::fs::create_dir_all(dir.path().join("wal")).expect("can be made");
    write(&dir.path().join("wal/00000000"), &first);
    write(&dir.path().join("wal/00000001"), &samples(1, &[(30, 3.0)]));
    write(&dir.path().join("chunks_head/000001"), b"no chunks");
    let (sink, report) = read(dir.path());
    assert_eq!(sink.floats["a"], [(10, 1.0), (30, 3.0)]);
    assert_eq!(report.faults.len(), 2, "{report:?}");
    assert!(
        report.faults[0].contains("00000000 at byte") && report.faults[0].contains("checksum"),
        "{report:?}"
    );
    assert!(report.faults[1].contains("chunks_head/000001"), "{report:?}");
}
