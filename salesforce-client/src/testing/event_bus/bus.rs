//! What is on the bus, by its places.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use apache_avro::Schema as AvroSchema;
use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::capture::Change;
use super::fault::StreamFaults;
use super::header::Header;
use super::layout::{Layout, event_name};
use super::platform_event::PlatformEvent;
use super::subscription_state::SubscriptionState;
use crate::pubsub::proto::{ConsumerEvent, ProducerEvent, ReplayPreset};
use crate::testing::refusal::Refusal;
use crate::testing::schema::Schema;

/// How long the vendor keeps events.
const KEPT: SignedDuration = SignedDuration::from_hours(72);
const EVENTS_AT_MOST: usize = 200_000;
const SUBSCRIPTIONS_AT_MOST: usize = 10_000;
pub(super) const ALL_CHANGES: &str = "/data/ChangeEvents";

#[derive(Default)]
pub(in crate::testing) struct Bus {
    log: VecDeque<Stored>,
    /// The place of the newest event, and of the newest that is gone.
    last: u64,
    purged: u64,
    transactions: u64,
    /// Keeps replay ids of other orgs apart.
    salt: u64,
    schemas: BTreeMap<String, Arc<EventSchema>>,
    pub(super) platform_events: Vec<PlatformEvent>,
    pub(super) faults: StreamFaults,
    pub(super) subscriptions: Vec<SubscriptionState>,
    /// How often a schema was asked for.
    pub(super) schemas_asked: u64,
    tail: watch::Sender<u64>,
}

struct Stored {
    place: u64,
    at: Timestamp,
    topic: String,
    event: ProducerEvent,
}

/// A schema that events are written by, for as long as the org lives.
pub(super) struct EventSchema {
    pub(super) id: String,
    pub(super) json: String,
    pub(super) avro: AvroSchema,
}

/// Why a place cannot be gone on from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BadPlace {
    /// No id that this org ever gave.
    Corrupted,
    /// The events after it are gone, or there was none.
    Gone,
}

impl Bus {
    pub(in crate::testing) fn new() -> Self {
        Self {
            salt: fastrand::u64(..),
            ..Self::default()
        }
    }

    /// Tells of each new event.
    pub(super) fn tail(&self) -> watch::Receiver<u64> {
        self.tail.subscribe()
    }

    pub(super) fn replay_id(&self, place: u64) -> Bytes {
        let mut id = place.to_be_bytes().to_vec();
        let mut sum = Sha256::new();
        sum.update(self.salt.to_be_bytes());
        sum.update(&id);
        id.extend_from_slice(&sum.finalize()[..4]);
        id.into()
    }

    fn place_of(&self, replay_id: &[u8]) -> Option<u64> {
        let place = replay_id.get(..8)?;
        let place = u64::from_be_bytes(place.try_into().ok()?);
        (self.replay_id(place) == replay_id).then_some(place)
    }

    /// The newest place of all.
    pub(super) fn newest(&self) -> Bytes {
        self.replay_id(self.last)
    }

    /// The place that a subscription begins after.
    pub(super) fn open(
        &mut self,
        preset: ReplayPreset,
        replay_id: &[u8],
        now: Timestamp,
    ) -> Result<u64, BadPlace> {
        self.purge(now - KEPT);
        match preset {
            ReplayPreset::Latest => Ok(self.last),
            ReplayPreset::Earliest => Ok(self.purged),
            ReplayPreset::Custom => {
                let place = self.place_of(replay_id).ok_or(BadPlace::Corrupted)?;
                let is_gone = place < self.purged || (place == self.purged && self.purged > 0);
                if place > self.last || (is_gone && place != self.last) {
                    return Err(BadPlace::Gone);
                }
                Ok(place)
            }
        }
    }

    /// The place so many events of the topic before this one.
    pub(super) fn before(&self, place: u64, topic: &str, events: usize) -> u64 {
        let earlier = self.log.iter().rev();
        let mut earlier = earlier.filter(|it| it.place <= place && is_on(&it.topic, topic));
        match events {
            0 => place,
            events => earlier.nth(events).map_or(self.purged, |it| it.place),
        }
    }

