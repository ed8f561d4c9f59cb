//! Which metadata names come together, and which of them get a column of their own.
//!
//! Entries come with their shapes (names, and values that they share). A file knows *shapes* by their names alone, and
//! while it is written *forms*: shapes with their shared values. There are few of both, so that what is asked for each
//! row is a look into a table by its form.

use std::sync::Arc;

use format::{LogShape, LogShapeSlot};
use hashbrown::{HashMap, HashSet};
use model::{MetadataShape, SlotValue};

/// Most metadata names with a column of their own in one file. Each costs a page header and an index entry a page.
const COLUMNS_MAX: usize = 32;
/// A name gets its own column when at least one row in this many has it.
const ROWS_PER_VALUE_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 64;

/// Distinct lists of metadata names and distinct forms of them, numbered as they come.
#[derive(Debug, Default)]
pub(crate) struct ShapeTable {
    names: Vec<String>,
    name_ids: HashMap<String, u32>,
    shapes: Vec<Vec<u32>>,
    shape_ids: HashMap<Vec<u32>, u32>,
    forms: Vec<Form>,
    form_ids: HashMap<Arc<MetadataShape>, u32>,
}

/// Names with shared values.
#[derive(Debug)]
struct Form {
    metadata: Arc<MetadataShape>,
    shape: u32,
    rows: usize,
}

/// Where each metadata value of a file goes.
#[derive(Debug)]
pub(crate) struct ShapePlan {
    /// Names with a column of their own, in name order.
    pub(crate) columns: Vec<String>,
    /// Keys of the map with all other pairs, in the order of their dictionary. A name that comes again in an entry's map
    /// is followed by ` (2)` and so on there, since other tools want the keys of a map to differ.
    pub(crate) rest_keys: Vec<String>,
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
    /// Into the map; the number is the key's position in [`ShapePlan::rest_keys`].
    Rest(u32),
}

const NO_SLOT: u16 = u16::MAX;

impl ShapeTable {
    /// The number of a form.
    pub(crate) fn form(&mut self, metadata: &Arc<MetadataShape>) -> u32 {
        if let Some(&form) = self.form_ids.get(metadata) {
            return form;
        }
        let mut ids = Vec::with_capacity(metadata.len());
        for (name, _) in metadata.slots() {
            ids.push(self.name_ids.get(name).copied().unwrap_or_else(|| {
                let id = self.names.len() as u32;
                self.names.push(name.to_owned());
                self.name_ids.insert(name.to_owned(), id);
                id
            }));
        }
        assert!(ids.len() < usize::from(NO_SLOT), "limits keep an entry's metadata far below 65,535 pairs");
        let shape = self.shape_ids.get(&ids).copied().unwrap_or_else(|| {
            let shape = self.shapes.len() as u32;
            self.shapes.push(ids.clone());
            self.shape_ids.insert(ids, shape);
            shape
        });
        let form = self.forms.len() as u32;
        self.forms.push(Form { metadata: Arc::clone(metadata), shape, rows: 0 });
        self.form_ids.insert(Arc::clone(metadata), form);
        form
    }

    /// Counts a row of this form.
    pub(crate) fn count_row(&mut self, form: u32) {
        self.forms[form as usize].rows += 1;
    }

    /// Decides which names get a column; `taken` tells names (in lower case) that other columns have.
    pub(crate) fn plan(&self, row_count: usize, taken: &HashSet<String>) -> ShapePlan {
        let chosen = self.choose_columns(row_count, taken);
        let columns: Vec<String> = chosen.iter().map(|&id| self.names[id as usize].clone()).collect();
        let column_of: HashMap<u32, u32> = chosen.iter().copied().zip(0..).collect();
        let mut rest = RestKeys::default();
        let mut slot_of = vec![NO_SLOT; self.shapes.len() * columns.len()];
        let mut slots = Vec::with_capacity(self.shapes.len());
        for (number, shape) in self.shapes.iter().enumerate() {
            let places = &mut slot_of[number * columns.len()..(number + 1) * columns.len()];
            rest.of_shape.clear();
            let plan = shape.iter().enumerate().map(|(slot, name)| match column_of.get(name) {
                // A name that comes twice in an entry has one value in its column and the others in the map.
                Some(&column) if places[column as usize] == NO_SLOT => {
                    places[column as usize] = slot as u16;
                    SlotPlan::Column(column)
                }
                _ => SlotPlan::Rest(rest.id(&self.names[*name as usize])),
            });
            slots.push(plan.collect());
        }
        ShapePlan { columns, rest_keys: rest.keys, slots, slot_of }
    }

