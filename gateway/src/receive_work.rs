//! Routing of writes to a hash ring: made from the config, with rings that are read again when their file changes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use axum::Router as Routes;
use runtime::{MemoryBudget, Tasks};
use thanos::Router;

use crate::api::thanos::receive::{self, Receive};
use crate::apis;
use crate::config::Config;
use crate::config::types::ReceiveConfig;
use crate::stores::OpenStores;

/// Time between two looks at the file of the rings: a ring that changes is a matter of some seconds.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The router of a config, if it has one.
pub(crate) fn start(
    config: &Config,
    stores: Option<&OpenStores>,
    budget: &Arc<MemoryBudget>,
    tasks: &Tasks,
) -> anyhow::Result<Option<Arc<Router>>> {
    let section = &config.receive;
    if !section.is_enabled() {
        return Ok(None);
    }
    let refused = |error: pipelines::ConfigError| anyhow!("{error}");
    let (text, rings) = section.read_rings().map_err(refused)?;
    let local = section.local_endpoint.as_ref().and(stores).and_then(|stores| apis::writer(stores, tasks));
    let router = Router::new(section.settings().map_err(refused)?, rings, local, tasks.clone())?;
    let router = Arc::new(router.with_budget(Arc::clone(budget)));
    tasks.spawn("receive-hashrings", follow(section.clone(), Arc::clone(&router), text, tasks.clone()));
    Ok(Some(router))
}

/// The routes of its listener.
pub(crate) fn routes(router: Arc<Router>, budget: &Arc<MemoryBudget>, tasks: &Tasks) -> Routes {
    let (budget, tasks) = (Arc::clone(budget), tasks.clone());
    receive::routes(Arc::new(Receive { router, budget, tasks }))
}

/// Looks at the file from time to time; rings that cannot be used leave the old ones in place.
async fn follow(section: ReceiveConfig, router: Arc<Router>, mut text: Vec<u8>, tasks: Tasks) {
    let section = Arc::new(section);
    let mut last_fault = String::new();
    loop {
        tokio::select! {
            () = tasks.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let looked = Arc::clone(&section);
        let Ok(read) = tasks.spawn_blocking("receive-hashrings-file", move || looked.read_rings()).await
        else {
            continue;
        };
        let taken = read.map_err(|error| error.to_string()).and_then(|(new, rings)| {
            if new != text {
                router.set_rings(rings).map_err(|error| error.to_string())?;
                text = new;
                tracing::info!("the hash rings changed");
            }
            Ok(())
        });
        let fault = taken.err().unwrap_or_default();
        if !fault.is_empty() && fault != last_fault {
            tracing::error!(error = fault, "the hash rings cannot be used; the old ones stay");
        }
        last_fault = fault;
    }
}
