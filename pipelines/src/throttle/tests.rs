use std::time::Duration;

use super::Throttle;

#[tokio::test(start_paused = true)]
async fn each_kind_is_told_at_most_once_a_minute_and_no_count_is_lost() {
    let throttle = Throttle::default();
    let pass = |ms| tokio::time::advance(Duration::from_millis(ms));
    assert_eq!(throttle.add("delta", 3), Some(3));
    assert_eq!(throttle.add("delta", 1), None);
    pass(1000).await;
    assert_eq!(throttle.add("other", 5), Some(5));
    pass(58_999).await;
    assert_eq!(throttle.add("delta", 1), None);
    pass(1).await;
    assert_eq!(throttle.add("delta", 2), Some(4));
    assert_eq!(throttle.add("delta", 7), None);
    assert_eq!(throttle.add("other", 1), None);
    pass(60_000).await;
    assert_eq!(throttle.add("other", 1), Some(2));
    assert_eq!(throttle.add("delta", 1), Some(8));
}
