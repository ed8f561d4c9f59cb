//! Files that no state names: of writes that did not come to an end, and those that were merged, rewritten or expired.

use hashbrown::HashSet;
use runtime::ObjectEntry;

use super::{FileSet, KEPT_MS, SharedPlace};
use crate::error::LogStoreResult;
use crate::filenames;

impl SharedPlace {
    /// All files that lie there. To be asked before the newest state is read, which then names all of them that any
    /// process made its own.
    pub(crate) fn list_files(&self) -> LogStoreResult<Vec<ObjectEntry>> {
        let folder = filenames::SHARED_DATA;
        self.done("listing", folder, self.objects.list(folder))
    }

    /// Removes those of the `listed` files that the newest state does not name and nobody can still need; gives how many.
    pub(crate) fn remove_garbage(&self, listed: &[ObjectEntry], set: &FileSet) -> LogStoreResult<u64> {
        let now_ms = self.clock.now_ms();
        let mut needed: HashSet<u128> =
            set.files.iter().filter_map(|file| filenames::id_of(&file.about.path)).collect();
        {
            let known = self.known.lock();
            let lately = known.shared.removed.iter();
            let lately = lately.filter(|removed| now_ms.saturating_sub(removed.at_ms) < KEPT_MS);
            needed.extend(lately.map(|removed| removed.id));
        }
        let mut removed = 0;
        for entry in listed {
            // What has no name of ours is not ours to remove.
            let Some(id) = filenames::id_of(&entry.name) else { continue };
            if needed.contains(&id) || now_ms.saturating_sub(entry.modified_ms) < KEPT_MS {
                continue;
            }
            self.done("removing", &entry.name, self.objects.remove(&entry.name))?;
            self.garbage.increment(1);
            removed += 1;
        }
        Ok(removed)
    }
}
