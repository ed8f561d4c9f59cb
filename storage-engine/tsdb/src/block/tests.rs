//! Blocks of Prometheus read as Prometheus reads them and are written as it writes them; damage is never a value.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use format::BlockMeta;
use model::{ErrorKind, Labels, MatchOp, Matcher, SampleColumns, TimeRange, is_stale_nan};
use runtime::{Disk, LocalDisk};

use super::{BlockChunk, BlockReader, BlockWriter, block_folders};

/// A block that Prometheus 3.15 wrote, and every 13th line of `promtool tsdb dump` of it.
fn golden() -> (PathBuf, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/prometheus-block");
    let dump = std::fs::read_to_string(root.join("dump.txt")).expect("it is in the repository");
    let folders = block_folders(&LocalDisk, &root).expect("it is in the repository");
    (folders[0].1.clone(), dump)
}

fn open(folder: &Path) -> Arc<BlockReader> {
    Arc::new(BlockReader::open(&LocalDisk, folder).expect("a good block"))
}

/// Every sample of a block in text, by series.
fn samples(block: &Arc<BlockReader>, range: TimeRange) -> Vec<(Labels, String)> {
    let decode = |series: storage_api::Series| {
        let (mut columns, mut text) = (SampleColumns::default(), String::new());
        series.chunks.decode(range, &mut columns).expect("a good block");
        let mut histograms = columns.histograms.iter().peekable();
        for (at, (time, value)) in columns.timestamps_ms.iter().zip(&columns.values).enumerate() {
            match histograms.next_if(|(position, _)| *position == at) {
                Some((_, histogram)) => writeln!(text, "{time} {histogram}").expect("a String takes all"),
                None => writeln!(text, "{time} {:016x}", value.to_bits()).expect("a String takes all"),
            }
        }
        (series.labels, text)
    };
    let found = block.select(&[], range).expect("a good block");
    found.into_iter().map(decode).collect()
}

#[test]
fn a_block_of_prometheus_reads_as_promtool_dumps_it() {
    let (folder, dump) = golden();
    let block = open(&folder);
    let mut found = std::collections::BTreeMap::new();
    for series in block.select(&[], TimeRange::ALL).expect("a good block") {
        let mut columns = SampleColumns::default();
        series.chunks.decode(TimeRange::ALL, &mut columns).expect("a good block");
        for (at, (time, value)) in columns.timestamps_ms.iter().zip(&columns.values).enumerate() {
            let histogram = columns.histograms.iter().find(|(position, _)| *position == at);
            let text = match histogram {
                Some((_, histogram)) if is_stale_nan(histogram.sum) => "{count:0, sum:NaN}".to_owned(),
                Some((_, histogram)) => histogram.to_string(),
                None => value.to_string(),
            };
            found.insert(format!("{} {time}", series.labels), text);
        }
    }
    assert_eq!(found.len(), 3840);
    for line in dump.lines() {
        let (labels, rest) = line.split_once("\"} ").expect("labels");
        let (value, time) = rest.rsplit_once(' ').expect("a time");
        assert_eq!(found[&format!("{labels}\"}} {time}")], value, "{line}");
    }
}

#[test]
fn a_block_of_prometheus_is_written_again_byte_by_byte() {
    let (folder, _) = golden();
    let block = open(&folder);
    let target = tempfile::tempdir().expect("a temporary folder");
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let meta = block.meta();
    let mut writer = BlockWriter::create(&disk, target.path(), meta.ulid).expect("room");
    for series in block.select(&[], TimeRange::ALL).expect("a good block") {
        let chunks = series.chunks.encoded().expect("a good block");
        let chunks: Vec<BlockChunk<'_>> = chunks
            .iter()
            .map(|chunk| BlockChunk {
                range: chunk.range,
                encoding: chunk.encoding.number(),
                data: &chunk.data,
            })
            .collect();
        writer.add_series(&series.labels, &chunks).expect("in order");
    }
    let written = writer.finish(BlockMeta::new(meta.ulid, meta.min_time, meta.max_time)).expect("room");
    assert_eq!(written.as_ref(), Some(&meta));
    for name in ["meta.json", "index", "chunks/000001", "tombstones"] {
        let ours = std::fs::read(target.path().join(meta.ulid.to_string()).join(name)).expect("written");
        assert!(ours == std::fs::read(folder.join(name)).expect("golden"), "{name}");
    }
}

