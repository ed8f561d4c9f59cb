//! Thanos' APIs: the StoreAPI over gRPC (`server.store_api`), and writes for a hash ring over HTTP (`receive`).

pub mod receive;

use std::sync::Arc;

use axum::body::Body;
use http::Request;
use thanos::StoreApiServer;

use crate::server::Handler;
use crate::server::auth::ServerAuth;

/// A handler that serves the StoreAPI to those who may ask.
pub fn store_api_handler(server: Arc<StoreApiServer>, auth: Option<Arc<dyn ServerAuth>>) -> Handler {
    Arc::new(move |request: Request<Body>| {
        let (server, auth) = (Arc::clone(&server), auth.clone());
        Box::pin(async move {
            if let Some(auth) = auth
                && let Err(error) = auth.authenticate(request.headers()).await
            {
                return tonic::Status::unauthenticated(error.message).into_http();
            }
            server.answer(request).await.map(Body::new)
        })
    })
}
