//! Compaction of a bucket of blocks by Thanos' rules, so that Thanos' compactor and this one can take turns on it: small
//! blocks become larger ones, replicas become one, long blocks get windows of 5 minutes and an hour, old ones go.
//!
//! What to do is planned by pure functions (`plan`, `group`, `downsampling`); `work` does it; [`Compactor`] does all
//! that is due. Nothing is locked: all steps can be done twice or be cut anywhere.
//!
//! - COMPACTOR-1: a block is marked to be removed only when the bucket has another that holds its data, or when its time
//!   is over; it is removed only when it was marked long enough ago.
//! - COMPACTOR-2: a new block names the blocks of level 1 whose data it has. By that, and by nothing else, others know
//!   which blocks it stands for, so two blocks of the same sources are one too many but never wrong.
//! - COMPACTOR-3: a damaged block is left out by a mark that says why; everything else goes on.

mod downsample;
mod downsampling;
mod error;
mod group;
mod penalty;
mod plan;
mod run;
mod settings;
mod watch;
mod work;

pub use downsample::{RESOLUTION_1H, RESOLUTION_5M};
pub use error::{CompactorError, CompactorResult};
pub use group::{Group, GroupKey, Groups, groups};
pub use plan::{LeaveOut, Plan, RANGES_MS, plan};
pub use run::{Compactor, Done, Due};
pub use settings::{CompactorSettings, Merging};
pub use watch::{Unwatched, Watch};
