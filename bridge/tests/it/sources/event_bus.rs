use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bridge::{
    Action, EffectKey, EffectState, Ledger, Queue, Rule, Situation, Step, StepError,
    action::Work,
    source::{EventBus, Poll, Topic},
};
use jiff::{SignedDuration, Timestamp};
use salesforce_client::{
    ClientCredentials, SalesforceClient,
    pubsub::{ChangeType, PubSub},
    testing::{FakeSalesforce, Field, PlatformEvent, StreamEnd, StreamFault},
};
use serde::Serialize;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{org, records, said, shaky::Shaky, told};

const TOPIC: &str = "/data/AccountChangeEvent";

pub(super) fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

pub(super) fn account(org: &FakeSalesforce, at: Timestamp) -> String {
    let at = at.to_string();
    let fields = json!({ "Name": "Acme", "CreatedDate": at, "SystemModstamp": at });
    org.create("Account", fields).unwrap()
}

pub(super) struct Listening {
    pub(super) org: FakeSalesforce,
    pub(super) client: SalesforceClient,
    pub(super) store: Arc<Shaky>,
}

impl Listening {
    /// An org with a platform event, and who publishes it.
    fn with_known(&self) -> PubSub {
        let event = PlatformEvent::new("Known__e").field(Field::text("Deal__c", 18));
        self.org.add_platform_event(event).unwrap();
        let bus = self.client.pubsub().endpoint(self.org.pubsub_url());
        bus.build().unwrap()
    }

    fn known(&self, deal: &str) -> Known {
        Known {
            created: ago(100).as_millisecond(),
            by: self.org.integration_user().to_owned(),
            deal: deal.to_owned(),
        }
    }

    pub(super) async fn up() -> Self {
        let (org, client) = org().await;
        Self {
            org,
            client,
            store: Arc::new(Shaky::default()),
        }
    }

    pub(super) fn source(&self) -> EventBus {
        self.source_of(Topic::new(TOPIC))
    }

    fn source_of(&self, topic: Topic) -> EventBus {
        let bus = self.client.pubsub().endpoint(self.org.pubsub_url()).build();
        let (queue, ledger) = self.stores();
        EventBus::new(bus.unwrap(), records(&self.client), queue, ledger).topic(topic)
    }

    fn stores(&self) -> (Arc<dyn Queue>, Arc<dyn Ledger>) {
        (self.store.clone(), self.store.clone())
    }

