//! `file_storage`: a folder in which queues survive a restart (extension of the same name in the collector's contrib
//! repository). What lies in it is the business of the components that ask for it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use pipelines::{ComponentConfig, ConfigDuration, ConfigError, FileStorage, Offer, Stability};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Extension, ExtensionContext, ExtensionFactory};

pub(super) const FACTORY: ExtensionFactory =
    ExtensionFactory { kind: "file_storage", stability: Stability::Beta, create };

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// The folder. Default `/var/lib/otelcol/file_storage`.
    directory: PathBuf,
    /// Whether the folder is made when it is missing. Default false.
    create_directory: bool,
    /// Permissions of a folder that is made, octal text. Default `0750`.
    directory_permissions: String,
    /// Longest wait for a lock on the folder. Default 1s.
    timeout: ConfigDuration,
    /// Accepted for the collector's configs: what is acknowledged is always synced here.
    fsync: bool,
    /// Accepted for the collector's configs: segments are removed as they empty, so nothing needs compaction.
    compaction: Option<IgnoredAny>,
    /// Accepted for the collector's configs: a damaged segment is set aside and the queue goes on.
    recreate: bool,
    /// Free space on the disk below which queues take nothing more, bytes: senders are then refused and come again, as
    /// with a full queue. Default 268435456 (256 MiB). A key of this program.
    free_bytes_min: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/otelcol/file_storage"),
            create_directory: false,
            directory_permissions: "0750".to_owned(),
            timeout: ConfigDuration::from_secs(1),
            fsync: false,
            compaction: None,
            recreate: false,
            free_bytes_min: FileStorage::FREE_BYTES_MIN_DEFAULT,
        }
    }
}

fn create(config: &ComponentConfig<'_>, _context: &ExtensionContext) -> Result<Extension, ConfigError> {
    let config: Config = config.parse()?;
    let shown = config.directory.display().to_string();
    let permissions =
        u32::from_str_radix(&config.directory_permissions, 8).ok().filter(|bits| *bits <= 0o777);
    let permissions = permissions.ok_or_else(|| {
        let message = format!("{:?} is not octal permissions such as 0750", config.directory_permissions);
        ConfigError::at("directory_permissions", message)
    })?;
    if !config.create_directory && !config.directory.is_dir() {
        let message = format!(
            "directory must exist: {shown} is not there; create_directory: true makes it when it is missing"
        );
        return Err(ConfigError::at("directory", message));
    }
    let storage = Arc::new(FileStorage {
        directory: config.directory,
        create_directory: config.create_directory,
        directory_permissions: permissions,
        timeout: config.timeout.0,
        free_bytes_min: config.free_bytes_min,
    });
    let start = Arc::clone(&storage);
    Ok(Extension {
        offer: Offer { client_auth: None, storage: Some(storage) },
        start: Some(Box::new(move || make(&start))),
        ..Extension::default()
    })
}

fn make(storage: &FileStorage) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if !storage.create_directory {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(storage.directory_permissions);
    builder.create(&storage.directory).with_context(|| format!("making {}", storage.directory.display()))
}
