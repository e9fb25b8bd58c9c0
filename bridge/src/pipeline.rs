//! One event's way from the inbox to its effects: rules, resolve, plan, steps.

mod command;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::{sync::Semaphore, time::Instant};
use tracing::{info, warn};

use crate::{
    action::{
        StepError, Work,
        digest::{DIGEST, Digest},
    },
    circuit::{Circuits, Settings},
    clock::{Clock, SystemClock},
    command::COMMAND,
    content::{ContentSource, FileState, FileVersion, FolderRef, FolderState},
    crm::Crm,
    guarded::{GuardedContent, GuardedCrm},
    ledger::Ledger,
    observe,
    occurrence::{self, BOX_FOUND, Teller},
    pauses::Pauses,
    plan::Plan,
    port_error::{PortError, PortErrorKind, in_one_line},
    queue::{Leased, Queue},
    record_event::{Change, RECORD_EVENT, RecordChange, RecordEvent},
    records::Records,
    resolve::{MappingKeys, Resolver},
    rules::Rule,
    side::Side,
    situation::{Person, Situation, Subject},
    store_error::StoreError,
    webhook::{Event, FileSource, FolderSource, ItemRef, Source},
    worker::{Handler, Hold, Outcome},
};

/// Sent in place of any event while the login that made the webhook is over.
const NO_ACTIVE_SESSION: &str = "NO_ACTIVE_SESSION";
const WEBHOOK_DELETED: &str = "WEBHOOK.DELETED";
/// Of what was found, only actions of this name are taken.
const ONLY: &str = "only";

/// Carries events out: finds the rules and the record, plans, and takes the steps.
#[derive(Debug)]
pub struct Pipeline {
    content: Arc<dyn ContentSource>,
    crm: Arc<dyn Crm>,
    circuits: Circuits,
    ledger: Arc<dyn Ledger>,
    queue: Option<Arc<dyn Queue>>,
    clock: Arc<dyn Clock>,
    rules: Vec<Rule>,
    resolver: Resolver,
    records: Option<Arc<dyn Records>>,
    options: PipelineOptions,
    transfers: Semaphore,
}

/// How a [`Pipeline`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PipelineOptions {
    /// How long after a write of unknown outcome the far side may still be at it. Only then does
    /// a look tell anything.
    pub settle_after: Duration,
    /// How far back versions count that no event has told of: their deliveries may have been
    /// overtaken. Box gives up on a delivery after two hours.
    pub overtaken_within: Duration,
    /// How many calls to a far side have to fail in a row, because it does not answer or is out of
    /// order, until it is left alone. One that lets nobody in or has no calls left for today is left
    /// alone at once.
    pub outage_after: u32,
    /// How long a far side is left alone when it does not say itself; twice as long each time that
    /// it is still out of order afterwards.
    pub outage_pause: Duration,
    /// The longest that it is left alone when it does not say itself.
    pub longest_outage_pause: Duration,
    /// Whether the MD5 that the far side gives of what it has stored is held against that of what
    /// was sent. The content side's SHA-1 is always checked on the way, and the size afterwards;
    /// the MD5 doubles the processor time of a transfer.
    pub compare_checksums: bool,
    /// How many files are on their way at a time. Each takes some memory, whatever else the
    /// worker has in hand.
    pub transfers: usize,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            settle_after: Duration::from_secs(15),
            overtaken_within: Duration::from_secs(3 * 3600),
            outage_after: 5,
            outage_pause: Duration::from_secs(300),
            longest_outage_pause: Duration::from_secs(3600),
            compare_checksums: false,
            transfers: 8,
        }
    }
}

/// What an event leads to.
#[derive(Clone, Debug)]
pub enum Prepared {
    /// Nothing, for this reason.
    Nothing(String),
    /// These steps in this situation.
    Steps(Box<Situation>, Plan),
}

