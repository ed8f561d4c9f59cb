//! Requests that are encoded once and sent many times.
//!
//! A template is an encoded request whose times, values and sequence numbers have a fixed width on the wire, so that
//! sending it again costs one copy and a few stores: the generator stays far cheaper than what it measures.

pub(crate) mod logs;
pub(crate) mod metrics;
mod remote_write;
pub(crate) mod traces;

use bytes::Bytes;

use crate::cli::{Load, Signal};

/// A request to be sent again and again.
pub(crate) enum Template {
    Metrics(metrics::MetricsTemplate),
    Logs(logs::LogsTemplate),
    Traces(traces::TracesTemplate),
}

impl Template {
    /// The request for `round`, its first item at `time_ns`, neither compressed nor as JSON.
    pub(crate) fn render(&self, round: u64, time_ns: i64) -> Bytes {
        match self {
            Self::Metrics(template) => template.render(round, time_ns),
            Self::Logs(template) => template.render(round, time_ns),
            Self::Traces(template) => template.render(round, time_ns),
        }
    }

    /// Items in a request.
    pub(crate) fn items(&self) -> u64 {
        match self {
            Self::Metrics(template) => template.items(),
            Self::Logs(template) => template.items(),
            Self::Traces(template) => template.items(),
        }
    }

    /// Nanoseconds from the first item's time to the first free time after the last one.
    pub(crate) fn time_span_ns(&self) -> i64 {
        match self {
            // The stores of metrics keep milliseconds, and a series has one sample a timestamp.
            Self::Metrics(_) => 1_000_000,
            Self::Logs(template) => i64::try_from(template.items()).unwrap_or(i64::MAX),
            Self::Traces(_) => 1,
        }
    }
}

/// The templates of each connection: no two connections share a series or a stream, so that each is sent in order.
///
/// A run that sends at most `requests` needs no templates that it never comes to.
pub(crate) fn templates(load: &Load, batch: u32, requests: Option<u32>, run_id: &str) -> Vec<Vec<Template>> {
    match load.signal() {
        Signal::Metrics => metrics::templates(load, batch, requests, run_id),
        Signal::Logs => logs::templates(load, batch, run_id),
        Signal::Traces => traces::templates(load, batch, run_id),
        Signal::Queries => Vec::new(),
    }
}

/// High half of the 8-byte placeholders that mark where a fixed-width field lies in an encoded template.
const PLACEHOLDER: u64 = 0xA5C3_96F1_0000_0000;

/// The placeholder number `index`.
fn placeholder(index: usize) -> u64 {
    PLACEHOLDER | index as u64
}

/// Where placeholders 0, 1, 2, … lie in `bytes`. Panics if one of `count` is missing.
fn find_placeholders(bytes: &[u8], count: usize) -> Vec<usize> {
    let mut offsets = vec![usize::MAX; count];
    for (offset, window) in bytes.windows(8).enumerate() {
        let word = u64::from_le_bytes(window.try_into().expect("windows of 8"));
        let index = (word & 0xFFFF_FFFF) as usize;
        if word & 0xFFFF_FFFF_0000_0000 == PLACEHOLDER && index < count {
            offsets[index] = offset;
        }
    }
    assert!(!offsets.contains(&usize::MAX), "every placeholder was encoded as a fixed 64-bit field");
    offsets
}

/// Where `needle` begins in `haystack`, each time.
fn find_all(haystack: &[u8], needle: &[u8]) -> Vec<usize> {
    let hits = haystack.windows(needle.len()).enumerate();
    hits.filter(|(_, window)| *window == needle).map(|(offset, _)| offset).collect()
}

/// The last `N` hexadecimal digits of a number.
fn hex<const N: usize>(number: u64) -> [u8; N] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|i| DIGITS[(number >> (4 * (N - 1 - i))) as usize & 15])
}

#[cfg(test)]
mod tests;
