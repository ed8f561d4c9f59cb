//! The run: one task a connection, each with its own templates, schedule, ledger and figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;

use crate::cli::{OtlpArgs, Rate, Signal};
use crate::clock::now_ns;
use crate::ledger::{Ledger, Outcome, Sent};
use crate::payload::{self, Template};
use crate::report::Report;
use crate::transport::{Answer, Connection};
use crate::verify;

/// Latencies are kept from 1 µs to 10 minutes with three digits.
const LATENCY_US_MAX: u64 = 600_000_000;
/// Pause after a request without an answer, so that a dead target is not hammered.
const UNANSWERED_PAUSE: Duration = Duration::from_millis(20);
/// Pause after a refusal; short, because a load test is there to press on.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// How often the progress line is renewed.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Counts that the progress line shows.
#[derive(Default)]
struct Progress {
    sent: AtomicU64,
    acked: AtomicU64,
    rejected: AtomicU64,
    failed_requests: AtomicU64,
}

/// A connection's part of the run.
pub(crate) struct WorkerResult {
    pub(crate) templates: Vec<Template>,
    pub(crate) ledger: Ledger,
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) counts: Counts,
}

/// What a connection counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) rejected: u64,
    pub(crate) refused_requests: u64,
    pub(crate) refused_with_hint: u64,
    pub(crate) unanswered_requests: u64,
    pub(crate) bytes: u64,
    /// The first refusal or failure, as an example.
    pub(crate) example: Option<String>,
}

/// Runs the test and, if asked, the verification.
pub(crate) async fn otlp(args: OtlpArgs) -> anyhow::Result<Report> {
    if args.verify && args.signal == Signal::Traces {
        bail!(
            "--verify reads data back through the Prometheus or Loki API; it takes metrics or logs, not traces"
        );
    }
    let started_ns = now_ns();
    let run_id = format!("{:x}", started_ns / 1_000_000);
    let templates = payload::templates(&args, &run_id);
    let connections = templates.len();
    let progress = Arc::new(Progress::default());
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for (number, templates) in templates.into_iter().enumerate() {
        let worker = Worker {
            connection: Connection::new(&args)?,
            rate: args.rate,
            connections,
            number,
            duration: args.duration,
            templates,
            progress: Arc::clone(&progress),
        };
        workers.spawn(worker.run(began));
    }
    let bar = progress_bar(args.duration);
    let mut results = Vec::new();
    let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
    while !workers.is_empty() {
        tokio::select! {
            Some(result) = workers.join_next() => results.push(result.context("a connection's task failed")?),
            _ = tick.tick() => show(&bar, &progress, began),
        }
    }
    let elapsed = began.elapsed();
    bar.finish_and_clear();
    let verdict = match (args.verify, args.signal) {
        (false, _) | (_, Signal::Traces) => None,
        (true, Signal::Metrics) => Some(verify::metrics::check(&args, &run_id, &results, started_ns).await?),
        (true, Signal::Logs) => Some(verify::logs::check(&args, &results, started_ns).await?),
    };
    Ok(Report::new(&args, elapsed, &results, verdict))
}

fn progress_bar(duration: Duration) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let style =
        ProgressStyle::with_template("{wide_bar} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar
}

fn show(bar: &ProgressBar, progress: &Progress, began: Instant) {
    let elapsed = began.elapsed();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let acked = read(&progress.acked);
    bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
    bar.set_message(format!(
        "{:.1} s  sent {}  acked {acked} ({:.0}/s)  rejected {}  failed requests {}",
        elapsed.as_secs_f64(),
        read(&progress.sent),
        acked as f64 / elapsed.as_secs_f64().max(0.001),
        read(&progress.rejected),
        read(&progress.failed_requests),
    ));
}

struct Worker {
    connection: Connection,
    rate: Rate,
    connections: usize,
    number: usize,
    duration: Duration,
    templates: Vec<Template>,
    progress: Arc<Progress>,
}