    /// Listens until it is so.
    async fn until(&self, source: EventBus, mut is_so: impl AsyncFnMut() -> bool) {
        let is_so = async {
            while !is_so().await {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let listening = async {
            tokio::select! {
                () = source.run(pending()) => {}
                () = is_so => {}
            }
        };
        timeout(Duration::from_secs(600), listening).await.unwrap();
    }

    async fn until_told(&self, source: EventBus, events: usize) -> Vec<String> {
        let enough = async || said(&self.store.store).await.len() >= events;
        self.until(source, enough).await;
        said(&self.store.store).await
    }

    /// Listens until all that is on the bus is dealt with.
    pub(super) async fn until_kept(&self, source: EventBus) {
        self.until_kept_of(TOPIC, source).await;
    }

    async fn until_kept_of(&self, topic: &str, source: EventBus) {
        let key = EffectKey::new(["source", "events", topic]);
        let place = json!(self.org.latest_replay_id());
        let kept = async || match self.store.store.read(&key).await.unwrap() {
            Some(EffectState::Finished(position)) => position["replay"] == place,
            _ => false,
        };
        self.until(source, kept).await;
    }
}

#[tokio::test]
async fn what_the_bus_tells_is_taken_in_once_and_gone_on_from_after_a_stop() {
    let it = Listening::up().await;
    // The place of the bus is known only with the first sign of it.
    account(&it.org, ago(700));
    it.until_kept(it.source()).await;
    assert_eq!(said(&it.store.store).await, [""; 0], "from now on");
    let ids = [600, 599, 598].map(|seconds| account(&it.org, ago(seconds)));
    let both = ids[..2].iter().map(|id| {
        let id = id.parse::<salesforce_client::RecordId>().unwrap();
        (id, json!({ "Phone": "1" }))
    });
    // One event of two records.
    let updated = it.client.sobject("Account").update_all(both).send().await;
    assert!(updated.iter().all(|it| it.outcome.is_ok()));
    it.until_kept(it.source()).await;
    it.org.delete(&ids[1]).unwrap();
    it.org.undelete(&ids[1]).unwrap();
    let gap = it
        .org
        .tell_gap("Account", ChangeType::GapUpdate, &[&ids[2]]);
    gap.unwrap();
    it.until_kept(it.source()).await;
    let expected = [
        ("CREATED", 0),
        ("CREATED", 1),
        ("CREATED", 2),
        ("UPDATED", 0),
        ("UPDATED", 1),
        ("DELETED", 1),
        ("UNDELETED", 1),
        ("UPDATED", 2),
    ];
    let expected = expected.map(|(change, id)| format!("{change} {}", ids[id]));
    assert_eq!(said(&it.store.store).await, expected);
    let opened = it.org.subscriptions();
    assert!(opened[1..].iter().all(|open| open.preset == "CUSTOM"));
}

#[tokio::test]
async fn dying_between_the_events_and_the_position_loses_and_doubles_nothing() {
    let it = Listening::up().await;
    // Nothing to ask about, so nothing moves the position but the events.
    let source = || it.source_of(Topic::new(TOPIC).objects([""; 0]));
    let ids = [700, 699, 698].map(|seconds| account(&it.org, ago(seconds)));
    it.until_kept(source()).await;
    for id in &ids {
        it.org.update(id, json!({ "Phone": "1" })).unwrap();
    }
    it.store.no_position.store(true, Ordering::SeqCst);
    it.until_told(source(), 3).await;
    it.store.no_position.store(false, Ordering::SeqCst);
    it.until_kept(source()).await;
    assert_eq!(said(&it.store.store).await.len(), 3);
    // The store refuses the events: the position stays before them.
    it.org.delete(&ids[0]).unwrap();
    it.store.no_push.store(true, Ordering::SeqCst);
    let asked = it.org.subscriptions().len();
    let tried = async || it.org.subscriptions().len() > asked + 1;
    it.until(source(), tried).await;
    it.store.no_push.store(false, Ordering::SeqCst);
    assert_eq!(it.until_told(source(), 4).await.len(), 4);
}

#[tokio::test]
async fn a_change_that_two_sources_tell_of_is_one_job() {
    let it = Listening::up().await;
    let first = account(&it.org, ago(700));
    it.until_kept(it.source()).await;
    let id = account(&it.org, ago(600));
    let (queue, ledger) = it.stores();
    let poll = Poll::new(records(&it.client), queue, ledger, ["Account"]);
    poll.since(ago(3600)).once().await.unwrap();
    let both = [first, id].map(|id| format!("CREATED {id}"));
    assert_eq!(said(&it.store.store).await, both);
    it.until_kept(it.source()).await;
    assert_eq!(said(&it.store.store).await, both);
}

#[tokio::test]
async fn what_was_missed_with_a_lost_position_is_asked_for() {
    let it = Listening::up().await;
    let first = account(&it.org, ago(700));
    it.until_kept(it.source()).await;
    // Gone from the bus before anybody heard of it.
    let id = account(&it.org, ago(300));
    it.org.purge_events();
    let opened = it.org.subscriptions().len();
    // What was there at the last known time is asked for too.
    let expected = [first, id].map(|id| format!("CREATED {id}"));
    assert_eq!(it.until_told(it.source(), 2).await, expected);
    // What was refused is no subscription: the first that came to be begins elsewhere.
    assert_ne!(it.org.subscriptions()[opened].preset, "CUSTOM");
}

#[tokio::test]
async fn a_lost_position_nobody_can_ask_about_goes_on_with_what_the_bus_still_has() {
    let it = Listening::up().await;
    let source = || it.source_of(Topic::new(TOPIC).objects([""; 0]));
    account(&it.org, ago(700));
    it.until_kept(source()).await;
    it.org.purge_events();
    let id = account(&it.org, ago(300));
    // It stops after it was told of the loss, and before it has another position.
    let silence = StreamFault::after(0, StreamEnd::Silence);
    it.org.inject_stream_fault(silence);
    let opened = it.org.subscriptions().len();
    it.until(source(), async || it.org.subscriptions().len() > opened)
        .await;
    assert_eq!(said(&it.store.store).await, [""; 0]);
    let told = it.until_told(source(), 1).await;
    assert_eq!(told, [format!("CREATED {id}")]);
    it.until_kept(source()).await;
    let since = &it.org.subscriptions()[opened..];
    assert!(since[..2].iter().all(|it| it.preset == "EARLIEST"));
}

#[tokio::test]
async fn what_the_bus_does_not_name_is_asked_for() {
    for (kind, ids) in [
        (ChangeType::GapOverflow, "001000000000001AAA"),
        (ChangeType::GapUpdate, "001*"),
    ] {
        let it = Listening::up().await;
        let first = account(&it.org, ago(700));
        it.until_kept(it.source()).await;
        it.org.capture_changes([""; 0]).unwrap();
        let id = account(&it.org, ago(300));
        it.org.tell_gap("Account", kind, &[ids]).unwrap();
        let expected = [first, id].map(|id| format!("CREATED {id}"));
        assert_eq!(it.until_told(it.source(), 2).await, expected);
    }
}

#[tokio::test]
async fn our_own_changes_can_be_left_out() {
    let it = Listening::up().await;
    // Where a gap is asked for, the minute can end meanwhile, and our own change comes by it.
    let source = || it.source_of(Topic::new(TOPIC).objects([""; 0]));
    let ids = [700, 699].map(|seconds| account(&it.org, ago(seconds)));
    it.until_kept(source()).await;
    let tokens = ClientCredentials::new("app", "secret".to_owned());
    let own = SalesforceClient::builder(tokens)
        .login_url(it.org.url())
        .client_name("box-bridge");
    let own = own.build().unwrap();
    let id = ids[0].parse().unwrap();
    let fields = json!({ "Phone": "1" });
    let update = own.sobject("Account").update(&id, &fields).send();
    update.await.unwrap();
    it.org.update(&ids[1], fields).unwrap();
    let source = source().not_by("box-bridge");
    it.until_kept(source).await;
    let expected = [format!("UPDATED {}", ids[1])];
    assert_eq!(said(&it.store.store).await, expected);
}

#[tokio::test]
async fn what_cannot_be_read_hurts_nobody_else_and_is_asked_for() {
    let it = Listening::up().await;
    let ids = [700, 699].map(|seconds| account(&it.org, ago(seconds)));
    it.until_kept(it.source()).await;
    it.org.tell_unreadable(TOPIC).unwrap();
    it.org.update(&ids[1], json!({ "Phone": "1" })).unwrap();
    // What is told of the first record can only come from asking: it was not changed since.
    let told = it.until_told(it.source(), 3).await;
    let updated = format!("UPDATED {}", ids[1]);
    assert_eq!(
        told.iter().filter(|it| **it == updated).count(),
        1,
        "{told:?}"
    );
    for id in &ids {
        assert!(told.contains(&format!("CREATED {id}")), "{told:?}");
    }
}

/// Goes by these fields, and is never asked to do anything.
#[derive(Debug)]
struct GoesBy(Option<&'static [&'static str]>);

#[async_trait]
impl Action for GoesBy {
    fn name(&self) -> &str {
        "goes_by"
    }

