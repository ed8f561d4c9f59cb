//! Which metadata names come together, and which of them get a column of their own.
//!
//! Entries of one program carry the same names in the same order nearly always, so a row's names are guessed to be
//! those of the row before it: one short comparison a name and no hash.

use format::{LogShape, LogShapeSlot};
use hashbrown::{HashMap, HashSet};
use model::LogEntries;

/// Most metadata names with a column of their own in one file. Each costs a page header and an index entry a page.
const COLUMNS_MAX: usize = 32;
/// A name gets its own column when at least one row in this many has it.
const ROWS_PER_VALUE_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 64;

/// Distinct lists of metadata names, numbered as they come.
#[derive(Debug, Default)]
pub(crate) struct ShapeTable {
    names: Vec<String>,
    name_ids: HashMap<String, u32>,
    shapes: Vec<Vec<u32>>,
    shape_ids: HashMap<Vec<u32>, u32>,
    rows: Vec<usize>,
    last: u32,
    scratch: Vec<u32>,
}

/// Where each metadata value of a file goes.
#[derive(Debug)]
pub(crate) struct ShapePlan {
    /// Names with a column of their own, in name order.
    pub(crate) columns: Vec<String>,
    /// Names without one, in the order of their ids in the dictionary of the rest column.
    pub(crate) rest_names: Vec<String>,
    /// For each shape and slot, where it goes.
    slots: Vec<Vec<SlotPlan>>,
    /// For each shape and column, the slot that has the value, or `NO_SLOT`.
    slot_of: Vec<u16>,
}

/// Where one value of a shape goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotPlan {
    /// Into the column at this position of [`ShapePlan::columns`].
    Column(u32),
    /// Into the rest columns; the number is the name's position in [`ShapePlan::rest_names`].
    Rest(u32),
}

const NO_SLOT: u16 = u16::MAX;

impl ShapeTable {
    /// The number of the shape of entry `index`, and counts it.
    pub(crate) fn add(&mut self, entries: &LogEntries, index: usize) -> u32 {
        let guess = self.shapes.get(self.last as usize).is_some_and(|shape| {
            let mut names = shape.iter();
            let same =
                |(name, _): (&str, &str)| names.next().is_some_and(|&id| self.names[id as usize] == name);
            entries.metadata(index).all(same) && names.next().is_none()
        });
        let shape = if guess { self.last } else { self.look_up(entries, index) };
        self.rows[shape as usize] += 1;
        self.last = shape;
        shape
    }

    fn look_up(&mut self, entries: &LogEntries, index: usize) -> u32 {
        let mut ids = std::mem::take(&mut self.scratch);
        ids.clear();
        for (name, _) in entries.metadata(index) {
            let id = self.name_ids.get(name).copied().unwrap_or_else(|| {
                let id = self.names.len() as u32;
                self.names.push(name.to_owned());
                self.name_ids.insert(name.to_owned(), id);
                id
            });
            ids.push(id);
        }
        assert!(ids.len() < usize::from(NO_SLOT), "limits keep an entry's metadata far below 65,535 pairs");
        let shape = self.shape_ids.get(&ids).copied().unwrap_or_else(|| {
            let shape = self.shapes.len() as u32;
            self.shapes.push(ids.clone());
            self.shape_ids.insert(ids.clone(), shape);
            self.rows.push(0);
            shape
        });
        self.scratch = ids;
        shape
    }

    /// Decides which names get a column; `taken` tells names (in lower case) that other columns have.
    pub(crate) fn plan(&self, row_count: usize, taken: &HashSet<String>) -> ShapePlan {
        let chosen = self.choose_columns(row_count, taken);
        let columns: Vec<String> = chosen.iter().map(|&id| self.names[id as usize].clone()).collect();
        let column_of: HashMap<u32, u32> = chosen.iter().copied().zip(0..).collect();
        let mut rest_names = Vec::new();
        let mut rest_of: HashMap<u32, u32> = HashMap::new();
        let mut slot_of = vec![NO_SLOT; self.shapes.len() * columns.len()];
        let mut slots = Vec::with_capacity(self.shapes.len());
        for (number, shape) in self.shapes.iter().enumerate() {
            let places = &mut slot_of[number * columns.len()..(number + 1) * columns.len()];
            let plan = shape.iter().enumerate().map(|(slot, name)| match column_of.get(name) {
                // A name that comes twice in an entry has one value in its column and the others in the rest.
                Some(&column) if places[column as usize] == NO_SLOT => {
                    places[column as usize] = slot as u16;
                    SlotPlan::Column(column)
                }
                _ => SlotPlan::Rest(*rest_of.entry(*name).or_insert_with(|| {
                    rest_names.push(self.names[*name as usize].clone());
                    rest_names.len() as u32 - 1
                })),
            });
            slots.push(plan.collect());
        }
        ShapePlan { columns, rest_names, slots, slot_of }
    }

    /// Ids of the names that get a column, in name order.
    fn choose_columns(&self, row_count: usize, taken: &HashSet<String>) -> Vec<u32> {
        let mut counts = vec![0usize; self.names.len()];
        for (shape, &rows) in self.shapes.iter().zip(&self.rows) {
            shape.iter().for_each(|&name| counts[name as usize] += rows);
        }
        let mut frequent: Vec<u32> = (0..self.names.len() as u32)
            .filter(|&id| counts[id as usize] * ROWS_PER_VALUE_MAX >= row_count)
            .filter(|&id| is_plain_name(&self.names[id as usize]))
            .collect();
        frequent.sort_by_key(|&id| (std::cmp::Reverse(counts[id as usize]), &self.names[id as usize]));
        // Other readers fold the case of column names, so names that differ only by it cannot both be columns.
        let mut taken = taken.clone();
        frequent.retain(|&id| taken.insert(self.names[id as usize].to_ascii_lowercase()));
        frequent.truncate(COLUMNS_MAX);
        frequent.sort_by_key(|&id| &self.names[id as usize]);
        frequent
    }

    /// Number of shapes.
    pub(crate) fn len(&self) -> usize {
        self.shapes.len()
    }

    /// Position of `name` in the shape, if it has it.
    pub(crate) fn slot_named(&self, shape: u32, name: &str) -> Option<usize> {
        self.shapes[shape as usize].iter().position(|&id| self.names[id as usize] == name)
    }
}

/// Whether a name needs no quoting tricks in other tools.
fn is_plain_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

impl ShapePlan {
    /// The slot that holds the value of `column` in rows of `shape`.
    pub(crate) fn slot(&self, shape: u32, column: usize) -> Option<usize> {
        let slot = self.slot_of[shape as usize * self.columns.len() + column];
        (slot != NO_SLOT).then_some(usize::from(slot))
    }

    /// Where each slot of `shape` goes.
    pub(crate) fn slots(&self, shape: u32) -> &[SlotPlan] {
        &self.slots[shape as usize]
    }

    /// The shapes for a file's index; `first_column` is where metadata columns start in it.
    pub(crate) fn to_index(&self, first_column: u32) -> Vec<LogShape> {
        let slot = |slot: &SlotPlan| match *slot {
            SlotPlan::Column(column) => LogShapeSlot {
                name: self.columns[column as usize].clone(),
                column: Some(first_column + column),
            },
            SlotPlan::Rest(name) => {
                LogShapeSlot { name: self.rest_names[name as usize].clone(), column: None }
            }
        };
        self.slots.iter().map(|slots| LogShape { slots: slots.iter().map(slot).collect() }).collect()
    }
}
