//! What the log promises, on a disk that loses power, fills up and fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use model::ErrorKind;
use runtime::{AppendFile, Disk, DiskEntry, DiskFault, LocalDisk, ReadFile, SimulatedDisk, Tasks};

use crate::frame::Payload;
use crate::{Durability, ReplayReport, Wal, WalSettings};

fn settings() -> WalSettings {
    WalSettings {
        group_wait: Duration::ZERO,
        async_wait: Duration::ZERO,
        retry_wait: Duration::from_millis(1),
        segment_bytes_max: 400,
        compress_bytes_min: 64,
        free_bytes_min: 0,
        ..WalSettings::default()
    }
}

fn dir() -> PathBuf {
    PathBuf::from("/data/wal")
}

/// Opens the log and returns what it replayed: sequence and text of every record.
fn open(disk: &SimulatedDisk, settings: WalSettings) -> (Wal, Vec<(u64, String)>, ReplayReport) {
    let mut records = Vec::new();
    let (wal, report) = Wal::open(Arc::new(disk.clone()), dir(), settings, &Tasks::new(), |record| {
        records.push((record.sequence, String::from_utf8(record.bytes.to_vec()).expect("we wrote text")));
    })
    .expect("a log opens whatever is in it");
    (wal, records, report)
}

/// A record whose text tells which one it is; every third is long enough to be compressed.
fn record(id: usize) -> String {
    if id.is_multiple_of(3) { format!("{id}:{}", "x".repeat(60 + id % 50)) } else { format!("{id}:") }
}

fn id(text: &str) -> usize {
    let (id, _) = text.split_once(':').expect("made by `record`");
    let id = id.parse().expect("made by `record`");
    assert_eq!(text, record(id), "a record came back changed");
    id
}

fn ids(records: &[(u64, String)]) -> Vec<usize> {
    records.iter().map(|(_, text)| id(text)).collect()
}

#[tokio::test]
async fn records_come_back_in_order_over_segments_and_restarts() {
    for durability in [Durability::Group, Durability::Sync, Durability::Async] {
        let disk = SimulatedDisk::new(0);
        let mut next = 0;
        for _ in 0..3 {
            let (wal, before, report) = open(&disk, WalSettings { durability, ..settings() });
            assert_eq!(ids(&before), (0..next).collect::<Vec<_>>());
            assert_eq!((report.torn_bytes, report.damage.len()), (0, 0));
            for _ in 0..40 {
                let sequence = wal.append(record(next).as_bytes()).await.expect("durable");
                assert_eq!(sequence, next as u64);
                next += 1;
            }
            wal.close().await;
            assert_eq!(wal.append(b"late").await.expect_err("closed").kind(), ErrorKind::Closed);
        }
    }
}

#[tokio::test]
async fn a_log_at_rest_has_no_thread_and_goes_on_where_it_left_off() {
    let disk = SimulatedDisk::new(0);
    let idle = WalSettings { idle_wait: Duration::from_millis(1), ..settings() };
    let (wal, ..) = open(&disk, idle.clone());
    let has_thread = || wal.shared().queue.lock().has_thread;
    assert!(!has_thread(), "one that nobody wrote to yet");
    for number in 0..20 {
        assert_eq!(wal.append(record(number).as_bytes()).await.expect("durable"), number as u64);
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while has_thread() {
            assert!(std::time::Instant::now() < end, "the thread never ends");
            tokio::task::yield_now().await;
        }
    }
    wal.barrier().await.expect("nothing waits");
    wal.close().await;
    let (_, before, report) = open(&disk, idle);
    assert_eq!(ids(&before), (0..20).collect::<Vec<_>>());
    assert_eq!((report.torn_bytes, report.damage.len()), (0, 0));
}

