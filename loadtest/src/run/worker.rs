//! One connection: sends what is due, waits for the answer, and keeps account.
//!
//! The open model without coordinated omission: each request has a time at which it is due, whatever became of those
//! before it. A slow answer delays the following requests of its connection, and that delay is part of their latency.
//! Lateness of this side (timers, a busy machine) is not: latencies are those of an ideal sender that sees the same
//! service times, and the difference is kept as this side's lag. A request that is refused, never answered or not sent
//! before the end has a latency too, as far as it is known: until that answer, until it was given up, until the end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::clock::now_ns;
use crate::figures::{Counts, Figures, histogram, record, record_many};
use crate::ledger::{Ledger, Outcome, Sent};
use crate::payload::Template;
use crate::queries::QueryMix;
use crate::schedule::Schedule;
use crate::transport::{Answer, Connection, Request, Target};

/// Pause of a closed loop after a request without an answer, so that a dead target is not hammered.
const UNANSWERED_PAUSE: Duration = Duration::from_millis(20);
/// Pause of a closed loop after a refusal; short, because a load test is there to press on.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// Requests of a connection that were not sent are looked at in at most about so many groups.
const UNSENT_LOOKED_AT: f64 = 1e6;

/// What a connection sends.
pub(crate) enum Work {
    /// Templates in turn.
    Data(Vec<Template>),
    /// Requests as they are, in turn, with their items.
    Prebuilt(Vec<(Bytes, u64)>),
    /// Queries, drawn by weight.
    Queries(QueryMix),
}

/// A connection's part of the run.
pub(crate) struct WorkerResult {
    pub(crate) templates: Vec<Template>,
    pub(crate) ledger: Ledger,
}

pub(crate) struct Worker {
    pub(crate) connection: Connection,
    pub(crate) target: Arc<Target>,
    pub(crate) work: Work,
    /// None in a closed loop.
    pub(crate) schedule: Option<Arc<Schedule>>,
    pub(crate) duration: Duration,
    pub(crate) number: usize,
    pub(crate) workers: usize,
    /// Shared with other workers, emptied now and then.
    pub(crate) figures: Arc<Mutex<Figures>>,
}

/// The times of an ideal sender that waits for nothing but due times and answers.
struct Ideal {
    free: Instant,
}

impl Worker {
    pub(crate) async fn run(mut self, began: Instant) -> WorkerResult {
        let end = began + self.duration;
        let mut ledger = Ledger::new();
        let mut ideal = Ideal { free: began };
        let mut free_ns = i64::MIN;
        let mut mine = 0;
        for number in 0_u64.. {
            let items = self.items(number);
            let due = match self.due(mine, items) {
                Some(after) => began + after,
                None if self.schedule.is_some() => break,
                None => Instant::now(),
            };
            if Instant::now().max(due) >= end {
                self.leave_unsent(number, mine, began, ideal.free);
                break;
            }
            if self.schedule.is_some() {
                tokio::time::sleep_until(due.into()).await;
            }
            let (request, sent) = self.request(number, &mut free_ns);
            let bytes = match &request {
                Request::Post { body, .. } => body.len() as u64,
                Request::Get { path } => path.len() as u64,
            };
            let start = Instant::now();
            let answer = self.connection.send(request).await;
            let service = start.elapsed();
            mine += items;
            // A closed loop is due when it sends.
            let due = if self.schedule.is_some() { due } else { start };
            let ideal_start = if self.schedule.is_some() { due.max(ideal.free) } else { start };
            ideal.free = ideal_start + service;
            let lag = start.saturating_duration_since(ideal_start);
            let busy = service.min(end.saturating_duration_since(start));
            let outcome = self.account(items, bytes, &answer, [ideal.free - due, service, lag, busy]);
            if let Some(sent) = sent {
                ledger.push(Sent { outcome, ..sent });
            }
            self.pause(&answer).await;
        }
        let templates = match self.work {
            Work::Data(templates) => templates,
            Work::Prebuilt(_) | Work::Queries(_) => Vec::new(),
        };
        WorkerResult { templates, ledger }
    }

    /// When the request behind `mine` items of this connection is due: connections take turns.
    fn due(&self, mine: u64, items: u64) -> Option<Duration> {
        let before = mine as f64 * self.workers as f64 + items as f64 * self.number as f64;
        self.schedule.as_ref()?.due(before)
    }

