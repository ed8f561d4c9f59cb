//! `tidegate blocks`: blocks of metrics. On disk, this program's or a Prometheus', it lists, describes, verifies and dumps
//! them; nothing is changed there, and a running server is not disturbed: blocks are never written twice. In the bucket of
//! the config it does what Thanos' compactor and bucket tools do.

mod analyze;
mod find;
mod in_bucket;
mod text;
mod watch;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use model::{ErrorKind, Matcher, TimeRange};
use serde_json::{Value, json};
use storage_api::StorageError;
use tsdb::block::{BlockMeta, BlockReader, ChunkSample, has_windows, walk_samples, walk_windows};

use super::ConfigArguments;
use super::client::Output;
use in_bucket::{CompactArguments, MarkArguments, Work};

/// Text is written in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;

/// What to do with which blocks.
#[derive(Args, Clone, Debug)]
pub struct BlocksArguments {
    #[command(subcommand)]
    action: Action,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    output: Output,
}

/// Where the blocks are.
#[derive(Args, Clone, Debug)]
struct Place {
    /// A block, or a folder with blocks in it or below it, such as a tenant's, a data folder or that of a Prometheus. Its
    /// folders `snapshots` and `quarantine` are passed over unless they are named themselves.
    path: PathBuf,
}

/// Where the blocks are, or none for the bucket of the config.
#[derive(Args, Clone, Debug)]
struct PlaceOrBucket {
    /// A block, or a folder with blocks in it or below it; folders `snapshots` and `quarantine` are passed over unless they
    /// are named themselves. Without a path: the bucket of --config (storage.bucket).
    path: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Lists blocks: identifier, time range, counts, level, size.
    Ls(PlaceOrBucket),
    /// Describes blocks: meta.json, files, and the labels with the most values.
    Inspect(PlaceOrBucket),
    /// Reads everything and checks it: checksums, order, index against chunks, counts. Fails when something is wrong.
    Verify(PlaceOrBucket),
    /// Shows what of the newest block costs most: series that come and go, labels with many values; promtool's figures.
    Analyze(analyze::AnalyzeArguments),
    /// Compacts the bucket of --config to the end, once: compaction, downsampling, retention, cleaning.
    Compact(CompactArguments),
    /// Makes windows of 5 minutes and an hour of the blocks in the bucket that are long enough.
    Downsample(CompactArguments),
    /// Marks blocks in the bucket whose time is over (compactor.retention).
    Retention(CompactArguments),
    /// Removes blocks from the bucket that were marked long enough ago, and what is left of uploads that were cut.
    Cleanup(CompactArguments),
    /// Marks blocks in the bucket: to be removed, not to be compacted, not to be downsampled.
    Mark(MarkArguments),
    /// Uploads local blocks to the bucket, with storage.external_labels.
    Upload {
        #[command(flatten)]
        place: Place,
        /// Tells what would be uploaded and uploads nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Prints all samples, in the form of `promtool tsdb dump`.
    Dump {
        #[command(flatten)]
        place: Place,
        /// Only series that match this selector, e.g. up{job="x"}; may be given several times, all must match.
        #[arg(long = "match", value_name = "SELECTOR")]
        selectors: Vec<String>,
        /// First time, in milliseconds since 1970.
        #[arg(long, allow_hyphen_values = true)]
        min_time: Option<i64>,
        /// Last time, in milliseconds since 1970.
        #[arg(long, allow_hyphen_values = true)]
        max_time: Option<i64>,
    },
}

/// Does it.
pub fn run(config: &ConfigArguments, arguments: &BlocksArguments) -> anyhow::Result<()> {
    let output = arguments.output;
    let in_bucket = |run: &dyn Fn(&in_bucket::Place<'_>) -> anyhow::Result<()>| {
        let config = config.load()?;
        run(&in_bucket::Place::open(&config)?)
    };
    match &arguments.action {
        Action::Ls(PlaceOrBucket { path: Some(path) }) => list(path, output),
        Action::Ls(_) => in_bucket(&|place| place.list(output)),
        Action::Inspect(PlaceOrBucket { path: Some(path) }) => inspect(path, output),
        Action::Inspect(_) => in_bucket(&|place| place.inspect(output)),
        Action::Verify(PlaceOrBucket { path: Some(path) }) => verify(path, output),
        Action::Verify(_) => in_bucket(&|place| place.verify(output)),
        Action::Analyze(arguments) => analyze::run(arguments, output),
        Action::Compact(how) => in_bucket(&|place| place.work(Work::All, how, output)),
        Action::Downsample(how) => in_bucket(&|place| place.work(Work::Downsample, how, output)),
        Action::Retention(how) => in_bucket(&|place| place.work(Work::Retention, how, output)),
        Action::Cleanup(how) => in_bucket(&|place| place.work(Work::Cleanup, how, output)),
        Action::Mark(marks) => in_bucket(&|place| place.mark(marks)),
        Action::Upload { place, dry_run } => in_bucket(&|bucket| bucket.upload(&place.path, *dry_run)),
        Action::Dump { place, selectors, min_time, max_time } => {
            let range = TimeRange::new(min_time.unwrap_or(i64::MIN), max_time.unwrap_or(i64::MAX));
            dump(&place.path, selectors, range, arguments.output)
        }
    }
}

/// A time in ms for people.
fn time(time_ms: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(time_ms);
    time.map_or_else(|| format!("{time_ms} ms"), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// The blocks below a folder. One that cannot be opened is an error that names it.
fn open(path: &Path) -> anyhow::Result<Vec<Arc<BlockReader>>> {
    let mut blocks = Vec::new();
    for folder in find::blocks(path)? {
        blocks.push(Arc::new(BlockReader::open(&runtime::LocalDisk, &folder)?));
    }
    blocks.sort_by_key(|block| (block.range().min, block.meta().ulid));
    Ok(blocks)
}

fn list(path: &Path, output: Output) -> anyhow::Result<()> {
    let folders = find::blocks(path)?;
    let mut rows = Vec::new();
    for folder in folders {
        let opened = BlockReader::open(&runtime::LocalDisk, &folder);
        rows.push((
            folder,
            opened.map(|block| (block.meta(), block.bytes())).map_err(|error| error.to_string()),
        ));
    }
    rows.sort_by_key(|(folder, row)| {
        (row.as_ref().map_or(i64::MAX, |(meta, _)| meta.min_time), folder.clone())
    });
    if output == Output::Json {
        let row = |(folder, row): &(PathBuf, Result<(BlockMeta, u64), String>)| match row {
            Ok((meta, bytes)) => json!({"folder": folder, "bytes": bytes, "meta": meta}),
            Err(error) => json!({"folder": folder, "error": error}),
        };
        return print_json(&rows.iter().map(row).collect::<Vec<_>>().into());
    }
    let mut text = format!(
        "{:<26}  {:<24}  {:<24}  {:>12}  {:>9}  {:>9}  {:>5}  {:>9}\n",
        "BLOCK", "FROM", "UNTIL", "SAMPLES", "SERIES", "CHUNKS", "LEVEL", "SIZE"
    );
    for (folder, row) in &rows {
        match row {
            Ok((meta, bytes)) => writeln!(
                text,
                "{:<26}  {:<24}  {:<24}  {:>12}  {:>9}  {:>9}  {:>5}  {:>9}",
                meta.ulid.to_string(),
                time(meta.min_time),
                time(meta.max_time),
                meta.stats.num_samples,
                meta.stats.num_series,
                meta.stats.num_chunks,
                meta.compaction.level,
                text::size(*bytes),
            )?,
            Err(error) => writeln!(text, "{}  damaged: {error}", folder.display())?,
        }
    }
    super::print(&text)
}

fn inspect(path: &Path, output: Output) -> anyhow::Result<()> {
    let mut all = Vec::new();
    let mut text = String::new();
    for block in open(path)? {
        let mut sizes = block.label_sizes();
        sizes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let meta = block.meta();
        if output == Output::Json {
            let labels: Vec<Value> =
                sizes.iter().map(|(name, values)| json!({"name": name, "values": values})).collect();
            let tombstones = block.tombstones().len();
            all.push(json!({
                "folder": block.folder(), "bytes": block.bytes(), "meta": meta, "tombstones": tombstones, "labels": labels,
            }));
            continue;
        }
        let stats = &meta.stats;
        writeln!(text, "block       {}\nfolder      {}", meta.ulid, block.folder().display())?;
        writeln!(text, "time        {} to {}", time(meta.min_time), time(meta.max_time))?;
        writeln!(
            text,
            "samples     {} ({} floats, {} histograms)",
            stats.num_samples, stats.num_float_samples, stats.num_histogram_samples
        )?;
        writeln!(text, "series      {}\nchunks      {}", stats.num_series, stats.num_chunks)?;
        writeln!(
            text,
            "deletions   {}\nsize        {}",
            block.tombstones().len(),
            text::size(block.bytes())
        )?;
        if stats.num_samples > 0 {
            writeln!(text, "a sample    {:.2} B", block.bytes() as f64 / stats.num_samples as f64)?;
        }
        writeln!(
            text,
            "level       {}, from {} blocks",
            meta.compaction.level,
            meta.compaction.sources.len()
        )?;
        for parent in &meta.compaction.parents {
            writeln!(text, "parent      {}", parent.ulid)?;
        }
        for hint in &meta.compaction.hints {
            writeln!(text, "hint        {hint}")?;
        }
        for key in meta.others.keys() {
            writeln!(text, "section     {key}")?;
        }
        for (name, values) in sizes.iter().take(20) {
            writeln!(text, "label       {name}, {values} values")?;
        }
        text.push('\n');
    }
    if output == Output::Json { print_json(&all.into()) } else { super::print(&text) }
}

fn verify(path: &Path, output: Output) -> anyhow::Result<()> {
    let (mut text, mut all, mut bad) = (String::new(), Vec::new(), 0);
    let folders = find::blocks(path)?;
    for folder in &folders {
        let report = match BlockReader::open(&runtime::LocalDisk, folder).map(Arc::new) {
            Ok(block) => block.verify()?,
            Err(error) if error.kind() == ErrorKind::Corrupt => tsdb::block::BlockReport {
                faults: vec![error.to_string()],
                fault_count: 1,
                ..Default::default()
            },
            Err(error) => return Err(error.into()),
        };
        bad += usize::from(report.fault_count > 0);
        writeln!(
            text,
            "{}: {}, {} series, {} chunks, {} samples",
            folder.display(),
            if report.fault_count == 0 {
                "sound".to_owned()
            } else {
                format!("damaged ({})", report.fault_count)
            },
            report.series,
            report.chunks,
            report.samples
        )?;
        report.faults.iter().try_for_each(|fault| writeln!(text, "    {fault}"))?;
        all.push(json!({
            "folder": folder, "series": report.series, "chunks": report.chunks, "samples": report.samples,
            "fault_count": report.fault_count, "faults": report.faults,
        }));
    }
    if output == Output::Json {
        print_json(&all.into())?
    } else {
        super::print(&text)?
    }
    if bad > 0 {
        bail!("{bad} of {} blocks are damaged", folders.len());
    }
    Ok(())
}

fn dump(path: &Path, selectors: &[String], range: TimeRange, output: Output) -> anyhow::Result<()> {
    let mut matchers: Vec<Matcher> = Vec::new();
    for selector in selectors {
        let set = promql::parse_selector(selector).with_context(|| format!("selector {selector}"))?;
        matchers.extend(set);
    }
    let blocks = open(path)?;
    let mut out = std::io::stdout().lock();
    let mut piece = String::new();
    let mut last = (model::Labels::empty(), String::new());
    let mut write = |piece: &mut String| -> Result<(), StorageError> {
        let written = out.write_all(piece.as_bytes());
        piece.clear();
        written.map_err(|error| match error.kind() {
            // A reader that has enough goes away.
            std::io::ErrorKind::BrokenPipe => StorageError::new(ErrorKind::Canceled, "the reader went away"),
            _ => StorageError::new(ErrorKind::Internal, error.to_string()),
        })
    };
    let mut line = |labels: &model::Labels, time_ms: i64, sample: &ChunkSample| -> Result<(), StorageError> {
        if last.0 != *labels {
            last =
                (labels.clone(), if output == Output::Json { String::new() } else { text::labels(labels) });
        }
        if output == Output::Json {
            let pairs: serde_json::Map<String, Value> =
                labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            let row = json!({"labels": pairs, "time_ms": time_ms, "value": text::sample(sample)});
            piece.push_str(&row.to_string());
        } else {
            piece.push_str(&last.1);
            piece.push(' ');
            piece.push_str(&text::sample(sample));
            piece.push(' ');
            piece.push_str(&time_ms.to_string());
        }
        piece.push('\n');
        if piece.len() >= PIECE_BYTES { write(&mut piece) } else { Ok(()) }
    };
    let (with_windows, blocks): (Vec<_>, Vec<_>) = blocks.into_iter().partition(|block| has_windows(block));
    let walked = walk_samples(&blocks, &matchers, range, &mut line).and_then(|()| {
        with_windows.iter().try_for_each(|block| walk_windows(block, &matchers, range, &mut line))
    });
    match walked.and_then(|()| write(&mut piece)) {
        Err(error) if error.kind() != ErrorKind::Canceled => Err(error.into()),
        _ => Ok(()),
    }
}

fn print_json(value: &Value) -> anyhow::Result<()> {
    super::print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}
