use std::time::Duration;

use super::Outage;
use crate::ComponentId;

#[tokio::test(start_paused = true)]
async fn a_failing_destination_is_told_at_once_then_by_the_minute_and_so_is_its_return() {
    let outage = Outage::new(&ComponentId::parse("otlp").expect("an id"));
    let pass = |secs| tokio::time::advance(Duration::from_secs(secs));
    assert!(!outage.note_success(), "it was never away");
    assert_eq!(outage.note_failure(), Some(1));
    for _ in 0..5 {
        pass(10).await;
        assert_eq!(outage.note_failure(), None);
    }
    pass(10).await;
    assert_eq!(outage.note_failure(), Some(6), "a minute after the first, with those between");
    assert!(outage.note_success());
    assert!(!outage.note_success(), "once");
    // One that comes and goes is not told each time.
    assert_eq!(outage.note_failure(), None);
    assert!(!outage.note_success(), "the log does not know that it was away");
    pass(60).await;
    assert_eq!(outage.note_failure(), Some(2));
    assert!(outage.note_success());
}
