//! Many events of one kind in a time become one activity.
//!
//! Each event is noted in the ledger, and the first of a time leaves a job in the inbox that is due
//! when the time is over. That job has a key of its own: waiting, it keeps no other event waiting.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{StepError, Work};
use crate::{
    crm::{Activity, Record},
    ledger::{EffectKey, EffectState},
    queue::NewJob,
    store_error::{StoreError, StoreErrorKind},
};

/// The kind of job that a digest is; its body is the [`Digest`] as JSON.
pub(crate) const DIGEST: &str = "digest";

/// How long closing a digest may take; it is two writes.
const CLOSING: Duration = Duration::from_secs(2);
/// So many digests in a row can be closed to somebody whose clock is behind.
const MOST_CLOSED: usize = 10;

/// What one activity will tell of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Digest {
    rule: String,
    record: Record,
    who: Option<Record>,
    /// Whose doings are put together; empty for everybody's.
    of: String,
    from: Timestamp,
    until: Timestamp,
}

/// One event of a digest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Note {
    at: Timestamp,
    subject: String,
    description: String,
}

/// Whether anything can be noted in a digest still.
enum Closed {
    No,
    /// Somebody is reading what was noted.
    Just,
    /// It tells of these events and no others.
    With(Vec<String>),
}

/// Into how long a time events are put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digests {
    pub(super) every: Duration,
}

impl Digests {
    /// Puts an event into the digest of the present time. `who` is asked only for the first.
    pub(super) async fn add(
        &self,
        work: &Work<'_>,
        activity: &Activity,
        rule: &str,
        of: &str,
        who: impl AsyncFnOnce() -> Result<Option<Record>, StepError>,
    ) -> Result<String, StepError> {
        let Some(queue) = work.queue else {
            let lacks = "a digest waits in the inbox, and the pipeline was given none";
            return Err(StepError::Person(lacks.to_owned()));
        };
        let now = work.clock.now();
        let event = &work.situation.event;
        let own = EffectKey::new(["digested", rule, event]);
        let mut from = match work.ledger.read(&own).await? {
            Some(EffectState::Finished(from)) => Timestamp::deserialize(from).map_err(corrupt)?,
            _ => self.start(now),
        };
        let note = json!(Note {
            at: work.situation.at,
            subject: activity.subject.clone(),
            description: activity.description.clone(),
        });
        // Whoever logs a digest may have a clock that is ahead, or this may have been stopped since it
        // has looked at its own: then the digest is closed, and the next one is open.
        for _ in 0..MOST_CLOSED {
            let mut digest = Digest {
                rule: rule.to_owned(),
                record: activity.record.clone(),
                who: None,
                of: of.to_owned(),
                from,
                until: from.checked_add(self.every).unwrap_or(Timestamp::MAX),
            };
            let noted = digest.key("note", &[event]);
            work.ledger.finish(&own, written(&from)?, now).await?;
            work.ledger.finish(&noted, note.clone(), now).await?;
            match digest.closed(work).await? {
                Closed::No => {
                    let opened = digest.key("open", &[]);
                    if work.ledger.read(&opened).await?.is_none() {
                        digest.who = who().await?;
                        queue.push(vec![digest.job()?], now).await?;
                        work.ledger.finish(&opened, json!(null), now).await?;
                    }
                    return Ok(format!("noted for the digest of {from}"));
                }
                Closed::With(told) if told.contains(event) => {
                    return Ok(format!("told of in the digest of {from}"));
                }
                Closed::With(_) => {
                    work.ledger.forget(&noted).await?;
                    from = self.start(now).max(digest.until);
                }
                Closed::Just => {
                    let soon = now.checked_add(CLOSING).unwrap_or(Timestamp::MAX);
                    return Err(StepError::Wait {
                        reason: "the digest is being closed".to_owned(),
                        until: soon,
                    });
                }
            }
        }
        Err(StepError::Person(format!(
            "the digests until {from} are closed: some process' clock is far ahead of this one's"
        )))
    }

    /// Times begin at multiples of their length since 1970, so that every process means the same.
    fn start(&self, now: Timestamp) -> Timestamp {
        let length = i64::try_from(self.every.as_secs())
            .unwrap_or(i64::MAX)
            .max(1);
        let start = now.as_second() - now.as_second().rem_euclid(length);
        Timestamp::from_second(start).unwrap_or(now)
    }
}

