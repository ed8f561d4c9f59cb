//! Every name that the store puts into its folder: `<tenant>/wal/`.

use std::path::{Path, PathBuf};

use model::TenantId;

/// The folder of a tenant; a tenant id is always a safe folder name.
pub(crate) fn tenant(root: &Path, tenant: &TenantId) -> PathBuf {
    root.join(tenant.as_str())
}

/// The folder of a tenant's log.
pub(crate) fn wal(root: &Path, id: &TenantId) -> PathBuf {
    tenant(root, id).join("wal")
}
