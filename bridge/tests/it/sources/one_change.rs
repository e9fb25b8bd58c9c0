//! One change, however many sources tell of it: its effects are there once.

use std::{sync::Arc, time::Duration};

use bridge::{
    Action, Backoff, JobFilter, JobState, LogTask, Pipeline, PipelineOptions, Queue, QueueAdmin,
    RecordEvent, Rule, Worker, WorkerOptions,
    source::{OutboundReceiver, Poll},
    store::memory::MemoryStore,
};
use jiff::Timestamp;
use salesforce_client::{
    OutboundReader, RecordId,
    testing::{Fault, FaultEffect},
};
use serde_json::json;

use super::{
    event_bus::{Listening, ago},
    records, told,
};
use crate::far_sides::FarSides;

const SECRET: &str = "a-secret-of-the-path";
const ACTION: &str = "04kxx0000000001AAA";

/// An org that tells of its Accounts in all three ways, to a rule that logs what has changed.
struct Org {
    it: Listening,
    receiver: OutboundReceiver,
    /// What was done to which record, and when: what has to be told.
    changes: Vec<(String, String, i64)>,
    messages: Vec<String>,
}

impl Org {
    async fn up() -> Self {
        let it = Listening::up().await;
        // The place of the bus is known only with the first sign of it.
        it.until_kept(it.source()).await;
        let reader = OutboundReader::new(&RecordId::new(it.org.org_id()).unwrap());
        let queue: Arc<dyn Queue> = it.store.clone();
        let receiver = OutboundReceiver::new(SECRET.to_owned(), reader, queue).unwrap();
        Self {
            it,
            receiver,
            changes: Vec::new(),
            messages: Vec::new(),
        }
    }

    fn worker(&self) -> Worker<Pipeline> {
        let log = LogTask::new(
            "{event.trigger}".parse().unwrap(),
            "{event.id}".parse().unwrap(),
        );
        let log: Vec<Arc<dyn Action>> = vec![Arc::new(log)];
        let rule = Rule::new("changes", ["Account.*", "Lead.*"], log).unwrap();
        let mut options = PipelineOptions::default();
        options.settle_after = Duration::ZERO;
        let (store, crm) = (self.it.store.store.clone(), records(&self.it.client));
        let content = Arc::new(FarSides::new());
        let pipeline = Pipeline::new(content, crm.clone(), store.clone(), vec![rule])
            .records(crm)
            .options(options);
        let mut options = WorkerOptions::default();
        options.backoff = Backoff::default();
        (options.backoff.base, options.backoff.jitter) = (Duration::ZERO, Duration::ZERO);
        Worker::new(store, pipeline, "w").options(options)
    }

    fn made(&mut self, at: Timestamp) -> String {
        let stamp = at.to_string();
        let fields = json!({ "Name": "Acme", "CreatedDate": stamp, "SystemModstamp": stamp });
        let account = self.it.org.create("Account", fields).unwrap();
        self.tell("CREATED", &account, at);
        account
    }

    fn changed(&mut self, account: &str, at: Timestamp) {
        let fields = json!({ "Name": at.to_string(), "SystemModstamp": at.to_string() });
        self.it.org.update(account, fields).unwrap();
        self.tell("UPDATED", account, at);
    }

    fn tell(&mut self, done: &str, account: &str, at: Timestamp) {
        let change = (account.to_owned(), done.to_owned(), at.as_second());
        self.changes.push(change);
        let message = self.it.org.outbound_message(ACTION, &[account], &["Name"]);
        self.messages.push(message.unwrap());
    }

    /// What the bus has told so far.
    async fn by_bus(&self) {
        self.it.until_kept(self.it.source()).await;
    }

    async fn by_message(&self, message: &str) {
        let message = message.as_bytes();
        let received = self.receiver.receive(SECRET, message, Timestamp::now());
        received.await.unwrap();
    }

    /// Everything of the last hours, as after a crash that has left no position.
    async fn by_poll(&self) {
        let queue: Arc<dyn Queue> = self.it.store.clone();
        let position = Arc::new(MemoryStore::new());
        let poll = Poll::new(records(&self.it.client), queue, position, ["Account"]);
        poll.since(ago(7200)).once().await.unwrap();
    }

    async fn work(&self) {
        let waits = async || {
            let filter = JobFilter {
                state: Some(JobState::Ready),
                ..JobFilter::default()
            };
            !self.it.store.store.jobs(&filter).await.unwrap().is_empty()
        };
        while waits().await {
            self.worker().run_until_idle().await.unwrap();
        }
    }

    /// What the Tasks say: which change, by trigger, record and second.
    fn tasks(&self) -> Vec<(String, String, i64)> {
        let tasks = self.it.org.records("Task").into_iter();
        let mut tasks: Vec<_> = tasks
            .map(|task| {
                let text = task["Description"].as_str().unwrap();
                let (account, event) = text.lines().next().unwrap().split_once(':').unwrap();
                let (done, second) = event.split_once('@').unwrap();
                assert_eq!(task["Subject"], format!("Account.{done}"));
                (account.to_owned(), done.to_owned(), second.parse().unwrap())
            })
            .collect();
        tasks.sort();
        tasks
    }

