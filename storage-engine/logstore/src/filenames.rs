//! Every name that the log store gives to a file or folder.
//!
//! `<dir>/manifest`, `<dir>/wal/…`, `<dir>/data/<tenant>/<yyyy-mm-dd>/<hh>/<ulid>.parquet`.

use std::path::{Path, PathBuf};

use model::{TenantId, civil_date};
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

    use super::new_data_path;

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
}