#[test]
fn matchers_find_what_matching_every_series_finds() {
    let (folder, _) = golden();
    let block = open(&folder);
    let all: Vec<Labels> = samples(&block, TimeRange::ALL).into_iter().map(|(labels, _)| labels).collect();
    assert!(all.is_sorted());
    let values =
        ["", "api", "web", "requests_total", "host-1:9100", "a.+|w.*", ".+", ".*", "host-[12].*", "x|"];
    for name in ["__name__", "job", "instance", "absent"] {
        for op in [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex] {
            for value in values {
                let first = Matcher::new(name, op, value).expect("a good pattern");
                for second in [
                    Matcher::equal("job", "api"),
                    Matcher::new("path", MatchOp::NotEqual, "").expect("plain"),
                ] {
                    let matchers = [first.clone(), second];
                    let found = block.series_labels(&matchers, TimeRange::ALL).expect("a good block");
                    let matches =
                        |labels: &&Labels| matchers.iter().all(|matcher| matcher.matches_labels(labels));
                    let expected: Vec<Labels> = all.iter().filter(matches).cloned().collect();
                    assert_eq!(found, expected, "{matchers:?}");
                }
            }
        }
    }
    let names = block.label_names(&[], TimeRange::ALL).expect("a good block");
    assert_eq!(names, ["__name__", "instance", "job", "path"]);
    let one = [Matcher::equal("__name__", "size_bytes")];
    assert_eq!(block.label_names(&one, TimeRange::ALL).expect("a good block"), ["__name__", "job"]);
    assert_eq!(block.label_values("job", &one, TimeRange::ALL).expect("a good block"), ["web"]);
    let hosts = ["host-0:9100", "host-1:9100", "host-2:9100"];
    assert_eq!(block.label_values("instance", &[], TimeRange::ALL).expect("a good block"), hosts);
}

#[test]
fn a_range_takes_the_samples_inside_it() {
    let (folder, _) = golden();
    let block = open(&folder);
    let range = TimeRange::new(1_700_008_000_000, 1_700_009_000_000);
    for ((labels, some), (_, all)) in samples(&block, range).iter().zip(samples(&block, TimeRange::ALL)) {
        let inside = |line: &&str| {
            let time = line.split(' ').next().and_then(|time| time.parse().ok()).expect("a time");
            range.contains(time)
        };
        let expected: Vec<&str> = all.lines().filter(inside).collect();
        assert_eq!(some.lines().collect::<Vec<_>>(), expected, "{labels}");
        assert!(!expected.is_empty());
    }
    let before = TimeRange::new(0, 1_700_006_399_999);
    assert!(block.select(&[], before).expect("a good block").is_empty());
}

/// A copy of the golden block with one file changed.
fn changed(folder: &Path, name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(copy.path().join("chunks")).expect("room");
    for file in ["meta.json", "index", "chunks/000001", "tombstones"] {
        std::fs::copy(folder.join(file), copy.path().join(file)).expect("room");
    }
    std::fs::write(copy.path().join(name), bytes).expect("room");
    copy
}

#[test]
fn damage_anywhere_is_an_error_or_harmless_but_never_another_value() {
    let (folder, _) = golden();
    let good = samples(&open(&folder), TimeRange::ALL);
    let (mut refused, mut harmless) = (0, 0);
    let mut check = |name: &str, bytes: &[u8], what: &str| {
        let copy = changed(&folder, name, bytes);
        let read = || {
            let block = Arc::new(BlockReader::open(&LocalDisk, copy.path())?);
            let found = block.select(&[], TimeRange::ALL)?;
            let mut all = Vec::new();
            for series in found {
                let mut columns = SampleColumns::default();
                series.chunks.decode(TimeRange::ALL, &mut columns)?;
                all.push((series.labels, columns.len()));
            }
            Ok::<_, storage_api::StorageError>((samples(&block, TimeRange::ALL), all))
        };
        match read() {
            Ok((found, _)) => {
                harmless += 1;
                assert!(found == good, "{name}, {what}: other samples");
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}, {what}: {error}");
            }
        }
    };
    for name in ["meta.json", "index", "chunks/000001", "tombstones"] {
        let whole = std::fs::read(folder.join(name)).expect("golden");
        let step = if whole.len() > 4096 { 61 } else { 7 };
        for at in (0..whole.len()).step_by(step) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            // A description may name other times: then samples outside of them are not asked for. Its text is not
            // guarded by a checksum in this format.
            if name != "meta.json" {
                check(name, &flipped, &format!("bit flipped in byte {at}"));
            }
        }
        for len in (0..whole.len()).step_by(512).chain([whole.len() - 1]) {
            check(name, &whole[..len], &format!("cut to {len}"));
        }
    }
    assert!(refused > 400 && harmless < 60, "{refused} refused, {harmless} harmless");
}

