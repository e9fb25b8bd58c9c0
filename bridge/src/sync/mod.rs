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
//! on yet, a value wins over none, and a ticked checkbox over none as well. Later a checkbox that the
//! folder has no value for counts as not ticked.
//!
//! What was agreed on was agreed on with one instance of the template on one folder. Where a record
//! gets another folder, or the template is taken off and applied again, or a field of the template
//! is deleted and made again, both sides meet for the first time: nobody has emptied what is not
//! there.
//!
//! # What is refused
//!
//! A value that does not fit the other side is not written, and the report says why; so is the stage
//! of a deal that would move backward or leave a closed one. Both values are kept as a [`Conflict`],
//! which is over once one of them changes or somebody decides for the other one. A value that the CRM
//! itself refuses, as by a validation rule, keeps no other value from being written.
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
mod folder;
mod memory;
mod merge;
mod report;
mod round;
mod rounds;
mod shapes;
mod write;

pub(crate) use self::conflict::KEY as CONFLICT;
pub use self::{
    action::SyncMetadata,
    all::{SyncAll, SyncTold, SyncedAll},
    conflict::{Conflict, Decider, conflicts, current_conflicts},
    datum::Datum,
    field_map::{ConflictPolicy, Direction, FieldMap, FieldPair, MapError, Side},
    report::{FieldOutcome, FieldReport, SyncReport},
};
