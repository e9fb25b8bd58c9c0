mod concern;
mod position;
mod tell;

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use salesforce_client::{
    RecordId,
    pubsub::{Delivery, PubSub, Replay},
};
use tracing::{info, warn};

use self::{concern::Concern, position::Position, tell::Change};
use super::{
    SourceError,
    inlet::{Failures, Inlet},
};
use crate::{
    clock::Clock,
    ledger::{EffectKey, Ledger},
    queue::Queue,
    record_event::RecordEvent,
    records::Records,
    rules::Rule,
    salesforce_crm::port_error,
};

const DOING: &str = "listen to Salesforce's events";
/// As many as Salesforce lets be on their way.
const AT_ONCE: usize = 100;
/// A second is over when this much of the next has passed, for clocks that differ.
const OVER_AFTER: Duration = Duration::from_secs(1);
/// However wrong a clock may be, nobody waits longer for a second to be over.
const LONGEST_HOLD: Duration = Duration::from_secs(3);
/// Salesforce covers whole minutes, so a gap is not looked at more often than this.
const GAP_EVERY: Duration = Duration::from_secs(15);

/// Listens to Salesforce's event bus: Change Data Capture and platform events.
///
/// A topic's position is kept in the ledger after its events are durable. What the bus cannot tell
/// is asked for instead, by [`Records::changed`]: what happened before the bus was first listened
/// to, or since a position that it no longer knows (after 72 hours), and what it only tells of as a
/// gap. That needs the kinds of records that a topic is about. Where they are not known, and for
/// platform events, a lost position is replaced by the oldest that the bus has, and the log tells
/// since when something may be missing.
///
/// ```
/// # use std::sync::Arc;
/// # use bridge::{Ledger, Queue, SalesforceCrm, source::{EventBus, Topic}};
/// # use salesforce_client::SalesforceClient;
/// # async fn example(client: SalesforceClient, inbox: Arc<dyn Queue>, ledger: Arc<dyn Ledger>) -> salesforce_client::Result<()> {
/// let records = Arc::new(SalesforceCrm::new(client.clone()));
/// let bus = EventBus::new(client.pubsub().build()?, records, inbox, ledger)
///     .topic(Topic::changes_of("Opportunity"))
///     .topic(Topic::new("/event/Deal_Won__e").record_field("Opportunity_Id__c"));
/// bus.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await;
/// # Ok(())
/// # }
/// ```
///
/// Vendor: Pub/Sub API, "Subscribe RPC Method"; Change Data Capture Developer Guide.
#[derive(Clone, Debug)]
#[must_use]
pub struct EventBus {
    bus: PubSub,
    inlet: Inlet,
    topics: Vec<Topic>,
    since: Option<Timestamp>,
    not_by: Option<String>,
    concern: Concern,
}

/// What to listen to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct Topic {
    name: String,
    objects: Vec<String>,
    record_field: Option<String>,
}

impl Topic {
    /// A topic by its name, such as `/data/OpportunityChangeEvent`, `/data/Sales__chn` or
    /// `/event/Deal_Won__e`. Which kind of record a change event's own topic is about is known.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            objects: tell::object_of(&name).into_iter().collect(),
            name,
            record_field: None,
        }
    }

    /// The changes of one kind of record.
    pub fn changes_of(object: &str) -> Self {
        let name = match object.strip_suffix("__c") {
            Some(name) => format!("/data/{name}__ChangeEvent"),
            None => format!("/data/{object}ChangeEvent"),
        };
        Self {
            name,
            objects: vec![object.to_owned()],
            record_field: None,
        }
    }

    /// The kinds of records that the topic is about, to be asked about where the bus has a gap.
    pub fn objects<O: Into<String>>(mut self, objects: impl IntoIterator<Item = O>) -> Self {
        self.objects = objects.into_iter().map(Into::into).collect();
        self
    }

    /// The field of a platform event that has a record's id.
    pub fn record_field(mut self, field: impl Into<String>) -> Self {
        self.record_field = Some(field.into());
        self
    }

    /// Whether the records tell all that the topic does. A platform event can be published without
    /// a change of its record.
    fn is_asked_for_whole(&self) -> bool {
        self.name.starts_with("/data/") && !self.objects.is_empty()
    }
}

