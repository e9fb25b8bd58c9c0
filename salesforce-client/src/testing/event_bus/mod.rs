//! The event bus of the org: changes of records and platform events, over gRPC.

mod bus;
mod capture;
mod control;
mod fault;
mod grpc;
mod header;
mod layout;
mod platform_event;
mod publish;
mod status;
mod subscribe;
mod subscription_state;
mod transaction;

use std::collections::BTreeSet;

use jiff::Timestamp;

pub use fault::{StreamEnd, StreamFault};
pub use platform_event::PlatformEvent;
pub use subscription_state::SubscriptionState;

pub(super) use bus::Bus;
pub(super) use capture::{Capture, Kind};
pub(super) use control::answer;
pub(super) use grpc::run;
pub(super) use subscribe::KEEPALIVE;
pub(super) use transaction::Transaction;

use super::refusal::Refusal;
use super::state::State;
use super::{FakeSalesforce, ids};
use crate::pubsub::ChangeType;
use crate::pubsub::proto::ProducerEvent;

/// No field begins with a negative choice among its types.
const UNREADABLE: &[u8] = &[0x09];

/// The event bus (feature `pubsub`).
///
/// What changes in one request, or by one call of this handle, is one transaction. Not there:
/// channels of your own, `PublishStream`, `ManagedSubscribe`, differences of long texts.
impl FakeSalesforce {
    /// Where the Pub/Sub API listens, such as `http://127.0.0.1:40124`.
    pub fn pubsub_url(&self) -> &str {
        &self.shared.config.pubsub_url
    }

    /// Selects the objects whose changes are told of from now on, in place of those before.
    pub fn capture_changes<T: AsRef<str>>(
        &self,
        objects: impl IntoIterator<Item = T>,
    ) -> Result<(), Refusal> {
        select(&mut self.shared.lock(), objects)
    }

    /// Adds a platform event.
    pub fn add_platform_event(&self, event: PlatformEvent) -> Result<(), Refusal> {
        add(&mut self.shared.lock(), event)
    }

    /// Adds a fault for subscriptions; [`clear_faults`](Self::clear_faults) takes it back too.
    pub fn inject_stream_fault(&self, fault: StreamFault) {
        self.shared.lock().bus.faults.add(fault);
    }

    /// Lets go of all events, as after 72 hours, so that places before them are good no more.
    pub fn purge_events(&self) {
        self.shared.lock().bus.purge_all();
    }

    /// Tells of a gap: changes without what changed, as after trouble at the vendor's. For
    /// [`GapOverflow`](ChangeType::GapOverflow) there is a wildcard in place of ids.
    pub fn tell_gap(
        &self,
        object: &str,
        change: ChangeType,
        records: &[&str],
    ) -> Result<(), Refusal> {
        let kind = match change {
            ChangeType::GapCreate => "GAP_CREATE",
            ChangeType::GapUpdate => "GAP_UPDATE",
            ChangeType::GapDelete => "GAP_DELETE",
            ChangeType::GapUndelete => "GAP_UNDELETE",
            ChangeType::GapOverflow => "GAP_OVERFLOW",
            _ => return Err(Refusal::bad("INVALID_INPUT", "the change is no gap")),
        };
        let named = records.iter().map(|id| match ids::normalise(id) {
            Some(id) => Ok(id),
            None if id.ends_with('*') => Ok((*id).to_owned()),
            None => Err(Refusal::bad("MALFORMED_ID", format!("malformed id {id}"))),
        });
        let records = named.collect::<Result<Vec<_>, _>>()?;
        let user = &self.shared.config.other_user;
        let mut state = self.shared.lock();
        let State { bus, org, .. } = &mut *state;
        bus.tell_gap(&org.schema, object, kind, &records, user, Timestamp::now())
    }

    /// Puts an event on a topic whose payload no schema reads.
    pub fn tell_unreadable(&self, topic: &str) -> Result<(), Refusal> {
        let mut state = self.shared.lock();
        let State { bus, org, .. } = &mut *state;
        let known = bus.topic(&org.schema, topic);
        let (schema, _) = known.ok_or_else(Refusal::not_found)?;
        let event = ProducerEvent {
            id: "unreadable".to_owned(),
            schema_id: schema.map(|it| it.id.clone()).unwrap_or_default(),
            payload: UNREADABLE.into(),
        };
        bus.push(topic.to_owned(), event, Timestamp::now());
        Ok(())
    }

    /// The replay id of the newest event; there is one for an empty bus too.
    pub fn latest_replay_id(&self) -> Vec<u8> {
        self.shared.lock().bus.newest().to_vec()
    }

    /// The first 10,000 subscriptions that there were, oldest first.
    pub fn subscriptions(&self) -> Vec<SubscriptionState> {
        self.shared.lock().bus.subscriptions.clone()
    }

    /// How often a schema was asked for.
    pub fn schemas_asked(&self) -> u64 {
        self.shared.lock().bus.schemas_asked
    }
}

pub(super) fn select<T: AsRef<str>>(
    state: &mut State,
    objects: impl IntoIterator<Item = T>,
) -> Result<(), Refusal> {
    let mut selected = BTreeSet::new();
    for object in objects {
        let known = state.org.schema.object(object.as_ref());
        selected.insert(known.ok_or_else(Refusal::not_found)?.name.clone());
    }
    state.org.capture.select(selected);
    Ok(())
}

pub(super) fn add(state: &mut State, event: PlatformEvent) -> Result<(), Refusal> {
    event.check()?;
    let known = &mut state.bus.platform_events;
    if known
        .iter()
        .any(|it| it.name.eq_ignore_ascii_case(&event.name))
    {
        let text = format!("There is already an event named {}.", event.name);
        return Err(Refusal::data(
            "DUPLICATE_DEVELOPER_NAME",
            text,
            &["FullName"],
        ));
    }
    known.push(event);
    Ok(())
}
