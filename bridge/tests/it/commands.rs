//! What callers ask for is taken in once, done once, and answered for.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bridge::{
    Action, AttachFile, Backoff, Change, Command, CommandError, CommandState, Commands,
    IdempotencyKey, JobFilter, JobState, LogRecordTask, Pipeline, PipelineOptions, Prepared,
    ProvisionRecord, QueueAdmin, Received, Rule, Situation, Step, StepError, Work, Worker,
    WorkerOptions, records::Nearness, store::memory::MemoryStore,
};
use jiff::Timestamp;

use crate::{
    far_sides::{FarSides, Fault},
    setting::rules,
};

fn attach(file: impl Into<String>) -> Command {
    AttachFile::new(file).into()
}

fn attach_to(file: &str, record: &str) -> Command {
    AttachFile::new(file).to(record).into()
}

fn provision(record: &str) -> Command {
    ProvisionRecord::new(record).into()
}

fn task(record: &str, subject: &str) -> Command {
    LogRecordTask::new(record, subject).into()
}

struct Callers {
    sides: FarSides,
    store: Arc<MemoryStore>,
    commands: Commands,
    worker: Worker<Pipeline>,
}

impl Callers {
    fn new() -> Self {
        Self::with(rules(), true)
    }

    fn with(rules: Vec<Rule>, knows_people: bool) -> Self {
        let (sides, store) = (FarSides::new(), Arc::new(MemoryStore::new()));
        let commands = Commands::new(store.clone(), Arc::new(sides.clone()));
        let mut options = WorkerOptions::default();
        let mut backoff = Backoff::default();
        (backoff.base, backoff.jitter) = (Duration::ZERO, Duration::ZERO);
        options.backoff = backoff;
        let pipeline = pipeline(&sides, &store, rules, knows_people);
        let worker = Worker::new(store.clone(), pipeline, "w").options(options);
        Self {
            sides,
            store,
            commands,
            worker,
        }
    }

    async fn submit(&self, key: &str, command: &Command) -> Result<Received, CommandError> {
        let key: IdempotencyKey = key.parse().unwrap();
        self.commands.submit(&key, command, Timestamp::now()).await
    }

    /// Where the command stands when there is nothing more to be done.
    async fn ask(&self, key: &str, command: &Command) -> CommandState {
        let received = self.submit(key, command).await.unwrap();
        self.worker.run_until_idle().await.unwrap();
        let (Received::Accepted(id) | Received::Duplicate(id)) = received;
        self.commands.state(id).await.unwrap().unwrap()
    }
}

fn pipeline(
    sides: &FarSides,
    store: &Arc<MemoryStore>,
    rules: Vec<Rule>,
    knows_people: bool,
) -> Pipeline {
    let mut options = PipelineOptions::default();
    options.settle_after = Duration::ZERO;
    options.settle_uploads_after = Duration::ZERO;
    let contact = ("one@x.example", "one", Nearness::Elsewhere);
    sides.world().contacts = vec![contact];
    let sides = Arc::new(sides.clone());
    let pipeline = Pipeline::new(sides.clone(), sides.clone(), store.clone(), rules);
    let pipeline = pipeline.options(options);
    match knows_people {
        true => pipeline.records(sides),
        false => pipeline,
    }
}

#[tokio::test]
async fn a_command_repeated_under_its_key_is_one_job_and_one_effect() {
    let callers = Callers::new();
    callers.sides.add_version("7", b"bytes");
    let command = attach("7");
    let first = callers.submit("k", &command).await.unwrap();
    let Received::Accepted(id) = first else {
        panic!("{first:?}")
    };
    let again = callers.submit("k", &command).await.unwrap();
    assert_eq!(again, Received::Duplicate(id));
    assert_eq!(callers.ask("k", &command).await.state, JobState::Done);
    let again = callers.submit("\"k\"", &command).await.unwrap();
    assert_eq!(again, Received::Duplicate(id), "quoted it is the same key");
    // Under another key it is another job, which finds everything done.
    assert_eq!(callers.ask("l", &command).await.state, JobState::Done);
    let world = callers.sides.world();
    assert_eq!((world.stored.len(), world.links.len()), (1, 2));
    assert_eq!(world.tasks.len(), 0, "the rules have no part in it");
}

#[tokio::test]
async fn a_key_that_has_named_another_command_is_refused() {
    let callers = Callers::new();
    let first = callers.submit("k", &attach("7")).await.unwrap();
    for other in [attach("8"), attach_to("7", "acc"), task("opp", "call them")] {
        let refused = callers.submit("k", &other).await.unwrap_err();
        let CommandError::KeyReused { job } = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(Received::Accepted(job), first);
    }
}