impl Worker {
    async fn run(mut self, began: Instant) -> WorkerResult {
        let latency_us = Histogram::new_with_max(LATENCY_US_MAX, 3).expect("the bounds are valid");
        let mut result = WorkerResult {
            templates: std::mem::take(&mut self.templates),
            ledger: Ledger::new(),
            latency_us,
            counts: Counts::default(),
        };
        let mut due = began + self.first_delay(&result.templates);
        let mut free_ns = i64::MIN;
        for request in 0_u64.. {
            let index = (request % result.templates.len() as u64) as usize;
            let round = request / result.templates.len() as u64;
            let template = &result.templates[index];
            if let Rate::Items(_) = self.rate {
                tokio::time::sleep_until(due.into()).await;
            } else {
                due = Instant::now();
            }
            if began.elapsed() >= self.duration {
                break;
            }
            // One clock for all series of a connection, and never the same time twice.
            let time_ns = next_time(now_ns(), free_ns, template);
            free_ns = time_ns.saturating_add(template.time_span_ns());
            let body = template.render(round, time_ns);
            result.counts.bytes += body.len() as u64;
            let answer = self.connection.send(body).await;
            // From when it was due: a stalled target delays later requests, and that wait is latency too.
            let waited = u64::try_from(due.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
            let outcome = self.count(&mut result.counts, template.items(), &answer);
            if outcome == Outcome::Acked {
                result.latency_us.saturating_record(waited.max(1));
            }
            due += self.interval(template);
            result.ledger.push(Sent { template: index, round, time_ns, outcome });
            match answer {
                Answer::Unanswered { .. } => tokio::time::sleep(UNANSWERED_PAUSE).await,
                Answer::Refused { .. } => tokio::time::sleep(REFUSED_PAUSE).await,
                Answer::Accepted | Answer::Partial { .. } => {}
            }
        }
        result
    }

    /// Time between two requests of this connection at the wanted rate.
    fn interval(&self, template: &Template) -> Duration {
        match self.rate {
            Rate::Max => Duration::ZERO,
            Rate::Items(rate) => {
                Duration::from_secs_f64(template.items() as f64 * self.connections as f64 / rate)
            }
        }
    }

    /// Spreads the connections over one interval.
    fn first_delay(&self, templates: &[Template]) -> Duration {
        let interval = templates.first().map_or(Duration::ZERO, |template| self.interval(template));
        interval.mul_f64(self.number as f64 / self.connections as f64)
    }

    fn count(&self, counts: &mut Counts, items: u64, answer: &Answer) -> Outcome {
        counts.requests += 1;
        counts.sent += items;
        self.progress.sent.fetch_add(items, Ordering::Relaxed);
        match answer {
            Answer::Accepted => {
                counts.acked += items;
                self.progress.acked.fetch_add(items, Ordering::Relaxed);
                return Outcome::Acked;
            }
            Answer::Partial { rejected, message } => {
                counts.rejected += rejected;
                counts.acked += items.saturating_sub(*rejected);
                self.progress.rejected.fetch_add(*rejected, Ordering::Relaxed);
                counts.example.get_or_insert_with(|| message.clone());
            }
            Answer::Refused { status, retry_hint } => {
                counts.refused_requests += 1;
                counts.refused_with_hint += u64::from(*retry_hint);
                self.progress.failed_requests.fetch_add(1, Ordering::Relaxed);
                counts.example.get_or_insert_with(|| status.clone());
            }
            Answer::Unanswered { reason } => {
                counts.unanswered_requests += 1;
                self.progress.failed_requests.fetch_add(1, Ordering::Relaxed);
                counts.example.get_or_insert_with(|| reason.clone());
            }
        }
        Outcome::Uncertain
    }
}

/// The time of a request's first item: now, or the first free time after the last request.
fn next_time(now_ns: i64, free_ns: i64, template: &Template) -> i64 {
    let time = now_ns.max(free_ns);
    match template {
        // Whole milliseconds, which is what a metrics store keeps.
        Template::Metrics(_) => time.div_euclid(1_000_000) * 1_000_000,
        Template::Logs(_) | Template::Traces(_) => time,
    }
}
