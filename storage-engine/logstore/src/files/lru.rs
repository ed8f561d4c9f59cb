//! Values by key with the bytes that each holds, and the order in which they were used last.
//!
//! Both caches of the store are made of one: they lock it, count the bytes and take out the oldest as they see fit.
//! LRU-1: the order has each value of at least one byte once; one of none would free nothing and is not in it. A use
//! costs a look-up and the logarithm of the number of values, taking the oldest out costs no more.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::Hash;

use hashbrown::HashMap;

/// Values by key.
pub(super) struct Lru<K, V> {
    values: HashMap<K, Held<V>>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, K>,
    bytes: usize,
    clock: u64,
}

struct Held<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K, V> Default for Lru<K, V> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: BTreeMap::new(), bytes: 0, clock: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> Lru<K, V> {
    /// The value of a key, used now.
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let held = self.values.get_mut(key)?;
        self.clock += 1;
        if let Some(key) = self.order.remove(&held.used) {
            self.order.insert(self.clock, key);
        }
        held.used = self.clock;
        Some(&mut held.value)
    }

    /// Puts a value in, used now, in the place of one that is there.
    pub(super) fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.remove(&key);
        self.clock += 1;
        self.bytes += bytes;
        if bytes > 0 {
            self.order.insert(self.clock, key.clone());
        }
        self.values.insert(key, Held { value, bytes, used: self.clock });
    }

    /// Takes a value out.
    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let held = self.values.remove(key)?;
        self.order.remove(&held.used);
        self.bytes -= held.bytes;
        Some(held.value)
    }

    /// Takes out the value that was not used for the longest time.
    pub(super) fn remove_oldest(&mut self) -> Option<V> {
        let (_, key) = self.order.pop_first()?;
        self.remove(&key)
    }

    /// Whether there is a value. Not a use of it.
    pub(super) fn has<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.values.contains_key(key)
    }

    /// All keys and values, in no order. Not a use of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.values.iter().map(|(key, held)| (key, &held.value))
    }

    /// Number of values.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Bytes that the values hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
