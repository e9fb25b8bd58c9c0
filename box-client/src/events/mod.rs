//! What happened, in the order that Box tells it: to catch up on what webhooks missed.

mod event;
mod feed;
mod long_poll;
mod recent;

use std::{fmt, time::Duration};

use futures_core::Stream;
use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

pub use self::event::{Event, EventItem, EventType};
use self::{feed::Pause, recent::Recent};
use crate::{
    call::Call,
    error::{Error, Result},
    open_enum::open_enum,
    transport::Transport,
};

/// Calls on events. From [`BoxClient::events`](crate::BoxClient::events).
///
/// Vendor: <https://developer.box.com/reference/resources/event/>. Box delivers at least once and
/// not always in order. A stream here yields each event with the position to store once the event
/// is dealt with. Whoever goes on from a stored position loses nothing, and sees again what had
/// come after it in the same answer of Box's. To lose nothing before the first event either, read
/// [`page`](UserEvents::page) from `now` once and store its `next`.
///
/// ```no_run
/// use box_client::{BoxClient, StreamPosition, UserStream};
/// use futures_util::TryStreamExt;
///
/// # fn stored() -> Option<StreamPosition> { None }
/// # fn store(_: &StreamPosition) {}
/// # async fn example(client: BoxClient) -> box_client::Result<()> {
/// let from = stored().unwrap_or_else(StreamPosition::now);
/// let events = client.events().user(UserStream::Changes).from(from);
/// let mut events = std::pin::pin!(events.stream());
/// while let Some(next) = events.try_next().await? {
///     println!("{:?} {:?}", next.event.event_type, next.event.item());
///     store(&next.position);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    transport: &'a Transport,
}

impl<'a> Events<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// What concerns the token's user, kept for some weeks. New events are waited for by long
    /// poll.
    ///
    /// Vendor: <https://developer.box.com/guides/events/user-events/>
    pub fn user(&self, stream: UserStream) -> UserEvents<'a> {
        UserEvents(Reading::new(self.transport, stream.as_str()))
    }

    /// What happens in the enterprise, within minutes and kept for two weeks: stream type
    /// `admin_logs_streaming`. Needs scope `manage_enterprise_properties` and an administrator
    /// who sees reports.
    ///
    /// Vendor: <https://developer.box.com/guides/events/enterprise-events/for-enterprise/>
    pub fn enterprise(&self) -> EnterpriseEvents<'a> {
        EnterpriseEvents {
            reading: Reading::new(self.transport, "admin_logs_streaming"),
            poll_every: POLL_EVERY,
        }
    }

    /// What happened in the enterprise in a given time, kept for a year: stream type `admin_logs`.
    /// In order and each once, but late: a window that ends now misses what is yet to be recorded.
    /// Needs what [`enterprise`](Self::enterprise) needs.
    ///
    /// Vendor: <https://developer.box.com/guides/events/enterprise-events/for-enterprise/>
    pub fn admin_logs(&self) -> AdminLogs<'a> {
        AdminLogs(Reading::new(self.transport, "admin_logs"))
    }
}

/// There is no long poll for the enterprise's events.
const POLL_EVERY: Duration = Duration::from_secs(30);
/// More at once is refused.
const LIMIT: u32 = 500;
/// The filters of Box's own SDKs hold as many.
const REMEMBERED: usize = 5_000;

open_enum! {
    /// Which of a user's events.
    UserStream {
        /// All, with previews, downloads and the like.
        All = "all",
        /// Those that change files, folders and collaborations.
        Changes = "changes",
        /// Those that change what is synchronised to a desktop.
        Sync = "sync",
    }
}

/// Events of a user. From [`Events::user`].
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before page() or stream()"]
pub struct UserEvents<'a>(Reading<'a>);

impl<'a> UserEvents<'a> {
    /// What comes after this position; [`StreamPosition::now`] unless set.
    pub fn from(self, position: StreamPosition) -> Self {
        Self(self.0.from(position))
    }

    /// How many events are read at once, 500 at most and unless set.
    pub fn limit(self, limit: u32) -> Self {
        Self(self.0.limit(limit))
    }

    /// How many events a stream remembers to leave out what Box repeats, 5,000 unless set.
    pub fn remember(self, events: usize) -> Self {
        Self(self.0.remember(events))
    }

    /// One answer of Box's, repeats and all.
    pub async fn page(&self) -> Result<EventPage> {
        self.0.page(&self.0.position).await
    }

    /// The events as they come, without an end: when there are no more, a long poll waits for
    /// Box to say that there are. Trouble with the long poll only makes it slower; trouble with
    /// the events themselves, after the client's retries, is an error and the end. Go on from the
    /// last stored position then.
    pub fn stream(self) -> impl Stream<Item = Result<EventAt>> + Send + use<'a> {
        feed::feed(self.0, Pause::LongPoll)
    }
}

/// Events of the enterprise. From [`Events::enterprise`].
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before page() or stream()"]
pub struct EnterpriseEvents<'a> {
    reading: Reading<'a>,
    poll_every: Duration,
}

impl<'a> EnterpriseEvents<'a> {
    /// What comes after this position; [`StreamPosition::now`] unless set.
    pub fn from(mut self, position: StreamPosition) -> Self {
        self.reading = self.reading.from(position);
        self
    }

