//! `tidegate migrate prometheus`: takes over the data folder of a Prometheus that is stopped. Nothing in it is changed.
//!
//! Everything is put together in `migrate.tmp` inside the data folder and renamed at the end, so that a migration is
//! whole or not there. What the head of the Prometheus has comes into the head here, blocks are copied or linked.

mod blocks;
mod sink;
mod text;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use model::TenantId;
use runtime::{Disk, LocalDisk, SystemClock, Tasks};
use tsdb::{PrometheusFolder, PrometheusHeadReport, Tsdb, TsdbSettings};

use self::blocks::BlocksReport;
use self::sink::{Counting, Storing};
use self::text::Progress;
use super::ConfigArguments;
use super::client::Output;
use crate::data_lock::DataLock;

/// Folder inside the data folder in which a migration is put together.
const TEMPORARY: &str = "migrate.tmp";

/// Of whom to take what over.
#[derive(Args, Clone, Debug)]
pub struct MigrateArguments {
    #[command(subcommand)]
    from: From,
}

#[derive(Clone, Debug, Subcommand)]
enum From {
    /// Takes over blocks, log, checkpoint, late samples and head chunks of a Prometheus 2 or 3 that is stopped.
    Prometheus(PrometheusArguments),
}

#[derive(Args, Clone, Debug)]
struct PrometheusArguments {
    /// The data folder of the Prometheus (--storage.tsdb.path). Nothing in it is changed.
    folder: PathBuf,
    /// The tenant that gets the data; it must have none yet.
    #[arg(long, default_value_t = TenantId::default().as_str().to_owned())]
    tenant: String,
    /// Reads and checks everything and says what would be taken over, without writing.
    #[arg(long)]
    dry_run: bool,
    /// Links the files of blocks instead of copying them, when both folders are on one file system.
    #[arg(long)]
    link: bool,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Does it.
pub fn run(config: &ConfigArguments, arguments: &MigrateArguments) -> anyhow::Result<()> {
    let From::Prometheus(arguments) = &arguments.from;
    let tenant = TenantId::new(&arguments.tenant)?;
    let source = &arguments.folder;
    let _source = hold(source)?;
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let folder = PrometheusFolder::open(Arc::clone(&disk), source)?;
    if folder.blocks().is_empty() && !source.join("wal").is_dir() {
        bail!("{} has neither blocks nor a log: it is not the data folder of a Prometheus", source.display());
    }
    let blocks = blocks::check(&folder)?;
    let mut progress = Progress::new("head");
    let head = if arguments.dry_run {
        let head = folder.read_head(&mut Counting::default(), &mut |done, all| progress.at(done, all))?;
        progress.end();
        head
    } else {
        let directory = config.load()?.storage.directory;
        let _lock = DataLock::take(&directory)?;
        let target = directory.join("metrics").join(tenant.as_str());
        if target.is_dir() && !LocalDisk.list(&target)?.is_empty() {
            bail!("the tenant {tenant} has data in {} already; name another one", target.display());
        }
        let temporary = directory.join(TEMPORARY);
        if temporary.is_dir() {
            LocalDisk
                .remove_dir_all(&temporary)
                .with_context(|| format!("emptying {}", temporary.display()))?;
        }
        let ours = temporary.join(tenant.as_str());
        LocalDisk.create_dir_all(&ours)?;
        let head = take_head(&folder, &temporary, &tenant, &mut progress)?;
        blocks::take(&blocks, &ours, arguments.link)?;
        put_in_place(&temporary, &ours, &target)?;
        head
    };
    super::print(&match arguments.output {
        Output::Text => text::report(&blocks, &head, arguments.dry_run),
        Output::Json => text::json_report(&blocks, &head),
    })?;
    complain(&blocks, &head)
}

/// Holds the lock that a running Prometheus has on its folder.
fn hold(source: &Path) -> anyhow::Result<Option<File>> {
    let path = source.join("lock");
    let Ok(file) = File::open(&path) else { return Ok(None) };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            bail!("a Prometheus runs in {}; stop it first, or take a snapshot", source.display())
        }
        // A file system without locks has none to respect.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Puts what the head has into a store of its own below `root`.
fn take_head(
    folder: &PrometheusFolder,
    root: &Path,
    tenant: &TenantId,
    progress: &mut Progress,
) -> anyhow::Result<PrometheusHeadReport> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // What the Prometheus took is taken here, whatever it is; limits are for senders.
    let settings = TsdbSettings {
        retention_ms: None,
        series_max: u64::MAX,
        labels_max: usize::MAX,
        label_bytes_max: usize::MAX,
        future_max: Duration::MAX,
        out_of_order_window_ms: i64::MAX,
        ..TsdbSettings::default()
    };
    let _inside = runtime.enter();
    let store = Tsdb::open(Arc::new(LocalDisk), root.into(), settings, Tasks::new(), Arc::new(SystemClock))?;
    let mut sink = Storing { store: &store, tenant, runtime: runtime.handle() };
    let read = folder.read_head(&mut sink, &mut |done, all| progress.at(done, all));
    runtime.block_on(store.close());
    progress.end();
    Ok(read?)
}

/// Makes the migration visible: a rename, and what was temporary goes.
fn put_in_place(temporary: &Path, ours: &Path, target: &Path) -> anyhow::Result<()> {
    let parent = target.parent().context("a tenant's folder lies in another one")?;
    LocalDisk.create_dir_all(parent)?;
    if target.is_dir() {
        LocalDisk.remove_dir_all(target)?;
    }
    LocalDisk.sync_dir(ours)?;
    LocalDisk
        .rename(ours, target)
        .with_context(|| format!("renaming {} to {}", ours.display(), target.display()))?;
    LocalDisk.sync_dir(parent)?;
    LocalDisk.remove_dir_all(temporary).with_context(|| format!("removing {}", temporary.display()))
}

/// Fails when something could not be taken over.
fn complain(blocks: &BlocksReport, head: &PrometheusHeadReport) -> anyhow::Result<()> {
    let lost = head.unknown + head.stored.rejected_count();
    match (blocks.damaged.len(), head.faults.len(), lost) {
        (0, 0, 0) => Ok(()),
        (damaged, faults, lost) => bail!(
            "not everything could be taken over: {damaged} damaged blocks, {faults} places of the log, {lost} samples"
        ),
    }
}
