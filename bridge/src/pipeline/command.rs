//! Commands: what a caller asks for by name, with a plan of its own instead of the rules'.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Pipeline, Prepared};
use crate::{
    action::{Action, Attach, LogTask, Several, StepError, Target, Template, Whom},
    command::{AttachFile, Command, LogRecordTask, ProvisionRecord},
    crm::Record,
    foresight::Foresight,
    plan::Plan,
    port_error::{PortError, PortErrorKind},
    queue::Leased,
    record_event::{Change, RecordChange, RecordEvent},
    rules::Rule,
    situation::{Person, Situation, Subject},
    worker::{Hold, Outcome},
};

/// The rule that a command's own steps stand under, in plans and in the ledger.
const RULE: &str = "command";
const ATTACH: &str = "command.attach";
const TASK: &str = "command.task";
/// The action that a command to provision is about.
const PROVISION: &str = "provision";

impl Pipeline {
    /// What the command would lead to. Reads both sides and writes nothing: a dry run ends here.
    pub async fn prepare_command(
        &self,
        command: &Command,
        now: Timestamp,
    ) -> Result<Prepared, StepError> {
        let rules = self.command_rules(command)?;
        self.prepare_by(&rules, command, RULE.to_owned(), now).await
    }

    /// What the steps of a command would really do; see [`foresee`](Self::foresee).
    pub async fn foresee_command(
        &self,
        command: &Command,
        prepared: &Prepared,
    ) -> Result<Vec<Foresight>, StepError> {
        self.foresee_by(&self.command_rules(command)?, prepared)
            .await
    }

    pub(super) async fn handle_command(&self, job: &Leased, hold: &Hold) -> Outcome {
        match self.do_command(job, hold).await {
            Ok(outcome) => outcome,
            Err(error) => self.failed(error),
        }
    }

    async fn do_command(&self, job: &Leased, hold: &Hold) -> Result<Outcome, StepError> {
        let command = Command::of(&job.kind, &job.body)?;
        let rules = self.command_rules(&command)?;
        let event = Command::event(job);
        let prepared = self.prepare_by(&rules, &command, event, job.pushed_at);
        Ok(match prepared.await? {
            // Somebody has asked for it, so that nothing can be done is a failure to be seen.
            Prepared::Nothing(why) => Outcome::Dead(why),
            Prepared::Steps(situation, plan) => {
                Outcome::Done(self.carry_out(&rules, &situation, &plan, hold).await?)
            }
        })
    }

    /// The rules by which it is carried out: those of the configuration, or one of its own.
    fn command_rules(&self, command: &Command) -> Result<Vec<Rule>, StepError> {
        let (trigger, action): (_, Arc<dyn Action>) = match command {
            Command::Provision(_) => return Ok(self.rules.clone()),
            Command::Attach(AttachFile { to: Some(to), .. }) => {
                let record = self.crm.record(to)?;
                (ATTACH, Arc::new(Attach::to_record(record)))
            }
            Command::Attach(AttachFile { to: None, .. }) => {
                let mapped = [Target::Opportunity, Target::Account];
                (ATTACH, Arc::new(Attach::to(mapped)))
            }
            Command::Task(task) => (TASK, Arc::new(self.log_task(task)?)),
        };
        let rule = Rule::new(RULE, [trigger], vec![action]);
        Ok(vec![
            rule.map_err(|error| StepError::Person(error.to_string()))?,
        ])
    }

    fn log_task(&self, task: &LogRecordTask) -> Result<LogTask, StepError> {
        let text = |text: &str| Template::literal(text);
        let action = LogTask::new(text(task.subject.trim()), text(&task.description));
        match (&task.contact, &self.records) {
            (None, _) => Ok(action),
            (Some(_), Some(records)) => {
                Ok(action.contact(Whom::Actor, Several::Nearest, Arc::clone(records)))
            }
            (Some(_), None) => Err(StepError::Person(
                "contacts cannot be looked for here".to_owned(),
            )),
        }
    }