#[test]
fn a_block_in_several_files_of_chunks_reads_back() {
    let (folder, _) = golden();
    let block = open(&folder);
    let target = tempfile::tempdir().expect("a temporary folder");
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let meta = block.meta();
    let writer = BlockWriter::create(&disk, target.path(), meta.ulid).expect("room");
    let mut writer = writer.with_segment_bytes(3000);
    crate::compact::merge(&[Arc::clone(&block)], &mut writer).expect("a good block");
    writer.finish(BlockMeta::new(meta.ulid, meta.min_time, meta.max_time)).expect("room");
    let copy = target.path().join(meta.ulid.to_string());
    assert!(std::fs::read_dir(copy.join("chunks")).expect("written").count() >= 5);
    assert!(samples(&open(&copy), TimeRange::ALL) == samples(&block, TimeRange::ALL));
    std::fs::remove_file(copy.join("chunks/000002")).expect("written");
    let error = BlockReader::open(&LocalDisk, &copy).expect_err("a file is missing");
    assert!(error.to_string().contains("the one before it is missing"), "{error}");
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let target = tempfile::tempdir().expect("a temporary folder");
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let mut writer = BlockWriter::create(&disk, target.path(), ulid::Ulid(7)).expect("room");
    let chunk =
        BlockChunk { range: TimeRange::new(1, 1), encoding: 1, data: &[0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0] };
    writer.add_series(&Labels::from_pairs([("a", "b")]), &[chunk]).expect("in order");
    assert_eq!(std::fs::read_dir(target.path()).expect("there").count(), 1);
    drop(writer);
    assert_eq!(std::fs::read_dir(target.path()).expect("there").count(), 0);
}

#[test]
fn a_sound_block_verifies_and_a_damaged_one_says_where() {
    let (folder, _) = golden();
    let report = open(&folder).verify().expect("a good disk");
    assert_eq!((report.series, report.chunks, report.samples), (8, 35, 3840));
    assert!(report.faults.is_empty(), "{report:?}");
    let mut chunks = std::fs::read(folder.join("chunks/000001")).expect("golden");
    chunks[5000] ^= 1;
    let copy = changed(&folder, "chunks/000001", &chunks);
    let report = open(copy.path()).verify().expect("a good disk");
    assert!(report.fault_count >= 1 && report.faults[0].contains("checksum is wrong"), "{report:?}");
    let meta = std::fs::read_to_string(folder.join("meta.json")).expect("golden");
    let copy = changed(&folder, "meta.json", meta.replace("\"numSeries\": 8", "\"numSeries\": 9").as_bytes());
    let report = open(copy.path()).verify().expect("a good disk");
    assert_eq!(report.faults, ["meta.json counts 9 series, there are 8"]);
}

#[test]
fn walking_several_blocks_gives_each_sample_once_in_order() {
    let (folder, _) = golden();
    let block = open(&folder);
    let range = TimeRange::new(1_700_008_000_000, 1_700_009_000_000);
    let matchers = [Matcher::equal("job", "web")];
    let walk = |blocks: &[Arc<BlockReader>]| {
        let mut all = Vec::new();
        super::walk_samples(blocks, &matchers, range, |labels, time, sample| {
            all.push((labels.clone(), time, format!("{sample:?}")));
            Ok(())
        })
        .expect("a good block");
        all
    };
    let once = walk(std::slice::from_ref(&block));
    assert!(once.len() > 100 && once.is_sorted_by(|a, b| (&a.0, a.1) < (&b.0, b.1)));
    assert_eq!(walk(&[Arc::clone(&block), block]), once);
}
