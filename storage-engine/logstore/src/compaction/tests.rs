use format::LogManifestFile;
use model::TenantId;

use super::plan;

const HOUR_NS: i64 = 3_600_000_000_000;

const MINUTE_NS: i64 = 60_000_000_000;

/// A file of a minute with so many MiB of text.
fn file(tenant: &str, hour: i64, minute: i64, mib: u64) -> LogManifestFile {
    let min_ns = hour * HOUR_NS + minute * MINUTE_NS;
    LogManifestFile {
        tenant: TenantId::new(tenant).expect("a valid id"),
        path: format!("{hour}/{minute}"),
        file_bytes: mib << 18,
        index_offset: 0,
        index_bytes: 0,
        rows: 1,
        text_bytes: mib << 20,
        min_ns,
        max_ns: min_ns + MINUTE_NS - 1,
    }
}

fn check(files: &[LogManifestFile], now_hours: f64, expected: Option<&[usize]>) {
    let files: Vec<&LogManifestFile> = files.iter().collect();
    let now_ns = (now_hours * HOUR_NS as f64) as i64;
    assert_eq!(plan(&files, now_ns, 128 << 20).as_deref(), expected);
}

#[test]
fn small_files_of_an_hour_that_is_over_are_merged_up_to_the_size_of_a_file() {
    check(&[], 9.0, None);
    check(&[file("a", 5, 0, 10)], 9.0, None);
    check(&[file("a", 5, 3, 10), file("a", 5, 0, 10)], 9.0, Some(&[1, 0]));
    check(&[file("a", 5, 0, 10), file("a", 6, 0, 10), file("b", 5, 1, 10)], 9.0, None);
    let four = [file("a", 5, 0, 31), file("a", 5, 1, 31), file("a", 5, 2, 31), file("a", 5, 3, 100)];
    check(&four, 9.0, Some(&[0, 1, 2]));
    let five: Vec<_> = (0..5).map(|minute| file("a", 5, minute, 31)).collect();
    check(&five, 9.0, Some(&[0, 1, 2, 3]));
}

#[test]
fn an_hour_that_is_being_written_waits_until_it_has_many_files() {
    let many: Vec<_> = (0..32).map(|minute| file("a", 5, minute, 1)).collect();
    check(&many[..31], 6.1, None);
    check(&many[..31], 6.2, Some(&(0..31).collect::<Vec<_>>()));
    check(&many, 5.9, Some(&(0..32).collect::<Vec<_>>()));
}

#[test]
fn a_large_file_is_not_rewritten_for_a_few_small_ones() {
    check(&[file("a", 5, 0, 90), file("a", 5, 1, 1)], 9.0, None);
    check(&[file("a", 5, 0, 90), file("a", 5, 1, 1), file("a", 5, 2, 1)], 9.0, Some(&[1, 2]));
    check(&[file("a", 5, 0, 31), file("a", 5, 1, 8)], 9.0, Some(&[0, 1]));
}

#[test]
fn a_file_of_a_quarter_of_a_whole_one_stays_as_it_is_where_it_has_its_time_for_itself() {
    let alone = [file("a", 5, 0, 10), file("a", 5, 1, 32), file("a", 5, 2, 10), file("a", 5, 3, 32)];
    check(&alone, 9.0, None);
    // Not even as what two others are merged over.
    let [first, _, third, _] = alone;
    let more = [first, file("a", 5, 1, 32), third, file("a", 5, 3, 10), file("a", 5, 4, 96)];
    check(&more, 9.0, Some(&[2, 3]));

    let until = |file: LogManifestFile, minutes: f64| LogManifestFile {
        max_ns: file.min_ns + (minutes * MINUTE_NS as f64) as i64,
        ..file
    };
    // Late entries: less than half of its time is another's, too.
    check(&[until(file("a", 5, 0, 40), 10.0), until(file("a", 5, 6, 40), 10.0)], 9.0, None);
    check(&[until(file("a", 5, 0, 40), 10.0), until(file("a", 5, 4, 40), 10.0)], 9.0, Some(&[0, 1]));
    check(&[until(file("a", 5, 0, 40), 30.0), until(file("a", 5, 4, 40), 3.0)], 9.0, Some(&[0, 1]));
    check(&[until(file("a", 5, 0, 40), 10.0), until(file("a", 5, 0, 40), 10.0)], 9.0, Some(&[0, 1]));
}
