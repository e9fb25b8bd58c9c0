//! What happened, told to the webhooks that watch for it.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;
use serde_json::{Value, json};

use super::{clock, deliver::DeliveryLog, people::User, sign, state::State, webhooks::Webhook};

/// Of older events, those that are settled are forgotten first.
const KEPT_EVENTS: usize = 100_000;
const KEPT_ATTEMPTS: usize = 100_000;

/// An event raised for one webhook.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// The event's id, the same at every attempt.
    pub id: String,
    /// The webhook that watches.
    pub webhook_id: String,
    /// What happened.
    pub trigger: String,
    /// The id of the item or collaboration it happened to.
    pub source_id: String,
    /// How often it was sent.
    pub attempts: u32,
    /// Whether the receiver answered 2xx.
    pub delivered: bool,
    /// The body as it is sent.
    #[serde(skip)]
    pub body: Vec<u8>,
    #[serde(skip)]
    progress: Progress,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// Not to be sent until asked for.
    Held,
    Pending,
    Delivered,
    GivenUp,
}

#[derive(Debug, Default)]
pub(super) struct Events {
    by_id: HashMap<String, Event>,
    order: VecDeque<String>,
    /// Those that the sender has yet to take up.
    pub(super) outbox: VecDeque<String>,
    log: VecDeque<DeliveryLog>,
}

/// Box's member order, for those who read deliveries.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    id: &'a str,
    created_at: String,
    trigger: &'a str,
    webhook: Value,
    created_by: Value,
    source: &'a Value,
    additional_info: Value,
}

impl State {
    /// Logs it and tells every webhook on one of these items. `info` is null when there is none.
    /// Gives the ids of the webhooks' events.
    pub(super) fn raise(
        &mut self,
        watched: &[String],
        trigger: &str,
        actor: &User,
        source: &Value,
        info: &Value,
    ) -> Vec<String> {
        self.log(trigger, actor, source, info);
        self.tell_webhooks(watched, trigger, actor, source, info)
    }

    /// Only the webhooks hear of it.
    pub(super) fn tell_webhooks(
        &mut self,
        watched: &[String],
        trigger: &str,
        actor: &User,
        source: &Value,
        info: &Value,
    ) -> Vec<String> {
        let listens = |webhook: &&Webhook| {
            !webhook.is_silent
                && watched.contains(&webhook.target_id)
                && webhook.triggers.iter().any(|t| t == trigger)
        };
        let webhooks: Vec<u64> = self
            .webhooks
            .values()
            .filter(listens)
            .map(|w| w.id)
            .collect();
        let mut ids = Vec::with_capacity(webhooks.len());
        for webhook in webhooks {
            let id = self.ids.uuid();
            let body = Body {
                r#type: "webhook_event",
                id: &id,
                created_at: clock::stamp(self.now()),
                trigger,
                webhook: json!({ "id": webhook.to_string(), "type": "webhook" }),
                created_by: actor.mini(),
                source,
                // PHP's empty map is an array.
                additional_info: if info.is_null() {
                    json!([])
                } else {
                    info.clone()
                },
            };
            let event = Event {
                id: id.clone(),
                webhook_id: webhook.to_string(),
                trigger: trigger.to_owned(),
                source_id: source["id"].as_str().unwrap_or_default().to_owned(),
                attempts: 0,
                delivered: false,
                body: sign::encode(&body),
                progress: Progress::Held,
            };
            self.events.add(event);
            if self.config.auto_deliver {
                self.events.send(&id);
            }
            ids.push(id);
        }
        ids
    }
}

impl Events {
    pub(super) fn all(&self) -> Vec<Event> {
        self.order
            .iter()
            .filter_map(|id| self.by_id.get(id))
            .cloned()
            .collect()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Event> {
        self.by_id.get(id)
    }

    pub(super) fn log(&self) -> Vec<DeliveryLog> {
        self.log.iter().cloned().collect()
    }

    /// Puts an event into the outbox, unless it is on its way. Tells whether it exists.
    pub(super) fn send(&mut self, id: &str) -> bool {
        let Some(event) = self.by_id.get_mut(id) else {
            return false;
        };
        if event.progress != Progress::Pending {
            event.progress = Progress::Pending;
            self.outbox.push_back(id.to_owned());
        }
        true
    }

    pub(super) fn attempted(&mut self, entry: DeliveryLog) {
        if self.log.len() == KEPT_ATTEMPTS {
            self.log.pop_front();
        }
        if let Some(event) = self.by_id.get_mut(&entry.event_id) {
            event.attempts = entry.attempt;
        }
        self.log.push_back(entry);
    }

    pub(super) fn settle(&mut self, id: &str, progress: Progress) {
        if let Some(event) = self.by_id.get_mut(id) {
            event.progress = progress;
            event.delivered |= progress == Progress::Delivered;
        }
    }

    /// The first wanted event that is to be delivered and is not.
    pub(super) fn open(&self, wanted: impl Fn(&str) -> bool) -> Option<(String, Progress)> {
        let mut events = self.order.iter().filter_map(|id| self.by_id.get(id));
        let event = events.find(|event| {
            wanted(&event.id) && matches!(event.progress, Progress::Pending | Progress::GivenUp)
        })?;
        Some((event.id.clone(), event.progress))
    }

    fn add(&mut self, event: Event) {
        if self.order.len() >= KEPT_EVENTS {
            let settled = |id: &String| {
                self.by_id
                    .get(id)
                    .is_none_or(|event| event.progress != Progress::Pending)
            };
            let oldest = self.order.iter().position(settled).unwrap_or(0);
            if let Some(id) = self.order.remove(oldest) {
                self.by_id.remove(&id);
            }
        }
        self.order.push_back(event.id.clone());
        self.by_id.insert(event.id.clone(), event);
    }
}