impl Pipeline {
    /// A pipeline between these two sides that remembers in `ledger` what was done.
    pub fn new(
        content: Arc<dyn ContentSource>,
        crm: Arc<dyn Crm>,
        ledger: Arc<dyn Ledger>,
        rules: Vec<Rule>,
    ) -> Self {
        let circuits = Circuits::default();
        let content = GuardedContent {
            side: content,
            circuit: circuits.of(Side::Content).clone(),
        };
        let crm = GuardedCrm {
            side: crm,
            circuit: circuits.of(Side::Crm).clone(),
        };
        Self {
            content: Arc::new(content),
            crm: Arc::new(crm),
            circuits,
            ledger,
            queue: None,
            clock: Arc::new(SystemClock),
            rules,
            resolver: Resolver::new(MappingKeys::default()),
            transfers: Semaphore::new(PipelineOptions::default().transfers),
            records: None,
            options: PipelineOptions::default(),
        }
    }

    /// With an inbox for what actions leave to be done later, such as digests.
    #[must_use]
    pub fn inbox(mut self, queue: Arc<dyn Queue>) -> Self {
        self.queue = Some(queue);
        self
    }

    /// With other metadata keys.
    #[must_use]
    pub fn mapping_keys(mut self, keys: MappingKeys) -> Self {
        self.resolver = Resolver::new(keys);
        self
    }

    /// With other options.
    #[must_use]
    pub fn options(mut self, options: PipelineOptions) -> Self {
        let places = options.transfers.clamp(1, Semaphore::MAX_PERMITS);
        self.transfers = Semaphore::new(places);
        self.circuits.set(Settings {
            opens_after: options.outage_after,
            pause: options.outage_pause,
            longest_pause: options.longest_outage_pause,
        });
        self.options = options;
        self
    }

    /// Where the contacts are that a [`Command`](crate::Command) names.
    #[must_use]
    pub fn records(mut self, records: Arc<dyn Records>) -> Self {
        self.records = Some(records);
        self
    }

    /// By another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The way to each side, to be shown.
    pub fn circuits(&self) -> Circuits {
        self.circuits.clone()
    }

    pub(crate) fn content(&self) -> &dyn ContentSource {
        &*self.content
    }

    /// What the event would lead to. Reads both sides and writes nothing: a dry run ends here.
    ///
    /// An event that does not say when it happened is taken to have happened when it was
    /// `received_at`.
    pub async fn prepare(
        &self,
        event: &Event,
        received_at: Timestamp,
    ) -> Result<Prepared, PortError> {
        let trigger = match event.trigger.as_str() {
            // The event itself is lost, all but the item. An upload is what it most likely was,
            // and what matters most.
            NO_ACTIVE_SESSION => "FILE.UPLOADED",
            trigger => trigger,
        };
        if trigger.starts_with("METADATA_INSTANCE.")
            && let Some(item) = event.source.id()
        {
            self.resolver.forget(item);
        }
        if !self.rules.iter().any(|rule| rule.wants(trigger)) {
            return Ok(Prepared::Nothing(format!("no rule for {trigger}")));
        }
        let subject = match self.subject(&event.source).await {
            Err(error) if error.kind() == PortErrorKind::Gone => {
                return Ok(Prepared::Nothing("it is not there any more".into()));
            }
            subject => subject?,
        };
        let Some(subject) = subject else {
            return Ok(Prepared::Nothing(format!(
                "{trigger} without a file or folder"
            )));
        };
        if !self.fits(trigger, &subject) {
            return Ok(Prepared::Nothing(format!(
                "no rule for {trigger} of {}",
                subject.name()
            )));
        }
        let folders = match &subject {
            Subject::File(file) => file.folders.clone(),
            Subject::Folder(folder) => folder.with_itself(),
            Subject::Record(_) => Vec::new(),
        };
        let mapped = self
            .resolver
            .resolve(&*self.content, &*self.crm, &folders)
            .await?;
        let Some(mapped) = mapped else {
            return Ok(Prepared::Nothing(
                "no folder above it is mapped to a record".into(),
            ));
        };
        let mut details = event.additional_info.0.clone();
        if event.trigger.as_str() == NO_ACTIVE_SESSION {
            details.insert(NO_ACTIVE_SESSION.to_owned(), true.into());
        }
        Ok(self.planned(Situation {
            event: event.id.clone(),
            trigger: trigger.to_owned(),
            at: event.created_at.unwrap_or(received_at),
            actor: event.created_by.as_ref().and_then(Person::of),
            person: concerned(&event.source),
            is_first_version: is_first(&event.source, &subject),
            subject,
            mapping: Some(mapped.mapping),
            opportunity: mapped.opportunity,
            account: mapped.account,
            details,
        }))
    }

