use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{Action, StepError, Template, Work, digest::Digests};
use crate::{
    crm::{Activity, Record},
    ledger::{EffectKey, EffectState},
    plan::Step,
    port_error::PortError,
    record_event::Change,
    records::Records,
    situation::{Person, Situation},
    store_error::{StoreError, StoreErrorKind},
};

/// Logs what has happened as a completed activity on the mapped Opportunity, or on the Account
/// where only that is mapped, or on the record that the event itself is about. Once per event and rule, or, as a [digest](Self::digest), once for
/// all events of a time.
#[derive(Clone, Debug)]
pub struct LogTask {
    subject: Template,
    description: Template,
    contact: Option<(Whom, Several, Arc<dyn Records>)>,
    digests: Option<Digests>,
}

/// Whose contact an activity is shown on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// Whoever did it.
    Actor,
    /// Whom it was done to, such as the one invited; where an event has nobody such, whoever did
    /// it.
    Person,
}

/// What to do where several contacts have the e-mail address.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Several {
    /// Take the one who is nearest to the deal: with a role in it, or of its account. Where
    /// several are as near, none.
    #[default]
    Nearest,
    /// Take none.
    None,
    /// Take one of the nearest, the same each time.
    First,
}

impl LogTask {
    /// Logs with this subject and description.
    pub fn new(subject: Template, description: Template) -> Self {
        Self {
            subject,
            description,
            contact: None,
            digests: None,
        }
    }

    /// Shows it on a contact too, found by e-mail address. Where there is none, the activity is
    /// logged without.
    #[must_use]
    pub fn contact(mut self, whom: Whom, several: Several, records: Arc<dyn Records>) -> Self {
        self.contact = Some((whom, several, records));
        self
    }

    /// One activity for all events of a time, for each rule, record and person, instead of one for
    /// each event. It waits in the [pipeline's inbox](crate::Pipeline::inbox).
    #[must_use]
    pub fn digest(mut self, every: Duration) -> Self {
        self.digests = Some(Digests { every });
        self
    }

    fn activity(&self, situation: &Situation, rule: &str) -> Option<Activity> {
        // Nothing can be shown on a record that is not there.
        let own = situation.record();
        if own.is_some_and(|own| own.change == Change::Deleted) {
            return None;
        }
        let record = situation
            .opportunity
            .as_ref()
            .or(situation.account.as_ref())
            .or_else(|| Some(&own?.record))?;
        Some(Activity {
            key: format!("{}/{rule}", situation.event),
            record: record.clone(),
            who: None,
            subject: self.subject.fill(situation),
            description: self.description.fill(situation),
            // By the event's own time, so that a repeat on the next day is the same activity.
            date: TimeZone::UTC.to_datetime(situation.at).date(),
        })
    }

    /// The e-mail address to look for.
    fn email<'s>(&self, situation: &'s Situation) -> Option<&'s str> {
        let (whom, ..) = self.contact.as_ref()?;
        let person = match whom {
            Whom::Actor => situation.actor.as_ref(),
            Whom::Person => situation.person.as_ref().or(situation.actor.as_ref()),
        };
        person.and_then(|Person { email, .. }| email.as_deref())
    }

    async fn who(&self, situation: &Situation, on: &Record) -> Result<Option<Record>, PortError> {
        let Some(((_, several, records), email)) = self.contact.as_ref().zip(self.email(situation))
        else {
            return Ok(None);
        };
        let contacts = records.contacts(email, Some(on)).await?;
        let Some(nearest) = contacts.first() else {
            return Ok(None);
        };
        let as_near = contacts.iter().filter(|it| it.nearness == nearest.nearness);
        let is_clear = match several {
            Several::First => true,
            Several::None => contacts.len() == 1,
            Several::Nearest => as_near.count() == 1,
        };
        Ok(is_clear.then(|| nearest.record.clone()))
    }
}

/// The activity as it was written, or as it is now where nothing of it can have arrived. A later
/// attempt may find another name, another mapping or another day, and looks for what may have
/// arrived; but what was refused and then put right is written as it was put right.
async fn as_begun(
    work: &Work<'_>,
    rule: &str,
    task: &EffectKey,
    activity: Activity,
) -> Result<Activity, StepError> {
    const DOING: &str = "read the activity";
    let key = EffectKey::new(["task", &work.situation.event, rule, "as begun"]);
    let unreadable = |cause: serde_json::Error| {
        StoreError::new(StoreErrorKind::Corrupt, DOING).with_cause(cause)
    };
    // Before the effect itself, so that what others write after that is not replaced.
    let seen = match work.ledger.read(&key).await? {
        Some(EffectState::Finished(seen)) => Some(seen),
        _ => None,
    };
    let state = work.ledger.read(task).await?;
    let may_have_arrived = matches!(state, Some(EffectState::Begun(_) | EffectState::Doubted(_)));
    if may_have_arrived && let Some(seen) = &seen {
        let begun = AsBegun::deserialize(seen).map_err(unreadable)?;
        return Ok(begun.activity);
    }
    let begun = AsBegun {
        by: work.hold.writer().token().to_string(),
        activity,
    };
    let now = work.clock.now();
    let kept = serde_json::to_value(&begun).map_err(unreadable)?;
    match (work.ledger.replace(&key, seen.as_ref(), kept, now)).await? {
        true => Ok(begun.activity),
        // Another attempt is about to write it, or has.
        false => Err(StepError::LostHold),
    }
}

/// What the ledger keeps of an activity before it is written. No two attempts keep the same, so that
/// none replaces what it has not seen.
#[derive(Deserialize, Serialize)]
struct AsBegun {
    by: String,
    #[serde(flatten)]
    activity: Activity,
}

#[async_trait]
impl Action for LogTask {
    fn name(&self) -> &str {
        "log_task"
    }

    fn plan(&self, situation: &Situation) -> Option<String> {
        let activity = self.activity(situation, "")?;
        let how = match &self.digests {
            Some(_) => "note",
            None => "log",
        };
        Some(format!(
            "{how} \"{}\" on {}",
            activity.subject, activity.record.id
        ))
    }

    async fn apply(&self, step: &Step, work: &Work<'_>) -> Result<String, StepError> {
        // A rule can log more than one activity. They are counted among themselves, so that another
        // action more or less changes no name.
        let rule = match step.occurrence {
            0 => step.rule.clone(),
            occurrence => format!("{}#{occurrence}", step.rule),
        };
        let Some(activity) = self.activity(work.situation, &rule) else {
            return Ok("no record to log on".to_owned());
        };
        let key = EffectKey::new(["task", &work.situation.event, &rule]);
        let activity = match &self.digests {
            Some(_) => activity,
            None => as_begun(work, &rule, &key, activity).await?,
        };
        let who = async || self.who(work.situation, &activity.record).await;
        if let Some(digests) = &self.digests {
            let of = self.email(work.situation).unwrap_or_default();
            let who = async || Ok(who().await?);
            return digests.add(work, &activity, &rule, of, who).await;
        }
        let task: String = work
            .once(
                &key,
                async || Ok(work.crm.find_activity(&activity).await?),
                async || {
                    let who = who().await?;
                    let activity = Activity {
                        who,
                        ..activity.clone()
                    };
                    work.crm.log_activity_held(&activity, work.hold).await
                },
            )
            .await?;
        Ok(format!("task {task}"))
    }
}