#[tokio::test]
async fn a_log_on_the_local_disk_survives_a_restart() {
    let root = tempfile::tempdir().expect("a folder");
    let tasks = Tasks::new();
    let open = |seen: &mut Vec<Vec<u8>>| {
        let deliver = |record: crate::Record<'_>| seen.push(record.bytes.to_vec());
        Wal::open(Arc::new(LocalDisk), root.path().join("wal"), WalSettings::default(), &tasks, deliver)
    };
    let (wal, _) = open(&mut Vec::new()).expect("opens");
    let tickets: Vec<_> = ["a", "b", "c"].map(|text| wal.append(text.as_bytes())).into();
    for result in join_all(tickets).await {
        result.expect("durable");
    }
    drop(wal);
    tasks.shutdown(Duration::from_secs(10)).await.expect("dropping a log ends its thread");
    let mut seen = Vec::new();
    let (_wal, report) = open(&mut seen).expect("opens");
    assert_eq!(seen, [b"a", b"b", b"c"]);
    assert_eq!(report, ReplayReport { segments: 1, records: 3, ..ReplayReport::default() });
}

/// One life of a log: appends groups until the power goes; returns the ids that were acknowledged.
async fn live_until_power_loss(disk: &SimulatedDisk, wal: &Wal, next: &mut usize) -> Vec<usize> {
    let mut acked = Vec::new();
    while disk.has_power() {
        let group: Vec<_> = (*next..*next + 1 + *next % 4).collect();
        *next += group.len();
        let texts: Vec<_> = group.iter().map(|&id| record(id)).collect();
        let results = join_all(texts.iter().map(|text| wal.append(text.as_bytes()))).await;
        acked.extend(group.iter().zip(results).filter(|(_, result)| result.is_ok()).map(|(id, _)| *id));
    }
    acked
}

#[tokio::test]
async fn acked_records_survive_power_loss_in_order_and_none_is_invented() {
    let mut torn = 0;
    for seed in 0..1500 {
        let disk = SimulatedDisk::new(seed);
        let (mut next, mut acked, mut last_seen) = (0, Vec::new(), Vec::new());
        for life in 0..4 {
            let (wal, records, report) = open(&disk, settings());
            let seen = ids(&records);
            assert!(
                seen.is_sorted_by(|a, b| a < b),
                "seed {seed}, life {life}: order or duplicates: {seen:?}"
            );
            for id in acked.iter().chain(&last_seen) {
                assert!(seen.binary_search(id).is_ok(), "seed {seed}, life {life}: record {id} is lost");
            }
            assert!(seen.last().is_none_or(|last| *last < next), "seed {seed}: a record was invented");
            // A crash that kept the end of an unsynced group and not its start is told as damage, to be on the safe
            // side. A group here has four records, so at most three are missing before one that is whole.
            assert!(
                report.damage.iter().all(|damage| damage.lost_records <= 3),
                "seed {seed}, life {life}: a crash takes no more than the unsynced group: {:?}",
                report.damage
            );
            torn += report.torn_bytes;
            last_seen = seen;
            disk.cut_power_after(3 + (seed * 7 + life * 13) % 40);
            acked.extend(live_until_power_loss(&disk, &wal, &mut next).await);
            wal.close().await;
            disk.power_loss();
        }
    }
    assert!(torn > 1000, "the simulation does tear tails");
}

/// A log with the ids `0..count`, each record in a group of its own.
async fn written(count: usize, settings: WalSettings) -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let (wal, ..) = open(&disk, settings);
    for id in 0..count {
        wal.append(record(id).as_bytes()).await.expect("durable");
    }
    wal.close().await;
    disk
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut() {
    let path = dir().join("00000000.wal");
    let one_segment = WalSettings { segment_bytes_max: u64::MAX, ..settings() };
    let whole = written(5, one_segment.clone()).await.read(&path).expect("one segment");
    let mut counts = Vec::new();
    for len in 0..whole.len() {
        let disk = written(5, one_segment.clone()).await;
        disk.truncate(&path, len as u64).expect("cuts");
        let (wal, records, report) = open(&disk, one_segment.clone());
        assert_eq!(ids(&records), (0..records.len()).collect::<Vec<_>>(), "{len} bytes");
        assert_eq!(report.damage, []);
        counts.push(records.len());
        wal.append(record(99).as_bytes()).await.expect("the log goes on");
        wal.close().await;
        let (_wal, again, report) = open(&disk, one_segment.clone());
        assert_eq!(ids(&again), (0..records.len()).chain([99]).collect::<Vec<_>>(), "{len} bytes");
        assert_eq!((report.torn_bytes, report.damage.len()), (0, 0), "the tail was cut before");
    }
    assert!(counts.is_sorted() && counts[0] == 0 && counts[whole.len() - 1] == 4);
}

