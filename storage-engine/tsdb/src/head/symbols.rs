//! Label names and values as numbers: each text is kept once per tenant.

use hashbrown::HashTable;
use parking_lot::{RwLock, RwLockReadGuard};
use rapidhash::fast::RandomState;
use std::hash::BuildHasher;

/// A label name or value.
pub(crate) type Symbol = u32;

/// All texts of a tenant's labels. Symbols that no series has any more are used for other texts (`Symbols::sweep`).
pub(crate) struct Symbols(RwLock<Interner>);

pub(crate) struct Interner {
    texts: Vec<Box<str>>,
    /// Positions in `texts` by text.
    table: HashTable<Symbol>,
    hasher: RandomState,
    text_bytes: usize,
    /// Symbols without a text.
    free: Vec<Symbol>,
}

/// What a text costs beside its bytes: its fat pointer and its place in the table.
const SYMBOL_BYTES: usize = 24;

impl Symbols {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(Interner {
            texts: Vec::new(),
            table: HashTable::new(),
            hasher: RandomState::new(),
            text_bytes: 0,
            free: Vec::new(),
        }))
    }

    /// Read access for many look-ups. Taken last: nothing else is locked under it.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Interner> {
        self.0.read()
    }

    /// Fills `out` with the symbols of alternating names and values, making those that are new.
    pub(crate) fn intern<'a>(
        &self,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        out: &mut Vec<Symbol>,
    ) {
        if self.read().find_all(labels.clone(), out) {
            return;
        }
        let mut interner = self.0.write();
        out.clear();
        for (name, value) in labels {
            out.push(interner.intern(name));
            out.push(interner.intern(value));
        }
    }

    /// Forgets the texts for which `used` (by symbol) has no mark. Nobody may hold symbols outside of the marked label
    /// sets meanwhile.
    pub(crate) fn sweep(&self, used: &[bool]) {
        let interner = &mut *self.0.write();
        let Interner { texts, table, hasher, text_bytes, free } = interner;
        for (symbol, used) in (0..).zip(used) {
            let Some(text) = texts.get_mut(symbol as usize).filter(|text| !used && !text.is_empty()) else {
                continue;
            };
            if let Ok(entry) = table.find_entry(hasher.hash_one(&**text), |other| *other == symbol) {
                entry.remove();
            }
            *text_bytes -= text.len();
            *text = Box::default();
            free.push(symbol);
        }
    }

    /// Symbols so far, free ones included.
    pub(crate) fn len(&self) -> usize {
        self.read().texts.len()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let interner = self.read();
        interner.text_bytes + interner.texts.len() * SYMBOL_BYTES
    }
}

impl Interner {
    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        let same = |symbol: &Symbol| &*self.texts[*symbol as usize] == text;
        self.table.find(self.hasher.hash_one(text), same).copied()
    }

    /// Fills `out` with the symbols of alternating names and values; `false` when one is not known.
    pub(crate) fn find_all<'a>(
        &self,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        out: &mut Vec<Symbol>,
    ) -> bool {
        out.clear();
        for (name, value) in labels {
            let (Some(name), Some(value)) = (self.find(name), self.find(value)) else { return false };
            out.extend([name, value]);
        }
        true
    }

    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol as usize]
    }

    fn intern(&mut self, text: &str) -> Symbol {
        if let Some(symbol) = self.find(text) {
            return symbol;
        }
        let symbol = match self.free.pop() {
            Some(symbol) => {
                self.texts[symbol as usize] = text.into();
                symbol
            }
            None => {
                self.texts.push(text.into());
                Symbol::try_from(self.texts.len() - 1).expect("memory ends long before 2^32 texts")
            }
        };
        self.text_bytes += text.len();
        let Self { texts, table, hasher, .. } = self;
        let rehash = |symbol: &Symbol| hasher.hash_one(&*texts[*symbol as usize]);
        table.insert_unique(hasher.hash_one(text), symbol, rehash);
        symbol
    }
}
