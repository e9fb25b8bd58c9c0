use async_trait::async_trait;
use jiff::tz::TimeZone;

use super::{Action, StepError, Template, Work};
use crate::{crm::Activity, ledger::EffectKey, plan::Step, situation::Situation};

/// Logs what has happened as a completed activity on the mapped Opportunity, or on the Account
/// where only that is mapped. Once per event and rule.
#[derive(Clone, Debug)]
pub struct LogTask {
    subject: Template,
    description: Template,
}

impl LogTask {
    /// Logs with this subject and description.
    pub fn new(subject: Template, description: Template) -> Self {
        Self {
            subject,
            description,
        }
    }

    fn activity(&self, situation: &Situation, rule: &str) -> Option<Activity> {
        let record = situation
            .opportunity
            .as_ref()
            .or(situation.account.as_ref())?;
        Some(Activity {
            key: format!("{}/{rule}", situation.event),
            record: record.clone(),
            subject: self.subject.fill(situation),
            description: self.description.fill(situation),
            // By the event's own time, so that a repeat on the next day is the same activity.
            date: TimeZone::UTC.to_datetime(situation.at).date(),
        })
    }
}

#[async_trait]
impl Action for LogTask {
    fn name(&self) -> &str {
        "log_task"
    }

    fn plan(&self, situation: &Situation) -> Option<String> {
        let activity = self.activity(situation, "")?;
        Some(format!(
            "log \"{}\" on {}",
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
        let task: String = work
            .once(
                &key,
                async || Ok(work.crm.find_activity(&activity).await?),
                async || work.crm.log_activity_held(&activity, work.hold).await,
            )
            .await?;
        Ok(format!("task {task}"))
    }
}
