use std::sync::Arc;

use model::{ErrorKind, TenantId};
use pipelines::Exporter;
use serde_json::{Value, json};
use storage_api::StorageError;

use crate::Stores;
use crate::testing::{MemoryLogs, context, create, logs};

fn exporter(store: &Arc<MemoryLogs>) -> Arc<dyn Exporter> {
    let stores = Stores { metrics: None, logs: Some(Arc::clone(store) as _) };
    create("log_store", &Value::Null, &context(), &stores).expect("a good config")
}

#[tokio::test]
async fn records_are_stored_in_the_stream_of_their_resource_and_tenant() {
    let store = Arc::new(MemoryLogs::default());
    let exporter = exporter(&store);
    let report = exporter.consume(logs(&["first", "second"])).await.expect("taken");
    assert_eq!((report.stored, report.rejected.len()), (2, 0));
    let mut other = logs(&["third"]);
    other.tenant = TenantId::new("other").expect("an id");
    exporter.consume(other).await.expect("taken");
    let entry = |tenant: &str, rest: &str| (tenant.to_owned(), format!(r#"{{service_name="shop"}} {rest}"#));
    assert_eq!(
        store.dump(),
        [
            entry("default", "1000000 first"),
            entry("default", "2000000 second"),
            entry("other", "1000000 third")
        ]
    );
}

#[tokio::test]
async fn refused_entries_are_counted_and_a_store_that_is_away_is_told() {
    let store = Arc::new(MemoryLogs::default());
    let exporter = exporter(&store);
    let report = exporter.consume(logs(&["good", "refuse me"])).await.expect("taken");
    assert_eq!((report.stored, report.rejected[0].reason, report.rejected[0].count), (1, "too_old", 1));
    store.fail(StorageError::new(ErrorKind::Throttled, "too fast"));
    let error = exporter.consume(logs(&["good"])).await.expect_err("away");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Throttled, "too fast".to_owned()));
}

#[tokio::test]
async fn large_requests_are_translated_off_the_async_threads_with_the_same_outcome() {
    let store = Arc::new(MemoryLogs::default());
    let exporter = exporter(&store);
    let line = "x".repeat(1000);
    let batch = logs(&vec![line.as_str(); 1100]);
    assert!(batch.payload.len() > super::INLINE_BYTES_MAX);
    assert_eq!(exporter.consume(batch).await.expect("taken").stored, 1100);
    assert_eq!(store.dump().len(), 1100);
}

#[test]
fn faulty_configs_are_refused() {
    let stores = Stores { metrics: None, logs: Some(Arc::new(MemoryLogs::default())) };
    let error = create("log_store", &json!({"labels": []}), &context(), &stores).err().expect("a fault");
    assert!(error.to_string().starts_with("labels: unknown field `labels`"), "{error}");
    let none = create("log_store", &Value::Null, &context(), &Stores::default()).err().expect("no store");
    assert_eq!(none.to_string(), "this process has no log store");
}
