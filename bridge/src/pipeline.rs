//! One event's way from the inbox to its effects: rules, resolve, plan, steps.

mod command;
mod delivery;
pub(crate) mod failure;
mod record;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Semaphore, time::Instant};
use tracing::info;

pub(crate) use self::command::can_provision;
use crate::{
    action::{
        StepError, Work,
        digest::{DIGEST, Digest},
    },
    circuit::Circuits,
    clock::{Clock, SystemClock},
    command::COMMAND,
    content::ContentSource,
    crm::Crm,
    foresight::{Foresight, Looks},
    ledger::Ledger,
    observe,
    occurrence::Teller,
    pauses::Pauses,
    plan::Plan,
    queue::{Leased, Queue},
    record_event::{Change, RECORD_EVENT, RecordChange},
    records::Records,
    resolve::{MappingKeys, Resolver},
    rules::Rule,
    situation::{Situation, Subject},
    worker::{Handler, Hold, Outcome},
};

/// Carries events out: finds the rules and the record, plans, and takes the steps.
#[derive(Debug)]
pub struct Pipeline {
    content: Arc<dyn ContentSource>,
    crm: Arc<dyn Crm>,
    unguarded: Unguarded,
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

/// The ports as they were given.
#[derive(Debug)]
struct Unguarded {
    content: Arc<dyn ContentSource>,
    crm: Arc<dyn Crm>,
    records: Option<Arc<dyn Records>>,
}

/// How a [`Pipeline`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PipelineOptions {
    /// How long after a write of unknown outcome the far side may still be at it. Only then does
    /// a look tell anything. At least half of the worker's lease: so long may one that has lost its
    /// job be at it without knowing.
    pub settle_after: Duration,
    /// The same for files, which the far side may take minutes to store after their last byte. Where
    /// it refuses a second version by a unique mark, as long as `settle_after` is enough.
    pub settle_uploads_after: Duration,
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
            settle_after: Duration::from_secs(30),
            settle_uploads_after: Duration::from_secs(600),
            overtaken_within: Duration::from_secs(3 * 3600),
            outage_after: 5,
            outage_pause: Duration::from_secs(300),
            longest_outage_pause: Duration::from_secs(3600),
            compare_checksums: false,
            transfers: 8,
        }
    }
}

/// When a job of a kind that this version does not know is tried again, at the earliest.
const UNKNOWN_KIND: Duration = Duration::from_secs(60);

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
        let unguarded = Unguarded {
            content,
            crm,
            records: None,
        };
        Self {
            content: circuits.content(Arc::clone(&unguarded.content)),
            crm: circuits.crm(Arc::clone(&unguarded.crm)),
            records: None,
            unguarded,
            circuits,
            ledger,
            queue: None,
            clock: Arc::new(SystemClock),
            rules,
            resolver: Resolver::new(MappingKeys::default()),
            transfers: Semaphore::new(PipelineOptions::default().transfers),
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
        self.options = options;
        self.set_circuits();
        self
    }

    /// Behind these circuits, so that it shares them with the [ports](Circuits#implementations) of
    /// actions, sources and the watch. A side that is out of order, or
    /// [paused](crate::QueueAdmin::pause), is then left alone by all of them.
    #[must_use]
    pub fn behind(mut self, circuits: &Circuits) -> Self {
        self.circuits = circuits.clone();
        let Unguarded {
            content,
            crm,
            records,
        } = &self.unguarded;
        self.content = circuits.content(Arc::clone(content));
        self.crm = circuits.crm(Arc::clone(crm));
        self.records = records.clone().map(|records| circuits.records(records));
        self.set_circuits();
        self
    }

    fn set_circuits(&self) {
        let options = &self.options;
        self.circuits.open_after(
            options.outage_after,
            options.outage_pause,
            options.longest_outage_pause,
        );
    }

    /// Where the contacts are that a [`Command`](crate::Command) names, and the times by which an
    /// event of a record that does not say what was done is told from others.
    #[must_use]
    pub fn records(mut self, records: Arc<dyn Records>) -> Self {
        self.records = Some(self.circuits.records(Arc::clone(&records)));
        self.unguarded.records = Some(records);
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

    /// Whether any rule is for this.
    pub(crate) fn fits(&self, trigger: &str, subject: &Subject) -> bool {
        let does = |rule: &Rule| rule.wants(trigger) && rule.fits(subject);
        self.rules.iter().any(does)
    }

    fn planned(&self, situation: Situation) -> Prepared {
        let plan = Plan::new(&self.rules, &situation);
        Prepared::Steps(Box::new(situation), plan)
    }

    /// What the steps of a plan would really do, as both sides are now. Reads them and writes
    /// nothing: neither there nor to the ledger.
    pub async fn foresee(&self, prepared: &Prepared) -> Result<Vec<Foresight>, StepError> {
        self.foresee_by(&self.rules, prepared).await
    }

    async fn foresee_by(
        &self,
        rules: &[Rule],
        prepared: &Prepared,
    ) -> Result<Vec<Foresight>, StepError> {
        let Prepared::Steps(situation, plan) = prepared else {
            return Ok(Vec::new());
        };
        let looks = Looks {
            content: Arc::clone(&self.content),
            crm: Arc::clone(&self.crm),
            ledger: Arc::clone(&self.ledger),
            clock: Arc::clone(&self.clock),
            options: self.options.clone(),
        };
        let mut foresights = Vec::new();
        for step in &plan.steps {
            let rule = rules.get(step.rule_position);
            let action = rule.and_then(|rule| rule.actions().get(step.position));
            let deeds = match action {
                Some(action) => action.foresee(situation, &looks).await?,
                None => None,
            };
            foresights.push(Foresight {
                rule: step.rule.clone(),
                action: step.action.clone(),
                deeds,
            });
        }
        Ok(foresights)
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
        if job.kind == RECORD_EVENT {
            return self.handle_record_event(job, hold).await;
        }
        let prepared = match job.kind.as_str() {
            kind if Teller::of(kind).is_some() => self.prepare_delivery(job).await,
            // Of two versions that work on one inbox the newer one may know it.
            kind => Err(Outcome::Retry {
                reason: format!("nobody handles jobs of kind {kind}"),
                after: Some(UNKNOWN_KIND),
            }),
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
}
