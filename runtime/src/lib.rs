//! The outside world behind small seams: clock, disk, object store, tasks and shutdown, memory budget.
//!
//! Everything that spawns, sleeps, asks for the time or reserves memory goes through here, so that a test can put
//! its own in place. Invariant RUNTIME-1: every task has a name and an owner, and shutdown joins it.

mod clock;
mod disk;
mod give_back;
mod memory;
mod objects;
mod tasks;

pub use clock::{Clock, ManualClock, SystemClock};
pub use disk::{AppendFile, Disk, DiskEntry, DiskFault, LocalDisk, ReadFile, SimulatedDisk};
pub use give_back::{give_back_if_asked, give_back_memory, set_give_back};
pub use memory::{Limits, MemoryBudget, Reservation};
pub use objects::{ObjectEntry, ObjectPlace, Objects, SimulatedObjects};
pub use tasks::{ShutdownError, Tasks};