impl EventBus {
    /// Listens to this bus, and asks `records` for what it does not tell.
    pub fn new(
        bus: PubSub,
        records: Arc<dyn Records>,
        queue: Arc<dyn Queue>,
        ledger: Arc<dyn Ledger>,
    ) -> Self {
        Self {
            bus,
            inlet: Inlet::new(records, queue, ledger),
            topics: Vec::new(),
            since: None,
            not_by: None,
            concern: Concern::default(),
        }
    }

    /// Listens to this topic too.
    pub fn topic(mut self, topic: Topic) -> Self {
        self.topics.push(topic);
        self
    }

    /// Where to begin at the first run; with what happens from then on unless set. A position that
    /// is known already counts for more.
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    /// Leaves out the changes that were made by the client of this name: our own. Set the same
    /// name as the client's `client_name`. What an automation of the org changes in the same
    /// transaction counts as ours too.
    pub fn not_by(mut self, client_name: impl Into<String>) -> Self {
        self.not_by = Some(client_name.into());
        self
    }

    /// Leaves out the changes of a record's fields that none of these rules
    /// [goes by](crate::Action::goes_by), as far as the bus tells of fields: not where it has a gap,
    /// nor of what is nested. A rule that goes by a field that is not ours to write, such as a
    /// formula, is told of all: the bus does not tell when such a field changes.
    pub fn for_rules(mut self, rules: Vec<Rule>) -> Self {
        self.concern = Concern::of(rules);
        self
    }

