//! Wall-clock time of the generator.

/// Nanoseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "a black-box client has the machine's clock and no other")]
pub(crate) fn now_ns() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}