#[tokio::test]
async fn damage_is_reported_and_set_aside_and_never_a_wrong_record() {
    let small = || WalSettings { segment_bytes_max: 150, ..settings() };
    let intact = written(30, small()).await;
    let segments = intact.list(&dir()).expect("lists");
    assert!(segments.len() > 3);
    for (index, segment) in segments.iter().enumerate() {
        for offset in 0..usize::try_from(segment.bytes).expect("small") {
            let disk = written(30, small()).await;
            disk.damage(&dir().join(&segment.name), offset, 0x40);
            let (wal, records, report) = open(&disk, small());
            let seen = ids(&records);
            let at = format!("{} byte {offset}", segment.name);
            let in_header = offset < 20;
            assert!(seen.is_sorted_by(|a, b| a < b), "{at}: {seen:?}");
            assert_eq!(
                seen.len(),
                if in_header { 30 } else { 29 },
                "{at}: what is behind the damage is read"
            );
            let last_segment = index + 1 == segments.len();
            if !last_segment {
                assert_eq!(report.damage.len(), 1, "{at}");
                assert_eq!(report.damage[0].lost_records as usize, 30 - seen.len(), "{at}");
                assert_eq!(seen.last(), Some(&29), "{at}: the segments behind are read");
                let aside = dir().join(segment.name.replace(".wal", ".damaged"));
                assert_eq!(
                    disk.read(&aside).expect("set aside"),
                    disk.read(&dir().join(&segment.name)).expect("reads"),
                    "{at}"
                );
            }
            wal.append(record(100).as_bytes()).await.expect("the log goes on");
            wal.close().await;
            let (_wal, again, _) = open(&disk, small());
            assert_eq!(ids(&again), [seen, vec![100]].concat(), "{at}: the second start sees the same");
        }
    }
}

#[tokio::test]
async fn a_bad_record_before_a_durable_one_in_the_last_segment_is_damage() {
    let one_segment = WalSettings { segment_bytes_max: u64::MAX, ..settings() };
    let disk = written(5, one_segment.clone()).await;
    disk.damage(&dir().join("00000000.wal"), 22, 1);
    let (_wal, records, report) = open(&disk, one_segment);
    assert_eq!((ids(&records), report.torn_bytes, report.damage.len()), (vec![1, 2, 3, 4], 0, 1));
    assert_eq!(report.damage[0].lost_records, 1);
}

#[tokio::test]
async fn a_flipped_byte_in_records_of_one_group_hides_no_other_record() {
    let one_segment = || WalSettings { segment_bytes_max: u64::MAX, ..settings() };
    let path = dir().join("00000000.wal");
    let fresh = async || {
        let disk = SimulatedDisk::new(1);
        let (wal, ..) = open(&disk, one_segment());
        for group in [0..4, 4..8] {
            let texts: Vec<_> = group.map(record).collect();
            for result in join_all(texts.iter().map(|text| wal.append(text.as_bytes()))).await {
                result.expect("durable");
            }
        }
        wal.close().await;
        disk
    };
    let whole = fresh().await.read(&path).expect("one segment");
    // The last record is "7:" behind a header of 21 bytes; damage there cannot be told from a torn tail.
    for offset in 0..whole.len() - 23 {
        let disk = fresh().await;
        disk.damage(&path, offset, 0x40);
        let damaged = disk.read(&path).expect("reads");
        let (wal, records, report) = open(&disk, one_segment());
        wal.close().await;
        let lost = u64::from(offset >= 20);
        assert_eq!(records.len() as u64, 8 - lost, "byte {offset}");
        assert_eq!((report.damage.len(), report.torn_bytes), (1, 0), "byte {offset}");
        assert_eq!(report.damage[0].lost_records, lost, "byte {offset}");
        assert_eq!(disk.read(&path).expect("reads"), damaged, "byte {offset}: nothing was cut");
    }
}

