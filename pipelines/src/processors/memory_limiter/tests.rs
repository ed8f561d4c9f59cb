use std::sync::Arc;

use model::{ErrorKind, Signal};
use runtime::{MemoryBudget, SystemClock, Tasks};
use serde_json::{Value, json};

use super::{Config, MIB, apply, memory};
use crate::testing::{Destination, batch};
use crate::{
    ComponentConfig, ComponentId, ConfigError, Consumer, Processor, ProcessorContext, RETRY_AFTER_REFUSAL,
};

fn parse(value: &Value) -> Result<Config, ConfigError> {
    let id = ComponentId::parse("memory_limiter").expect("an id");
    let config: Config = ComponentConfig { id: &id, value }.parse()?;
    config.validate()?;
    Ok(config)
}

fn limiter(value: &Value, budget: &Arc<MemoryBudget>, next: &Arc<Destination>) -> Arc<dyn Processor> {
    let id = ComponentId::parse("memory_limiter").expect("an id");
    let context =
        ProcessorContext { clock: Arc::new(SystemClock), tasks: Tasks::new(), budget: Arc::clone(budget) };
    let config = ComponentConfig { id: &id, value };
    (super::FACTORY.create)(&config, Signal::Logs, &context, Arc::clone(next) as Arc<dyn Consumer>)
        .expect("a good config")
}

#[test]
fn a_config_that_the_collector_refuses_is_refused_with_its_text() {
    let check = |value: Value, want: &str| {
        assert_eq!(parse(&value).expect_err("a fault").to_string(), want, "{value}");
    };
    check(json!(null), "'check_interval' must be greater than zero");
    check(json!({"check_interval": "1s"}), "'limit_mib' or 'limit_percentage' must be greater than zero");
    check(
        json!({"check_interval": "1s", "limit_mib": 10, "spike_limit_mib": 10}),
        "'spike_limit_mib' must be smaller than 'limit_mib'",
    );
    check(
        json!({"check_interval": "1s", "limit_percentage": 101}),
        "'limit_percentage' and 'spike_limit_percentage' must be greater than zero and less than or equal to hundred",
    );
    check(
        json!({"check_interval": "1s", "limit_percentage": 50, "spike_limit_percentage": 50}),
        "'spike_limit_percentage' must be smaller than 'limit_percentage'",
    );
    let unknown = parse(&json!({"limit": 10})).expect_err("an unknown key").to_string();
    assert!(unknown.contains("unknown field `limit`"), "{unknown}");
}

#[test]
fn the_soft_limit_is_the_limit_less_the_spike() {
    let check = |value: Value, want_mib: u64| {
        let config = parse(&value).expect("a good config");
        let soft = config.soft_limit_bytes(|| Some(1000 * MIB)).expect("memory is known");
        // Percentages are taken of bytes, so that they do not end on a whole MiB.
        assert_eq!(soft.div_ceil(MIB), want_mib, "{value}");
    };
    check(json!({"check_interval": "1s", "limit_mib": 100}), 80);
    check(json!({"check_interval": "1s", "limit_mib": 100, "spike_limit_mib": 30}), 70);
    check(json!({"check_interval": "1s", "limit_percentage": 50}), 400);
    check(json!({"check_interval": "1s", "limit_percentage": 75, "spike_limit_percentage": 25}), 500);
    check(json!({"check_interval": "1s", "limit_mib": 100, "limit_percentage": 10}), 80);
}

#[test]
fn a_measurement_closes_the_budget_above_the_soft_limit_and_opens_it_below() {
    let budget = MemoryBudget::new(u64::MAX);
    let held = budget.reserve_unchecked(10);
    assert!(apply(&budget, 100, 100));
    assert!(budget.try_reserve(1).is_none());
    assert!(!apply(&budget, 100, 70));
    // What is reserved is part of the 70 that were measured; 30 more are free.
    assert!(budget.try_reserve(31).is_none());
    assert!(budget.try_reserve(30).is_some());
    drop(held);
}

