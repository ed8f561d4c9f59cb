//! What entries of structured metadata have in common: their names, and the values that a resource, a scope or a
//! level gives to all of them.
//!
//! A thousand records of one program have the same names in the same order, and a third of their values comes from
//! the resource. Held once, that is half of the bytes of such a batch, in memory and in the write-ahead log.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use rapidhash::v3::rapidhash_v3;

/// The slots of an entry's structured metadata in order. Each has a name; its value is the shape's or the entry's own.
#[derive(Clone)]
pub struct MetadataShape {
    /// Names and shared values, one after the other.
    text: String,
    slots: Vec<Slot>,
    own_count: u32,
    hash: u64,
}

/// Offsets in the shape's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    start: u32,
    name_end: u32,
    value_end: u32,
    /// Position among the entry's own values, or `SHARED`.
    own: u32,
}

const SHARED: u32 = u32::MAX;

/// Where the value of a slot comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotValue<'a> {
    /// The same for all entries of the shape.
    Shared(&'a str),
    /// The entry's own value at this position.
    Own(usize),
}

impl MetadataShape {
    /// A shape of these names in order, each with its value if that is the same for all entries. Panics past 4 GiB of
    /// text.
    pub fn new<'a>(slots: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let mut shape = Self { text: String::new(), slots: Vec::new(), own_count: 0, hash: 0 };
        for (name, shared) in slots {
            let start = offset(shape.text.len());
            shape.text.push_str(name);
            let name_end = offset(shape.text.len());
            shape.text.push_str(shared.unwrap_or_default());
            let own = if shared.is_some() { SHARED } else { shape.own_count };
            shape.own_count += u32::from(shared.is_none());
            shape.slots.push(Slot { start, name_end, value_end: offset(shape.text.len()), own });
        }
        let mut hash = rapidhash_v3(shape.text.as_bytes());
        for slot in &shape.slots {
            hash = (hash.rotate_left(5) ^ u64::from(slot.value_end) << 1 ^ u64::from(slot.own))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        shape.hash = hash;
        shape
    }

    /// The shape of entries without metadata.
    pub fn empty() -> &'static Arc<Self> {
        static EMPTY: LazyLock<Arc<MetadataShape>> = LazyLock::new(|| Arc::new(MetadataShape::new([])));
        &EMPTY
    }

    /// Number of slots.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether its entries have no metadata.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many slots take their value from the entry.
    pub fn own_count(&self) -> usize {
        self.own_count as usize
    }

    /// Bytes of names and shared values: what each entry has besides its own values.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.text.capacity() + self.slots.capacity() * size_of::<Slot>()
    }

    /// The name of a slot. Panics when `slot >= len()`.
    #[inline]
    pub fn name(&self, slot: usize) -> &str {
        let Slot { start, name_end, .. } = self.slots[slot];
        &self.text[start as usize..name_end as usize]
    }

    /// Where the value of a slot comes from. Panics when `slot >= len()`.
    #[inline]
    pub fn value(&self, slot: usize) -> SlotValue<'_> {
        let Slot { name_end, value_end, own, .. } = self.slots[slot];
        match own {
            SHARED => SlotValue::Shared(&self.text[name_end as usize..value_end as usize]),
            own => SlotValue::Own(own as usize),
        }
    }

    /// Names and where their values come from.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = (&str, SlotValue<'_>)> {
        (0..self.len()).map(|slot| (self.name(slot), self.value(slot)))
    }

    /// Whether all values are the entries' own.
    pub(super) fn shares_nothing(&self) -> bool {
        self.own_count() == self.slots.len()
    }

    /// Whether the first `count` slots of both have the same names.
    pub(super) fn starts_like(&self, other: &Self, count: usize) -> bool {
        self.len() >= count && (0..count).all(|slot| self.name(slot) == other.name(slot))
    }
}

pub(super) fn offset(len: usize) -> u32 {
    u32::try_from(len).expect("callers keep a batch below 4 GiB of text")
}

impl PartialEq for MetadataShape {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text && self.slots == other.slots
    }
}

impl Eq for MetadataShape {}

impl Hash for MetadataShape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for MetadataShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.slots()).finish()
    }
}

/// Structured metadata of one entry: an iterator over `(name, value)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetadataPairs<'a> {
    slots: &'a [Slot],
    text: &'a str,
    values: &'a str,
    /// Where each own value that is left ends in `values`, and where the next starts.
    ends: &'a [u32],
    start: u32,
}

impl<'a> MetadataPairs<'a> {
    /// The pairs of an entry of `shape` whose own values end at `ends` in `values`, the first starting at `start`.
    #[inline]
    pub(super) fn new(shape: &'a MetadataShape, values: &'a str, start: u32, ends: &'a [u32]) -> Self {
        Self { slots: &shape.slots, text: &shape.text, values, ends, start }
    }

    /// Whether there is no pair left.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl<'a> Iterator for MetadataPairs<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (slot, slots) = self.slots.split_first()?;
        self.slots = slots;
        let name = &self.text[slot.start as usize..slot.name_end as usize];
        if slot.own == SHARED {
            return Some((name, &self.text[slot.name_end as usize..slot.value_end as usize]));
        }
        let (&end, ends) = self.ends.split_first()?;
        let value = &self.values[self.start as usize..end as usize];
        self.start = end;
        self.ends = ends;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.slots.len(), Some(self.slots.len()))
    }
}

impl ExactSizeIterator for MetadataPairs<'_> {}

impl PartialEq for MetadataPairs<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}