#[tokio::test]
async fn a_log_of_a_newer_version_is_refused_and_left_alone() {
    let one_segment = || WalSettings { segment_bytes_max: u64::MAX, ..settings() };
    let path = dir().join("00000000.wal");
    let whole = written(3, one_segment()).await.read(&path).expect("one segment");
    let mut newer_segment = whole.clone();
    newer_segment[4] = 2;
    let crc = crc32c::crc32c(&newer_segment[..16]);
    newer_segment[16..20].copy_from_slice(&crc.to_le_bytes());
    // The last record is "2:" behind a header of 21 bytes, whose last byte has the flags.
    let mut newer_record = whole;
    let frame = newer_record.len() - 23;
    newer_record[frame + 20] = 4;
    let crc = crc32c::crc32c_append(crc32c::crc32c(b"2:"), &newer_record[frame + 4..frame + 21]);
    newer_record[frame..frame + 4].copy_from_slice(&crc.to_le_bytes());
    for (bytes, text) in [(newer_segment, "has version 2"), (newer_record, "unknown flags 0x4")] {
        let disk = SimulatedDisk::new(0);
        disk.create_dir_all(&dir()).expect("made");
        disk.create(&path).expect("made").append(&bytes).expect("appends");
        let opened = Wal::open(Arc::new(disk.clone()), dir(), one_segment(), &Tasks::new(), |_| {});
        let error = opened.err().expect("refused");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(disk.read(&path).expect("reads"), bytes);
    }
}

/// Appends `record(id)` until it is durable; fails the test after a while.
async fn append_until_durable(wal: &Wal, id: usize) {
    let attempts = async {
        while let Err(error) = wal.append(record(id).as_bytes()).await {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), attempts).await.expect("the log recovers by itself");
}

#[tokio::test]
async fn a_full_disk_refuses_records_and_recovers_by_itself() {
    let disk = SimulatedDisk::new(3);
    let (wal, ..) = open(&disk, settings());
    wal.append(record(0).as_bytes()).await.expect("durable");
    disk.set_capacity_bytes(60);
    let error = wal.append(record(1).as_bytes()).await.expect_err("the disk is full");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("/data/wal"), "{error}");
    assert_eq!(wal.admit().await.err().map(|e| e.kind()), Some(ErrorKind::Unavailable));
    disk.set_capacity_bytes(u64::MAX);
    append_until_durable(&wal, 2).await;
    wal.close().await;
    let (_wal, records, report) = open(&disk, settings());
    // Record 1 failed, and still the log holds what its writer did before (WAL-3).
    assert_eq!(ids(&records), [0, 1, 2]);
    assert_eq!(report.damage, []);
}

#[tokio::test]
async fn the_last_part_of_the_disk_is_left_free() {
    let disk = SimulatedDisk::new(3);
    let (wal, ..) = open(&disk, WalSettings { free_bytes_min: 10_000, ..settings() });
    disk.set_capacity_bytes(9_999);
    let error = wal.append(record(0).as_bytes()).await.expect_err("under the reserve");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().ends_with("the disk has 9999 bytes free, 10000 are kept free"), "{error}");
    disk.set_capacity_bytes(20_000);
    append_until_durable(&wal, 1).await;
}