    /// Ids of the names that get a column, in name order.
    fn choose_columns(&self, row_count: usize, taken: &HashSet<String>) -> Vec<u32> {
        let mut counts = vec![0usize; self.names.len()];
        for form in &self.forms {
            let names = &self.shapes[form.shape as usize];
            names.iter().for_each(|&name| counts[name as usize] += form.rows);
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

    /// The shape of each form.
    pub(crate) fn shapes_of_forms(&self) -> Vec<u32> {
        self.forms.iter().map(|form| form.shape).collect()
    }

    /// For each form, where the value of the first slot named `name` comes from.
    pub(crate) fn values_named(&self, name: &str) -> Vec<Option<SlotValue<'_>>> {
        let mut values = Vec::with_capacity(self.forms.len());
        for form in &self.forms {
            values.push(form.metadata.slots().find(|(slot, _)| *slot == name).map(|(_, value)| value));
        }
        values
    }

    /// For each form, where the value of a column comes from.
    pub(crate) fn values_of_column(&self, plan: &ShapePlan, column: usize) -> Vec<Option<SlotValue<'_>>> {
        let mut values = Vec::with_capacity(self.forms.len());
        for form in &self.forms {
            values.push(plan.slot(form.shape, column).map(|slot| form.metadata.value(slot)));
        }
        values
    }

    /// For each form, the pairs that go into the map: the key's position and where the value comes from.
    pub(crate) fn rest_of_forms(&self, plan: &ShapePlan) -> Vec<Vec<(u32, SlotValue<'_>)>> {
        let mut rest = Vec::with_capacity(self.forms.len());
        for form in &self.forms {
            let slots = plan.slots[form.shape as usize].iter().enumerate();
            let pairs = slots.filter_map(|(slot, place)| match *place {
                SlotPlan::Rest(key) => Some((key, form.metadata.value(slot))),
                SlotPlan::Column(_) => None,
            });
            rest.push(pairs.collect());
        }
        rest
    }
}

/// Whether a name needs no quoting tricks in other tools.
fn is_plain_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Keys of the map while they are given out.
#[derive(Default)]
struct RestKeys {
    keys: Vec<String>,
    ids: HashMap<String, u32>,
    /// Those that the shape at hand has already.
    of_shape: HashSet<u32>,
}

impl RestKeys {
    /// The number of a key for `name` that the shape at hand does not have yet.
    fn id(&mut self, name: &str) -> u32 {
        let mut id = self.of_key(name);
        let mut times = 1;
        while !self.of_shape.insert(id) {
            times += 1;
            id = self.of_key(&format!("{name} ({times})"));
        }
        id
    }

    fn of_key(&mut self, key: &str) -> u32 {
        self.ids.get(key).copied().unwrap_or_else(|| {
            let id = self.keys.len() as u32;
            self.keys.push(key.to_owned());
            self.ids.insert(key.to_owned(), id);
            id
        })
    }
}

impl ShapePlan {
    /// The slot that holds the value of `column` in rows of `shape`.
    fn slot(&self, shape: u32, column: usize) -> Option<usize> {
        let slot = self.slot_of[shape as usize * self.columns.len() + column];
        (slot != NO_SLOT).then_some(usize::from(slot))
    }

    /// The shapes of `table` for a file's index; `first_column` is where metadata columns start in it.
    pub(crate) fn to_index(&self, table: &ShapeTable, first_column: u32) -> Vec<LogShape> {
        let slot = |(slot, name): (&SlotPlan, &u32)| match *slot {
            SlotPlan::Column(column) => LogShapeSlot {
                name: self.columns[column as usize].clone(),
                column: Some(first_column + column),
            },
            SlotPlan::Rest(_) => LogShapeSlot { name: table.names[*name as usize].clone(), column: None },
        };
        let shape = |(slots, names): (&Vec<SlotPlan>, &Vec<u32>)| LogShape {
            slots: slots.iter().zip(names).map(slot).collect(),
        };
        self.slots.iter().zip(&table.shapes).map(shape).collect()
    }
}
