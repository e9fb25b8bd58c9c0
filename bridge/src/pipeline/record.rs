//! What the CRM side tells of: a record, made or changed, and by which event that goes.

use std::time::Duration;

use jiff::Timestamp;

use super::{Pipeline, Prepared};
use crate::{
    action::StepError,
    ledger::EffectKey,
    port_error::in_one_line,
    queue::Leased,
    record_event::{Change, RecordEvent},
    situation::{Situation, Subject},
    worker::{Hold, Outcome},
};

/// A source that does not tell what was done can be late by a day: Salesforce sends an outbound
/// message for 24 hours. A record older than this when it was told of has been made before.
const CREATIONS_TOLD_FOR: Duration = Duration::from_secs(25 * 3600);

impl Pipeline {
    /// What was told of a record would lead to, received at this time: for each of the events that it
    /// stands for. As [`prepare`](Self::prepare), it writes nothing.
    pub async fn prepare_records(
        &self,
        told: &RecordEvent,
        received_at: Timestamp,
    ) -> Result<Vec<Prepared>, StepError> {
        let events = self.dated(told, received_at).await?;
        let prepared = events.iter().map(|it| self.prepare_record(it, received_at));
        Ok(prepared.collect())
    }

    /// What the event of a record would lead to, as it stands. As [`prepare`](Self::prepare), it
    /// writes nothing.
    pub fn prepare_record(&self, event: &RecordEvent, received_at: Timestamp) -> Prepared {
        let record = &event.changed.record;
        let Some(trigger) = event.trigger() else {
            return Prepared::Nothing(format!("{} does not tell what it is", record.id));
        };
        let subject = Subject::Record(event.changed.clone());
        if !self.fits(&trigger, &subject) {
            return Prepared::Nothing(format!("no rule for {trigger}"));
        }
        let id = format!("{}:{}", record.id, event.effects_go_by());
        let at = event.at.unwrap_or(received_at);
        self.planned(Situation::of_record(id, trigger, event.changed.clone(), at))
    }

    pub(super) async fn handle_record_event(&self, job: &Leased, hold: &Hold) -> Outcome {
        let event: RecordEvent = match serde_json::from_slice(&job.body) {
            Ok(event) => event,
            Err(error) => {
                return Outcome::Dead(format!("no record event: {}", in_one_line(&error)));
            }
        };
        match self.follow(&event, job.pushed_at, hold).await {
            Ok(note) => Outcome::Done(note),
            Err(error) => self.failed(error),
        }
    }

    async fn follow(
        &self,
        event: &RecordEvent,
        received_at: Timestamp,
        hold: &Hold,
    ) -> Result<String, StepError> {
        let mut notes = Vec::new();
        for event in self.dated(event, received_at).await? {
            match self.prepare_record(&event, received_at) {
                Prepared::Nothing(why) => notes.push(why),
                Prepared::Steps(situation, plan) if plan.steps.is_empty() => {
                    notes.push(format!("nothing to do for {}", situation.trigger));
                }
                Prepared::Steps(situation, plan) => {
                    notes.push(self.carry_out(&self.rules, &situation, &plan, hold).await?);
                    if let Some(made) = creation(&event) {
                        let now = self.clock.now();
                        self.ledger.finish(&made, true.into(), now).await?;
                    }
                }
            }
        }
        Ok(match notes.is_empty() {
            true => "the record is not there any more".to_owned(),
            false => notes.join("; "),
        })
    }

    /// The events that this one stands for. What does not say by the second what was done is held
    /// against the record's own times, so that its effects are those of the events that other
    /// sources tell.
    ///
    /// Its second need not be over: should the record change once more in it, whoever tells of that
    /// brings the same work again, and none of it is kept back for having been done.
    async fn dated(
        &self,
        event: &RecordEvent,
        received_at: Timestamp,
    ) -> Result<Vec<RecordEvent>, StepError> {
        let as_told = || Ok(vec![event.clone()]);
        let Some(records) = self.records.as_ref().filter(|_| !event.is_dated()) else {
            return as_told();
        };
        let record = &event.changed.record;
        let subject = Subject::Record(event.changed.clone());
        let may_be = [
            Change::Created,
            Change::Updated,
            Change::Deleted,
            Change::Changed,
        ];
        let is_wanted = |change: &Change| {
            let trigger = event.trigger_of(*change);
            trigger.is_some_and(|trigger| self.fits(&trigger, &subject))
        };
        if !may_be.iter().any(is_wanted) {
            return as_told();
        }
        let Some(times) = records.times(record).await? else {
            return Ok(Vec::new());
        };
        let dated = |change, at| RecordEvent::dated(record.clone(), change, at);
        let told = event.changed.change;
        let made = times
            .created_at
            .filter(|at| told == Change::Created || is_recent(*at, received_at))
            .map(|at| (dated(Change::Created, at), at.as_second()));
        let changed = || dated(Change::Updated, times.changed_at);
        Ok(match (told, made) {
            (Change::Deleted | Change::Undeleted, _) if !times.is_deleted => return as_told(),
            _ if times.is_deleted => vec![dated(Change::Deleted, times.changed_at)],
            (Change::Created, Some((made, _))) => vec![made],
            (Change::Created, None) => return as_told(),
            (Change::Updated, _) => vec![changed()],
            (_, Some((made, second))) if second == times.changed_at.as_second() => vec![made],
            (_, Some((made, _))) if !self.is_known(&made).await? => vec![made, changed()],
            _ => vec![changed()],
        })
    }

    /// Whether the creation has been worked on; a change since then is an event of its own.
    async fn is_known(&self, made: &RecordEvent) -> Result<bool, StepError> {
        match creation(made) {
            Some(key) => Ok(self.ledger.read(&key).await?.is_some()),
            None => Ok(false),
        }
    }
}

fn is_recent(made: Timestamp, received_at: Timestamp) -> bool {
    let since = received_at.checked_sub(CREATIONS_TOLD_FOR);
    made >= since.unwrap_or(Timestamp::MIN)
}

/// Where the ledger keeps that a creation has been worked on.
fn creation(event: &RecordEvent) -> Option<EffectKey> {
    let is_one = event.changed.change == Change::Created && event.is_dated();
    is_one.then(|| EffectKey::new(["made", &event.changed.record.id, &event.id]))
}
