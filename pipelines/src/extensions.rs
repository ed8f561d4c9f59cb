//! What the extensions of a config offer to other components: authentication of clients, and folders for queues.
//!
//! An extension is made before the pipelines and outlives them; a component asks for it by the id that its config
//! names, when it is made, so that a wrong id is a fault of the config. Texts: extension/auth and exporterhelper of the
//! collector.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::{ComponentId, ConfigError, Opaque, PipelineResult};

/// Puts credentials on requests to a destination.
pub trait ClientAuth: Send + Sync {
    /// Name and value of the header to send. Asked for each request, because files with credentials change. Never
    /// waits for the network.
    fn header(&self) -> PipelineResult<(String, Opaque)>;
}

/// A folder in which components may keep what must survive a restart (extension `file_storage`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStorage {
    /// Where; each component takes a folder of its own below it.
    pub directory: PathBuf,
    /// Whether the folder is made when it is missing.
    pub create_directory: bool,
    /// Permissions of folders that are made.
    pub directory_permissions: u32,
    /// Longest wait for a lock on a folder.
    pub timeout: Duration,
}

/// What one extension offers.
#[derive(Clone, Default)]
pub struct Offer {
    /// Credentials for requests to destinations.
    pub client_auth: Option<Arc<dyn ClientAuth>>,
    /// A folder.
    pub storage: Option<Arc<FileStorage>>,
}

/// The extensions that run, by id. Clones share them.
#[derive(Clone, Default)]
pub struct Extensions(Arc<BTreeMap<ComponentId, Offer>>);

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys().map(ToString::to_string)).finish()
    }
}

impl Extensions {
    /// Extensions with what they offer.
    pub fn new(offers: impl IntoIterator<Item = (ComponentId, Offer)>) -> Self {
        Self(Arc::new(offers.into_iter().collect()))
    }

    /// The authenticator `id` for requests to a destination; the fault stands at `auth.authenticator`.
    pub fn client_auth(&self, id: &str) -> Result<Arc<dyn ClientAuth>, ConfigError> {
        let at = |message: String| ConfigError::at("auth.authenticator", message);
        let offer = self.find(id).ok_or_else(|| {
            at(format!(
                "failed to resolve authenticator {id:?}: authenticator not found in service::extensions"
            ))
        })?;
        offer.client_auth.clone().ok_or_else(|| at(format!("{id:?} is not a client authenticator")))
    }

    /// The folder of extension `id`; the fault stands at `sending_queue.storage`.
    pub fn storage(&self, id: &str) -> Result<Arc<FileStorage>, ConfigError> {
        let at = |message: String| ConfigError::at("sending_queue.storage", message);
        let offer = self
            .find(id)
            .ok_or_else(|| at(format!("storage client extension {id:?} not found in service::extensions")))?;
        offer.storage.clone().ok_or_else(|| at(format!("non-storage extension {id:?} found")))
    }

    fn find(&self, id: &str) -> Option<&Offer> {
        ComponentId::parse(id).ok().and_then(|id| self.0.get(&id))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Extensions, FileStorage, Offer};
    use crate::ComponentId;

    #[test]
    fn an_extension_is_found_by_its_id_and_only_for_what_it_offers() {
        let storage = Arc::new(FileStorage {
            directory: "/var/lib/x".into(),
            create_directory: true,
            directory_permissions: 0o750,
            timeout: Duration::from_secs(1),
        });
        let id = ComponentId::parse("file_storage/queue").expect("an id");
        let offer = Offer { storage: Some(Arc::clone(&storage)), ..Offer::default() };
        let extensions = Extensions::new([(id, offer)]);
        assert_eq!(extensions.storage("file_storage/queue"), Ok(storage));
        let missing = extensions.storage("file_storage").expect_err("another id");
        assert_eq!(
            missing.to_string(),
            "sending_queue::storage: storage client extension \"file_storage\" not found in service::extensions"
        );
        let wrong =
            extensions.client_auth("file_storage/queue").map(|_| ()).expect_err("offers no authentication");
        assert_eq!(
            wrong.to_string(),
            "auth::authenticator: \"file_storage/queue\" is not a client authenticator"
        );
    }
}