    fn plan(&self, _: &Situation) -> Option<String> {
        None
    }

    fn goes_by(&self, object: &str) -> Option<Vec<String>> {
        assert_eq!(object, "Account");
        let fields = self.0?.iter();
        Some(fields.map(|field| (*field).to_owned()).collect())
    }

    async fn apply(&self, _: &Step, _: &Work<'_>) -> Result<String, StepError> {
        Ok(String::new())
    }
}

#[tokio::test]
async fn a_change_of_fields_that_no_rule_goes_by_is_no_job_and_no_call() {
    let by = |fields: &'static [&'static str], trigger: &str| {
        let action: Arc<dyn Action> = Arc::new(GoesBy(Some(fields)));
        Rule::new("r", [trigger], vec![action]).unwrap()
    };
    let it = Listening::up().await;
    let ids = [700, 699, 698, 697].map(|seconds| account(&it.org, ago(seconds)));
    it.until_kept(it.source()).await;
    let calls = || {
        let requests = it.org.requests();
        let describes = requests.iter().filter(|it| it.path.ends_with("/describe"));
        (requests.len(), describes.count())
    };
    let rules = [
        by(&["Name", "Owner.Email"], "Account.*"),
        by(&["Website"], "Account.CHANGED"),
        by(&["Phone"], "Account.CREATED"),
        by(&["Phone"], "Contact.*"),
    ];
    let source = it.source().for_rules(rules.to_vec());
    let before = calls();
    for phone in ["1", "2", "3"] {
        it.org.update(&ids[0], json!({ "Phone": phone })).unwrap();
    }
    it.until_kept(source.clone()).await;
    assert_eq!(said(&it.store.store).await, [""; 0]);
    let asked = calls();
    assert_eq!(
        (asked.0 - before.0, asked.1 - before.1),
        (1, 1),
        "which fields there are, once"
    );

