//! Blocks in the bucket of the config: lists, describes and verifies them where they are; compacts, downsamples, marks
//! and removes them; uploads others.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bucket::{
    BlockDisk, Bucket, BucketBlock, BucketView, Fetcher, Mark, MarkKind, Reason, Source, ThanosMeta,
    upload_block,
};
use clap::Args;
use compactor::{Compactor, CompactorSettings, Done, Due, Watch};
use model::ErrorKind;
use runtime::{Clock, LocalDisk, SystemClock, Tasks};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tsdb::block::BlockReader;
use ulid::Ulid;

use super::watch::Bar;
use super::{print_json, text, time};
use crate::bucket_work::{self, Round, Rounds};
use crate::cli::client::Output;
use crate::config::Config;
use crate::config::types::MergingConfig;
use crate::duration;

/// A window that is read ahead of a block that is verified.
const WINDOW_BYTES: u64 = 1 << 20;

/// How to compact, over what the config says.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct CompactArguments {
    /// Tells what is due and does nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// A block is left alone until it is this old, e.g. 30m.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    consistency_delay: Option<Duration>,
    /// A block that is marked is removed this much later, e.g. 48h.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    delete_delay: Option<Duration>,
    /// An external label that tells replicas apart; may be given several times.
    #[arg(long = "deduplication.replica-label", value_name = "LABEL")]
    replica_labels: Vec<String>,
    /// What becomes of samples of several replicas.
    #[arg(long = "deduplication.func", value_enum)]
    func: Option<MergingConfig>,
    /// Makes no windows of 5 minutes and an hour.
    #[arg(long = "downsampling.disable")]
    no_downsampling: bool,
}

/// What of the work to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    All,
    Downsample,
    Retention,
    Cleanup,
}

/// Which marks to set or take away.
#[derive(Args, Clone, Debug)]
pub(super) struct MarkArguments {
    /// Identifiers of the blocks.
    #[arg(long = "id", value_name = "ULID", required = true)]
    ids: Vec<String>,
    /// deletion-mark.json, no-compact-mark.json or no-downsample-mark.json.
    #[arg(long, value_name = "FILE")]
    marker: String,
    /// What to write into the mark.
    #[arg(long, default_value = "")]
    details: String,
    /// Takes the mark away.
    #[arg(long)]
    remove: bool,
    /// Tells what would be done and does nothing.
    #[arg(long)]
    dry_run: bool,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| format!("{text:?} is no duration such as 30m"))
}

/// The bucket of a config, with what is needed to work on it.
pub(super) struct Place<'a> {
    config: &'a Config,
    runtime: Runtime,
    bucket: Bucket,
    clock: Arc<dyn Clock>,
}

impl<'a> Place<'a> {
    pub(super) fn open(config: &'a Config) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let bucket = bucket_work::open(&config.storage, runtime.handle())?;
        let Some(bucket) = bucket else {
            bail!("the config names no storage.bucket; give it with --config, or a path to local blocks");
        };
        Ok(Self { config, runtime, bucket, clock: Arc::new(SystemClock) })
    }

    fn view(&self) -> anyhow::Result<BucketView> {
        Ok(self.runtime.block_on(Fetcher::new(self.bucket.clone()).fetch())?)
    }

    pub(super) fn list(&self, output: Output) -> anyhow::Result<()> {
        let view = self.view()?;
        if output == Output::Json {
            return print_json(&json!({
                "blocks": view.blocks.iter().map(row).collect::<Vec<_>>(),
                "partial": view.partial.iter().map(|partial| json!({
                    "ulid": partial.ulid.to_string(), "fault": partial.fault, "modified_ms": partial.modified_ms,
                })).collect::<Vec<_>>(),
            }));
        }
        let mut text = format!(
            "{:<26}  {:<24}  {:<24}  {:>12}  {:>9}  {:>5}  {:>10}  {:>9}  {:<11}  {}\n",
            "BLOCK", "FROM", "UNTIL", "SAMPLES", "SERIES", "LEVEL", "RESOLUTION", "SIZE", "SOURCE", "LABELS"
        );
        for block in &view.blocks {
            let (meta, thanos) = (&block.meta, &block.thanos);
            let labels: Vec<String> =
                thanos.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            write!(
                text,
                "{:<26}  {:<24}  {:<24}  {:>12}  {:>9}  {:>5}  {:>10}  {:>9}  {:<11}  {}",
                meta.ulid.to_string(),
                time(meta.min_time),
                time(meta.max_time),
                meta.stats.num_samples,
                meta.stats.num_series,
                meta.compaction.level,
                resolution(thanos.resolution_ms()),
                text::size(block.bytes()),
                thanos.source,
                labels.join(","),
            )?;
            for (kind, mark) in marks(block) {
                write!(text, "  [{}{}]", kind.file().trim_end_matches("-mark.json"), reason(mark))?;
            }
            text.push('\n');
        }
        for partial in &view.partial {
            let why = partial.fault.as_deref().unwrap_or("it has no meta.json");
            writeln!(text, "{}  not whole: {why}", partial.ulid)?;
        }
        crate::cli::print(&text)
    }

