use model::{Labels, MetricMetadata, MetricType};
use wire::otlp_to_prometheus::{Resolved, SeriesKey, SeriesResolver};

use super::SeriesPage;

#[test]
fn what_is_remembered_beside_the_series_is_bounded_by_their_number() {
    let mut page = SeriesPage::new(2);
    let known = [Labels::from_pairs([("__name__", "a")])];
    for key in 0..100 {
        // One series that comes under ever new keys, as from resources whose attributes change places.
        let resolved = page.insert(SeriesKey(key), &known).expect("no failure");
        assert!(matches!(resolved, Resolved::Handles(&[0])));
        let gauge =
            MetricMetadata { metric_type: MetricType::Gauge, help: String::new(), unit: String::new() };
        page.metadata(&format!("family_{key}"), &gauge);
    }
    assert_eq!(page.series.len(), 1);
    assert!(page.runs.len() <= 4, "{}", page.runs.len());
    assert!(page.families.len() <= 2, "{}", page.families.len());
}
