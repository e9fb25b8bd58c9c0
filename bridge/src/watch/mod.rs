//! What keeps webhooks true: they are registered, looked after and made anew, and what they missed
//! is found and goes the same way as what they tell.

mod backfill;
#[cfg(feature = "box")]
mod box_events;
#[cfg(feature = "box")]
mod box_side;
mod catch_up;
mod check;
mod error;
#[cfg(feature = "box")]
mod event_names;
mod handler;
mod mapped;
mod missed;
mod newly_mapped;
mod port;
mod room;
mod scan;
mod service;
mod silence;
mod walk;
mod whereabouts;

#[cfg(feature = "box")]
pub use self::box_events::BoxEvents;
pub use self::{
    backfill::{Backfill, Backfilled, Told, Unmatched},
    catch_up::CaughtUp,
    check::{HookState, HookStatus},
    error::WatchError,
    handler::Watched,
    missed::SCAN,
    port::{Created, Entry, EventPage, EventStream, Happening, Hook, HookRef, Hooks, Tree},
    scan::scan_job,
    service::{Watch, WatchOptions},
};
