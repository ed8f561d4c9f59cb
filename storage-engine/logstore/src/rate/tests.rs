use std::time::Duration;

use model::{ErrorKind, TenantId};

use super::IngestRates;
use crate::settings::LogLimits;

const SECOND: i64 = 1_000_000_000;

#[test]
fn a_tenant_gets_its_burst_then_its_rate_and_others_are_not_concerned() {
    let limits =
        LogLimits { ingest_bytes_per_second: 100.0, ingest_burst_bytes: 300.0, ..LogLimits::default() };
    let rates = IngestRates::default();
    let (noisy, quiet) = (TenantId::new("noisy").expect("an id"), TenantId::default());
    let take = |tenant: &TenantId, seconds: i64, bytes| {
        let taken = rates.take(tenant, &limits, seconds * SECOND, (7, bytes));
        taken.map_err(|error| (error.kind(), error.retry_after().expect("a hint"), error.to_string()))
    };
    assert_eq!(take(&noisy, 100, 300), Ok(()));
    let text = "ingestion rate limit exceeded for user noisy (limit: 100 bytes/sec) while attempting to ingest '7' lines \
                totaling '150' bytes, reduce log volume or contact your Loki administrator to see if the limit can be \
                increased";
    let refused = (ErrorKind::Throttled, Duration::from_secs(2), text.to_owned());
    assert_eq!(take(&noisy, 100, 150), Err(refused));
    assert_eq!(take(&quiet, 100, 300), Ok(()));
    assert_eq!(take(&noisy, 102, 150), Ok(()), "when the hint says");
    assert_eq!(take(&noisy, 90, 50), Ok(()), "a request that was overtaken gives and takes nothing");
    // More than the burst: taken when the bucket is full, and paid back.
    assert_eq!(take(&noisy, 105, 1000), Ok(()));
    let (_, wait, _) = take(&noisy, 105, 100).expect_err("700 bytes of debt");
    assert_eq!(wait, Duration::from_secs(8));
    assert_eq!(take(&noisy, 113, 100), Ok(()));
}
