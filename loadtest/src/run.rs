//! A run: prepare one or several loads, send them together, look at them every second, verify, report.

mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use self::worker::Work;
pub(crate) use self::worker::WorkerResult;
use crate::cli::{BATCH_DEFAULT, Load, Rate, Signal};
use crate::clock::now_ns;
use crate::figures::Figures;
use crate::live::Live;
use crate::payload::{self, Template};
use crate::process::{Usage, Watch};
use crate::queries::QueryMix;
use crate::report::{Moment, Report};
use crate::schedule::Schedule;
use crate::sink::Sink;
use crate::transport::{Connection, Target};
use crate::verify::{self, Verdict};

/// Rows of a report's timeline, and how often the live view is renewed.
const ROW: Duration = Duration::from_secs(1);
/// Histograms that connections share: few enough to be small, enough that none waits for another.
const SHARDS: usize = 4;
/// Requests a second that the default batch leaves.
const REQUESTS_PER_SECOND_MIN: f64 = 10.0;

/// A load that is ready to start.
pub(crate) struct Prepared {
    pub(crate) name: String,
    pub(crate) load: Load,
    run_id: String,
    schedule: Option<Arc<Schedule>>,
    duration: Duration,
    workers: Vec<worker::Worker>,
    shards: Vec<Arc<Mutex<Figures>>>,
    sink: Option<Sink>,
    pub(crate) batch: u32,
}

/// A load that has been sent.
pub(crate) struct Finished {
    pub(crate) name: String,
    pub(crate) load: Load,
    pub(crate) batch: u32,
    pub(crate) schedule: Option<Arc<Schedule>>,
    pub(crate) duration: Duration,
    pub(crate) elapsed: Duration,
    pub(crate) figures: Figures,
    pub(crate) timeline: Vec<Moment>,
    pub(crate) workers: usize,
    pub(crate) own: Usage,
    pub(crate) target: Option<Usage>,
    /// What reading back found, or why it was not done to the end.
    pub(crate) verdict: Option<Result<Verdict, String>>,
    /// Connections whose task failed, and what they counted with it.
    pub(crate) failed_connections: u64,
}

/// Makes everything that can be made before the start.
pub(crate) async fn prepare(name: &str, load: &Load, run_id: &str) -> anyhow::Result<Prepared> {
    let context = || format!("load {name:?}");
    let pace = load.pace();
    if load.proof().is_some_and(|proof| proof.verify) && load.signal() == Signal::Traces {
        bail!(
            "--verify reads data back through the Prometheus or Loki API, which have no traces; want --verify-sink"
        );
    }
    if load.proof().is_some_and(|proof| proof.verify_sink.is_some()) && !matches!(load, Load::Otlp(_)) {
        bail!(
            "--verify-sink receives OTLP, and knows again only what was sent so; want otlp, not {}",
            load.kind()
        );
    }
    let schedule = match (load.rate(), &pace.stages) {
        (Rate::Items(first), Some(stages)) => Some(Schedule::new(first, &stages.0)),
        (Rate::Max, Some(_)) => bail!("a closed loop (rate max) has no stages"),
        (Rate::Items(rate), None) => Some(Schedule::constant(rate, pace.duration)),
        (Rate::Max, None) => None,
    };
    let duration = schedule.as_ref().map_or(pace.duration, Schedule::duration);
    let schedule = schedule.map(Arc::new);
    let batch = batch(load, schedule.as_deref());
    let target = Arc::new(Target::new(load).with_context(context)?);
    let sink = match load.proof().and_then(|proof| proof.verify_sink) {
        Some(address) => Some(Sink::start(address, run_id).await.with_context(context)?),
        None => None,
    };
    // Connections take turns, so none sends more than its share and one.
    let requests = schedule.as_ref().map(|schedule| (schedule.items() / f64::from(batch)).ceil() as u32);
    let works = works(load, batch, requests, run_id, &target).with_context(context)?;
    let shards: Vec<_> = (0..works.len().min(SHARDS)).map(|_| Arc::default()).collect();
    let count = works.len();
    let workers = works.into_iter().enumerate().map(|(number, work)| {
        Ok(worker::Worker {
            connection: Connection::new(&target).with_context(context)?,
            target: Arc::clone(&target),
            work,
            schedule: schedule.clone(),
            duration,
            number,
            workers: count,
            figures: Arc::clone(&shards[number % shards.len()]),
        })
    });
    let workers = workers.collect::<anyhow::Result<_>>()?;
    let (name, run_id) = (name.to_owned(), run_id.to_owned());
    Ok(Prepared { name, load: load.clone(), run_id, schedule, duration, workers, shards, sink, batch })
}

