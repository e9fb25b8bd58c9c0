use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use apache_avro::types::Value;
use bridge::{
    EffectKey, EffectState, Ledger, Queue,
    source::{EventBus, Poll, Topic},
};
use jiff::{SignedDuration, Timestamp};
use salesforce_client::{SalesforceClient, testing::FakeSalesforce};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{
    bus::Bus,
    change_event::{change, schema},
    org, records, said,
    shaky::Shaky,
    told,
};

const TOPIC: &str = "/data/AccountChangeEvent";
const MINE: &str = "com/salesforce/api/rest/58.0;client=box-bridge";
pub(super) const THEIRS: &str = "com/salesforce/api/soap/58.0;client=SfdcInternalAPI/";

pub(super) fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

fn account(org: &FakeSalesforce, at: Timestamp) -> String {
    let at = at.to_string();
    let fields = json!({ "Name": "Acme", "CreatedDate": at, "SystemModstamp": at });
    org.create("Account", fields).unwrap()
}

pub(super) struct Listening {
    pub(super) org: FakeSalesforce,
    pub(super) client: SalesforceClient,
    pub(super) bus: Bus,
    pub(super) store: Arc<Shaky>,
}

impl Listening {
    pub(super) async fn up() -> Self {
        let (org, client) = org().await;
        Self {
            org,
            client,
            bus: Bus::start(&schema()).await,
            store: Arc::new(Shaky::default()),
        }
    }

    pub(super) fn source(&self) -> EventBus {
        self.source_of(Topic::new(TOPIC))
    }

    fn source_of(&self, topic: Topic) -> EventBus {
        let bus = self.client.pubsub().endpoint(&self.bus.url).build();
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
        timeout(Duration::from_secs(60), listening).await.unwrap();
    }

    async fn until_told(&self, source: EventBus, events: usize) -> Vec<String> {
        let enough = async || said(&self.store.store).await.len() >= events;
        self.until(source, enough).await;
        said(&self.store.store).await
    }

    pub(super) async fn until_kept(&self, source: EventBus, place: &str) {
        let key = EffectKey::new(["source", "events", TOPIC]);
        let kept = async || match self.store.store.read(&key).await.unwrap() {
            Some(EffectState::Finished(position)) => position["replay"] == json!(place.as_bytes()),
            _ => false,
        };
        self.until(source, kept).await;
    }
}

pub(super) const IDS: [&str; 3] = [
    "001000000000001AAA",
    "001000000000002AAA",
    "001000000000003AAA",
];

#[tokio::test]
async fn what_the_bus_tells_is_taken_in_once_and_gone_on_from_after_a_stop() {
    let it = Listening::up().await;
    // The place of the bus is known only with the first sign of it.
    it.bus.push(change("CREATE", &IDS[..1], THEIRS, ago(700)));
    it.until_kept(it.source(), "replay-0").await;
    assert_eq!(said(&it.store.store).await, [""; 0], "from now on");
    it.bus.push(change("CREATE", &IDS, THEIRS, ago(600)));
    it.bus.push(change("UPDATE", &IDS[..1], THEIRS, ago(500)));
    it.until_kept(it.source(), "replay-2").await;
    it.bus.push(change("DELETE", &IDS[1..2], THEIRS, ago(400)));
    it.bus
        .push(change("UNDELETE", &IDS[1..2], THEIRS, ago(300)));
    it.bus
        .push(change("GAP_UPDATE", &IDS[2..], THEIRS, ago(200)));
    it.until_kept(it.source(), "replay-5").await;
    let expected = [
        ("CREATED", 0),
        ("CREATED", 1),
        ("CREATED", 2),
        ("UPDATED", 0),
        ("DELETED", 1),
        ("UNDELETED", 1),
        ("UPDATED", 2),
    ];
    let expected = expected.map(|(change, id)| format!("{change} {}", IDS[id]));
    assert_eq!(said(&it.store.store).await, expected);
    let opened = it.bus.state().opened.clone();
    assert!(opened[1..].iter().all(|open| open.replay_preset == 2));
}

#[tokio::test]
async fn dying_between_the_events_and_the_position_loses_and_doubles_nothing() {
    let it = Listening::up().await;
    // Nothing to ask about, so nothing moves the position but the events.
    let source = || it.source_of(Topic::new(TOPIC).objects([""; 0]));
    it.bus.push(change("CREATE", &IDS[..1], THEIRS, ago(700)));
    it.until_kept(source(), "replay-0").await;
    for id in IDS {
        it.bus.push(change("UPDATE", &[id], THEIRS, ago(600)));
    }
    it.store.no_position.store(true, Ordering::SeqCst);
    it.until_told(source(), 3).await;
    it.store.no_position.store(false, Ordering::SeqCst);
    it.until_kept(source(), "replay-3").await;
    assert_eq!(said(&it.store.store).await.len(), 3);
    // The store refuses the events: the position stays before them.
    it.bus.push(change("DELETE", &IDS[..1], THEIRS, ago(500)));
    it.store.no_push.store(true, Ordering::SeqCst);
    let asked = it.bus.state().opened.len();
    let tried = async || it.bus.state().opened.len() > asked + 1;
    it.until(source(), tried).await;
    it.store.no_push.store(false, Ordering::SeqCst);
    assert_eq!(it.until_told(source(), 4).await.len(), 4);
}