    pub(super) fn inspect(&self, output: Output) -> anyhow::Result<()> {
        let view = self.view()?;
        if output == Output::Json {
            return print_json(&view.blocks.iter().map(row).collect::<Vec<_>>().into());
        }
        let mut text = String::new();
        for block in &view.blocks {
            let (meta, thanos) = (&block.meta, &block.thanos);
            writeln!(text, "block       {}", meta.ulid)?;
            writeln!(text, "time        {} to {}", time(meta.min_time), time(meta.max_time))?;
            writeln!(
                text,
                "samples     {}\nseries      {}\nchunks      {}",
                meta.stats.num_samples, meta.stats.num_series, meta.stats.num_chunks
            )?;
            writeln!(text, "resolution  {}", resolution(thanos.resolution_ms()))?;
            writeln!(text, "made by     {}", thanos.source)?;
            writeln!(text, "level       {}", meta.compaction.level)?;
            for source in &meta.compaction.sources {
                writeln!(text, "source      {source}")?;
            }
            for (name, value) in &thanos.labels {
                writeln!(text, "label       {name}={value}")?;
            }
            for (name, bytes) in &block.objects {
                writeln!(text, "object      {name}, {}", text::size(*bytes))?;
            }
            for (kind, mark) in marks(block) {
                writeln!(text, "mark        {}{} {}", kind.file(), reason(mark), mark.details)?;
            }
            text.push('\n');
        }
        crate::cli::print(&text)
    }

    pub(super) fn verify(&self, output: Output) -> anyhow::Result<()> {
        let view = self.view()?;
        let (mut text, mut all, mut bad) = (String::new(), Vec::new(), 0);
        for block in &view.blocks {
            let report = verify_block(&self.bucket, block)?;
            bad += usize::from(report.fault_count > 0);
            let state = if report.fault_count == 0 {
                "sound".to_owned()
            } else {
                format!("damaged ({})", report.fault_count)
            };
            let ulid = block.ulid();
            writeln!(
                text,
                "{ulid}: {state}, {} series, {} chunks, {} samples",
                report.series, report.chunks, report.samples
            )?;
            report.faults.iter().try_for_each(|fault| writeln!(text, "    {fault}"))?;
            all.push(json!({
                "ulid": ulid.to_string(), "series": report.series, "chunks": report.chunks, "samples": report.samples,
                "fault_count": report.fault_count, "faults": report.faults,
            }));
        }
        if output == Output::Json {
            print_json(&all.into())?;
        } else {
            crate::cli::print(&text)?;
        }
        if bad > 0 {
            bail!("{bad} of {} blocks are damaged", view.blocks.len());
        }
        Ok(())
    }

    fn settings(&self, arguments: &CompactArguments) -> CompactorSettings {
        let mut config = self.config.compactor.clone();
        config.consistency_delay = arguments.consistency_delay.unwrap_or(config.consistency_delay);
        config.delete_delay = arguments.delete_delay.unwrap_or(config.delete_delay);
        config.downsampling &= !arguments.no_downsampling;
        if !arguments.replica_labels.is_empty() {
            config.deduplication.replica_labels.clone_from(&arguments.replica_labels);
        }
        config.deduplication.func = arguments.func.unwrap_or(config.deduplication.func);
        config.settings(bucket_work::work_dir(&self.config.storage, "by-hand", &self.bucket))
    }