/// Items of a request: few enough that the rate is reached in small steps and the whole load is due before the end.
fn batch(load: &Load, schedule: Option<&Schedule>) -> u32 {
    let Some(data) = load.data() else { return 1 };
    let Some(schedule) = schedule else { return data.batch.unwrap_or(BATCH_DEFAULT) };
    let all = schedule.items() / f64::from(load.connections());
    let wanted = match data.batch {
        Some(batch) => f64::from(batch),
        None => f64::from(BATCH_DEFAULT).min(schedule.rate_max() / REQUESTS_PER_SECOND_MIN),
    };
    wanted.min(all.ceil()).max(1.0) as u32
}

fn works(
    load: &Load,
    batch: u32,
    requests: Option<u32>,
    run_id: &str,
    target: &Target,
) -> anyhow::Result<Vec<Work>> {
    if load.signal() == Signal::Queries {
        return (0..load.connections())
            .map(|number| QueryMix::new(load, number).map(Work::Queries))
            .collect();
    }
    let templates = payload::templates(load, batch, requests, run_id);
    let is_prebuilt = load.data().is_some_and(|data| data.prebuilt);
    let time_ns = now_ns();
    let encoded = |template: &Template| -> (Bytes, u64) {
        (target.encode(template.render(0, time_ns)), template.items())
    };
    let each = templates.into_iter().map(|templates| match is_prebuilt {
        true => Work::Prebuilt(templates.iter().map(encoded).collect()),
        false => Work::Data(templates),
    });
    Ok(each.collect())
}

/// What is running of a load.
struct Running {
    prepared: Prepared,
    results: Vec<WorkerResult>,
    failed_connections: u64,
    total: Figures,
    timeline: Vec<Moment>,
    elapsed: Duration,
}

/// Runs loads together and reports each.
pub(crate) async fn run(
    mut loads: Vec<Prepared>,
    live: &mut Live,
    pid: Option<u32>,
) -> anyhow::Result<Vec<Report>> {
    let mut target = pid.map(Watch::of).transpose()?;
    connect(&mut loads).await?;
    let (started_ns, own, began) = (now_ns(), Watch::own(), Instant::now());
    let mut tasks = JoinSet::new();
    let mut load_of_task = HashMap::new();
    let mut running = Vec::new();
    for (index, mut prepared) in loads.into_iter().enumerate() {
        for worker in std::mem::take(&mut prepared.workers) {
            load_of_task.insert(tasks.spawn(worker.run(began)).id(), index);
        }
        let (results, total, timeline) = (Vec::new(), Figures::default(), Vec::new());
        let elapsed = Duration::ZERO;
        running.push(Running { prepared, results, failed_connections: 0, total, timeline, elapsed });
    }
    live.start(running.iter().map(|load| (load.prepared.name.as_str(), load.prepared.duration)));
    let mut tick = tokio::time::interval_at((began + ROW).into(), ROW);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !tasks.is_empty() {
        tokio::select! {
            Some(ended) = tasks.join_next_with_id() => {
                let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
                let load = &mut running[load_of_task[&id]];
                load.elapsed = began.elapsed();
                match ended {
                    Ok((_, result)) => load.results.push(result),
                    // The others' figures are worth having.
                    Err(_) => load.failed_connections += 1,
                }
            }
            _ = tick.tick() => look(&mut running, began.elapsed(), live, &mut target),
        }
    }
    let own = own.usage();
    look(&mut running, began.elapsed(), live, &mut target);
    let target = target.map(Watch::usage);
    let mut reports = Vec::new();
    for load in running {
        reports.push(finish(load, started_ns, live, &own, target.as_ref()).await);
    }
    live.finish();
    Ok(reports)
}