#[tokio::test]
async fn a_named_record_gets_the_file_instead_of_the_mapped_ones() {
    let callers = Callers::new();
    callers.sides.add_version("7", b"bytes");
    let state = callers.ask("k", &attach_to("7", "quote")).await;
    assert_eq!(state.state, JobState::Done, "{state:?}");
    let world = callers.sides.world();
    assert_eq!(world.links, [("doc1".to_owned(), "quote".to_owned())]);
}

#[tokio::test]
async fn a_lost_answer_at_any_write_of_a_command_still_gives_exactly_one() {
    for fault in [Fault::AnswerLost, Fault::Refused] {
        for write in ["upload", "link", "task"] {
            let callers = Callers::new();
            callers.sides.add_version("7", b"bytes");
            let faults = vec![(write, fault); 2];
            callers.sides.world().faults.extend(faults);
            callers.submit("a", &attach("7")).await.unwrap();
            callers.ask("t", &task("opp", "call")).await;
            let world = callers.sides.world();
            let counts = (world.stored.len(), world.links.len(), world.tasks.len());
            assert_eq!(counts, (1, 2, 1), "{fault:?} at {write}");
        }
    }
}

#[tokio::test]
async fn a_task_is_logged_once_as_it_was_written_and_on_the_contact() {
    let callers = Callers::new();
    let command = LogRecordTask::new("quote", "{not} a place")
        .contact("one@x.example")
        .into();
    for _ in 0..3 {
        let state = callers.ask("k", &command).await;
        assert_eq!(state.state, JobState::Done, "{state:?}");
    }
    // The inbox forgets; the ledger does not.
    let later = Timestamp::now() + Duration::from_secs(60);
    callers.store.purge(later, 100).await.unwrap();
    callers.ask("k", &command).await;
    {
        let world = callers.sides.world();
        assert_eq!(world.tasks.len(), 1);
        assert_eq!(world.tasks[0].subject, "{not} a place");
        assert_eq!(world.tasks[0].record.id, "quote");
        assert_eq!(world.tasks[0].who.as_ref().unwrap().id, "one");
    }
    // Nor does a forgotten key stand in the way of something else.
    callers.store.purge(later, 100).await.unwrap();
    callers.ask("k", &task("quote", "another")).await;
    assert_eq!(callers.sides.world().tasks.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_done_is_told_to_whoever_asks_and_does_nothing() {
    let callers = Callers::with(rules(), false);
    callers.sides.add_version("7", b"bytes");
    let contact = LogRecordTask::new("opp", "call")
        .contact("one@x.example")
        .into();
    for (command, says) in [
        (attach("404"), "there is no file 404"),
        (provision("006-1"), "no rule provisions a record of kind"),
        (contact, "contacts cannot be looked for"),
    ] {
        let state = callers.ask(&format!("{command:?}"), &command).await;
        assert_eq!(state.state, JobState::Dead, "{state:?}");
        let note = state.note.as_deref().unwrap();
        assert!(note.contains(says), "{note}");
        assert!(state.has_ended() && state.next_attempt_at.is_none());
    }
    callers.sides.unmap_deal();
    let state = callers.ask("unmapped", &attach("7")).await;
    let note = state.note.unwrap();
    assert!(note.contains("no folder above it is mapped"), "{note}");
    assert!(callers.sides.world().writes.is_empty());
}

#[tokio::test]
async fn a_command_that_makes_no_sense_is_refused_by_the_part_that_does_not() {
    let callers = Callers::new();
    let task = |subject: &str| task("opp", subject);
    let on = |email: &str| LogRecordTask::new("opp", "call").contact(email).into();
    for (command, field) in [
        (attach(""), "file"),
        (attach("../users/me"), "file"),
        (attach("7".repeat(65)), "file"),
        (provision("untold"), "record"),
        (task(" "), "subject"),
        (task("two\nlines"), "subject"),
        (on("nobody"), "contact"),
        (on("a b@x.example"), "contact"),
    ] {
        let refused = callers.submit("k", &command).await.unwrap_err();
        let CommandError::Invalid { field: named, .. } = &refused else {
            panic!("{refused:?}")
        };
        assert_eq!(*named, field);
    }
    for key in ["", "\"\"", " ", "naïve", "a\nb", &"k".repeat(256)] {
        assert!(key.parse::<IdempotencyKey>().is_err(), "{key:?}");
    }
    assert!("k".repeat(255).parse::<IdempotencyKey>().is_ok());
}

#[tokio::test]
async fn jobs_that_are_no_commands_are_not_shown() {
    let bridge = crate::setting::Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    bridge.deliver("e1", "7", &version).await;
    let commands = Commands::new(bridge.store.clone(), Arc::new(bridge.sides.clone()));
    let all = JobFilter::default();
    let id = bridge.store.jobs(&all).await.unwrap()[0].id;
    assert_eq!(commands.state(id).await.unwrap(), None);
}

/// Remembers for which triggers it was called.
#[derive(Debug)]
struct Named(&'static str);

#[async_trait]
impl Action for Named {
    fn name(&self) -> &str {
        self.0
    }
    fn plan(&self, situation: &Situation) -> Option<String> {
        Some(format!("{} for {}", self.0, situation.trigger))
    }
    async fn apply(&self, step: &Step, work: &Work<'_>) -> Result<String, StepError> {
        // Nobody has told what has changed, so it has to look.
        let told = work.situation.record().map(|it| it.change);
        assert_eq!(told, Some(Change::Changed));
        Ok(step.does.clone())
    }
}

#[tokio::test]
async fn provisioning_runs_the_rules_that_provision_whether_they_hang_on_new_or_changed_records() {
    let rule = |name: &str, trigger: &str, action| {
        let actions: Vec<Arc<dyn Action>> = vec![Arc::new(Named(action))];
        Rule::new(name, [trigger], actions).unwrap()
    };
    let on_new = rule("new", "Opportunity.CREATED", "provision");
    let on_any = rule("any", "Opportunity.*", "provision");
    let on_changed = rule("changed", "Opportunity.UPDATED", "provision");
    let other = rule("sync", "Opportunity.CHANGED", "sync");
    for (rules, note) in [
        (vec![on_changed], "provision for Opportunity.UPDATED"),
        (vec![on_new.clone()], "provision for Opportunity.CREATED"),
        (vec![on_any], "provision for Opportunity.CHANGED"),
        (vec![other.clone()], "sync for Opportunity.CHANGED"),
        (
            vec![other, on_new],
            "sync for Opportunity.CREATED; provision for Opportunity.CREATED",
        ),
    ] {
        let callers = Callers::with(rules, false);
        let state = callers.ask("k", &provision("006-1")).await;
        assert_eq!(state.state, JobState::Done, "{state:?}");
        assert_eq!(state.note.as_deref(), Some(note));
        if let Some((_, provisions)) = note.split_once("; ") {
            let alone = ProvisionRecord::new("006-1").alone().into();
            let state = callers.ask("alone", &alone).await;
            assert_eq!(state.note.as_deref(), Some(provisions));
        }
    }
}

#[tokio::test]
async fn what_no_rule_does_anything_for_is_refused_before_it_is_taken_in() {
    let rule = |trigger: &str, action| {
        let actions: Vec<Arc<dyn Action>> = vec![Arc::new(Named(action))];
        Rule::new("r", [trigger], actions).unwrap()
    };
    let alone = Command::from(ProvisionRecord::new("006-1").alone());
    for (trigger, action, command, is_taken) in [
        ("Opportunity.CREATED", "provision", provision("006-1"), true),
        ("Opportunity.CREATED", "provision", alone.clone(), true),
        ("Opportunity.CHANGED", "sync", provision("006-1"), true),
        ("Opportunity.CHANGED", "sync", alone, false),
        (
            "Opportunity.DELETED",
            "provision",
            provision("006-1"),
            false,
        ),
        ("Account.*", "provision", provision("006-1"), false),
    ] {
        let rules = vec![rule(trigger, action)];
        let mut callers = Callers::with(rules.clone(), false);
        callers.commands = callers.commands.rules(rules);
        let taken = callers.submit("k", &command).await;
        match is_taken {
            true => assert!(taken.is_ok(), "{trigger} {action}: {taken:?}"),
            false => assert!(
                matches!(&taken, Err(CommandError::NoRule { object }) if object == "Opportunity"),
                "{trigger} {action}: {taken:?}"
            ),
        }
        let jobs = callers.store.jobs(&JobFilter::default()).await.unwrap();
        assert_eq!(jobs.len(), usize::from(is_taken));
    }
}

#[tokio::test]
async fn the_plan_of_a_command_can_be_read_before_anything_is_done() {
    let callers = Callers::new();
    callers.sides.add_version("7", b"bytes");
    let pipeline = pipeline(&callers.sides, &callers.store, rules(), false);
    let command = attach("7");
    let prepared = pipeline.prepare_command(&command, Timestamp::now()).await;
    let Prepared::Steps(_, plan) = prepared.unwrap() else {
        panic!("nothing to do")
    };
    assert_eq!(
        plan.to_string(),
        "1. attach NDA.pdf (version v1) to opp, acc  (rule command, attach)"
    );
    assert!(callers.sides.world().writes.is_empty());
}