#[tokio::test]
async fn input_output_errors_lose_and_double_nothing() {
    for fault in [DiskFault::FailAppends, DiskFault::FailSyncs, DiskFault::FailCreates] {
        for seed in 0..50 {
            let disk = SimulatedDisk::new(seed);
            let (wal, ..) = open(&disk, settings());
            for id in 0..40 {
                if id % 10 == seed as usize % 10 {
                    disk.inject(fault);
                    let _ = wal.append(record(1000 + id).as_bytes()).await;
                    disk.heal();
                }
                append_until_durable(&wal, id).await;
            }
            wal.close().await;
            let (_wal, records, report) = open(&disk, settings());
            let seen = ids(&records);
            let acked: Vec<_> = seen.iter().copied().filter(|id| *id < 1000).collect();
            // A failed attempt may be in the log and its retry too: both were appended. Order of first ones holds.
            let mut firsts = acked.clone();
            firsts.dedup();
            assert_eq!(firsts, (0..40).collect::<Vec<_>>(), "{fault:?}, seed {seed}");
            let sequences: Vec<_> = records.iter().map(|(sequence, _)| *sequence).collect();
            assert!(sequences.is_sorted_by(|a, b| a < b), "{fault:?}, seed {seed}: one record came twice");
            assert_eq!(report.damage, [], "{fault:?}, seed {seed}");
        }
    }
}

/// A disk with a mistake in it: whoever makes a file panics.
struct PanickingDisk(SimulatedDisk);

impl Disk for PanickingDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        panic!("making {} goes wrong on purpose", path.display());
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        self.0.open_append(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        self.0.open_read(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
        self.0.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.remove_dir_all(dir)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.0.truncate(path, len)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.exists(path)
    }
}

#[tokio::test]
async fn a_log_whose_writer_panicked_refuses_and_lets_nobody_wait() {
    let disk = Arc::new(PanickingDisk(SimulatedDisk::new(0)));
    let (wal, _) = Wal::open(disk, dir(), settings(), &Tasks::new(), |_| ()).expect("a new log");
    let refused = async {
        // Who was there when it happened hears that it is over, who comes then that a restart is needed.
        while wal.append(b"record").await.expect_err("nothing is written").kind() != ErrorKind::Unavailable {
            tokio::task::yield_now().await;
        }
        assert_eq!(wal.admit().await.err().map(|error| error.kind()), Some(ErrorKind::Unavailable));
        assert!(wal.barrier().await.is_err());
        wal.close().await;
    };
    tokio::time::timeout(Duration::from_secs(60), refused).await.expect("nobody waits");
}

#[tokio::test]
async fn truncation_removes_whole_segments_and_keeps_the_numbering() {
    let disk = written(30, settings()).await;
    let (wal, records, _) = open(&disk, settings());
    assert_eq!(wal.next_sequence(), 30);
    wal.truncate_before(17).expect("removes");
    let segments = disk.list(&dir()).expect("lists").len();
    wal.append(record(30).as_bytes()).await.expect("durable");
    wal.truncate_before(31).expect("removes");
    assert!(disk.list(&dir()).expect("lists").len() < segments);
    wal.barrier().await.expect("durable");
    wal.append(record(31).as_bytes()).await.expect("durable, in a new segment");
    wal.truncate_before(31).expect("removes");
    wal.close().await;
    assert_eq!(records.len(), 30);
    let (wal, records, report) = open(&disk, settings());
    assert_eq!(records, [(31, record(31))]);
    assert_eq!((wal.next_sequence(), report.damage.len()), (32, 0));
    let (wal, ..) = open(&SimulatedDisk::new(0), WalSettings { sequence_min: 7, ..settings() });
    assert_eq!(wal.append(b"0:").await.expect("durable"), 7);
}

