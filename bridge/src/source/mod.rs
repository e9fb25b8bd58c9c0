//! Where the events of records come from: [outbound messages](OutboundReceiver) that the CRM
//! sends, [asking](Poll) it what has changed, and its [event bus](EventBus). Each of them alone
//! will do, and all of them together: they push into one inbox, and
//! [`RecordEvent`](crate::RecordEvent) says by which one rule a change has its effects once.
//!
//! A source moves its position, which it keeps in the ledger, only after the events before it are
//! durable. After a crash it goes on from there; what it tells twice thereby is known by then.

mod error;
#[cfg(feature = "pubsub")]
mod event_bus;
mod inlet;
#[cfg(feature = "outbound")]
mod outbound;
mod poll;
#[cfg(all(feature = "axum", feature = "outbound"))]
pub(crate) mod route;

pub use error::SourceError;
#[cfg(feature = "pubsub")]
pub use event_bus::{EventBus, Topic};
#[cfg(feature = "outbound")]
pub use outbound::{OutboundReceiver, OutboundRefusal, Told, WeakSecret};
pub use poll::Poll;
