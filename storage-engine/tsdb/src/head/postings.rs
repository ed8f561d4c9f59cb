//! Which series of a shard have a label: per name and value an ascending list of series numbers.
//!
//! Numbers ascend as series come, so a list only grows at its end.

use hashbrown::{HashMap, hash_map::Entry};
use rapidhash::fast::RandomState;

use super::symbols::Symbol;

/// Postings of one shard.
#[derive(Default)]
pub(crate) struct Postings {
    names: HashMap<Symbol, Values, RandomState>,
}

/// Values of one label name.
#[derive(Default)]
pub(crate) struct Values {
    lists: HashMap<Symbol, SeriesList, RandomState>,
}

/// Series numbers; most lists of values like pod names are short.
pub(crate) enum SeriesList {
    One(u32),
    Many(Vec<u32>),
}

/// What a name or a value costs beside its numbers, about.
const ENTRY_BYTES: usize = 40;

impl Postings {
    /// Adds a series; numbers must ascend from call to call. Returns how many bytes that takes, about.
    pub(crate) fn add(&mut self, local: u32, labels: &[Symbol]) -> usize {
        let mut bytes = 0;
        for pair in labels.chunks_exact(2) {
            match self.names.entry(pair[0]).or_default().lists.entry(pair[1]) {
                Entry::Vacant(entry) => {
                    entry.insert(SeriesList::One(local));
                    bytes += ENTRY_BYTES;
                }
                Entry::Occupied(mut entry) => {
                    entry.get_mut().push(local);
                    bytes += 2 * size_of::<u32>();
                }
            }
        }
        bytes
    }

    /// Takes all series for which `dead` says so out of the lists of these pairs. Returns how many bytes the lists
    /// took that are gone, about.
    pub(crate) fn remove(&mut self, pairs: &[Symbol], dead: impl Fn(u32) -> bool) -> usize {
        let mut bytes = 0;
        for pair in pairs.chunks_exact(2) {
            let Some(values) = self.names.get_mut(&pair[0]) else { continue };
            let Some(list) = values.lists.get_mut(&pair[1]) else { continue };
            if list.retain(&dead) == 0 {
                values.lists.remove(&pair[1]);
                bytes += ENTRY_BYTES - 2 * size_of::<u32>();
            }
            if values.lists.is_empty() {
                self.names.remove(&pair[0]);
            }
        }
        bytes
    }

    /// All names with their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Symbol, &Values)> {
        self.names.iter().map(|(name, values)| (*name, values))
    }

    pub(crate) fn values(&self, name: Symbol) -> Option<&Values> {
        self.names.get(&name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = Symbol> {
        self.names.keys().copied()
    }
}

impl Values {
    pub(crate) fn get(&self, value: Symbol) -> Option<&[u32]> {
        self.lists.get(&value).map(SeriesList::as_slice)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Symbol, &[u32])> {
        self.lists.iter().map(|(value, list)| (*value, list.as_slice()))
    }
}

impl SeriesList {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(local) => std::slice::from_ref(local),
            Self::Many(locals) => locals,
        }
    }

    /// Takes the dead ones away; tells how many are left.
    fn retain(&mut self, dead: impl Fn(u32) -> bool) -> usize {
        match self {
            Self::One(local) => usize::from(!dead(*local)),
            Self::Many(locals) => {
                locals.retain(|local| !dead(*local));
                if locals.capacity() > 2 * locals.len() + 8 {
                    locals.shrink_to_fit();
                }
                locals.len()
            }
        }
    }

    fn push(&mut self, local: u32) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, local]),
            Self::Many(locals) => locals.push(local),
        }
    }
}
