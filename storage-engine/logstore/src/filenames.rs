//! Every name that the log store gives to a file or folder.
//!
//! `<dir>/manifest`, `<dir>/wal/…`, `<dir>/data/<tenant>/<yyyy-mm-dd>/<hh>/<ulid>.parquet`; in an object store
//! `tidegate/logs/manifests/<version>` and `tidegate/logs/data/<tenant>/…`, and `<dir>/writer` beside the write-ahead log.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use model::{TenantId, TimeRange, civil_date};
use ulid::Ulid;

const DATA_EXTENSION: &str = ".parquet";
/// Put behind the name of a file that cannot be read, so that nothing takes it for a data file.
const DAMAGED_EXTENSION: &str = ".damaged";
const SECONDS_OF_HOUR: i64 = 3600;
const SECONDS_OF_DAY: i64 = 86_400;

/// The folder of data files in an object store. Thanos looks only at folders whose names are identifiers of blocks.
pub(crate) const SHARED_DATA: &str = "tidegate/logs/data";
/// The folder of manifests in an object store.
pub(crate) const SHARED_MANIFESTS: &str = "tidegate/logs/manifests";

/// A manifest in an object store, by its number.
pub(crate) fn shared_manifest(version: u64) -> String {
    format!("{SHARED_MANIFESTS}/{version:020}")
}

/// A data file in an object store, by its path below its tenant's folder. Of a tenant's name other characters than
/// letters, digits, `-`, `_` and `.` are written as `=` and their hexadecimal number: object stores and their clients do
/// not agree about them.
pub(crate) fn shared_data_file(tenant: &TenantId, path: &str) -> String {
    let mut name = format!("{SHARED_DATA}/");
    for c in tenant.as_str().chars() {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            name.push(c);
        } else {
            write!(name, "={:02X}", u32::from(c)).expect("a text takes all");
        }
    }
    name.push('/');
    name.push_str(path);
    name
}

/// Says who a process is in the object store where its files are.
pub(crate) fn writer(dir: &Path) -> PathBuf {
    dir.join("writer")
}

/// The list of data files.
pub(crate) fn manifest(dir: &Path) -> PathBuf {
    dir.join("manifest")
}

/// The folder of the write-ahead log.
pub(crate) fn wal(dir: &Path) -> PathBuf {
    dir.join("wal")
}

/// The folder that has a folder for each tenant.
pub(crate) fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// A data file, by its path below its tenant's folder.
pub(crate) fn data_file(dir: &Path, tenant: &TenantId, path: &str) -> PathBuf {
    data(dir).join(tenant.as_str()).join(path)
}

/// Where a damaged file is put.
pub(crate) fn damaged(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(DAMAGED_EXTENSION);
    name.into()
}

/// Path below a tenant's folder of a data file whose oldest entry is at `min_ns`.
pub(crate) fn new_data_path(min_ns: i64, id: Ulid) -> String {
    let seconds = min_ns.div_euclid(1_000_000_000);
    let (year, month, day) = civil_date(seconds.div_euclid(SECONDS_OF_DAY));
    let hour = seconds.rem_euclid(SECONDS_OF_DAY) / SECONDS_OF_HOUR;
    format!("{year:04}-{month:02}-{day:02}/{hour:02}/{id}{DATA_EXTENSION}")
}

/// Times that a data file may have, by its path below its tenant's folder: from its hour to the end of the day.
pub(crate) fn times_of(below: &str) -> Option<TimeRange> {
    const DAY_NS: i64 = SECONDS_OF_DAY * 1_000_000_000;
    let mut parts = below.split('/');
    let (day, hour) = (parts.next()?, parts.next()?.parse::<i64>().ok()?);
    let mut numbers = day.rsplitn(3, '-').map(|number| number.parse::<i64>().ok());
    let (date, month, year) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let day_start = days_to_civil(year, month, date)?.checked_mul(DAY_NS)?;
    let start = day_start.checked_add(hour.checked_mul(SECONDS_OF_HOUR * 1_000_000_000)?)?;
    Some(TimeRange::new(start, day_start.checked_add(DAY_NS - 1)?))
}

/// The day of a date, counted from 1970-01-01: found by the dates of days, since only damaged files ask.
fn days_to_civil(year: i64, month: i64, date: i64) -> Option<i64> {
    if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&date) {
        return None;
    }
    // Within some days of the right one when months are taken for equal.
    let about = (year - 1970) * 1461 / 4 + (month - 1) * 61 / 2 + date - 1;
    (about - 5..about + 5).find(|&day| civil_date(day) == (year, month, date))
}

/// The identifier in the name of a data file.
pub(crate) fn id_of(name: &str) -> Option<u128> {
    let id = name.rsplit('/').next()?.strip_suffix(DATA_EXTENSION)?;
    Ulid::from_string(id).ok().filter(|ulid| ulid.to_string() == id).map(|ulid| ulid.0)
}

/// Whether a name is that of a data file.
pub(crate) fn is_data_file(name: &str) -> bool {
    name.ends_with(DATA_EXTENSION)
}

/// Whether a name is that of a file set aside as damaged.
pub(crate) fn is_damaged_file(name: &str) -> bool {
    name.ends_with(DAMAGED_EXTENSION)
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::{id_of, new_data_path, shared_data_file, times_of};

    #[test]
    fn names_in_an_object_store_are_plain_and_tell_tenants_and_files_apart() {
        let name = |tenant: &str| {
            let tenant = model::TenantId::new(tenant).expect("valid");
            shared_data_file(&tenant, &new_data_path(0, Ulid(5)))
        };
        let path = "1970-01-01/00/00000000000000000000000005.parquet";
        assert_eq!(name("a-b_c.9"), format!("tidegate/logs/data/a-b_c.9/{path}"));
        assert_eq!(name("a*(b)'!"), format!("tidegate/logs/data/a=2A=28b=29=27=21/{path}"));
        assert_eq!(id_of(&name("x")), Some(5));
        let no_ids =
            ["", "x", "5.parquet", "0000000000000000000000000z.parquet", "x/00000000000000000000000005.txt"];
        assert_eq!(no_ids.map(id_of), [None; 5]);
    }

    #[test]
    fn a_data_file_lies_in_the_folder_of_its_hour() {
        let check = |seconds: i64, expected: &str| {
            assert_eq!(
                new_data_path(seconds * 1_000_000_000 + 5, Ulid::nil()),
                format!("{expected}/00000000000000000000000000.parquet")
            );
        };
        check(0, "1970-01-01/00");
        check(951_782_400 + 3 * 3600, "2000-02-29/03");
        check(1_795_255_199, "2026-11-21/09");
        check(-1, "1969-12-31/23");
    }

    #[test]
    fn the_folder_of_a_data_file_tells_its_times() {
        const HOUR_NS: i64 = 3_600_000_000_000;
        for day in (-40_000..60_000).step_by(7) {
            let (start, hour) = (day * 24 * HOUR_NS, day.rem_euclid(24));
            let path = new_data_path(start + hour * HOUR_NS + 5, Ulid::nil());
            let times = times_of(&path).expect("a path of ours");
            assert_eq!((times.min, times.max), (start + hour * HOUR_NS, start + 24 * HOUR_NS - 1), "{path}");
        }
        for wrong in [
            "",
            "2026-11-21",
            "2026-13-21/10/a",
            "2026-02-30/10/a",
            "x/10/a",
            "2026-11-21/x/a",
            "9999999999-01-01/00/a",
        ] {
            assert_eq!(times_of(wrong), None, "{wrong}");
        }
    }
}