    async fn prepare_by(
        &self,
        rules: &[Rule],
        command: &Command,
        event: String,
        at: Timestamp,
    ) -> Result<Prepared, StepError> {
        let situation = match command {
            Command::Attach(attach) => match self.attach_situation(attach, event, at).await? {
                Ok(situation) => situation,
                Err(why) => return Ok(Prepared::Nothing(why)),
            },
            Command::Provision(provision) => return self.prepare_provision(provision, event, at),
            Command::Task(task) => {
                let change = RecordChange {
                    record: self.crm.record(&task.record)?,
                    change: Change::Changed,
                };
                let mut situation = Situation::of_record(event, TASK.to_owned(), change, at);
                situation.actor = task.contact.clone().map(|email| Person {
                    name: None,
                    email: Some(email),
                });
                situation
            }
        };
        Ok(planned(rules, situation))
    }

    async fn attach_situation(
        &self,
        attach: &AttachFile,
        event: String,
        at: Timestamp,
    ) -> Result<Result<Situation, String>, PortError> {
        let file = match self.content.file(&attach.file).await {
            Err(error) if error.kind() == PortErrorKind::Gone => {
                return Ok(Err(format!("there is no file {} for us", attach.file)));
            }
            file => file?,
        };
        let mapped = match &attach.to {
            Some(_) => None,
            None => {
                let mapped = self
                    .resolver
                    .resolve(&*self.content, &*self.crm, &file.folders)
                    .await?;
                if mapped.is_none() {
                    let why = "no folder above it is mapped to a record, and none is named";
                    return Ok(Err(why.to_owned()));
                }
                mapped
            }
        };
        let (mapping, opportunity, account) = match mapped {
            Some(mapped) => (Some(mapped.mapping), mapped.opportunity, mapped.account),
            None => (None, None, None),
        };
        Ok(Ok(Situation {
            event,
            trigger: ATTACH.to_owned(),
            at,
            actor: None,
            person: None,
            is_first_version: false,
            versions: None,
            is_being_signed: false,
            subject: Subject::File(file),
            mapping,
            opportunity,
            account,
            details: serde_json::Map::new(),
        }))
    }

    /// As if the record had told of itself. Which rules provision is for the configuration to say:
    /// those for changed records, or those for new ones.
    fn prepare_provision(
        &self,
        provision: &ProvisionRecord,
        event: String,
        at: Timestamp,
    ) -> Result<Prepared, StepError> {
        let record = self.crm.record(&provision.record)?;
        let as_if = |change| {
            let event = RecordEvent::new(event.clone(), record.clone(), change).at(at);
            let mut prepared = self.prepare_record(&event, at);
            if let Prepared::Steps(situation, plan) = &mut prepared {
                // In truth nobody tells what has changed, and nothing is taken to be as it was.
                situation.subject = Subject::Record(RecordChange {
                    record: record.clone(),
                    change: Change::Changed,
                });
                if provision.alone {
                    plan.steps.retain(|step| step.action == PROVISION);
                }
            }
            prepared
        };
        let found = AS_IF.map(as_if);
        let does_something = |prepared: &Prepared, what: Option<&str>| match prepared {
            Prepared::Nothing(_) => false,
            Prepared::Steps(_, plan) => {
                (plan.steps.iter()).any(|step| what.is_none_or(|what| step.action == what))
            }
        };
        let best = [Some(PROVISION), None]
            .into_iter()
            .find_map(|what| found.iter().position(|it| does_something(it, what)));
        let object = record.object.as_deref().unwrap_or("unknown");
        Ok(match best {
            Some(position) => found[position].clone(),
            None => Prepared::Nothing(format!("no rule provisions a record of kind {object}")),
        })
    }
}

/// How a record is taken to have told of itself, the best first.
const AS_IF: [Change; 3] = [Change::Changed, Change::Created, Change::Updated];

/// Whether [`prepare_provision`](Pipeline::prepare_provision) would find anything to do.
pub(crate) fn can_provision(rules: &[Rule], record: &Record, alone: bool) -> bool {
    let does_something = |change: Change| {
        let event = RecordEvent::new("", record.clone(), change);
        let changed = event.changed.clone();
        event.trigger().is_some_and(|trigger| {
            let at = Timestamp::UNIX_EPOCH;
            let situation = Situation::of_record(String::new(), trigger, changed, at);
            let steps = Plan::new(rules, &situation).steps;
            (steps.iter()).any(|step| !alone || step.action == PROVISION)
        })
    };
    AS_IF.into_iter().any(does_something)
}

fn planned(rules: &[Rule], situation: Situation) -> Prepared {
    let plan = Plan::new(rules, &situation);
    Prepared::Steps(Box::new(situation), plan)
}