    /// Events of the topic after a place, and the place of the last of them.
    pub(super) fn after(
        &self,
        place: u64,
        topic: &str,
        most: usize,
    ) -> (Vec<ConsumerEvent>, Option<u64>) {
        let start = self.log.partition_point(|it| it.place <= place);
        let found = self.log.range(start..);
        let found: Vec<&Stored> = found
            .filter(|it| is_on(&it.topic, topic))
            .take(most)
            .collect();
        let last = found.last().map(|it| it.place);
        let events = found.into_iter().map(|it| ConsumerEvent {
            event: Some(it.event.clone()),
            replay_id: self.replay_id(it.place),
        });
        (events.collect(), last)
    }

    pub(in crate::testing) fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Lets all events go, as after 72 hours.
    pub(super) fn purge_all(&mut self) {
        self.log.clear();
        self.purged = self.last;
    }

    fn purge(&mut self, until: Timestamp) {
        let is_due = |bus: &Self| bus.log.front().is_some_and(|oldest| oldest.at < until);
        while is_due(self) || self.log.len() > EVENTS_AT_MOST {
            let oldest = self.log.pop_front();
            self.purged = oldest.map_or(self.purged, |it| it.place);
        }
    }

    /// Puts an event on the bus and gives back its place.
    pub(super) fn push(&mut self, topic: String, event: ProducerEvent, at: Timestamp) -> Bytes {
        // Places are not contiguous, as the vendor's are not.
        self.last += 1 + self.last % 3;
        self.log.push_back(Stored {
            place: self.last,
            at,
            topic,
            event,
        });
        self.purge(at - KEPT);
        self.tail.send_replace(self.last);
        self.newest()
    }

    /// The schema with its id, which is made of its text.
    pub(super) fn learn(&mut self, json: String) -> Result<Arc<EventSchema>, apache_avro::Error> {
        let id = URL_SAFE_NO_PAD.encode(&Sha256::digest(json.as_bytes())[..16]);
        if let Some(known) = self.schemas.get(&id) {
            return Ok(Arc::clone(known));
        }
        let schema = Arc::new(EventSchema {
            avro: AvroSchema::parse_str(&json)?,
            id: id.clone(),
            json,
        });
        self.schemas.insert(id, Arc::clone(&schema));
        Ok(schema)
    }

    pub(super) fn schema(&self, id: &str) -> Option<Arc<EventSchema>> {
        self.schemas.get(id).cloned()
    }

    /// The schema of a topic that has one, and whether the topic is one for platform events.
    pub(super) fn topic(
        &mut self,
        objects: &Schema,
        name: &str,
    ) -> Option<(Option<Arc<EventSchema>>, bool)> {
        if name == ALL_CHANGES {
            return Some((None, false));
        }
        let (json, is_platform) = match name.strip_prefix("/event/") {
            Some(event) => {
                let known = self.platform_events.iter().find(|it| it.name == event)?;
                (known.schema(), true)
            }
            None => {
                let event = name.strip_prefix("/data/")?;
                let mut all = objects.objects.iter();
                let def = all.find(|def| event_name(&def.name) == event)?;
                (Layout::of(def).schema(), false)
            }
        };
        Some((self.learn(json).ok(), is_platform))
    }

    /// Notes that somebody listens; gives back its number.
    pub(super) fn opened(&mut self, state: SubscriptionState) -> Option<usize> {
        let has_room = self.subscriptions.len() < SUBSCRIPTIONS_AT_MOST;
        has_room.then(|| {
            self.subscriptions.push(state);
            self.subscriptions.len() - 1
        })
    }

    /// Tells of the changes of one transaction.
    pub(super) fn commit(&mut self, objects: &Schema, changes: &[Change]) {
        let Some(first) = changes.first() else {
            return;
        };
        self.transactions += 1;
        let mut sequence = 0;
        let mut changes = changes.iter().map(Told::of).peekable();
        while let Some(mut told) = changes.next() {
            let mut ids = vec![told.change.id.clone()];
            // Equal changes of one transaction are one event.
            while let Some(equal) = changes.next_if(|next| next.equals(&told)) {
                ids.push(equal.change.id.clone());
            }
            let Some(def) = objects.object(&told.change.object) else {
                continue;
            };
            let layout = Layout::of(def);
            sequence += 1;
            let named: BTreeSet<&str> = told.changed.iter().map(String::as_str).collect();
            let is_null = |name: &&&str| told.values.get(**name).is_none_or(|it| it.is_null());
            let nulled: BTreeSet<&str> = named.iter().filter(is_null).copied().collect();
            let header = Header {
                entity: &def.name,
                records: &ids,
                kind: told.change.kind.name(),
                origin: &first.actor.origin,
                transaction: self.transactions,
                sequence,
                at: told.change.committed_at(),
                user: &told.change.actor.user,
                changed: layout.bitmaps(&named),
                nulled: layout.bitmaps(&nulled),
            };
            let header = header.datum(self.salt);
            told.values.retain(|name, _| layout.has(name));
            let datum = layout.datum(header, &told.values);
            self.tell(
                &event_name(&def.name),
                layout.schema(),
                datum,
                first.actor.now,
            );
        }
    }