    pub(super) fn work(
        &self,
        work: Work,
        arguments: &CompactArguments,
        output: Output,
    ) -> anyhow::Result<()> {
        let settings = self.settings(arguments);
        let compactor = Arc::new(Compactor::new(self.bucket.clone(), Arc::clone(&self.clock), settings)?);
        if arguments.dry_run {
            let due = compactor.due(&compactor.view()?);
            return print_due(work, &due, output);
        }
        let done = self.do_work(work, compactor)?;
        if output == Output::Json {
            print_json(&json!({
                "compacted": done.compacted, "downsampled": done.downsampled, "marked": done.marked,
                "removed": done.removed, "cleaned": done.cleaned, "left_out": done.left_out, "failed": done.failed,
            }))?;
        } else {
            crate::cli::print(&format!(
                "compacted {}, downsampled {}, marked {}, removed {}, leftovers {}, left out {}, failed {}\n",
                done.compacted,
                done.downsampled,
                done.marked,
                done.removed,
                done.cleaned,
                done.left_out,
                done.failed
            ))?;
        }
        if done.failed > 0 {
            bail!("{} steps failed; the messages above say why", done.failed);
        }
        Ok(())
    }

    fn do_work(&self, work: Work, compactor: Arc<Compactor>) -> anyhow::Result<Done> {
        let rounds = Rounds {
            bucket: self.bucket.clone(),
            compactor,
            every: Duration::ZERO,
            lease: self.config.compactor.lease_duration,
            tasks: Tasks::new(),
            clock: Arc::clone(&self.clock),
        };
        let run = move |compactor: &Compactor, watch: &dyn Watch| {
            let mut done = Done::default();
            match work {
                Work::All => return compactor.run(watch),
                Work::Downsample => compactor.downsample(watch, &mut done)?,
                Work::Retention => compactor.retain(watch, &mut done)?,
                Work::Cleanup => compactor.clean(watch, &mut done)?,
            }
            Ok(done)
        };
        match self.runtime.block_on(rounds.once(Arc::new(Bar::new()), run))? {
            Round::Done(done) => Ok(done),
            Round::Taken(owner) => bail!("another process, {owner}, compacts this bucket now"),
        }
    }

    pub(super) fn mark(&self, arguments: &MarkArguments) -> anyhow::Result<()> {
        let kind = MarkKind::ALL.into_iter().find(|kind| kind.file() == arguments.marker);
        let Some(kind) = kind else {
            let have: Vec<&str> = MarkKind::ALL.iter().map(|kind| kind.file()).collect();
            bail!("unknown marker {:?}, have {}", arguments.marker, have.join(", "));
        };
        for id in &arguments.ids {
            let ulid =
                Ulid::from_string(id).with_context(|| format!("{id:?} is no identifier of a block"))?;
            let verb = if arguments.remove { "unmarked" } else { "marked" };
            if arguments.dry_run {
                crate::cli::print(&format!("{ulid} would be {verb} with {}\n", kind.file()))?;
                continue;
            }
            if arguments.remove {
                self.runtime.block_on(kind.remove(&self.bucket, ulid))?;
            } else {
                let mark = Mark {
                    time_s: self.clock.now_ms() / 1000,
                    details: arguments.details.clone(),
                    reason: Reason::Manual.as_str().to_owned(),
                };
                self.runtime.block_on(kind.put(&self.bucket, ulid, &mark))?;
            }
            crate::cli::print(&format!("{ulid} is {verb} with {}\n", kind.file()))?;
        }
        Ok(())
    }

    pub(super) fn upload(&self, path: &Path, dry_run: bool) -> anyhow::Result<()> {
        let external = &self.config.storage.external_labels;
        let labels: std::collections::BTreeMap<String, String> =
            external.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if labels.is_empty() {
            bail!(
                "storage.external_labels is empty: nothing would tell the blocks apart from those of others"
            );
        }
        let present: Vec<Ulid> = self.view()?.blocks.iter().map(BucketBlock::ulid).collect();
        let bar = Bar::new();
        for folder in super::find::blocks(path)? {
            let reader = BlockReader::open(&LocalDisk, &folder)?;
            let (ulid, bytes) = (reader.meta().ulid, reader.bytes());
            if present.contains(&ulid) {
                crate::cli::print(&format!("{ulid} is there already\n"))?;
                continue;
            }
            if !reader.tombstones().is_empty() {
                bail!(
                    "{}: it has deletions, which a bucket does not; clean its tombstones first",
                    folder.display()
                );
            }
            if dry_run {
                crate::cli::print(&format!("{ulid} would be uploaded, {}\n", text::size(bytes)))?;
                continue;
            }
            let thanos = ThanosMeta::new(labels.clone(), 0, Source::Upload);
            bar.begin(&format!("upload {ulid}"), 0);
            let mut progress = |sent| bar.bytes_sent(sent);
            upload_block(&self.bucket, &LocalDisk, &*self.clock, &folder, thanos, &mut progress)?;
            bar.end("uploaded");
            crate::cli::print(&format!("{ulid} was uploaded, {}\n", text::size(bytes)))?;
        }
        Ok(())
    }
}