    /// What the event of a record would lead to. As [`prepare`](Self::prepare), it writes nothing.
    pub fn prepare_record(&self, event: &RecordEvent, received_at: Timestamp) -> Prepared {
        let record = &event.changed.record;
        let Some(trigger) = event.trigger() else {
            return Prepared::Nothing(format!("{} does not tell what it is", record.id));
        };
        let subject = Subject::Record(event.changed.clone());
        if !self.fits(&trigger, &subject) {
            return Prepared::Nothing(format!("no rule for {trigger}"));
        }
        let id = format!("{}:{}", record.id, event.id);
        let at = event.at.unwrap_or(received_at);
        self.planned(Situation::of_record(id, trigger, event.changed.clone(), at))
    }

    /// Whether any rule is for this.
    pub(crate) fn fits(&self, trigger: &str, subject: &Subject) -> bool {
        let does = |rule: &Rule| rule.wants(trigger) && rule.fits(subject);
        self.rules.iter().any(does)
    }

    fn planned(&self, situation: Situation) -> Prepared {
        let plan = Plan::new(&self.rules, &situation);
        Prepared::Steps(Box::new(situation), plan)
    }

    /// The file or folder that an event is about: itself, or the one that its source hangs on.
    async fn subject(&self, source: &Source) -> Result<Option<Subject>, PortError> {
        let item = match source {
            Source::File(source) => {
                return Ok(Some(Subject::File(match complete(source) {
                    Some(file) => file,
                    None => self.content.file(&source.id).await?,
                })));
            }
            Source::Folder(source) => {
                return Ok(Some(Subject::Folder(match complete_folder(source) {
                    Some(folder) => folder,
                    None => self.content.folder(&source.id).await?,
                })));
            }
            Source::Collaboration(source) => &source.item,
            Source::Comment(source) | Source::TaskAssignment(source) => &source.item,
            _ => &None,
        };
        Ok(match item {
            Some(ItemRef { id, kind, .. }) if kind.as_deref() == Some("file") => {
                Some(Subject::File(self.content.file(id).await?))
            }
            Some(ItemRef { id, kind, .. }) if kind.as_deref() == Some("folder") => {
                Some(Subject::Folder(self.content.folder(id).await?))
            }
            _ => None,
        })
    }

