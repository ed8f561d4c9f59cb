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

use parking_lot::{Mutex, RwLock};

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
    /// Free space on the disk below which nothing more is written, bytes.
    pub free_bytes_min: u64,
}

impl FileStorage {
    /// Room that the rest of a machine needs to go on, bytes.
    pub const FREE_BYTES_MIN_DEFAULT: u64 = 256 << 20;
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
pub struct Extensions {
    offers: Arc<BTreeMap<ComponentId, Offer>>,
    /// Where is noted what was given out, for a component that may outlive them.
    lent: Option<Lent>,
}

/// The credentials that one component has of extensions. It keeps them when a reload makes the extensions anew, so what
/// is behind them can be exchanged.
#[derive(Clone, Default)]
pub(crate) struct Lent(Arc<Mutex<Vec<LentTo>>>);

/// The name of an extension, and what was lent of it.
type LentTo = (String, Arc<LentAuth>);

/// Stands in front of the authenticator of an extension.
struct LentAuth(RwLock<Arc<dyn ClientAuth>>);

impl ClientAuth for LentAuth {
    fn header(&self) -> PipelineResult<(String, Opaque)> {
        let auth = Arc::clone(&self.0.read());
        auth.header()
    }
}

/// New authenticators for what a component has, to be put in place once nothing can fail any more.
pub(crate) struct Renewal(Vec<(Arc<LentAuth>, Arc<dyn ClientAuth>)>);

impl Lent {
    /// Looks the same ids up in other extensions. Changes nothing yet.
    pub(crate) fn renewed_by(&self, extensions: &Extensions) -> Result<Renewal, ConfigError> {
        let lent = self.0.lock();
        let found = lent.iter().map(|(id, auth)| Ok((Arc::clone(auth), extensions.offered_auth(id)?)));
        Ok(Renewal(found.collect::<Result<_, ConfigError>>()?))
    }
}

impl Renewal {
    /// From here on the component has the new authenticators.
    pub(crate) fn put(&self) {
        for (lent, auth) in &self.0 {
            *lent.0.write() = Arc::clone(auth);
        }
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.offers.keys().map(ToString::to_string)).finish()
    }
}

impl Extensions {
    /// Extensions with what they offer.
    pub fn new(offers: impl IntoIterator<Item = (ComponentId, Offer)>) -> Self {
        Self { offers: Arc::new(offers.into_iter().collect()), lent: None }
    }

    /// The same extensions for one component, and what it gets of them.
    pub(crate) fn lending(&self) -> (Self, Lent) {
        let lent = Lent::default();
        (Self { offers: Arc::clone(&self.offers), lent: Some(lent.clone()) }, lent)
    }

    /// The authenticator `id` for requests to a destination; the fault stands at `auth.authenticator`.
    pub fn client_auth(&self, id: &str) -> Result<Arc<dyn ClientAuth>, ConfigError> {
        let auth = self.offered_auth(id)?;
        let Some(Lent(lent)) = &self.lent else { return Ok(auth) };
        let auth = Arc::new(LentAuth(RwLock::new(auth)));
        lent.lock().push((id.to_owned(), Arc::clone(&auth)));
        Ok(auth)
    }

    fn offered_auth(&self, id: &str) -> Result<Arc<dyn ClientAuth>, ConfigError> {
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
        ComponentId::parse(id).ok().and_then(|id| self.offers.get(&id))
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
            free_bytes_min: 0,
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