#[tokio::test]
async fn admission_waits_for_room_and_a_barrier_covers_what_was_appended() {
    let disk = SimulatedDisk::new(0);
    let small = WalSettings { queue_bytes_max: 100, ..settings() };
    let (wal, ..) = open(&disk, small);
    for id in 0..100 {
        drop(wal.admit().await.expect("room comes").append(record(id).as_bytes()));
    }
    assert_eq!(wal.barrier().await.expect("durable"), 99);
    disk.power_loss();
    let (_wal, records, _) = open(&disk, settings());
    assert_eq!(records.len(), 100);
    let huge = vec![0; crate::settings::RECORD_BYTES_MAX + 1];
    let (wal, ..) = open(&SimulatedDisk::new(0), settings());
    assert_eq!(wal.append(&huge).await.expect_err("over the limit").kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn version_1_of_the_format_is_read_and_written_as_the_golden_segment() {
    let golden = include_bytes!("../../../docs/formats/wal-v1.segment");
    let disk = SimulatedDisk::new(0);
    disk.create_dir_all(&dir()).expect("made");
    disk.create(&dir().join("00000000.wal")).expect("made").append(golden).expect("appends");
    let (_wal, records, report) = open(&disk, settings());
    let texts = [String::new(), "one".to_owned(), "z".repeat(300)];
    let expected: Vec<_> = (0..).zip(texts.clone()).collect();
    assert_eq!(records, expected);
    assert_eq!(report, ReplayReport { segments: 1, records: 3, ..ReplayReport::default() });
    let fresh = SimulatedDisk::new(0);
    let (wal, ..) = open(&fresh, WalSettings { segment_bytes_max: u64::MAX, ..settings() });
    for text in texts {
        wal.append(text.as_bytes()).await.expect("durable");
    }
    wal.close().await;
    assert_eq!(fresh.read(Path::new("/data/wal/00000000.wal")).expect("reads"), golden);
}

#[tokio::test]
async fn a_reader_gives_every_acknowledged_record_and_none_that_is_damaged() {
    let disk = SimulatedDisk::new(3);
    let (wal, _, _) = open(&disk, settings());
    let mut reader = wal.reader();
    for id in 0..60 {
        wal.append(record(id).as_bytes()).await.expect("durable");
        assert_eq!(wal.acknowledged_sequence(), id as u64 + 1);
        // As a queue does, right behind the writer; over many segments.
        let read = reader.read(id as u64).expect("no fault").expect("whole");
        assert_eq!(read, record(id).as_bytes());
    }
    for id in [5, 4, 59, 0, 31] {
        let read = reader.read(id as u64).expect("no fault").expect("whole");
        assert_eq!(read, record(id).as_bytes(), "also in any other order");
    }
    wal.close().await;

    // A byte in the middle of the second segment: one record is gone, those around it are not.
    let path = dir().join("00000001.wal");
    let mut bytes = disk.read(&path).expect("a segment");
    let at = bytes.len() / 2;
    bytes[at] ^= 0xff;
    disk.remove_file(&path).expect("there");
    disk.create(&path).expect("gone").append(&bytes).expect("no fault");
    let (wal, replayed, report) = open(&disk, settings());
    assert!(!report.damage.is_empty());
    let mut reader = wal.reader();
    let known: Vec<u64> = replayed.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(known.len(), 59);
    for sequence in 0..60 {
        let read = reader.read(sequence).expect("no fault").map(<[u8]>::to_vec);
        let wanted = known.contains(&sequence).then(|| record(sequence as usize).into_bytes());
        assert_eq!(read, wanted, "record {sequence}");
    }
}

#[test]
fn a_second_start_sees_what_the_first_saw_when_no_segment_has_a_header() {
    let frame = |sequence| {
        let (mut bytes, mut scratch) = (Vec::new(), Vec::new());
        Payload::new(b"", usize::MAX, &mut scratch).write(sequence, 0, &mut bytes);
        bytes
    };
    let disk = SimulatedDisk::new(0);
    let dir = Path::new("/wal");
    disk.create_dir_all(dir).expect("made");
    // A frame in the place of the header, and two frames between bytes that are none.
    let first = [frame(1 << 46), vec![0; 6]].concat();
    let second = [vec![0x2a; 35], frame(0), vec![0; 63], frame(1 << 46)].concat();
    for (number, bytes) in [first, second].iter().enumerate() {
        disk.create(&dir.join(format!("{number:08}.wal"))).expect("made").append(bytes).expect("written");
    }
    let open = || {
        let mut sequences = Vec::new();
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        Wal::open(disk, dir.into(), WalSettings::default(), &Tasks::new(), |record| {
            sequences.push(record.sequence)
        })
        .expect("a log opens whatever is in it");
        sequences
    };
    assert_eq!((open(), open()), (vec![0], vec![0]));
}
