//! What senders who make up tenants, or send too fast, can do to the others.

use super::*;

fn tenant(number: usize) -> TenantId {
    TenantId::new(&format!("tenant-{number}")).expect("an id")
}

async fn append_for(
    store: &LogStore,
    number: usize,
    line: &str,
) -> storage_api::StorageResult<model::AppendReport> {
    store.append(&tenant(number), batch(&rows("api", &[row(NOW, line)]))).await
}

fn everything_of(number: usize) -> LogSelect {
    LogSelect { tenant: tenant(number), ..everything() }
}

#[tokio::test]
async fn a_flush_of_many_tenants_keeps_every_line_of_each() {
    let mut machine = Machine::new(1);
    let store = machine.open();
    for number in 0..40 {
        append_for(&store, number, &format!("line of {number}")).await.expect("stored");
    }
    store.flush().await.expect("flushed");
    assert_eq!(machine.data_files().len(), 40);
    machine.stop(store).await;
    let store = machine.open();
    for number in 0..40 {
        let expected = rows("api", &[row(NOW, &format!("line of {number}"))]);
        assert_eq!(read_raw(&store, &everything_of(number)).await, expected);
    }
}

#[tokio::test]
async fn a_flush_of_many_tenants_that_is_cut_off_loses_and_doubles_nothing() {
    for operations in (0..400).step_by(7) {
        let mut machine = Machine::new(operations);
        let store = machine.open();
        for number in 0..12 {
            append_for(&store, number, "a line").await.expect("stored");
        }
        machine.disk.cut_power_after(operations);
        let flushed = store.flush().await;
        let done = machine.disk.has_power();
        machine.stop(store).await;
        machine.disk.power_loss();
        let store = machine.open();
        for number in 0..12 {
            let found = read_raw(&store, &everything_of(number)).await;
            assert_eq!(found, rows("api", &[row(NOW, "a line")]), "{operations} operations, {flushed:?}");
        }
        machine.stop(store).await;
        if done {
            return;
        }
    }
    panic!("a flush of twelve tenants has fewer operations");
}

#[tokio::test]
async fn a_tenant_past_the_limit_is_refused_and_those_there_are_go_on() {
    let mut machine = Machine::new(1);
    machine.settings.tenants_max = 2;
    let store = machine.open();
    append_for(&store, 0, "first").await.expect("stored");
    append_for(&store, 1, "second").await.expect("stored");
    store.flush().await.expect("flushed");
    machine.stop(store).await;
    // Known by their files now.
    let store = machine.open();
    let error = append_for(&store, 2, "third").await.expect_err("one too many");
    let text = "log store: there are 2 tenants, the limit (tenants_max); tenant tenant-2 is not taken";
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Throttled, text.to_owned()));
    assert!(error.retry_after().is_some());
    append_for(&store, 1, "more").await.expect("stored");
    assert_eq!(read_raw(&store, &everything_of(1)).await["api"].len(), 2);
    assert_eq!(read_raw(&store, &everything_of(2)).await, Rows::new());
}

#[tokio::test]
async fn what_is_refused_whole_makes_no_tenant() {
    let mut machine = Machine::new(1);
    machine.settings.tenants_max = 1;
    let store = machine.open();
    let old = batch(&rows("api", &[row(NOW - 1000 * 86_400 * SECOND, "too old")]));
    let report = store.append(&tenant(0), old).await.expect("told by the report");
    assert_eq!((report.stored, report.rejected_count()), (0, 1));
    append_for(&store, 1, "fine").await.expect("the first that has something");
}

#[tokio::test]
async fn a_tenant_past_its_rate_is_refused_with_a_hint_by_its_own_limit() {
    let mut machine = Machine::new(1);
    let slow = crate::LogLimits {
        ingest_bytes_per_second: 10.0,
        ingest_burst_bytes: 10.0,
        ..crate::LogLimits::default()
    };
    machine.settings.tenant_limits.insert(tenant(0), slow);
    let store = machine.open();
    append_for(&store, 0, "0123456789").await.expect("its burst");
    append_for(&store, 1, "another tenant's").await.expect("stored");
    let error = append_for(&store, 0, "01234").await.expect_err("too fast");
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Throttled, Some(Duration::from_secs(1))));
    machine.clock.jump_to_ns(NOW - 300 * SECOND);
    machine.clock.set_ns(NOW - 299 * SECOND);
    append_for(&store, 0, "01234").await.expect("when the hint says, though the clock was set back");
    assert_eq!(read_raw(&store, &everything_of(0)).await["api"].len(), 2);
}