impl Digest {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(body).map_err(corrupt)
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// The one activity, once the time is over.
    pub(crate) async fn log(&self, work: &Work<'_>) -> Result<String, StepError> {
        // Whoever was noting an event in the last moment has had its time then.
        let due = self.until.checked_add(work.options.settle_after);
        let due = due.unwrap_or(Timestamp::MAX);
        if work.clock.now() < due {
            return Err(StepError::Wait {
                reason: "the digest's time is not over".to_owned(),
                until: due,
            });
        }
        let mut notes = self.told(work).await?;
        notes.sort_by_key(|note| note.at);
        let Some(newest) = notes.last() else {
            return Ok("nothing to tell of".to_owned());
        };
        let activity = Activity {
            key: self.key("task", &[]).to_string(),
            record: self.record.clone(),
            who: self.who.clone(),
            subject: match notes.len() {
                1 => newest.subject.clone(),
                count => format!("{} (and {} more)", newest.subject, count - 1),
            },
            description: notes.iter().rev().map(Note::line).collect(),
            date: TimeZone::UTC.to_datetime(self.from).date(),
        };
        let task: String = work
            .once(
                &self.key("task", &[]),
                async || Ok(work.crm.find_activity(&activity).await?),
                async || work.crm.log_activity_held(&activity, work.hold).await,
            )
            .await?;
        Ok(format!("task {task} of {} events", notes.len()))
    }

    /// Closes the digest, and gives what it tells of: the same whenever it is asked, whoever notes
    /// something in it meanwhile.
    async fn told(&self, work: &Work<'_>) -> Result<Vec<Note>, StepError> {
        let now = work.clock.now();
        let known = match self.closed(work).await? {
            Closed::With(events) => Some(events),
            Closed::No | Closed::Just => None,
        };
        if known.is_none() {
            let closed = self.key("closed", &[]);
            work.ledger.finish(&closed, json!(null), now).await?;
        }
        let mut notes = Vec::new();
        let mut events = Vec::new();
        for effect in work.ledger.under(&self.key("note", &[])).await? {
            let event = effect.key.parts().last().unwrap_or_default();
            let is_in = known.as_ref().is_none_or(|known| known.contains(&event));
            if let EffectState::Finished(note) = effect.state
                && is_in
            {
                notes.push(Note::deserialize(note).map_err(corrupt)?);
                events.push(event);
            }
        }
        if known.is_none() {
            let told = self.key("told", &[]);
            work.ledger.finish(&told, written(&events)?, now).await?;
        }
        Ok(notes)
    }

    async fn closed(&self, work: &Work<'_>) -> Result<Closed, StepError> {
        if work.ledger.read(&self.key("closed", &[])).await?.is_none() {
            return Ok(Closed::No);
        }
        Ok(match work.ledger.read(&self.key("told", &[])).await? {
            Some(EffectState::Finished(events)) => {
                Closed::With(Vec::deserialize(events).map_err(corrupt)?)
            }
            _ => Closed::Just,
        })
    }

    fn key(&self, what: &str, more: &[&str]) -> EffectKey {
        let from = self.from.to_string();
        let parts = ["digest", what, &self.rule, &self.record.id, &self.of, &from];
        EffectKey::new(parts.iter().chain(more))
    }

    fn job(&self) -> Result<NewJob, StoreError> {
        let key = self.key("job", &[]).to_string();
        Ok(NewJob {
            dedupe: key.clone(),
            key,
            kind: DIGEST.to_owned(),
            body: serde_json::to_vec(self).map_err(corrupt)?.into(),
        })
    }
}

impl Note {
    fn line(&self) -> String {
        let at = self.at.strftime("%Y-%m-%d %H:%M UTC");
        match self.description.trim() {
            "" => format!("{at}  {}\n", self.subject),
            more => format!("{at}  {}: {}\n", self.subject, more.replace('\n', " ")),
        }
    }
}

fn written(value: &impl Serialize) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(value).map_err(corrupt)
}

fn corrupt(cause: serde_json::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "read the digest").with_cause(cause)
}