/// Opens all connections, at once and before the clock runs, so that no request's time has that in it.
async fn connect(loads: &mut [Prepared]) -> anyhow::Result<()> {
    for load in loads {
        let mut opening = JoinSet::new();
        for mut worker in std::mem::take(&mut load.workers) {
            opening.spawn(async move {
                worker.connection.open().await;
                worker
            });
        }
        while let Some(worker) = opening.join_next().await {
            load.workers.push(worker.context("opening a connection")?);
        }
        load.workers.sort_by_key(|worker| worker.number);
    }
    Ok(())
}

/// Reads back and reports.
async fn finish(
    load: Running,
    started_ns: i64,
    live: &mut Live,
    own: &Usage,
    target: Option<&Usage>,
) -> Report {
    let verdict = match verify(&load, started_ns, live).await {
        Ok(verdict) => verdict.map(Ok),
        Err(error) => Some(Err(format!("{error:#}"))),
    };
    let prepared = load.prepared;
    if let Some(sink) = prepared.sink {
        sink.stop().await;
    }
    Report::new(Finished {
        workers: load.results.len(),
        name: prepared.name,
        load: prepared.load,
        batch: prepared.batch,
        schedule: prepared.schedule,
        duration: prepared.duration,
        elapsed: load.elapsed,
        figures: load.total,
        timeline: load.timeline,
        own: own.clone(),
        target: target.cloned(),
        verdict,
        failed_connections: load.failed_connections,
    })
}

/// Adds what was counted since the last look to the totals and the timelines.
fn look(running: &mut [Running], at: Duration, live: &mut Live, target: &mut Option<Watch>) {
    let target = target.as_mut().map(Watch::look);
    for (index, load) in running.iter_mut().enumerate() {
        let mut interval = Figures::default();
        for shard in &load.prepared.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            interval.add(&shard);
            shard.clear();
        }
        load.total.add(&interval);
        let since =
            load.timeline.last().map_or(Duration::ZERO, |last| Duration::from_secs_f64(last.at_seconds));
        // The rest of the last second would make a rate of a few requests.
        if at.saturating_sub(since) < ROW / 2 && !load.timeline.is_empty() {
            continue;
        }
        let wanted = load.prepared.schedule.as_ref().map(|schedule| schedule.rate_at((since + at) / 2));
        let moment = Moment::new(at, at.saturating_sub(since), wanted, &interval, target);
        live.show(index, &moment, &load.total);
        load.timeline.push(moment);
    }
}

async fn verify(load: &Running, started_ns: i64, live: &mut Live) -> anyhow::Result<Option<Verdict>> {
    let Some(proof) = load.prepared.load.proof() else { return Ok(None) };
    if !proof.verify && load.prepared.sink.is_none() {
        return Ok(None);
    }
    if load.failed_connections > 0 {
        bail!("{} connections failed, and the account of what they sent with them", load.failed_connections);
    }
    let (run_id, signal) = (&load.prepared.run_id, load.prepared.load.signal());
    if let Some(sink) = &load.prepared.sink {
        return verify::sink::check(proof, run_id, signal, sink, &load.results, live).await.map(Some);
    }
    tokio::time::sleep(proof.settle).await;
    let reader = verify::Reader::new(&load.prepared.load, proof, started_ns)?;
    Ok(Some(match signal {
        Signal::Metrics => verify::metrics::check(&reader, run_id, &load.results, live).await?,
        _ => verify::logs::check(&reader, &load.results, live).await?,
    }))
}