    /// By another clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.inlet.clock = clock;
        self
    }

    /// Listens until `stop`. What goes wrong is logged and tried again.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let topics: FuturesUnordered<_> = self.topics.iter().map(|it| self.keep_at(it)).collect();
        let all = topics.collect::<()>();
        tokio::select! {
            // Cut short it goes on from where it was.
            () = stop => {}
            () = all => {}
        }
    }

    async fn keep_at(&self, topic: &Topic) {
        let mut failures = Failures::default();
        loop {
            let Err(error) = self.follow(topic, &mut failures).await else {
                continue;
            };
            let wait = failures.wait_after(&topic.name, &error);
            tokio::time::sleep(wait).await;
        }
    }

    /// Follows the topic until something goes wrong.
    async fn follow(&self, topic: &Topic, failures: &mut Failures) -> Result<(), SourceError> {
        let key = EffectKey::new(["source", "events", &topic.name]);
        let now = || self.inlet.clock.now();
        let mut position = match self.inlet.position::<Position>(&key).await? {
            Some(position) => position,
            None => {
                let position = Position::new(self.since.unwrap_or_else(now), &topic.objects);
                self.inlet.keep(&key, &position).await?;
                info!(topic = topic.name, from = %position.at, "events are listened to");
                position
            }
        };
        let replay = position.replay().map_or(Replay::Latest, Replay::After);
        let instead = match topic.is_asked_for_whole() {
            // All that it missed is asked for, up to when it is listened to again.
            true => Replay::Latest,
            false => Replay::Earliest,
        };
        let subscription = self.bus.subscribe(&topic.name).replay(replay);
        let deliveries = subscription.if_lost(instead).stream();
        let mut deliveries = pin!(deliveries.ready_chunks(AT_ONCE));
        let mut look = tokio::time::interval(GAP_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut gap_failures = Failures::default();
        loop {
            let batch = tokio::select! {
                batch = deliveries.next() => batch.unwrap_or_default(),
                _ = look.tick(), if position.has_gaps() => {
                    match self.look_into_gaps(topic, &mut position).await {
                        Ok(false) => {
                            gap_failures.none();
                            continue;
                        }
                        Ok(true) => gap_failures.none(),
                        // The bus is listened to all the same.
                        Err(SourceError::Port(error)) => {
                            let wait = gap_failures.wait_after(&topic.name, &error.into());
                            look.reset_after(wait.max(GAP_EVERY));
                        }
                        Err(error) => return Err(error),
                    }
                    self.inlet.keep(&key, &position).await?;
                    continue;
                }
            };
            let is_end = batch.is_empty();
            let mut failed = None;
            let mut came = Vec::new();
            for delivery in batch {
                match delivery {
                    Ok(delivery) => came.push(delivery),
                    Err(error) => failed = Some(error),
                }
            }
            // Of a lost place it takes no more to hear than a refusal.
            let is_lost = |it: &Delivery| matches!(it, Delivery::Lost { .. });
            let is_listened_to = !came.iter().all(is_lost);
            if !came.is_empty() {
                if self.take(topic, &mut position, came).await? {
                    look.reset_immediately();
                }
                self.inlet.keep(&key, &position).await?;
            }
            if is_listened_to {
                failures.none();
            }
            match failed {
                Some(error) => return Err(port_error(DOING, error).into()),
                None if is_end => return Ok(()),
                None => {}
            }
        }
    }

    /// Makes what came durable, and moves the position behind it; whether there is a gap in it.
    async fn take(
        &self,
        topic: &Topic,
        position: &mut Position,
        came: Vec<Delivery>,
    ) -> Result<bool, SourceError> {
        let (mut changes, mut has_gap) = (Vec::new(), false);
        for delivery in &came {
            match delivery {
                Delivery::Event(event) => {
                    changes.push(tell::change(event, topic, self.not_by.as_deref()));
                }
                Delivery::Lost { .. } => {
                    let mended = match (topic.objects.is_empty(), topic.is_asked_for_whole()) {
                        (true, _) => "what the bus no longer has is missed",
                        (_, true) => "what has changed of these is asked for",
                        (_, false) => {
                            "what has changed of these is asked for; events that the bus no longer \
                             has are missed"
                        }
                    };
                    warn!(
                        topic = topic.name,
                        since = %position.at,
                        objects = ?topic.objects,
                        "the position is lost; {mended}"
                    );
                    has_gap = true;
                    position.lost(&topic.objects);
                }
                _ => {}
            }
        }
        let newest = changes.iter().filter_map(Change::at).max();
        for told in &mut changes {
            let records = &*self.inlet.records;
            if let Some((object, fields)) = told.fields()
                && !self.concern.is_touched(records, object, fields).await
            {
                *told = Change::Nothing;
            }
        }
        if let Some(last) = changes.iter().filter_map(Change::of_change).max() {
            let over = over_at(last).duration_since(self.inlet.clock.now());
            let hold = Duration::try_from(over).unwrap_or_default();
            tokio::time::sleep(hold.min(LONGEST_HOLD)).await;
        }
        let now = self.inlet.clock.now();
        let mut events = Vec::new();
        for told in changes {
            let second = told.of_change().filter(|at| over_at(*at) <= now);
            match told {
                Change::Of {
                    own,
                    records,
                    change,
                    at,
                    ..
                } => events.extend(records.into_iter().map(|record| match (second, at) {
                    (Some(at), _) => RecordEvent::dated(record, change, at),
                    (None, Some(at)) => RecordEvent::new(own.clone(), record, change).at(at),
                    (None, None) => RecordEvent::new(own.clone(), record, change),
                })),
                Change::Gap { object, at } => {
                    has_gap = true;
                    position.gap(&object, at.unwrap_or(now));
                }
                Change::Unreadable => {
                    has_gap = true;
                    for object in &topic.objects {
                        position.gap(object, now);
                    }
                }
                Change::Nothing => {}
            }
        }
        self.inlet.push(&events).await?;
        // A lost place is kept until there is another: at a start in between it is told of again.
        if let Some(last) = came.last()
            && !matches!(last, Delivery::Lost { .. })
        {
            let quiet = matches!(last, Delivery::Quiet { .. }).then_some(now);
            position.moved(last.replay_id(), quiet.or(newest), now);
        }
        Ok(has_gap)
    }

    /// Tells of what has changed in them; whether they are smaller now.
    async fn look_into_gaps(
        &self,
        topic: &Topic,
        position: &mut Position,
    ) -> Result<bool, SourceError> {
        let mut is_smaller = false;
        for gap in &mut position.gaps {
            loop {
                let told = self.inlet.tell_changed(&gap.object, gap.since, gap.from);
                let (covered, new) = told.await?;
                if covered <= gap.since {
                    break;
                }
                info!(topic = topic.name, object = gap.object, %covered, new, "a gap is looked into");
                gap.since = covered;
                is_smaller = true;
            }
        }
        position.gaps.retain(|gap| !gap.is_filled());
        Ok(is_smaller)
    }
}

/// When the second of `at` is over for sure.
fn over_at(at: Timestamp) -> Timestamp {
    let next = at.as_second().saturating_add(1);
    let next = Timestamp::from_second(next).unwrap_or(Timestamp::MAX);
    next.checked_add(OVER_AFTER).unwrap_or(Timestamp::MAX)
}

fn record_id(text: &str) -> Option<RecordId> {
    RecordId::new(text.trim()).ok()
}