    fn items(&self, number: u64) -> u64 {
        match &self.work {
            Work::Data(templates) => templates[(number % templates.len() as u64) as usize].items(),
            Work::Prebuilt(requests) => requests[(number % requests.len() as u64) as usize].1,
            Work::Queries(_) => 1,
        }
    }

    /// The next request, and its entry in the ledger.
    fn request(&mut self, number: u64, free_ns: &mut i64) -> (Request, Option<Sent>) {
        match &mut self.work {
            Work::Queries(mix) => (Request::Get { path: mix.next_path(now_ns()) }, None),
            Work::Prebuilt(requests) => {
                let (body, items) = requests[(number % requests.len() as u64) as usize].clone();
                (Request::Post { body, items }, None)
            }
            Work::Data(templates) => {
                let count = templates.len() as u64;
                let (index, round) = ((number % count) as usize, number / count);
                let template = &templates[index];
                // One clock for all series of a connection, and never the same time twice.
                let time_ns = next_time(now_ns(), *free_ns, template);
                *free_ns = time_ns.saturating_add(template.time_span_ns());
                let body = self.target.encode(template.render(round, time_ns));
                let template_number = u32::try_from(index).expect("a connection has far fewer templates");
                let sent = Sent { template: template_number, round, time_ns, outcome: Outcome::Uncertain };
                (Request::Post { body, items: template.items() }, Some(sent))
            }
        }
    }

    fn account(
        &self,
        items: u64,
        bytes: u64,
        answer: &Answer,
        [latency, service, lag, busy]: [Duration; 4],
    ) -> Outcome {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = count(&mut figures.counts, items, answer);
        figures.counts.bytes += bytes;
        figures.busy += busy;
        record(&mut figures.lag_us, lag);
        record(&mut figures.latency_us, latency);
        record(&mut figures.service_us, service);
        outcome
    }

    /// Counts what is due until the end and will not be sent. How long it waited for answers to those before it, which
    /// an ideal sender got at `free`, is the least that its latency would have been.
    fn leave_unsent(&self, mut number: u64, mut mine: u64, began: Instant, free: Instant) {
        let (mut unsent, mut waited) = (0, histogram());
        // At a rate far above what any machine sends these are too many to look at one by one.
        let share = self.schedule.as_ref().map_or(0.0, |schedule| schedule.items()) / self.workers as f64
            - mine as f64;
        let together = (share / self.items(number) as f64 / UNSENT_LOOKED_AT).ceil().max(1.0) as u64;
        while let Some(after) = self.due(mine, self.items(number)) {
            let items = self.items(number).saturating_mul(together);
            let due = began + after;
            if due < free {
                record_many(&mut waited, free - due, together);
            }
            number = number.wrapping_add(together);
            mine = mine.saturating_add(items);
            unsent += items;
        }
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        figures.counts.unsent += unsent;
        figures.latency_us.add(&waited).expect("an automatically resized histogram takes every value");
    }

    async fn pause(&self, answer: &Answer) {
        let pause = match answer {
            // An open model has its times.
            _ if self.schedule.is_some() => return,
            Answer::Unanswered { .. } => UNANSWERED_PAUSE,
            Answer::Refused { .. } => REFUSED_PAUSE,
            Answer::Accepted | Answer::Partial { .. } => return,
        };
        tokio::time::sleep(pause).await;
    }
}

fn count(counts: &mut Counts, items: u64, answer: &Answer) -> Outcome {
    counts.requests += 1;
    counts.sent += items;
    match answer {
        Answer::Accepted => {
            counts.acked += items;
            Outcome::Acked
        }
        Answer::Partial { rejected, message } => {
            // More than all is all.
            let rejected = items.min(*rejected);
            counts.rejected += rejected;
            counts.acked += items - rejected;
            counts.example.get_or_insert_with(|| message.clone());
            Outcome::Partly { rejected: u32::try_from(rejected).unwrap_or(u32::MAX) }
        }
        Answer::Refused { status, retry_hint } => {
            counts.refused_requests += 1;
            counts.refused_with_hint += u64::from(*retry_hint);
            counts.example.get_or_insert_with(|| status.clone());
            Outcome::Uncertain
        }
        Answer::Unanswered { reason } => {
            counts.unanswered_requests += 1;
            counts.example.get_or_insert_with(|| reason.clone());
            Outcome::Uncertain
        }
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