    /// Only events of these types.
    pub fn event_types(mut self, types: impl IntoIterator<Item = EventType>) -> Self {
        self.reading = self.reading.event_types(types);
        self
    }

    /// How many events are read at once, 500 at most and unless set.
    pub fn limit(mut self, limit: u32) -> Self {
        self.reading = self.reading.limit(limit);
        self
    }

    /// How many events a stream remembers to leave out what Box repeats, 5,000 unless set.
    pub fn remember(mut self, events: usize) -> Self {
        self.reading = self.reading.remember(events);
        self
    }

    /// How long a stream waits when there is nothing new, 30 s unless set.
    pub fn poll_every(mut self, pause: Duration) -> Self {
        self.poll_every = pause;
        self
    }

    /// One answer of Box's, repeats and all.
    pub async fn page(&self) -> Result<EventPage> {
        self.reading.page(&self.reading.position).await
    }

    /// The events as they come, without an end. An error, after the client's retries, is the end:
    /// go on from the last stored position then.
    pub fn stream(self) -> impl Stream<Item = Result<EventAt>> + Send + use<'a> {
        feed::feed(self.reading, Pause::Sleep(self.poll_every))
    }
}

/// Events of a given time. From [`Events::admin_logs`].
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before page() or stream()"]
pub struct AdminLogs<'a>(Reading<'a>);

impl<'a> AdminLogs<'a> {
    /// Only what happened after this.
    pub fn created_after(self, at: Timestamp) -> Self {
        Self(self.0.set("created_after", at.to_string()))
    }

    /// Only what happened before this.
    pub fn created_before(self, at: Timestamp) -> Self {
        Self(self.0.set("created_before", at.to_string()))
    }

    /// What comes after this position; from the first event of that time unless set.
    pub fn from(self, position: StreamPosition) -> Self {
        Self(self.0.from(position))
    }

    /// Only events of these types.
    pub fn event_types(self, types: impl IntoIterator<Item = EventType>) -> Self {
        Self(self.0.event_types(types))
    }

    /// How many events are read at once, 500 at most and unless set.
    pub fn limit(self, limit: u32) -> Self {
        Self(self.0.limit(limit))
    }

    /// One answer of Box's.
    pub async fn page(&self) -> Result<EventPage> {
        self.0.page(&self.0.position).await
    }

    /// The events of that time, and the end.
    pub fn stream(self) -> impl Stream<Item = Result<EventAt>> + Send + use<'a> {
        feed::feed(self.0, Pause::End)
    }
}

/// A place in a stream of events, to be stored as it is: opaque, and not made from a time.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct StreamPosition(String);

impl StreamPosition {
    /// After all that has happened so far.
    pub fn now() -> Self {
        Self("now".to_owned())
    }

    /// Before the oldest event that Box has kept.
    pub fn oldest() -> Self {
        Self("0".to_owned())
    }

    /// As stored.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// To store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Box sends text or a number.
impl<'de> Deserialize<'de> for StreamPosition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::ids::text(deserializer).map(Self)
    }
}

/// An event, and where to go on once it is dealt with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EventAt {
    /// The event.
    pub event: Event,
    /// To be stored once the event is dealt with.
    pub position: StreamPosition,
}

/// One answer of Box's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EventPage {
    /// The events. Fewer than asked for does not mean that there are no more.
    pub entries: Vec<Event>,
    /// What to ask from next.
    pub next: StreamPosition,
}

/// What is asked for.
#[derive(Clone, Debug)]
struct Reading<'a> {
    transport: &'a Transport,
    position: StreamPosition,
    limit: u32,
    remember: usize,
    query: Vec<(&'static str, String)>,
}

#[derive(Deserialize)]
struct Chunk {
    entries: Option<Vec<Event>>,
    next_stream_position: Option<StreamPosition>,
}

impl<'a> Reading<'a> {
    fn new(transport: &'a Transport, stream_type: &str) -> Self {
        let position = match stream_type {
            "admin_logs" => StreamPosition::oldest(),
            _ => StreamPosition::now(),
        };
        Self {
            transport,
            position,
            limit: LIMIT,
            remember: REMEMBERED,
            query: vec![("stream_type", stream_type.to_owned())],
        }
    }

    fn from(mut self, position: StreamPosition) -> Self {
        self.position = position;
        self
    }

    fn limit(mut self, limit: u32) -> Self {
        self.limit = limit.clamp(1, LIMIT);
        self
    }

    fn remember(mut self, events: usize) -> Self {
        self.remember = events;
        self
    }

    fn event_types(self, types: impl IntoIterator<Item = EventType>) -> Self {
        let types: Vec<String> = types.into_iter().map(|it| it.to_string()).collect();
        self.set("event_type", types.join(","))
    }

    fn set(mut self, name: &'static str, value: String) -> Self {
        self.query.push((name, value));
        self
    }

    async fn page(&self, from: &StreamPosition) -> Result<EventPage, Error> {
        let call = Call::new("events.list", Method::GET, ["events"])
            .query("stream_position", from.as_str())
            .query("limit", self.limit.to_string());
        let call = self
            .query
            .iter()
            .fold(call, |call, (name, value)| call.query(*name, value));
        let chunk: Chunk = self.transport.json(&call).await?;
        Ok(EventPage {
            entries: chunk.entries.unwrap_or_default(),
            next: chunk.next_stream_position.unwrap_or_else(|| from.clone()),
        })
    }
}
