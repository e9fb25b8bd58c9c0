//! What callers ask for themselves, by hand or by a program that gets no webhooks.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    content::ContentSource,
    crm::{Crm, Record},
    pipeline::can_provision,
    port_error::PortError,
    queue::{Job, JobId, JobState, Leased, NewJob, Push, QueueAdmin},
    receive::Received,
    rules::Rule,
    store_error::{StoreError, StoreErrorKind},
};

/// The kind of job that a command becomes; its body is the [`Command`] as JSON.
pub const COMMAND: &str = "command";
/// Of dedupe texts, which are shared with the vendors' events.
const DEDUPE: &str = "command:";
const LONGEST_ID: usize = 64;
const LONGEST_EMAIL: usize = 254;

/// Something to be done that no event has asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Command {
    /// Bring a file to its records.
    Attach(AttachFile),
    /// Do what the rules do for a new record.
    Provision(ProvisionRecord),
    /// Log an activity, once.
    Task(LogRecordTask),
}

/// Bring the file as it is now, whatever the rules say.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AttachFile {
    /// The file's id on the content side.
    pub file: String,
    /// The record to show it on; the Opportunity and the Account that its folder is mapped to,
    /// unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Do what the rules do for a record that was made or changed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProvisionRecord {
    /// The record's id.
    pub record: String,
    /// Only their provisioning, and nothing else that the same rules do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

/// Log a completed activity on a record.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LogRecordTask {
    /// The id of the record.
    pub record: String,
    /// What happened, in a line.
    pub subject: String,
    /// More of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The e-mail address of the contact to show it on too, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// The caller's own name for a command, the same at each repetition of it: from 1 to 255 printable
/// ASCII characters.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct IdempotencyKey(String);

/// A text that is no [`IdempotencyKey`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an idempotency key has from 1 to 255 printable ASCII characters")]
#[non_exhaustive]
pub struct IdempotencyKeyError;

/// Why a command was not taken. Nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It can never be done as it is.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which part of it.
        field: &'static str,
        /// What is wrong with that.
        reason: String,
    },
    /// The key was used before, for another command.
    #[error("the key has been used for another command, which is job {job}")]
    KeyReused {
        /// The other command.
        job: JobId,
    },
    /// No rule is for such a record.
    #[error("record: no rule provisions a record of kind {object}")]
    NoRule {
        /// What kind of record it is.
        object: String,
    },
    /// The inbox could not take it: ask again, with the same key.
    #[error("the inbox cannot take it now")]
    Store(#[from] StoreError),
}

/// Takes commands in and tells what became of them. It knows no web framework; `axum::Api` puts it
/// behind one.
#[derive(Clone, Debug)]
pub struct Commands {
    queue: Arc<dyn QueueAdmin>,
    crm: Arc<dyn Crm>,
    content: Option<Arc<dyn ContentSource>>,
    rules: Option<Vec<Rule>>,
}

/// Where a command stands.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CommandState {
    /// Its job.
    pub id: JobId,
    /// What was asked for.
    pub command: Command,
    /// Where it stands. A dead one waits for a person.
    pub state: JobState,
    /// Attempts counted so far.
    pub attempts: u32,
    /// When it was taken in.
    pub accepted_at: Timestamp,
    /// When it is due, while it waits.
    pub next_attempt_at: Option<Timestamp>,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
    /// What its last attempt said, in a line for people.
    pub note: Option<String>,
}

impl Commands {
    /// Commands go into `queue`; `crm` reads the ids of records, and is asked for nothing else.
    pub fn new(queue: Arc<dyn QueueAdmin>, crm: Arc<dyn Crm>) -> Self {
        Self {
            queue,
            crm,
            content: None,
            rules: None,
        }
    }

    /// Reads the ids of files by this side, and asks it for nothing else: one that none of its
    /// files can have is refused at once.
    #[must_use]
    pub fn content(mut self, content: Arc<dyn ContentSource>) -> Self {
        self.content = Some(content);
        self
    }

