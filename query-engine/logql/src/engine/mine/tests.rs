//! Patterns of stored lines, by level and step.

use model::{Matcher, TenantId, TimeRange};

use crate::engine::tests::store::Store;
use crate::{Engine, LinePattern};

const SECOND: i64 = 1_000_000_000;

#[tokio::test]
async fn patterns_are_counted_by_level_and_step_inside_the_range() {
    let info = [("detected_level", "info")];
    let store = Store::new()
        .page("app=a", &[(1, "job 1 done", &info), (2, "job 2 done", &info), (11, "job 3 done", &info)])
        .page("app=b,detected_level=error", &[(3, "job 4 failed", &[]), (99, "job 5 failed", &[])])
        .page("app=c", &[(4, "nothing", &[])])
        .done();
    let range = TimeRange::new(0, 50 * SECOND);
    let matchers = vec![Matcher::new("app", model::MatchOp::Regex, "a|b").expect("a good matcher")];
    let found = Engine::default()
        .patterns(matchers, range, 10 * SECOND, &TenantId::default(), store)
        .await
        .expect("an answer");
    let pattern = |pattern: &str, level: &str, counts: &[(i64, u64)]| LinePattern {
        pattern: pattern.to_owned(),
        level: level.to_owned(),
        counts: counts.iter().map(|(second, count)| (second * SECOND, *count)).collect(),
    };
    assert_eq!(
        found,
        [pattern("job <_> done", "info", &[(0, 2), (10, 1)]), pattern("job <_> failed", "error", &[(0, 1)]),]
    );
}
