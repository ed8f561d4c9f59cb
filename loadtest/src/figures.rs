//! What is counted while a load runs: counts and histograms of an interval, summed up into those of the run.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies are kept with three digits, and grow with what is recorded.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// Counts of requests and items.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) rejected: u64,
    pub(crate) refused_requests: u64,
    pub(crate) refused_with_hint: u64,
    pub(crate) unanswered_requests: u64,
    /// Items that were due but never sent, because answers took too long.
    pub(crate) unsent: u64,
    /// Bytes of all requests as they went over the wire, without headers.
    pub(crate) bytes: u64,
    /// The first refusal or failure, as an example.
    pub(crate) example: Option<String>,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.sent += other.sent;
        self.acked += other.acked;
        self.rejected += other.rejected;
        self.refused_requests += other.refused_requests;
        self.refused_with_hint += other.refused_with_hint;
        self.unanswered_requests += other.unanswered_requests;
        self.unsent += other.unsent;
        self.bytes += other.bytes;
        if self.example.is_none() {
            self.example.clone_from(&other.example);
        }
    }

    /// Requests that were refused or not answered.
    pub(crate) fn failed(&self) -> u64 {
        self.refused_requests + self.unanswered_requests
    }
}

/// Figures of an interval or of a run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) counts: Counts,
    /// From when a request was due to its answer, µs: waiting behind earlier requests counts. Of a request that was not
    /// answered or not sent, as long as it is known to have waited.
    pub(crate) latency_us: Histogram<u64>,
    /// From sending a request to its answer, or until it was given up, µs.
    pub(crate) service_us: Histogram<u64>,
    /// How late this side sent, µs, for reasons of its own.
    pub(crate) lag_us: Histogram<u64>,
    /// Time until the planned end that connections spent waiting for answers.
    pub(crate) busy: Duration,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            latency_us: histogram(),
            service_us: histogram(),
            lag_us: histogram(),
            busy: Duration::ZERO,
        }
    }
}

impl Figures {
    /// Sums up.
    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (sum, part) in [
            (&mut self.latency_us, &other.latency_us),
            (&mut self.service_us, &other.service_us),
            (&mut self.lag_us, &other.lag_us),
        ] {
            sum.add(part).expect("an automatically resized histogram takes every value");
        }
        self.busy += other.busy;
    }

    /// Makes everything zero, memory kept.
    pub(crate) fn clear(&mut self) {
        self.counts = Counts::default();
        self.latency_us.reset();
        self.service_us.reset();
        self.lag_us.reset();
        self.busy = Duration::ZERO;
    }
}

/// Records a time in whole microseconds, at least one.
pub(crate) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    record_many(histogram, time, 1);
}

/// Records the same time this many times.
pub(crate) fn record_many(histogram: &mut Histogram<u64>, time: Duration, count: u64) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 2);
    histogram.record_n(micros.max(1), count).expect("an automatically resized histogram takes every value");
}

/// A quantile (0 to 1) in milliseconds; 0 of nothing.
pub(crate) fn quantile_ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    if histogram.is_empty() { 0.0 } else { histogram.value_at_quantile(quantile) as f64 / 1000.0 }
}