    fn assert_one_task_for_each_change(&self, context: &str) {
        let mut changes = self.changes.clone();
        changes.sort();
        assert_eq!(self.tasks(), changes, "{context}");
    }
}

#[tokio::test]
async fn a_change_that_all_three_sources_tell_of_twice_in_any_order_is_one_task() {
    for seed in 0..8 {
        let mut org = Org::up().await;
        let mut random = fastrand::Rng::with_seed(seed);
        let lost = Fault::on("*/sobjects/Task", FaultEffect::LostAnswer).method("POST");
        org.it.org.inject(lost.skip(2).times(2));
        let mut accounts: Vec<String> = Vec::new();
        for number in 0..12 {
            let at = ago(3000 - number * 100);
            let known = random.choice(&accounts).filter(|_| number > 2).cloned();
            match known {
                Some(account) => org.changed(&account, at),
                None => accounts.push(org.made(at)),
            }
            let mut ways = [0, 1, 2, 3];
            random.shuffle(&mut ways);
            for way in &ways[..random.usize(0..=ways.len())] {
                match way {
                    0 => org.by_bus().await,
                    1 => org.by_message(random.choice(&org.messages).unwrap()).await,
                    2 => org.by_poll().await,
                    _ => org.work().await,
                }
            }
        }
        // All of it, and what was told before once more.
        let mut messages = [org.messages.clone(), org.messages.clone()].concat();
        random.shuffle(&mut messages);
        for message in &messages {
            org.by_message(message).await;
        }
        org.by_poll().await;
        org.by_bus().await;
        org.work().await;
        org.by_poll().await;
        org.work().await;
        org.assert_one_task_for_each_change(&format!("seed {seed}"));
        let states = org.it.store.store.counts().await.unwrap();
        assert_eq!((states.dead, states.ready), (0, 0), "seed {seed}");
    }
}

/// Each source alone tells what it can: the record's last state, and whether it is new.
#[tokio::test]
async fn a_message_alone_tells_new_records_changed_ones_and_deleted_ones() {
    let mut org = Org::up().await;
    let old = org.made(ago(26 * 3600));
    org.changed(&old, ago(600));
    let new = org.made(ago(500));
    let changed = org.made(ago(3600));
    org.changed(&changed, ago(400));
    for message in org.messages.clone() {
        org.by_message(&message).await;
    }
    org.work().await;
    org.changes
        .retain(|(account, done, _)| *account != old || done == "UPDATED");
    org.assert_one_task_for_each_change("the first of an old one is told of by nobody");

    // By the time that it is looked at, it is gone; it can come back.
    let again = org.it.org.outbound_message(ACTION, &[&new], &["Name"]);
    org.it.org.delete(&new).unwrap();
    org.by_message(&again.unwrap()).await;
    org.work().await;
    let jobs = org
        .it
        .store
        .store
        .jobs(&JobFilter::default())
        .await
        .unwrap();
    let last = jobs.last().unwrap();
    assert_eq!(last.state, JobState::Done);
    assert_eq!(
        last.note.as_deref(),
        Some("nothing to do for Account.DELETED")
    );
    assert_eq!(org.tasks().len(), org.changes.len());
}

/// A record that comes out of the bin is a change to a source that does not know better.
#[tokio::test]
async fn a_record_that_comes_back_is_told_of_once() {
    let mut org = Org::up().await;
    let account = org.made(ago(3000));
    org.it.org.delete(&account).unwrap();
    org.it.org.undelete(&account).unwrap();
    org.by_poll().await;
    org.by_bus().await;
    org.work().await;
    org.by_poll().await;
    org.work().await;
    let told = told(&org.it.store.store).await;
    let said = |it: &RecordEvent| it.trigger().unwrap();
    assert!(told.iter().any(|it| said(it) == "Account.UNDELETED"));
    let tasks = org.tasks();
    assert_eq!(tasks.len(), 2, "made, and brought back: {tasks:?}");
}

/// Salesforce has people in another field of a Task than all other records.
#[tokio::test]
async fn a_lead_has_its_task_once_also_when_the_answer_is_lost() {
    let org = Org::up().await;
    let lost = Fault::on("*/sobjects/Task", FaultEffect::LostAnswer);
    org.it.org.inject(lost.method("POST"));
    let lead = json!({ "LastName": "Bluth", "Company": "Bluth Homes" });
    let lead = org.it.org.create("Lead", lead).unwrap();
    let message = org.it.org.outbound_message(ACTION, &[&lead], &[]);
    org.by_message(&message.unwrap()).await;
    org.work().await;
    let tasks = org.it.org.records("Task");
    assert_eq!(tasks.len(), 1, "{tasks:#?}");
    assert_eq!(
        (&tasks[0]["WhoId"], &tasks[0]["WhatId"]),
        (&json!(lead), &json!(null))
    );
}
