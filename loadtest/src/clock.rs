//! Wall-clock time of the generator.

/// Nanoseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "a black-box client has the machine's clock and no other")]
pub(crate) fn now_ns() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// What tells the data of this run from that of others, at the same endpoint and at the same time too.
pub(crate) fn new_run_id() -> String {
    format!("{:x}-{:x}", now_ns() / 1_000_000, std::process::id())
}
