//! `query`, `query_range`, `format_query`, `parse_query`.
//!
//! A query holds one of `query.max_concurrency` slots while it runs. It is cancelled when its client goes away: the
//! server drops the handler then, and with it the engine's future.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode};
use model::{ErrorKind, TenantId};
use promql::{Cancel, QueryOptions};
use thanos::RangeQuery;
use tokio::sync::SemaphorePermit;

use super::error::{ApiError, ErrorType};
use super::params::{Steps, limit, optional_duration, steps, time_or, timeout};
use super::result::{self, Options};
use super::stores::Source;
use super::{PrometheusApi, Shared, tenant_and_form};
use crate::api::form::Form;
use crate::api::json::{self, Html};
use crate::api::whole;

/// `GET|POST query`.
pub(super) async fn instant(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let at_ms = time_or(&form, "time", api.clock.now_ms())?;
        let (run, max) = (Run::new(&api, tenant, &form)?, limit(&form, "limit")?);
        let source = Source::new(&api, &form, None)?;
        let options = run.options(&source);
        let query = form.get("query").unwrap_or("");
        let _slot = run.slot(&api).await?;
        let started = Instant::now();
        let output = api.engine.instant(query, at_ms, source.querier(), options).await;
        let mut output = output.map_err(|error| ApiError::query(&error))?;
        output.warnings.extend(source.warnings());
        let seconds = started.elapsed().as_secs_f64();
        Ok(result::answer(output, &Options { limit: max, stats: form.get("stats").is_some(), seconds }))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// `GET|POST query_range`.
pub(super) async fn range(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (tenant, form) = tenant_and_form(request).await?;
        let steps = steps(&form)?;
        let (run, max) = (Run::new(&api, tenant, &form)?, limit(&form, "limit")?);
        let Steps { start_ms, end_ms, step_ms } = steps;
        let source = Source::new(&api, &form, Some(step_ms))?;
        let options = run.options(&source);
        let query = form.get("query").unwrap_or("");
        let _slot = run.slot(&api).await?;
        let started = Instant::now();
        let run = |start_ms, end_ms| {
            // Each part is cancelled by itself: one that is done cancels what is left of it.
            let options = QueryOptions { cancel: Cancel::default(), ..options.clone() };
            api.engine.range(query, start_ms, end_ms, step_ms, source.querier(), options)
        };
        let (output, answered) = match &api.frontend {
            None => (run(start_ms, end_ms).await, None),
            Some(frontend) => {
                let scope = scope(&source, &options);
                let asked = RangeQuery { scope: Some(&scope), query, start_ms, end_ms, step_ms };
                let (output, answered) = frontend.range(&asked, run).await.map_or_else(
                    |error| (Err(error), None),
                    |(output, answered)| (Ok(output), Some((frontend, answered))),
                );
                (output, answered)
            }
        };
        let mut output = output.map_err(|error| ApiError::query(&error))?;
        let missing = source.warnings();
        if let Some((frontend, answered)) = answered.filter(|_| missing.is_empty() && source.is_whole()) {
            frontend.keep(answered);
        }
        output.warnings.extend(missing);
        let seconds = started.elapsed().as_secs_f64();
        Ok(result::answer(output, &Options { limit: max, stats: form.get("stats").is_some(), seconds }))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// `GET|POST format_query`.
pub(super) async fn format(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (_, form) = tenant_and_form(request).await?;
        let query = form.get("query").unwrap_or("");
        let options = api.engine.settings().parse;
        let expr = promql::parse_expr(query, options).map_err(|error| ApiError::query(&error))?;
        let mut body = br#"{"status":"success","data":"#.to_vec();
        json::string(&mut body, &expr.to_string(), Html::Plain);
        body.push(b'}');
        Ok(whole(StatusCode::OK, "application/json", body))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// `GET|POST parse_query`.
pub(super) async fn parse(State(api): Shared, request: Request<Body>) -> Response<Body> {
    let answer = async {
        let (_, form) = tenant_and_form(request).await?;
        let query = form.get("query").unwrap_or("");
        let options = api.engine.settings().parse;
        let expr = promql::parse_expr(query, options).map_err(|error| ApiError::query(&error))?;
        Ok(super::status::success(super::syntax_tree::tree(&expr)))
    };
    answer.await.unwrap_or_else(ApiError::into_response)
}

/// All that an answer depends on beside the query's text and times.
fn scope(source: &Source<'_>, options: &QueryOptions) -> String {
    let stores = match source {
        Source::Own(_) => String::new(),
        Source::Several(querier) => format!("{:?}", querier.options()),
    };
    format!("{} {:?} {stores}", options.tenant.as_str(), options.lookback_delta)
}

/// What the two kinds of queries share.
struct Run {
    options: QueryOptions,
    timeout: Duration,
    lookback_default_ms: i64,
}

impl Run {
    fn new(api: &PrometheusApi, tenant: TenantId, form: &Form) -> Result<Self, ApiError> {
        let timeout = timeout(form, api.query.timeout)?;
        let lookback = optional_duration(form, "lookback_delta")?.filter(|ms| *ms > 0);
        let options = QueryOptions {
            tenant,
            timeout: Some(timeout),
            lookback_delta: lookback.map(|ms| Duration::from_millis(ms.unsigned_abs())),
            samples_max: None,
            cancel: Cancel::default(),
        };
        let lookback_default_ms = i64::try_from(api.query.lookback_delta.as_millis()).unwrap_or(i64::MAX);
        Ok(Self { options, timeout, lookback_default_ms })
    }

    /// The options over what the query reads from.
    fn options(&self, source: &Source<'_>) -> QueryOptions {
        let mut options = self.options.clone();
        if options.lookback_delta.is_none() {
            let lookback = source.lookback_ms(self.lookback_default_ms);
            options.lookback_delta = lookback.map(|ms| Duration::from_millis(ms.unsigned_abs()));
        }
        options
    }

    /// Waits for a slot, at most the query's own time.
    async fn slot<'a>(&self, api: &'a PrometheusApi) -> Result<SemaphorePermit<'a>, ApiError> {
        match tokio::time::timeout(self.timeout, api.slots.acquire()).await {
            Ok(slot) => slot.map_err(|_| ApiError::new(ErrorType::Internal, ErrorKind::Closed.to_string())),
            Err(_) => Err(ApiError::new(ErrorType::Timeout, "query timed out in query queue")),
        }
    }
}
