//! Every name that the log store gives to a file or folder.
//!
//! `<dir>/manifest`, `<dir>/wal/…`, `<dir>/data/<tenant>/<yyyy-mm-dd>/<hh>/<ulid>.parquet`.

use std::path::{Path, PathBuf};

use model::{TenantId, TimeRange, civil_date};
use ulid::Ulid;

const DATA_EXTENSION: &str = ".parquet";
/// Put behind the name of a file that cannot be read, so that nothing takes it for a data file.
const DAMAGED_EXTENSION: &str = ".damaged";
const SECONDS_OF_HOUR: i64 = 3600;
const SECONDS_OF_DAY: i64 = 86_400;

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

    use super::{new_data_path, times_of};

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