    // What a rule goes by, and what nobody names the fields of.
    let other = it.org.integration_user();
    let changes = [
        json!({ "Phone": "4", "Name": "Acme 2" }),
        json!({ "Website": "https://acme.example" }),
        json!({ "OwnerId": other }),
    ];
    for (id, fields) in ids.iter().zip(changes) {
        it.org.update(id, fields).unwrap();
    }
    let gap = ChangeType::GapUpdate;
    it.org.tell_gap("Account", gap, &[&ids[3]]).unwrap();
    it.org.delete(&ids[3]).unwrap();
    it.until_kept(source.clone()).await;
    let mut told = said(&it.store.store).await;
    assert_eq!(told.pop(), Some(format!("DELETED {}", ids[3])));
    assert_eq!(told, ids.map(|id| format!("UPDATED {id}")));
    assert_eq!(calls(), asked);
}

#[tokio::test]
async fn a_rule_that_goes_by_everything_or_by_what_is_computed_hears_of_every_change() {
    for fields in [None, Some(&["LastModifiedDate"][..]), Some(&["Nope__c"])] {
        let it = Listening::up().await;
        let id = account(&it.org, ago(700));
        it.until_kept(it.source()).await;
        let action: Arc<dyn Action> = Arc::new(GoesBy(fields));
        let rule = Rule::new("r", ["Account.UPDATED"], vec![action]).unwrap();
        it.org.update(&id, json!({ "Phone": "1" })).unwrap();
        it.until_kept(it.source().for_rules(vec![rule])).await;
        let told = said(&it.store.store).await;
        assert_eq!(told, [format!("UPDATED {id}")], "{fields:?}");
    }
}

#[derive(Serialize)]
struct Known {
    #[serde(rename = "CreatedDate")]
    created: i64,
    #[serde(rename = "CreatedById")]
    by: String,
    #[serde(rename = "Deal__c")]
    deal: String,
}

#[tokio::test]
async fn a_platform_event_names_its_record_in_a_field() {
    const TOPIC: &str = "/event/Known__e";
    let it = Listening::up().await;
    let bus = it.with_known();
    let topic = || Topic::new(TOPIC).record_field("Deal__c");
    let begun = async || !it.org.subscriptions().is_empty();
    it.until(it.source_of(topic()), begun).await;
    let publishing = async {
        while it.org.subscriptions().len() < 2 {
            sleep(Duration::from_millis(5)).await;
        }
        let events = [it.known("no id"), it.known("006000000000001")];
        bus.publish(TOPIC, &events).await.unwrap();
    };
    let (told_all, ()) = tokio::join!(it.until_told(it.source_of(topic()), 1), publishing);
    assert_eq!(told_all, ["CHANGED 006000000000001AAA"]);
    let event = told(&it.store.store).await.remove(0);
    assert_eq!(event.trigger().unwrap(), "Opportunity.CHANGED");
    assert!(event.at.is_some());
}

#[tokio::test]
async fn platform_events_that_the_bus_still_has_come_after_a_lost_position() {
    const TOPIC: &str = "/event/Known__e";
    let it = Listening::up().await;
    let bus = it.with_known();
    let topic = Topic::new(TOPIC)
        .record_field("Deal__c")
        .objects(["Account"]);
    let source = || it.source_of(topic.clone());
    bus.publish(TOPIC, &[it.known("006000000000001")])
        .await
        .unwrap();
    it.until_kept_of(TOPIC, source()).await;
    it.org.purge_events();
    // Nobody listens, and no record of that name changes.
    bus.publish(TOPIC, &[it.known("006000000000002")])
        .await
        .unwrap();
    let id = account(&it.org, ago(300));
    let mut told = it.until_told(source(), 2).await;
    told.sort();
    let created = format!("CREATED {id}");
    assert_eq!(told, ["CHANGED 006000000000002AAA", &created]);
}