    fn work<'w>(&'w self, situation: &'w Situation, hold: &'w Hold) -> Work<'w> {
        Work {
            situation,
            content: &*self.content,
            crm: &*self.crm,
            ledger: &*self.ledger,
            queue: self.queue.as_deref(),
            clock: &*self.clock,
            hold,
            options: &self.options,
            transfers: &self.transfers,
        }
    }

    async fn carry_out(
        &self,
        rules: &[Rule],
        situation: &Situation,
        plan: &Plan,
        hold: &Hold,
    ) -> Result<String, StepError> {
        let work = self.work(situation, hold);
        let mut notes = Vec::new();
        for step in &plan.steps {
            let rule = rules.get(step.rule_position);
            let action = rule.and_then(|rule| rule.actions().get(step.position));
            let Some(action) = action else {
                let unknown = format!("the plan names an action that rule {} lacks", step.rule);
                return Err(StepError::Person(unknown));
            };
            let started = Instant::now();
            let note = action.apply(step, &work).await?;
            observe::step(&step.action, started.elapsed());
            info!(rule = step.rule, action = step.action, note, "step");
            notes.push(note);
        }
        Ok(notes.join("; "))
    }

    fn failed(&self, error: StepError) -> Outcome {
        match error {
            StepError::Port(error) => self.port_failed(&error),
            StepError::Store(error) => Outcome::Retry {
                reason: in_one_line(&error),
                after: None,
            },
            StepError::Wait { reason, until } => Outcome::Defer { reason, until },
            StepError::LostHold => Outcome::Retry {
                reason: "the lease ran out before the write".to_owned(),
                after: None,
            },
            StepError::Person(reason) => Outcome::Dead(reason),
        }
    }

    fn port_failed(&self, error: &PortError) -> Outcome {
        let reason = in_one_line(error);
        let rest = error.side().and_then(|side| self.circuits.of(side).rest());
        match error.kind() {
            // It has failed so often that it is left alone: that is not this job's doing.
            PortErrorKind::Down if rest.is_some() => self.outage(reason, rest),
            PortErrorKind::Gone | PortErrorKind::NoContent | PortErrorKind::Refused => {
                Outcome::Dead(reason)
            }
            PortErrorKind::Busy | PortErrorKind::Down | PortErrorKind::Integrity => {
                Outcome::Retry {
                    reason,
                    after: error.retry_after(),
                }
            }
            PortErrorKind::Unknown => {
                let settle = self.options.settle_after;
                let after = error
                    .retry_after()
                    .map_or(settle, |asked| asked.max(settle));
                Outcome::Retry {
                    reason,
                    after: Some(after),
                }
            }
            PortErrorKind::Outage => self.outage(reason, rest.or(error.retry_after())),
        }
    }

    fn outage(&self, reason: String, rest: Option<Duration>) -> Outcome {
        let pause = rest.unwrap_or(self.options.outage_pause);
        let until = self.clock.now().checked_add(pause);
        Outcome::Outage {
            reason,
            until: until.unwrap_or(Timestamp::MAX),
        }
    }
}

#[async_trait]
impl Handler for Pipeline {
    fn obey(&self, pauses: Pauses) {
        self.circuits.obey(pauses);
    }

    async fn handle(&self, job: &Leased, hold: &Hold) -> Outcome {
        if job.kind == DIGEST {
            return match self.log_digest(job, hold).await {
                Ok(note) => Outcome::Done(note),
                Err(error) => self.failed(error),
            };
        }
        if job.kind == COMMAND {
            return self.handle_command(job, hold).await;
        }
        let prepared = match job.kind.as_str() {
            kind if Teller::of(kind).is_some() => self.prepare_delivery(job).await,
            RECORD_EVENT => self.prepare_record_event(job),
            kind => Err(Outcome::Dead(format!("nobody handles jobs of kind {kind}"))),
        };
        match prepared {
            Ok(Prepared::Nothing(why)) => Outcome::Done(why),
            Ok(Prepared::Steps(situation, plan)) => {
                match self.known(job, &situation, &plan).await {
                    Ok(None) => {}
                    Ok(Some(event)) => {
                        return Outcome::Done(format!("event {event} has told of it"));
                    }
                    Err(error) => return self.failed(error.into()),
                }
                match self.carry_out(&self.rules, &situation, &plan, hold).await {
                    Ok(note) => Outcome::Done(note),
                    Err(error) => self.failed(error),
                }
            }
            Err(outcome) => outcome,
        }
    }
}

impl Pipeline {
    async fn prepare_delivery(&self, job: &Leased) -> Result<Prepared, Outcome> {
        let event = Event::parse(&job.body).map_err(|error| Outcome::Dead(in_one_line(&error)))?;
        let webhook = event.webhook_id.as_deref().unwrap_or("(unnamed)");
        match event.trigger.as_str() {
            NO_ACTIVE_SESSION => warn!(
                webhook,
                "the login that made this webhook is over: Box tells of an item only, and not \
                 what happened to it, until that user has a valid token again"
            ),
            WEBHOOK_DELETED => {
                return Err(Outcome::Dead(format!(
                    "Box has deleted webhook {webhook}: make it anew"
                )));
            }
            _ => {}
        }
        let prepared = self.prepare(&event, job.pushed_at).await;
        let mut prepared = prepared.map_err(|error| self.port_failed(&error))?;
        // Nothing that Box signs has this.
        if job.kind == BOX_FOUND
            && let Some(only) = event.extra.get(ONLY).and_then(|only| only.as_str())
            && let Prepared::Steps(situation, plan) = &mut prepared
        {
            plan.only(only);
            situation.details.insert(ONLY.to_owned(), only.into());
        }
        Ok(prepared)
    }