    /// Refuses at once to provision a record that none of these rules does anything for. They are
    /// those of the [`Pipeline`](crate::Pipeline) that works on the inbox.
    #[must_use]
    pub fn rules(mut self, rules: Vec<Rule>) -> Self {
        self.rules = Some(rules);
        self
    }

    /// Takes a command in. `Ok` means that it is durable. The same key and command again are the
    /// same job, for as long as the inbox remembers it; afterwards they are a job that finds
    /// everything done.
    pub async fn submit(
        &self,
        key: &IdempotencyKey,
        command: &Command,
        now: Timestamp,
    ) -> Result<Received, CommandError> {
        let command = self.checked(command)?;
        let pushed = self.queue.push(vec![command.job(key)?], now).await?;
        match pushed.as_slice() {
            [Push::Queued(id)] => Ok(Received::Accepted(*id)),
            [Push::Duplicate(id)] => {
                let Some(known) = self.queue.job(*id).await? else {
                    // Purged between the two calls. The next repetition finds the key free.
                    return Err(StoreError::new(StoreErrorKind::Unavailable, "push").into());
                };
                if Command::of(&known.kind, &known.body)? == command {
                    Ok(Received::Duplicate(*id))
                } else {
                    Err(CommandError::KeyReused { job: *id })
                }
            }
            _ => Err(StoreError::new(StoreErrorKind::Corrupt, "push").into()),
        }
    }

    /// The command with all ids in the one form that equality goes by.
    fn checked(&self, command: &Command) -> Result<Command, CommandError> {
        let crm = &*self.crm;
        let mut command = command.clone();
        match &mut command {
            Command::Attach(AttachFile { file, to }) => {
                let is_id = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
                if file.is_empty() || file.len() > LONGEST_ID || !file.chars().all(is_id) {
                    return Err(invalid("file", "it is no file's id"));
                }
                if let Some(content) = &self.content {
                    let said = |_: PortError| invalid("file", "it is no file's id");
                    *file = content.file_id(file).map_err(said)?;
                }
                if let Some(to) = to {
                    *to = record("to", to, crm)?.id;
                }
            }
            Command::Provision(ProvisionRecord { record: id, alone }) => {
                let record = record("record", id, crm)?;
                let Some(object) = record.object.clone() else {
                    return Err(invalid("record", "it does not tell what it is the id of"));
                };
                let rules = self.rules.as_ref();
                if rules.is_some_and(|rules| !can_provision(rules, &record, *alone)) {
                    return Err(CommandError::NoRule { object });
                }
                *id = record.id;
            }
            Command::Task(task) => {
                task.record = record("record", &task.record, crm)?.id;
                let subject = task.subject.trim();
                if subject.is_empty() || subject.contains(char::is_control) {
                    return Err(invalid("subject", "it must be a line of text"));
                }
                let is_address = |text: &String| {
                    text.contains('@')
                        && text.len() <= LONGEST_EMAIL
                        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
                };
                if !task.contact.as_ref().is_none_or(is_address) {
                    return Err(invalid("contact", "it is no e-mail address"));
                }
            }
        }
        Ok(command)
    }

    /// Where a command stands; `None` when it is unknown or long done. Jobs that are no commands
    /// are nobody's business here.
    pub async fn state(&self, id: JobId) -> Result<Option<CommandState>, StoreError> {
        let job = self.queue.job(id).await?;
        let job = job.filter(|job| job.kind == COMMAND);
        job.map(CommandState::of).transpose()
    }
}

impl Command {
    /// Names the command among all that were ever given, also those of the same key that the inbox
    /// has forgotten: effects are remembered for longer.
    pub(crate) fn event(job: &Leased) -> String {
        let mut hash = Sha256::new();
        hash.update(&job.dedupe);
        hash.update([0]);
        hash.update(&job.body);
        let hash = hash.finalize();
        let hex = hash[..16].iter().map(|byte| format!("{byte:02x}"));
        format!("{DEDUPE}{}", hex.collect::<String>())
    }

