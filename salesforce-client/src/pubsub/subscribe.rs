use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::{
    Event, PubSub, ReplayId,
    proto::{ConsumerEvent, FetchRequest, FetchResponse, ReplayPreset},
    rpc::{Feed, failed},
    schema::EventSchema,
};
use crate::{
    RetryPolicy,
    error::{Error, ErrorKind, Result},
    observe,
};

const OPERATION: &str = "pubsub.subscribe";
/// Salesforce's limit of events on their way to one subscription.
const MOST_AT_ONCE: u8 = 100;
/// How many events are remembered to know a repeated one: far more than are ever on their way.
const REMEMBERED: usize = 2_000;
/// After so long without one, a connection is made again at once.
const CALM: Duration = Duration::from_secs(60);

/// Where a subscription begins.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Replay {
    /// With what happens from now on. Until the first answer, which can take 270 s, there is no
    /// position: what happens while a connection is lost before that is missed.
    #[default]
    Latest,
    /// With all that is kept: 72 hours.
    Earliest,
    /// After this event: the last one that was dealt with.
    After(ReplayId),
}

/// What a subscription brings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// An event. Keep its [`replay_id`](Event::replay_id) once it is dealt with.
    Event(Box<Event>),
    /// Nothing has happened for a while. Keep the id instead of the last event's, so that it does
    /// not grow too old: ids are good for 72 hours.
    Quiet {
        /// Where to begin again.
        latest: ReplayId,
    },
    /// The place to go on from is no longer known, and the subscription begins
    /// [elsewhere](Subscribe::if_lost): what happened after it may never come. Only a look at the
    /// records tells of it, such as [`SObjects::changes`](crate::SObjects::changes) from the last
    /// event that was dealt with until after the next delivery, with which the subscription is
    /// known to listen again.
    ///
    /// Make that durable before the next delivery's id is kept. Who begins at the lost place again
    /// is told of it again.
    ///
    /// From [`Replay::Earliest`] on events can come that have come before, each with the id that it
    /// had.
    Lost {
        /// The place that is lost.
        after: ReplayId,
    },
}

impl Delivery {
    /// Where to begin again after this; the lost place itself where that is what is told of.
    pub fn replay_id(&self) -> &ReplayId {
        match self {
            Self::Event(event) => &event.replay_id,
            Self::Quiet { latest } => latest,
            Self::Lost { after } => after,
        }
    }
}

/// A subscription to a topic. From [`PubSub::subscribe`].
#[must_use = "nothing is sent before the stream is read"]
pub struct Subscribe {
    pubsub: PubSub,
    topic: String,
    replay: Replay,
    if_lost: Option<Replay>,
    at_once: u8,
    silence: Duration,
    patience: Duration,
    retry: RetryPolicy,
}

impl fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe")
            .field("topic", &self.topic)
            .field("replay", &self.replay)
            .finish_non_exhaustive()
    }
}

impl Subscribe {
    pub(super) fn new(pubsub: PubSub, topic: String) -> Self {
        Self {
            retry: pubsub.rpc.transport.sender.retry.clone(),
            pubsub,
            topic,
            replay: Replay::Latest,
            if_lost: None,
            at_once: MOST_AT_ONCE,
            silence: Duration::from_secs(300),
            patience: Duration::from_secs(15 * 60),
        }
    }

    /// Where to begin; with what happens from now on unless set.
    pub fn replay(mut self, replay: Replay) -> Self {
        self.replay = replay;
        self
    }

    /// Where to begin instead if the place is no longer known, which [`Delivery::Lost`] tells first.
    /// Unless set that is a [`PositionLost`](ErrorKind::PositionLost), which ends the stream. Either
    /// way events may have been missed, which only a look at the records mends.
    pub fn if_lost(mut self, replay: Replay) -> Self {
        self.if_lost = Some(replay);
        self
    }

    /// How many events may be on their way or waiting here, 1 to 100; 100 unless set. More are
    /// asked for as they are taken from the stream.
    pub fn at_once(mut self, events: u8) -> Self {
        self.at_once = events.clamp(1, MOST_AT_ONCE);
        self
    }

    /// How long Salesforce may be silent before the subscription counts as dead, and is made anew
    /// over another connection: 300 s unless set. It gives a sign every 270 s at least.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// How long to go on connecting without any answer before the error comes out: 15 minutes
    /// unless set. The waits between are those of the client's [`RetryPolicy`].
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The events, in order. Lost connections are made again where they broke, and what comes
    /// twice thereby is left out, so each event comes once until the stream brings a
    /// [`Delivery::Lost`]: after it events may come again. After an error nothing more comes.
    ///
    /// From one stream to the next events can come again: those dealt with whose id was not kept
    /// yet.
    ///
    /// Vendor: Pub/Sub API, "Subscribe RPC Method", "Flow Control".
    pub fn stream(self) -> impl Stream<Item = Result<Delivery>> + Send + use<> {
        let subscription = Subscription {
            position: self.replay.clone(),
            request: self,
            feed: None,
            waiting: VecDeque::new(),
            latest: None,
            lost: None,
            seen: Seen::default(),
            failures: 0,
            failing_since: None,
            haste: Haste::default(),
            renewed: false,
            replaced: false,
        };
        stream::try_unfold(subscription, |mut subscription| async move {
            let delivery = subscription.next().await?;
            Ok(Some((delivery, subscription)))
        })
    }
}

