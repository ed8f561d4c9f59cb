use format::LogManifestFile;
use model::TenantId;

use super::plan;

const HOUR_NS: i64 = 3_600_000_000_000;

/// A file of an hour with so many MiB of text.
fn file(tenant: &str, hour: i64, minute: i64, mib: u64) -> LogManifestFile {
    let min_ns = hour * HOUR_NS + minute * 60_000_000_000;
    LogManifestFile {
        tenant: TenantId::new(tenant).expect("a valid id"),
        path: format!("{hour}/{minute}"),
        file_bytes: mib << 18,
        index_offset: 0,
        index_bytes: 0,
        rows: 1,
        text_bytes: mib << 20,
        min_ns,
        max_ns: min_ns + 1,
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
    let four = [file("a", 5, 0, 50), file("a", 5, 1, 50), file("a", 5, 2, 50), file("a", 5, 3, 100)];
    check(&four, 9.0, Some(&[0, 1]));
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
    check(&[file("a", 5, 0, 90), file("a", 5, 1, 25)], 9.0, Some(&[0, 1]));
}