    pub(crate) fn of(kind: &str, body: &[u8]) -> Result<Self, StoreError> {
        let corrupt = || StoreError::new(StoreErrorKind::Corrupt, "read a command");
        if kind != COMMAND {
            return Err(corrupt().with_cause(format!("it is a {kind}")));
        }
        serde_json::from_slice(body).map_err(|cause| corrupt().with_cause(cause))
    }

    fn job(&self, key: &IdempotencyKey) -> Result<NewJob, StoreError> {
        let body = serde_json::to_vec(self)
            .map_err(|cause| StoreError::new(StoreErrorKind::Corrupt, "push").with_cause(cause))?;
        Ok(NewJob {
            dedupe: format!("{DEDUPE}{key}"),
            // As of events, so that a file or a record is in one worker's hands at a time.
            key: match self {
                Self::Attach(attach) => format!("box-file/{}", attach.file),
                Self::Provision(ProvisionRecord { record, .. })
                | Self::Task(LogRecordTask { record, .. }) => format!("crm-record/{record}"),
            },
            kind: COMMAND.to_owned(),
            body: body.into(),
        })
    }
}

impl AttachFile {
    /// To the records that the file's folder is mapped to.
    pub fn new(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            to: None,
        }
    }

    /// To this record instead.
    #[must_use]
    pub fn to(mut self, record: impl Into<String>) -> Self {
        self.to = Some(record.into());
        self
    }
}

impl ProvisionRecord {
    /// For this record.
    pub fn new(record: impl Into<String>) -> Self {
        Self {
            record: record.into(),
            alone: false,
        }
    }

    /// Without what else the rules do, such as logging an activity.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}

impl LogRecordTask {
    /// On this record.
    pub fn new(record: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            record: record.into(),
            subject: subject.into(),
            description: String::new(),
            contact: None,
        }
    }

    /// With more text.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Shown on the contact with this e-mail address too.
    #[must_use]
    pub fn contact(mut self, email: impl Into<String>) -> Self {
        self.contact = Some(email.into());
        self
    }
}

impl From<AttachFile> for Command {
    fn from(attach: AttachFile) -> Self {
        Self::Attach(attach)
    }
}

impl From<ProvisionRecord> for Command {
    fn from(provision: ProvisionRecord) -> Self {
        Self::Provision(provision)
    }
}

impl From<LogRecordTask> for Command {
    fn from(task: LogRecordTask) -> Self {
        Self::Task(task)
    }
}

impl CommandState {
    fn of(job: Job) -> Result<Self, StoreError> {
        let at = |is_it: bool| is_it.then_some(job.at);
        Ok(Self {
            id: job.id,
            command: Command::of(&job.kind, &job.body)?,
            state: job.state,
            attempts: job.attempts,
            accepted_at: job.pushed_at,
            next_attempt_at: at(job.state == JobState::Ready),
            ended_at: at(matches!(job.state, JobState::Done | JobState::Dead)),
            note: job.note,
        })
    }

    /// Whether nothing more will happen by itself.
    pub fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }
}

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, IdempotencyKeyError> {
        // The header is a structured string, quoted, by draft-ietf-httpapi-idempotency-key-header,
        // and bare in most clients.
        let quoted = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let key = quoted.unwrap_or(text);
        let is_printable = |byte: u8| (b' '..=b'~').contains(&byte);
        let is_key = (1..=255).contains(&key.len()) && key.bytes().all(is_printable);
        match is_key && !key.trim().is_empty() {
            true => Ok(Self(key.to_owned())),
            false => Err(IdempotencyKeyError),
        }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn record(field: &'static str, text: &str, crm: &dyn Crm) -> Result<Record, CommandError> {
    let said = |_: PortError| invalid(field, "it is no record's id");
    crm.record(text).map_err(said)
}

fn invalid(field: &'static str, reason: &str) -> CommandError {
    CommandError::Invalid {
        field,
        reason: reason.to_owned(),
    }
}