struct Subscription {
    request: Subscribe,
    /// After everything that has come.
    position: Replay,
    feed: Option<Open>,
    waiting: VecDeque<ConsumerEvent>,
    latest: Option<Bytes>,
    /// A place that is to be told of as lost.
    lost: Option<ReplayId>,
    seen: Seen,
    failures: u32,
    /// When the first failure in a row was.
    failing_since: Option<Instant>,
    haste: Haste,
    renewed: bool,
    /// Whether the place now is the one for a lost one.
    replaced: bool,
}

struct Open {
    feed: Feed,
    /// Events asked for that have not come.
    owed: usize,
    /// Whether more was asked for since the last answer without events.
    asked: bool,
}

impl Subscription {
    async fn next(&mut self) -> Result<Delivery> {
        loop {
            if let Some(event) = self.waiting.front() {
                let event = event.event.as_ref();
                let schema = event
                    .map(|event| event.schema_id.clone())
                    .unwrap_or_default();
                let pubsub = &self.request.pubsub;
                let found = match pubsub.schemas.get(&pubsub.rpc, &schema).await {
                    // It would not come with another try either; what waits behind it would never
                    // come. Whoever reads the event is told.
                    Err(error)
                        if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Decode) =>
                    {
                        Ok(Arc::new(EventSchema::missing(&schema, error)))
                    }
                    found => found,
                };
                match found {
                    Ok(schema) => {
                        let event = self
                            .waiting
                            .pop_front()
                            .map(|event| Event::new(event, schema));
                        self.ask();
                        if let Some(event) = event {
                            return Ok(Delivery::Event(Box::new(event)));
                        }
                    }
                    Err(error) => self.recover(error).await?,
                }
                continue;
            }
            if let Some(after) = self.lost.take() {
                return Ok(Delivery::Lost { after });
            }
            if let Some(latest) = self.latest.take() {
                self.ask();
                return Ok(Delivery::Quiet {
                    latest: ReplayId(latest),
                });
            }
            if let Err(error) = self.receive().await {
                self.feed = None;
                self.recover(error).await?;
            }
        }
    }

    async fn receive(&mut self) -> Result<()> {
        let open = match &mut self.feed {
            Some(open) => open,
            None => {
                let feed = self.open().await?;
                self.feed.insert(feed)
            }
        };
        let answer = timeout(self.request.silence, open.feed.answers.message())
            .await
            .map_err(|_| {
                self.request.pubsub.rpc.leave(open.feed.number);
                Error::new(ErrorKind::Timeout, OPERATION)
                    .detail("there was no sign of life within the silence allowed")
                    .sent()
            })?;
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                return Err(Error::new(ErrorKind::Server, OPERATION)
                    .detail("Salesforce ended the stream")
                    .sent());
            }
            Err(status) => {
                let error = failed(OPERATION, status);
                if error.kind() == ErrorKind::Auth {
                    let tokens = &self.request.pubsub.rpc.transport.tokens;
                    tokens.reject(&open.feed.token);
                }
                return Err(error);
            }
        };
        self.take(answer);
        Ok(())
    }

    async fn open(&self) -> Result<Open> {
        let (preset, replay_id) = match &self.position {
            Replay::Latest => (ReplayPreset::Latest, Bytes::new()),
            Replay::Earliest => (ReplayPreset::Earliest, Bytes::new()),
            Replay::After(id) => (ReplayPreset::Custom, id.0.clone()),
        };
        let first = FetchRequest {
            topic_name: self.request.topic.clone(),
            replay_preset: preset.into(),
            replay_id,
            num_requested: self.request.at_once.into(),
        };
        let rpc = &self.request.pubsub.rpc;
        let feed = rpc
            .subscribe(OPERATION, first, self.request.silence)
            .await?;
        Ok(Open {
            feed,
            owed: self.request.at_once.into(),
            asked: false,
        })
    }

    fn take(&mut self, answer: FetchResponse) {
        (self.failures, self.renewed, self.replaced) = (0, false, false);
        self.failing_since = None;
        debug!(
            operation = OPERATION,
            rpc_id = answer.rpc_id,
            events = answer.events.len(),
            "answered"
        );
        if let Some(open) = &mut self.feed {
            open.owed = open.owed.saturating_sub(answer.events.len());
            // Answers that were under way with the last request do not know of it, so what they
            // say is pending is believed only after a quiet time.
            let is_quiet = answer.events.is_empty();
            if is_quiet && !std::mem::take(&mut open.asked) {
                let pending = usize::try_from(answer.pending_num_requested).unwrap_or(0);
                open.owed = open.owed.min(pending);
            }
        }
        // With nothing pending, events may be withheld that lie before the latest id.
        let is_quiet = answer.events.is_empty() && answer.pending_num_requested > 0;
        if is_quiet && !answer.latest_replay_id.is_empty() {
            let latest = answer.latest_replay_id;
            self.position = Replay::After(ReplayId(latest.clone()));
            self.latest = Some(latest);
        }
        let waiting = self.waiting.len();
        for event in answer.events {
            self.position = Replay::After(ReplayId(event.replay_id.clone()));
            if self.seen.is_new(&event) {
                self.waiting.push_back(event);
            }
        }
        observe::events(&self.request.topic, self.waiting.len() - waiting);
        self.ask();
    }

    /// Asks for more when half of what may be on its way has been taken: not with every event.
    fn ask(&mut self) {
        let Some(open) = &mut self.feed else {
            return;
        };
        let at_once = usize::from(self.request.at_once);
        let room = at_once.saturating_sub(open.owed + self.waiting.len());
        if room == 0 || room < at_once / 2 {
            return;
        }
        let more = FetchRequest {
            num_requested: i32::try_from(room).unwrap_or(1),
            ..FetchRequest::default()
        };
        // A stream that has ended says so where its answers are read.
        if open.feed.asks.try_send(more).is_ok() {
            open.owed += room;
            open.asked = true;
        }
    }

    /// Lets the next connection be made at once, unless that was so just before.
    async fn hurry(&mut self) {
        if let Some(before) = self.haste.before(Instant::now()).checked_sub(1) {
            tokio::time::sleep(self.wait_after(before)).await;
        }
    }

    fn wait_after(&self, failures: u32) -> Duration {
        let retry = &self.request.retry;
        let ceiling = retry.first_delay.saturating_mul(1 << failures.min(16));
        ceiling.min(retry.max_delay).mul_f64(fastrand::f64())
    }

    /// Waits before the next connection, or gives up.
    async fn recover(&mut self, error: Error) -> Result<()> {
        observe::disconnected(&self.request.topic, &error);
        match error.kind() {
            ErrorKind::Auth if !self.renewed => {
                self.renewed = true;
                self.hurry().await;
                return Ok(());
            }
            ErrorKind::PositionLost => {
                let instead = self.request.if_lost.clone().filter(|_| !self.replaced);
                let (Some(instead), Replay::After(after)) = (instead, &self.position) else {
                    return Err(error);
                };
                debug!(
                    operation = OPERATION,
                    ?after,
                    ?instead,
                    "the position is lost"
                );
                self.lost = Some(after.clone());
                self.position = instead;
                self.replaced = true;
                self.hurry().await;
                return Ok(());
            }
            _ if !error.is_retryable() => return Err(error),
            _ => {}
        }
        let wait = self.wait_after(self.failures);
        self.failures += 1;
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed().saturating_add(wait) > self.request.patience {
            return Err(error.after(self.failures, false));
        }
        debug!(operation = OPERATION, ?wait, %error, "connecting again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// How often a connection was made again at once, with answers in between: each time with a login
/// or a subscription of its own, which two processes can go on taking from each other.
#[derive(Default)]
struct Haste {
    last: Option<Instant>,
    often: u32,
}

impl Haste {
    /// How many times just before `now` it was so.
    fn before(&mut self, now: Instant) -> u32 {
        let is_again = |last| now.saturating_duration_since(last) < CALM;
        self.often = match self.last.replace(now).is_some_and(is_again) {
            true => self.often.saturating_add(1),
            false => 0,
        };
        self.often
    }
}

/// What has come, to know what comes again. A replay id alone may not be unique after an org has
/// moved.
#[derive(Default)]
struct Seen {
    known: HashSet<Arc<(Bytes, String)>>,
    order: VecDeque<Arc<(Bytes, String)>>,
}

impl Seen {
    fn is_new(&mut self, event: &ConsumerEvent) -> bool {
        let id = event.event.as_ref().map(|event| event.id.clone());
        let key = Arc::new((event.replay_id.clone(), id.unwrap_or_default()));
        if !self.known.insert(Arc::clone(&key)) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_connection_in_a_while_is_made_again_at_once() {
        let mut haste = Haste::default();
        let begun = Instant::now();
        let at = |second| begun + Duration::from_secs(second);
        let often = [0, 1, 59, 118, 178, 179].map(|second| haste.before(at(second)));
        assert_eq!(often, [0, 1, 2, 3, 0, 1]);
    }
}