#[test]
fn limiters_that_share_a_process_keep_its_lowest_limit() {
    let budget = MemoryBudget::new(u64::MAX);
    assert_eq!(budget.lower_ceiling(200), 200);
    assert_eq!(budget.lower_ceiling(300), 200);
    assert_eq!(budget.limit_bytes(), 200);
}

#[tokio::test]
async fn a_batch_without_room_is_refused_before_it_goes_on_and_leaves_nothing_reserved() {
    let (budget, next) = (MemoryBudget::new(u64::MAX), Destination::new());
    let limiter = limiter(&json!({"check_interval": "1s", "limit_mib": 1}), &budget, &next);
    limiter.consume(batch("small", 1)).await.expect("room");
    assert_eq!(next.seen.lock().remove(0).reservation.expect("counted").bytes(), 5);
    let large = "x".repeat(MIB as usize);
    budget.lower_ceiling(MIB * 8 / 10);
    let refused = limiter.consume(batch(&large, 1)).await.expect_err("over 0.8 MiB");
    assert_eq!(refused.to_string(), "data refused due to high memory usage");
    assert_eq!((refused.kind(), refused.retry_after()), (ErrorKind::Unavailable, Some(RETRY_AFTER_REFUSAL)));
    assert!(next.seen.lock().is_empty());
    assert_eq!(budget.reserved_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_running_limiter_measures_this_process() {
    let (budget, next) = (MemoryBudget::new(u64::MAX), Destination::new());
    let limiter = limiter(&json!({"check_interval": "1s", "limit_mib": 1}), &budget, &next);
    limiter.start().await.expect("starts");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    // No test process fits into 0.8 MiB.
    limiter.consume(batch("a", 1)).await.expect_err("closed");
    limiter.shutdown().await;
}

#[test]
fn memory_is_read_from_the_texts_of_the_kernel() {
    let status = "Name:\tx\nVmPeak:\t  999 kB\nVmRSS:\t  123456 kB\nThreads:\t1\n";
    assert_eq!(memory::status_kib(status, "VmRSS:"), Some(123_456 * 1024));
    assert_eq!(memory::status_kib(status, "VmSwap:"), None);
    assert_eq!(memory::status_kib("VmRSS:\tlots kB", "VmRSS:"), None);
    assert!(memory::resident_bytes().is_some_and(|bytes| bytes > MIB));
    assert!(memory::total_bytes().is_some_and(|bytes| bytes > 64 * MIB));
}

#[test]
fn the_limits_of_all_cgroups_above_this_process_are_looked_at() {
    assert_eq!(
        memory::limit_files("0::/user.slice/app.service\n"),
        [
            "/sys/fs/cgroup/user.slice/app.service/memory.max",
            "/sys/fs/cgroup/user.slice/memory.max",
            "/sys/fs/cgroup/memory.max",
        ]
    );
    assert_eq!(
        memory::limit_files("9:cpu,cpuacct:/x\n8:memory:/docker/abc\nbroken\n0::/\n"),
        [
            "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory.max",
        ]
    );
}

#[tokio::test]
async fn a_limiter_that_no_pipeline_names_limits_nothing() {
    let (budget, next) = (MemoryBudget::new(u64::MAX), Destination::new());
    // Sections that no pipeline names are made to be checked, and never started.
    let unused = limiter(&json!({"check_interval": "1s", "limit_mib": 1}), &budget, &next);
    assert_eq!((budget.limit_bytes(), budget.ceiling_bytes()), (u64::MAX, u64::MAX));
    drop(unused);
}

#[tokio::test(start_paused = true)]
async fn the_lowest_of_several_limits_holds_whichever_limiter_measures_last() {
    let (budget, next) = (MemoryBudget::new(u64::MAX), Destination::new());
    let wide = limiter(&json!({"check_interval": "1s", "limit_mib": 1 << 20}), &budget, &next);
    let narrow = limiter(&json!({"check_interval": "3s", "limit_mib": 1}), &budget, &next);
    wide.start().await.expect("starts");
    narrow.start().await.expect("starts");
    for _ in 0..8 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
        // No test process fits into 0.8 MiB.
        assert!(budget.try_reserve(1).is_none());
    }
    wide.shutdown().await;
    narrow.shutdown().await;
}
