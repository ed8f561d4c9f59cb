//! Makes requests to delete lines come true: once one can no longer be taken back, the store writes its files anew
//! without the lines, and queries need not leave them out any more.

use std::sync::Arc;
use std::time::Duration;

use runtime::{Clock, Tasks};
use storage_api::LogMaintenance;

use super::requests::DeleteRequests;

/// How often it is looked for requests whose time has come.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Works through the requests until shutdown. One that fails is tried again at the next look.
pub async fn run(
    requests: Arc<DeleteRequests>,
    store: Arc<dyn LogMaintenance>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
) {
    loop {
        tokio::select! {
            () = tasks.cancelled() => return,
            () = process_due(&requests, &*store, &clock, &tasks) => {}
        }
        tokio::select! {
            () = tasks.cancelled() => return,
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
        }
    }
}

/// Processes the requests whose time has come.
pub(super) async fn process_due(
    requests: &Arc<DeleteRequests>,
    store: &dyn LogMaintenance,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
) {
    for (tenant, delete) in requests.due(clock.now_ms()) {
        let id = delete.request().id.clone();
        let removed = match store.remove(&tenant, delete).await {
            Ok(removed) => removed,
            Err(error) => {
                tracing::error!(%error, %tenant, id, "lines that were asked to be deleted are still in files");
                continue;
            }
        };
        let (requests, clock, of_tenant, of_id) =
            (Arc::clone(requests), Arc::clone(clock), tenant.clone(), id.clone());
        let noted = tasks.spawn_blocking("log_delete_processed", move || {
            requests.mark_processed(&of_tenant, &of_id, clock.now_ms())
        });
        match noted.await {
            Ok(Ok(())) => tracing::info!(%tenant, id, removed, "deleted lines are gone from all files"),
            Ok(Err(error)) => tracing::error!(%error, "a delete request could not be noted as processed"),
            Err(error) => tracing::error!(%error, "a delete request could not be noted as processed"),
        }
    }
}