fn verify_block(bucket: &Bucket, block: &BucketBlock) -> anyhow::Result<tsdb::block::BlockReport> {
    let disk = BlockDisk::new(bucket, block, WINDOW_BYTES);
    let folder = block.ulid().to_string();
    match BlockReader::open(&disk, Path::new(&folder)).map(Arc::new) {
        Ok(reader) => Ok(reader.verify()?),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(tsdb::block::BlockReport {
            faults: vec![error.to_string()],
            fault_count: 1,
            ..Default::default()
        }),
        Err(error) => Err(error.into()),
    }
}

fn marks(block: &BucketBlock) -> impl Iterator<Item = (MarkKind, &Mark)> {
    let all = [
        (MarkKind::Deletion, &block.deletion),
        (MarkKind::NoCompact, &block.no_compact),
        (MarkKind::NoDownsample, &block.no_downsample),
    ];
    all.into_iter().filter_map(|(kind, mark)| Some((kind, mark.as_ref()?)))
}

fn reason(mark: &Mark) -> String {
    if mark.reason.is_empty() { String::new() } else { format!(": {}", mark.reason) }
}

fn resolution(ms: i64) -> String {
    match ms {
        0 => "raw".to_owned(),
        compactor::RESOLUTION_5M => "5m".to_owned(),
        compactor::RESOLUTION_1H => "1h".to_owned(),
        ms => format!("{ms}ms"),
    }
}

fn row(block: &BucketBlock) -> Value {
    let marks: serde_json::Map<String, Value> = marks(block)
        .map(|(kind, mark)| {
            let shown = json!({"time_s": mark.time_s, "details": mark.details, "reason": mark.reason});
            (kind.file().to_owned(), shown)
        })
        .collect();
    let objects: serde_json::Map<String, Value> =
        block.objects.iter().map(|(name, bytes)| (name.clone(), (*bytes).into())).collect();
    json!({"meta": &*block.meta, "bytes": block.bytes(), "objects": objects, "marks": marks})
}

fn print_due(work: Work, due: &Due, output: Output) -> anyhow::Result<()> {
    let is = |one: Work| work == Work::All || work == one;
    let ulids = |ulids: &[Ulid]| ulids.iter().map(Ulid::to_string).collect::<Vec<_>>();
    if output == Output::Json {
        return print_json(&json!({
            "compact": due.plans.iter().map(|(key, plan)| json!({
                "group": key.name(), "labels": key.labels, "resolution_ms": key.resolution_ms,
                "blocks": ulids(&plan.compact),
                "leave_out": plan.leave_out.iter().map(|(ulid, _)| ulid.to_string()).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "downsample": due.downsample.iter().map(|(ulid, ms)| json!({"ulid": ulid.to_string(), "to_ms": ms}))
                .collect::<Vec<_>>(),
            "duplicates": ulids(&due.duplicates), "expired": ulids(&due.expired),
            "removable": ulids(&due.removable), "leftovers": ulids(&due.leftovers),
        }));
    }
    let mut text = String::new();
    if is(Work::All) {
        for (key, plan) in &due.plans {
            writeln!(
                text,
                "compact     {} of {}: {}",
                plan.compact.len(),
                key.name(),
                ulids(&plan.compact).join(" ")
            )?;
            for (ulid, why) in &plan.leave_out {
                writeln!(text, "leave out   {ulid}: {why:?}")?;
            }
        }
        due.duplicates.iter().try_for_each(|ulid| writeln!(text, "duplicate   {ulid}"))?;
    }
    if is(Work::Downsample) {
        due.downsample
            .iter()
            .try_for_each(|(ulid, ms)| writeln!(text, "downsample  {ulid} to {}", resolution(*ms)))?;
    }
    if is(Work::Retention) {
        due.expired.iter().try_for_each(|ulid| writeln!(text, "expired     {ulid}"))?;
    }
    if is(Work::Cleanup) {
        due.removable.iter().try_for_each(|ulid| writeln!(text, "remove      {ulid}"))?;
        due.leftovers.iter().try_for_each(|ulid| writeln!(text, "leftover    {ulid}"))?;
    }
    if text.is_empty() {
        text.push_str("nothing is due\n");
    }
    crate::cli::print(&text)
}
