use std::time::Duration;

use super::{Figures, Generator, Usage};
use crate::figures::record;

/// Of a second in which `sent` items went out, with so many of two cores, waiting for answers for a share of the time.
fn judge(sent: u64, wanted: Option<f64>, cores: f64, waiting: f64, lag_ms: u64) -> (bool, String) {
    let mut figures = Figures::default();
    figures.counts.sent = sent;
    record(&mut figures.lag_us, Duration::from_millis(lag_ms));
    let usage = Usage { cpu_seconds: cores, cores, rss_peak_mib: 10.0 };
    let generator = Generator::judge(&figures, usage, 2.0, waiting, wanted, Duration::from_secs(1));
    (generator.is_limit, generator.warning.unwrap_or_default())
}

#[test]
fn who_was_the_limit_follows_from_rate_cores_and_waiting() {
    let (own, target) = ("this load generator is the limit", "the target did not keep up");
    for (sent, wanted, cores, waiting, is_limit, said) in [
        (1000, Some(1000.0), 1.9, 0.1, false, ""),
        (995, Some(1000.0), 0.1, 0.1, false, ""),
        (500, Some(1000.0), 0.2, 0.99, false, target),
        (500, Some(1000.0), 0.2, 0.5, true, own),
        // Requests that wait for a core of this side look as if they waited for the target.
        (500, Some(1000.0), 1.9, 0.99, true, own),
        (1000, None, 0.5, 0.99, false, ""),
        (1000, None, 0.5, 0.5, true, own),
        (1000, None, 1.9, 0.99, true, own),
    ] {
        let (found, warning) = judge(sent, wanted, cores, waiting, 1);
        let case = (sent, wanted, cores, waiting);
        assert_eq!(found, is_limit, "{case:?}: {warning}");
        assert!(warning.starts_with(said) && warning.is_empty() == said.is_empty(), "{case:?}: {warning}");
    }
    let mut refused = Figures::default();
    refused.counts.requests = 10;
    let usage = Usage { cpu_seconds: 0.1, cores: 0.1, rss_peak_mib: 10.0 };
    let generator = Generator::judge(&refused, usage, 2.0, 0.01, None, Duration::from_secs(1));
    assert!(!generator.is_limit && generator.warning.is_none(), "{:?}", generator.warning);
    let (is_limit, warning) = judge(1000, Some(1000.0), 0.1, 0.2, 50);
    assert!(!is_limit && warning.contains("50 ms late"), "{warning}");
}
