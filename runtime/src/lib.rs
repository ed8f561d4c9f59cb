//! The outside world behind small seams: clock, tasks and shutdown, memory budget.
//!
//! Everything that spawns, sleeps, asks for the time or reserves memory goes through here, so that a test can put
//! its own in place. Invariant RUNTIME-1: every task has a name and an owner, and shutdown joins it.

mod clock;
mod memory;
mod tasks;

pub use clock::{Clock, ManualClock, SystemClock};
pub use memory::{MemoryBudget, Reservation};
pub use tasks::{ShutdownError, Tasks};