    /// Tells that changes are not told of.
    pub(super) fn tell_gap(
        &mut self,
        objects: &Schema,
        object: &str,
        kind: &'static str,
        records: &[String],
        user: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let def = objects.object(object).ok_or_else(Refusal::not_found)?;
        self.transactions += 1;
        let layout = Layout::of(def);
        let header = Header {
            entity: &def.name,
            records,
            kind,
            origin: "",
            transaction: self.transactions,
            sequence: 1,
            at: now,
            user,
            changed: Vec::new(),
            nulled: Vec::new(),
        };
        let datum = layout.datum(header.datum(self.salt), &Default::default());
        self.tell(&event_name(&def.name), layout.schema(), datum, now);
        Ok(())
    }

    fn tell(&mut self, event: &str, schema: String, datum: Avro, at: Timestamp) {
        let written = self.learn(schema).and_then(|schema| {
            let datum = datum.resolve(&schema.avro)?;
            let writer = GenericDatumWriter::builder(&schema.avro).build()?;
            let payload = writer.write_value_to_vec(datum)?;
            Ok((schema, payload))
        });
        match written {
            Ok((schema, payload)) => {
                let told = ProducerEvent {
                    id: format!("{:032x}", fastrand::u128(..)),
                    schema_id: schema.id.clone(),
                    payload: payload.into(),
                };
                self.push(format!("/data/{event}"), told, at);
            }
            Err(error) => tracing::error!(event, %error, "the fake cannot write a change event"),
        }
    }
}

/// A change, and what its event has of the record.
struct Told<'a> {
    change: &'a Change,
    /// Fields that an update changed.
    changed: Vec<String>,
    values: crate::testing::store::Values,
}

impl<'a> Told<'a> {
    fn of(change: &'a Change) -> Self {
        let (changed, values) = change.told();
        Self {
            change,
            changed,
            values,
        }
    }

    fn equals(&self, other: &Self) -> bool {
        let same = |one: &Change, other: &Change| {
            (&one.object, one.kind, &one.actor.user)
                == (&other.object, other.kind, &other.actor.user)
        };
        same(self.change, other.change)
            && self.change.may_merge()
            && self.changed == other.changed
            && self.values == other.values
    }
}

/// Whether a subscription to `wanted` brings the events of `topic`.
fn is_on(topic: &str, wanted: &str) -> bool {
    topic == wanted || (wanted == ALL_CHANGES && topic.starts_with("/data/"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_are_kept_for_seventy_two_hours() {
        let hour = |hour: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
        let mut bus = Bus::new();
        let mut push = |bus: &mut Bus, at| {
            bus.push("/event/X__e".to_owned(), ProducerEvent::default(), hour(at))
        };
        let (first, second) = (push(&mut bus, 0), push(&mut bus, 1));
        let custom = |bus: &mut Bus, id: &[u8], at| bus.open(ReplayPreset::Custom, id, hour(at));
        let place = custom(&mut bus, &first, 72).unwrap();
        assert_eq!(bus.after(place, "/event/X__e", 9).0.len(), 1);
        // Nothing came after the second, so nothing is lost by going on from it.
        assert_eq!(custom(&mut bus, &first, 74), Err(BadPlace::Gone));
        assert!(custom(&mut bus, &second, 74).is_ok());
        push(&mut bus, 74);
        assert_eq!(custom(&mut bus, &second, 74), Err(BadPlace::Gone));
        assert_eq!(custom(&mut bus, b"garbage", 74), Err(BadPlace::Corrupted));
        let earliest = bus.open(ReplayPreset::Earliest, b"", hour(74)).unwrap();
        assert_eq!(bus.after(earliest, "/event/X__e", 9).0.len(), 1);
        let other = Bus::new().newest();
        assert_eq!(custom(&mut bus, &other, 74), Err(BadPlace::Corrupted));
    }
}
