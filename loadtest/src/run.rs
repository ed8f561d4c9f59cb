//! A run: prepare one or several loads, send them together, look at them every second, verify, report.

mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use tokio::task::JoinSet;
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
    pub(crate) verdict: Option<Verdict>,
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
        Some(address) => Some(Sink::start(address, load.signal()).await.with_context(context)?),
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
    let all = schedule.items() / f64::from(load.pace().connections);
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
        return (0..load.pace().connections)
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
    total: Figures,
    timeline: Vec<Moment>,
}

/// Runs loads together and reports each.
pub(crate) async fn run(
    loads: Vec<Prepared>,
    live: &mut Live,
    pid: Option<u32>,
) -> anyhow::Result<Vec<Report>> {
    let started_ns = now_ns();
    let own = Watch::own();
    let mut target = pid.map(Watch::of).transpose()?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    let mut running = Vec::new();
    for (index, mut prepared) in loads.into_iter().enumerate() {
        for worker in std::mem::take(&mut prepared.workers) {
            tasks.spawn(async move { (index, worker.run(began).await) });
        }
        let (results, total, timeline) = (Vec::new(), Figures::default(), Vec::new());
        running.push(Running { prepared, results, total, timeline });
    }
    live.start(running.iter().map(|load| (load.prepared.name.as_str(), load.prepared.duration)));
    let mut tick = tokio::time::interval_at((began + ROW).into(), ROW);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut elapsed = vec![Duration::ZERO; running.len()];
    while !tasks.is_empty() {
        tokio::select! {
            Some(result) = tasks.join_next() => {
                let (index, result) = result.context("a connection's task failed")?;
                elapsed[index] = began.elapsed();
                running[index].results.push(result);
            }
            _ = tick.tick() => look(&mut running, began.elapsed(), live, &mut target),
        }
    }
    let own = own.usage();
    look(&mut running, began.elapsed(), live, &mut target);
    let target = target.map(Watch::usage);
    let mut reports = Vec::new();
    for (load, elapsed) in running.into_iter().zip(elapsed) {
        let verdict = verify(&load, started_ns, live).await?;
        let prepared = load.prepared;
        reports.push(Report::new(Finished {
            workers: load.results.len(),
            name: prepared.name,
            load: prepared.load,
            batch: prepared.batch,
            schedule: prepared.schedule,
            duration: prepared.duration,
            elapsed,
            figures: load.total,
            timeline: load.timeline,
            own: own.clone(),
            target: target.clone(),
            verdict,
        }));
    }
    live.finish();
    Ok(reports)
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
    if let Some(sink) = &load.prepared.sink {
        return Ok(Some(verify::sink::check(proof, sink, &load.results, live).await?));
    }
    if !proof.verify {
        return Ok(None);
    }
    tokio::time::sleep(proof.settle).await;
    let reader = verify::Reader::new(&load.prepared.load, proof, started_ns)?;
    Ok(Some(match load.prepared.load.signal() {
        Signal::Metrics => {
            verify::metrics::check(&reader, &load.prepared.run_id, &load.results, live).await?
        }
        _ => verify::logs::check(&reader, &load.results, live).await?,
    }))
}