    /// The event by which the same was taken up already, where it was.
    async fn known(
        &self,
        job: &Leased,
        situation: &Situation,
        plan: &Plan,
    ) -> Result<Option<String>, StoreError> {
        let Some(teller) = Teller::of(&job.kind).filter(|_| !plan.steps.is_empty()) else {
            return Ok(None);
        };
        // What does a part leaves the rest to whoever tells of the upload itself.
        if situation.details.contains_key(ONLY) {
            return Ok(None);
        }
        let teller = match situation.details.get(NO_ACTIVE_SESSION) {
            // What happened is not told, so it is as if the file had been found.
            Some(_) => Teller::Look,
            None => teller,
        };
        occurrence::claim(&*self.ledger, teller, situation, self.clock.now()).await
    }

    async fn log_digest(&self, job: &Leased, hold: &Hold) -> Result<String, StepError> {
        let digest = Digest::parse(&job.body)?;
        let change = RecordChange {
            record: digest.record().clone(),
            change: Change::Changed,
        };
        let situation = Situation::of_record(
            job.lease.job.to_string(),
            DIGEST.to_owned(),
            change,
            job.pushed_at,
        );
        digest.log(&self.work(&situation, hold)).await
    }

    fn prepare_record_event(&self, job: &Leased) -> Result<Prepared, Outcome> {
        let event: RecordEvent = serde_json::from_slice(&job.body)
            .map_err(|error| Outcome::Dead(format!("no record event: {error}")))?;
        Ok(self.prepare_record(&event, job.pushed_at))
    }
}

/// A new file has the sequence id 0, which grows with every change, and was made when it was last
/// changed. A second version has neither; that both are asked for is caution.
fn is_first(source: &Source, subject: &Subject) -> bool {
    let (Source::File(source), Subject::File(file)) = (source, subject) else {
        return false;
    };
    let version = source.version.as_ref();
    version.is_some_and(|version| version.id == file.version.id)
        && source.sequence_id.as_deref() == Some("0")
        && source.created_at.is_some()
        && source.created_at == source.modified_at
}

/// Whom it was done to, where the event is about somebody else's rights.
fn concerned(source: &Source) -> Option<Person> {
    let Source::Collaboration(collaboration) = source else {
        return None;
    };
    let mut person = collaboration
        .accessible_by
        .as_ref()
        .and_then(Person::of)
        .unwrap_or_default();
    // Whoever has no account yet is known by the address invited.
    person.email = person
        .email
        .or_else(|| collaboration.invite_email.clone())
        .filter(|email| !email.is_empty());
    (person != Person::default()).then_some(person)
}

fn path(folders: &[ItemRef]) -> Option<Vec<FolderRef>> {
    let folders = folders.iter().map(|folder| FolderRef {
        id: folder.id.clone(),
        name: folder.name.clone().unwrap_or_default(),
    });
    let folders: Vec<_> = folders.collect();
    (!folders.is_empty()).then_some(folders)
}

/// The event's own picture of the folder, where it is whole.
fn complete_folder(source: &FolderSource) -> Option<FolderState> {
    Some(FolderState {
        id: source.id.clone(),
        name: source.name.clone().filter(|name| !name.is_empty())?,
        folders: path(&source.path)?,
    })
}

/// The event's own picture of the file, where it is whole. A stub makes the caller ask.
fn complete(source: &FileSource) -> Option<FileState> {
    let version = source.version.as_ref()?;
    let sha1 = version.sha1.clone().or_else(|| source.sha1.clone());
    let folders = path(&source.path)?;
    Some(FileState {
        id: source.id.clone(),
        name: source.name.clone().filter(|name| !name.is_empty())?,
        version: FileVersion {
            id: version.id.clone(),
            // Without it nobody could tell whether the right bytes arrive.
            sha1: Some(sha1?),
            size: source.size,
            created_at: source.modified_at,
            is_deleted: false,
        },
        folders,
    })
}