#[tokio::test]
async fn a_change_that_two_sources_tell_of_is_one_job() {
    let it = Listening::up().await;
    let at = ago(600);
    let id = account(&it.org, at);
    let (queue, ledger) = it.stores();
    let poll = Poll::new(records(&it.client), queue, ledger, ["Account"]);
    poll.since(ago(3600)).once().await.unwrap();
    it.bus.push(change("CREATE", &IDS[..1], THEIRS, ago(700)));
    it.until_kept(it.source(), "replay-0").await;
    it.bus.push(change("CREATE", &[&id], THEIRS, at));
    it.until_kept(it.source(), "replay-1").await;
    assert_eq!(said(&it.store.store).await, [format!("CREATED {id}")]);
}

#[tokio::test]
async fn what_was_missed_with_a_lost_position_is_asked_for() {
    let mut it = Listening::up().await;
    for _ in 0..2 {
        it.bus.push(change("CREATE", &IDS[..1], THEIRS, ago(700)));
    }
    it.until_kept(it.source(), "replay-1").await;
    // Another bus, which knows nothing of the place.
    it.bus = Bus::start(&schema()).await;
    let id = account(&it.org, ago(300));
    assert_eq!(
        it.until_told(it.source(), 1).await,
        [format!("CREATED {id}")]
    );
    assert_eq!(it.bus.state().opened[0].replay_preset, 2);
}

#[tokio::test]
async fn what_the_bus_does_not_name_is_asked_for() {
    for (kind, ids) in [("GAP_OVERFLOW", "001000000000001AAA"), ("UPDATE", "001*")] {
        let it = Listening::up().await;
        it.bus.push(change("CREATE", &IDS[..1], THEIRS, ago(700)));
        it.until_kept(it.source(), "replay-0").await;
        let id = account(&it.org, ago(300));
        it.bus.push(change(kind, &[ids], THEIRS, ago(200)));
        assert_eq!(
            it.until_told(it.source(), 1).await,
            [format!("CREATED {id}")]
        );
    }
}

#[tokio::test]
async fn our_own_changes_can_be_left_out_and_what_cannot_be_read_hurts_nobody_else() {
    let it = Listening::up().await;
    it.bus.push(change("CREATE", &IDS[..1], THEIRS, ago(700)));
    it.until_kept(it.source(), "replay-0").await;
    it.bus.push(change("UPDATE", &IDS[..1], MINE, ago(600)));
    it.bus.push(change("UPDATE", &IDS[1..2], THEIRS, ago(600)));
    it.bus.state().events[2].payload = b"\x09".as_slice().into();
    it.bus.push(change("UPDATE", &IDS[2..], THEIRS, ago(600)));
    let source = it.source().not_by("box-bridge");
    it.until_kept(source, "replay-3").await;
    let expected = [format!("UPDATED {}", IDS[2])];
    assert_eq!(said(&it.store.store).await, expected);
}

#[tokio::test]
async fn a_platform_event_names_its_record_in_a_field() {
    let it = Listening::up().await;
    it.bus.state().schema = json!({ "type": "record", "name": "Known__e", "fields": [
        { "name": "CreatedDate", "type": "long" },
        { "name": "Deal__c", "type": ["null", "string"] },
    ]})
    .to_string();
    let push = |id: &str| {
        let value = Value::Union(1, Box::new(Value::String(id.to_owned())));
        let at = Value::Long(ago(100).as_millisecond());
        let fields = vec![
            ("CreatedDate".to_owned(), at),
            ("Deal__c".to_owned(), value),
        ];
        it.bus.push(Value::Record(fields));
    };
    let topic = || Topic::new("/event/Known__e").record_field("Deal__c");
    let begun = async || !it.bus.state().opened.is_empty();
    it.until(it.source_of(topic()), begun).await;
    let pushing = async {
        while it.bus.state().opened.len() < 2 {
            sleep(Duration::from_millis(5)).await;
        }
        push("no id");
        push("006000000000001");
    };
    let (told_all, ()) = tokio::join!(it.until_told(it.source_of(topic()), 1), pushing);
    assert_eq!(told_all, ["CHANGED 006000000000001AAA"]);
    let event = told(&it.store.store).await.remove(0);
    assert_eq!(event.trigger().unwrap(), "Opportunity.CHANGED");
    assert!(event.at.is_some());
}
