use std::path::PathBuf;

use model::{TenantId, TimeRange};

use super::sentences;
use crate::files::QuarantinedUnit;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;
/// 2026-11-21T10:00:00Z.
const TEN: i64 = 1_795_255_200 * SECOND;

fn unit(name: &str, page: Option<u32>, from: i64) -> QuarantinedUnit {
    let range = TimeRange::new(from, from + HOUR - 1);
    let path = PathBuf::from("/logs/data").join(name);
    QuarantinedUnit { tenant: TenantId::default(), path, page, range, reason: "it is torn".to_owned() }
}

#[test]
fn what_is_missing_is_told_by_file_to_its_tenant_and_for_its_times() {
    let units = [
        unit("a", Some(3), TEN),
        unit("a", Some(4), TEN),
        unit("b", Some(0), TEN + HOUR),
        unit("c", None, TEN),
    ];
    let check = |tenant: &str, from: i64, until: i64, expected: &[&str]| {
        let tenant = TenantId::new(tenant).expect("an id");
        assert_eq!(sentences(&units, &tenant, TimeRange::new(from, until)), expected);
    };
    let two = "lines between 2026-11-21T10:00:00Z and 2026-11-21T10:59:59Z are missing: 2 pages of the log data file a cannot be read";
    let one = "lines between 2026-11-21T11:00:00Z and 2026-11-21T11:59:59Z are missing: a page of the log data file b cannot be read";
    let all = "lines between 2026-11-21T10:00:00Z and 2026-11-21T10:59:59Z are missing: the log data file c cannot be read";
    check(TenantId::default().as_str(), i64::MIN, i64::MAX, &[two, one, all]);
    check(TenantId::default().as_str(), TEN + HOUR, TEN + 2 * HOUR, &[one]);
    check(TenantId::default().as_str(), TEN + 2 * HOUR, TEN + 3 * HOUR, &[]);
    check("other", i64::MIN, i64::MAX, &[]);
}

#[test]
fn very_many_files_are_counted() {
    let units: Vec<_> = (10..25).map(|number| unit(&format!("{number}"), None, TEN)).collect();
    let told = sentences(&units, &TenantId::default(), TimeRange::ALL);
    assert_eq!((told.len(), told[10].as_str()), (11, "5 more log data files are damaged, too"));
}
