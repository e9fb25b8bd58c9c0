//! Chosen fields of a record and chosen keys of its folder's metadata, kept the same both ways.
//!
//! Every round reads both sides and what they last agreed on, and carries over what has changed.
//! An event only says that it is time for a round: lost, doubled and reordered events do no harm,
//! and the echo of an own write finds that both sides agree.
//!
//! ```
//! use bridge::{
//!     metadata::ValueKind,
//!     sync::{ConflictPolicy, Direction, FieldMap, FieldPair},
//! };
//!
//! let map = FieldMap::new("Opportunity", [
//!     FieldPair::new("StageName", "stage", ValueKind::Enum),
//!     FieldPair::new("Account.Name", "client", ValueKind::String).direction(Direction::ToBox),
//! ])?
//! .on_conflict(ConflictPolicy::Newest);
//! assert_eq!(map.pairs().len(), 2);
//! # Ok::<(), bridge::sync::MapError>(())
//! ```
//!
//! # What is empty
//!
//! Nothing, `null`, an empty text and an empty selection are one and the same: no value. Taking a
//! value away on one side takes it away on the other. On the first round, when nothing was agreed
//! on yet, a value wins over none. A checkbox is never empty: where the folder has no value for it,
//! it counts as not ticked.
//!
//! # One way
//!
//! A pair that goes one way carries changes that way and no other. What is changed at its end
//! stays until its beginning changes, and is then kept as a conflict.

mod action;
mod all;
mod conflict;
mod datum;
mod field_map;
mod memory;
mod merge;
mod report;
mod round;
mod shapes;
mod write;

pub use self::{
    action::SyncMetadata,
    all::{SyncAll, SyncTold, SyncedAll},
    conflict::{Conflict, Decider, conflicts},
    datum::Datum,
    field_map::{ConflictPolicy, Direction, FieldMap, FieldPair, MapError, Side},
    report::{FieldOutcome, FieldReport, SyncReport},
};
