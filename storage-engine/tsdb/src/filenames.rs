//! Every name that the store puts into its folder: `<tenant>/wal/`, `<tenant>/checkpoint`, `<tenant>/scratch/`, and the
//! blocks beside them.

use std::path::{Path, PathBuf};

use model::TenantId;

/// The folder of a tenant; a tenant id is always a safe folder name.
pub(crate) fn tenant(root: &Path, tenant: &TenantId) -> PathBuf {
    root.join(tenant.as_str())
}

/// The folder of a tenant's log.
pub(crate) fn wal(tenant_dir: &Path) -> PathBuf {
    tenant_dir.join("wal")
}

/// The checkpoint of a tenant.
pub(crate) fn checkpoint(tenant_dir: &Path) -> PathBuf {
    tenant_dir.join("checkpoint")
}

/// A checkpoint that is not whole yet.
pub(crate) fn temporary_checkpoint(tenant_dir: &Path) -> PathBuf {
    tenant_dir.join("checkpoint.tmp")
}

/// A copy of a checkpoint that could not be read, for a person to look at.
pub(crate) fn damaged_checkpoint(tenant_dir: &Path) -> PathBuf {
    tenant_dir.join("checkpoint.damaged")
}

/// The folder of closed chunks of the head, which a start removes.
pub(crate) fn scratch(tenant_dir: &Path) -> PathBuf {
    tenant_dir.join("scratch")
}

/// Where closed chunks are made again; a start removes it with the folder that it is in.
pub(crate) fn mending(tenant_dir: &Path) -> PathBuf {
    scratch(tenant_dir).join("mending")
}

/// A file of closed chunks.
pub(crate) fn scratch_file(number: u64) -> String {
    format!("{number:06}")
}

/// The folder of a tenant's snapshots.
pub(crate) fn snapshots(tenant_dir: &Path) -> PathBuf {
    tenant_dir.join("snapshots")
}

/// The folder of a snapshot of a tenant.
pub(crate) fn snapshot(tenant_dir: &Path, name: &str) -> PathBuf {
    snapshots(tenant_dir).join(name)
}
