//! The event bus, against one that breaks on purpose.

mod bus;
mod wire;

use std::{pin::pin, time::Duration};

use apache_avro::types::Value;
use futures_util::{Stream, StreamExt, TryStreamExt};
use salesforce_client::{
    ClientCredentials, ErrorKind, SalesforceClient, StaticToken,
    pubsub::{ChangeType, Delivery, Event, PubSub, Replay, ReplayId},
    testing::FakeSalesforce,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tonic::Code;

use self::bus::{Bus, End, Plan, replay_id};
use crate::support::quick;

const COUNTED: &str = r#"{ "type": "record", "name": "Counted__e", "fields": [
    { "name": "Number__c", "type": ["null", "long"] },
    { "name": "Note__c", "type": ["null", "string"] }
]}"#;

#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Counted {
    #[serde(rename = "Number__c")]
    number: Option<i64>,
    #[serde(rename = "Note__c")]
    note: Option<String>,
}

fn counted(number: i64) -> Value {
    Value::Record(vec![
        (
            "Number__c".to_owned(),
            Value::Union(1, Box::new(Value::Long(number))),
        ),
        ("Note__c".to_owned(), Value::Union(0, Box::new(Value::Null))),
    ])
}

fn client() -> SalesforceClient {
    let token = StaticToken::new(
        "00D5g0000000001!AQ.token".to_owned(),
        "https://example.my.salesforce.com",
    );
    let client = SalesforceClient::builder(token.unwrap()).retry(quick());
    client.build().unwrap()
}

fn pubsub(bus: &Bus) -> PubSub {
    client().pubsub().endpoint(&bus.url).build().unwrap()
}

async fn bus_of(events: i64) -> Bus {
    let bus = Bus::start(COUNTED).await;
    (0..events).for_each(|number| bus.push(counted(number)));
    bus
}

/// Events alone, as many as asked for.
async fn take(
    stream: impl Stream<Item = salesforce_client::Result<Delivery>>,
    count: usize,
) -> Vec<Event> {
    let events = stream.try_filter_map(async |delivery| {
        Ok(match delivery {
            Delivery::Event(event) => Some(*event),
            _ => None,
        })
    });
    let taken = events.take(count).try_collect();
    tokio::time::timeout(Duration::from_secs(60), taken)
        .await
        .unwrap()
        .unwrap()
}

fn numbers(events: &[Event]) -> Vec<i64> {
    let number = |event: &Event| event.decode::<Counted>().unwrap().number.unwrap();
    events.iter().map(number).collect()
}

#[tokio::test]
async fn no_event_is_lost_or_comes_twice_over_a_hundred_broken_connections() {
    const EVENTS: i64 = 1_500;
    let fake = FakeSalesforce::builder()
        .client("app", "secret")
        .start()
        .await
        .unwrap();
    let tokens = ClientCredentials::new("app", "secret".to_owned());
    let client = SalesforceClient::builder(tokens)
        .login_url(fake.url())
        .retry(quick());
    let client = client.build().unwrap();
    let bus = bus_of(EVENTS).await;
    let ends = [
        End::Clean,
        End::Status(Code::Unavailable),
        End::Silence,
        End::Misleading,
        End::Status(Code::Internal),
        End::Coded(
            Code::Unauthenticated,
            "sfdc.platform.eventbus.grpc.service.auth.error",
        ),
        End::Coded(
            Code::Unavailable,
            "sfdc.platform.eventbus.grpc.service.unavailable",
        ),
        End::Coded(
            Code::ResourceExhausted,
            "sfdc.platform.eventbus.grpc.concurrent.client.limit.exceeded",
        ),
    ];
    bus.state().plans = (0..120)
        .map(|n| Plan {
            events: n % 25,
            batch: 1 + n % 9,
            again: n % 13,
            end: ends[n % ends.len()],
        })
        .chain([Plan::STEADY])
        .collect();
    let pubsub = client.pubsub().endpoint(&bus.url).build().unwrap();
    let subscription = pubsub
        .subscribe("/data/ChangeEvents")
        .replay(Replay::Earliest)
        .silence(Duration::from_millis(150));
    let events = take(subscription.stream(), EVENTS as usize).await;
    assert_eq!(numbers(&events), (0..EVENTS).collect::<Vec<_>>());
    let state = bus.state();
    assert!(state.subscriptions > 100, "{}", state.subscriptions);
    assert!(state.most_outstanding <= 100);
    assert_eq!(state.schemas_asked, 1);
    assert!(
        state
            .opened
            .iter()
            .skip(2)
            .all(|open| open.replay_preset == 2)
    );
}

#[tokio::test]
async fn no_more_is_asked_for_than_is_taken() {
    let bus = bus_of(500).await;
    let subscription = pubsub(&bus)
        .subscribe("/data/X__ChangeEvent")
        .replay(Replay::Earliest);
    let mut stream = pin!(subscription.at_once(10).stream());
    for number in 0..300 {
        let Some(Ok(Delivery::Event(event))) = stream.next().await else {
            panic!("no event");
        };
        assert_eq!(event.decode::<Counted>().unwrap().number, Some(number));
    }
    assert!(bus.state().most_outstanding <= 10);
    assert_eq!(bus.state().subscriptions, 1);
}

#[tokio::test]
async fn a_quiet_topic_moves_the_position() {
    let bus = bus_of(3).await;
    let from = Replay::After(ReplayId::from(&replay_id(0)[..]));
    let pubsub = pubsub(&bus);
    let mut stream = pin!(
        pubsub
            .subscribe("/data/X__ChangeEvent")
            .replay(from)
            .stream()
    );
    for expected in [1, 2] {
        let delivery = stream.next().await.unwrap().unwrap();
        assert_eq!(delivery.replay_id().as_bytes(), replay_id(expected));
        assert!(matches!(delivery, Delivery::Event(_)));
    }
    let quiet = stream.next().await.unwrap().unwrap();
    let Delivery::Quiet { latest } = quiet else {
        panic!("{quiet:?}");
    };
    bus.push(counted(3));
    let later = pubsub
        .subscribe("/data/X__ChangeEvent")
        .replay(Replay::After(latest));
    assert_eq!(numbers(&take(later.stream(), 1).await), [3]);
}

#[tokio::test]
async fn a_place_that_is_lost_is_an_error_unless_another_is_named() {
    let bus = bus_of(2).await;
    let lost = Replay::After(ReplayId::from(b"garbage".to_vec()));
    let subscribe = || {
        pubsub(&bus)
            .subscribe("/data/X__ChangeEvent")
            .replay(lost.clone())
    };
    let mut stream = pin!(subscribe().stream());
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PositionLost);
    assert!(
        error
            .api()
            .unwrap()
            .code()
            .unwrap()
            .as_str()
            .ends_with("replayid.corrupted")
    );
    assert!(!error.is_retryable());
    assert!(stream.next().await.is_none());
    let events = take(subscribe().if_lost(Replay::Earliest).stream(), 2).await;
    assert_eq!(numbers(&events), [0, 1]);
    // One that is lost as well is no reason to go on for ever.
    let stream = subscribe().if_lost(lost.clone()).stream();
    let error = pin!(stream).next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PositionLost);
}

#[tokio::test]
async fn what_waiting_does_not_mend_is_told_at_once() {
    let bus = bus_of(1).await;
    let stream = pubsub(&bus).subscribe("/event/Missing__e").stream();
    let error = pin!(stream).next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(bus.state().opened.len(), 1);
}

#[tokio::test]
async fn a_token_that_stays_refused_is_tried_twice_and_no_more() {
    let bus = bus_of(1).await;
    bus.state()
        .refused_tokens
        .push("00D5g0000000001!AQ.token".to_owned());
    let pubsub = pubsub(&bus);
    let stream = pubsub.subscribe("/data/ChangeEvents").stream();
    let error = pin!(stream).next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    let error = pubsub.topic("/event/X__e").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(bus.state().metadata.len() <= 4);
}

#[tokio::test]
async fn a_bus_that_is_away_is_waited_for_and_not_for_ever() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let pubsub = client().pubsub().endpoint(&url).build().unwrap();
    let subscription = pubsub
        .subscribe("/data/ChangeEvents")
        .patience(Duration::from_millis(50));
    let error = pin!(subscription.stream())
        .next()
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(error.attempts() > 1);
    // Nothing has left, so even what must not be done twice is tried again.
    let events: [Counted; 0] = [];
    let error = pubsub.publish("/event/X__e", &events).await.unwrap_err();
    assert!(!error.may_have_happened());
    assert_eq!(error.attempts(), 5);
}

#[tokio::test]
async fn each_call_carries_the_bare_token_the_host_and_the_org() {
    let bus = bus_of(1).await;
    let subscription = pubsub(&bus)
        .subscribe("/data/ChangeEvents")
        .replay(Replay::Earliest);
    take(subscription.stream(), 1).await;
    let expected = [
        "00D5g0000000001!AQ.token",
        "https://example.my.salesforce.com",
        "00D5g0000000001",
    ];
    for told in &bus.state().metadata {
        assert_eq!(told, &expected);
    }
    let error = pubsub(&bus).topic("x").await;
    let shown = format!("{error:?} {:?}", pubsub(&bus));
    assert!(!shown.contains("AQ.token"), "{shown}");
}

#[tokio::test]
async fn each_event_published_has_its_own_outcome() {
    let bus = bus_of(0).await;
    let events = [1, 2, 3, 4].map(|number| Counted {
        number: Some(number),
        note: (number == 4).then(|| "last".to_owned()),
    });
    let outcomes = pubsub(&bus)
        .publish("/event/Counted__e", &events)
        .await
        .unwrap();
    assert_eq!(outcomes.len(), 4);
    for number in [0, 1, 3] {
        let published = outcomes[number].as_ref().unwrap();
        assert_eq!(published.replay_id.as_bytes(), replay_id(number));
    }
    let refused = outcomes[2].as_ref().unwrap_err();
    assert_eq!(
        (refused.code.as_str(), refused.message.as_str()),
        ("PUBLISH", "no room")
    );

    // What was published is what a subscriber reads.
    let sent = bus.state().published[0].events.clone();
    bus.state().events = sent;
    let subscription = pubsub(&bus)
        .subscribe("/data/X__ChangeEvent")
        .replay(Replay::Earliest);
    let read = take(subscription.stream(), 4).await;
    let read: Vec<Counted> = read.iter().map(|event| event.decode().unwrap()).collect();
    assert_eq!(read, events);

    #[derive(Serialize)]
    struct Wrong {
        #[serde(rename = "Number__c")]
        number: &'static str,
    }
    let error = pubsub(&bus)
        .publish("/event/X__e", &[Wrong { number: "one" }])
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_change_tells_which_fields_changed_and_which_were_cleared() {
    let name = r#"{ "type": "record", "name": "Name", "fields": [
        { "name": "FirstName", "type": ["null", "string"] },
        { "name": "LastName", "type": ["null", "string"] }
    ]}"#;
    let strings =
        |name: &str| json!({ "name": name, "type": { "type": "array", "items": "string" } });
    let string = |name: &str| json!({ "name": name, "type": "string" });
    let long = |name: &str| json!({ "name": name, "type": "long" });
    let header = json!({ "type": "record", "name": "ChangeEventHeader", "fields": [
        string("entityName"),
        strings("recordIds"),
        { "name": "changeType", "type": { "type": "enum", "name": "ChangeType",
            "symbols": ["CREATE", "UPDATE", "GAP_UPDATE"] } },
        string("changeOrigin"),
        string("transactionKey"),
        { "name": "sequenceNumber", "type": "int" },
        long("commitTimestamp"),
        long("commitNumber"),
        string("commitUser"),
        strings("nulledFields"),
        strings("diffFields"),
        strings("changedFields"),
    ]});
    let name: serde_json::Value = serde_json::from_str(name).unwrap();
    let schema = json!({ "type": "record", "name": "ContactChangeEvent", "fields": [
        { "name": "ChangeEventHeader", "type": header },
        { "name": "Name", "type": ["null", "string", name] },
        { "name": "Email", "type": ["null", "string"] },
        { "name": "Phone", "type": ["null", "string"] },
    ]});
    let bus = Bus::start(&schema.to_string()).await;
    let text = |text: &str| Value::String(text.to_owned());
    let texts = |items: &[&str]| Value::Array(items.iter().map(|item| text(item)).collect());
    let header = Value::Record(vec![
        ("entityName".to_owned(), text("Contact")),
        (
            "recordIds".to_owned(),
            texts(&["0035g0000000001AAA", "0035g0000000002AAA"]),
        ),
        ("changeType".to_owned(), Value::Enum(1, "UPDATE".to_owned())),
        (
            "changeOrigin".to_owned(),
            text("com/salesforce/api/rest/58.0;client=box-bridge"),
        ),
        ("transactionKey".to_owned(), text("0002")),
        ("sequenceNumber".to_owned(), Value::Int(1)),
        ("commitTimestamp".to_owned(), Value::Long(1_717_146_600_000)),
        ("commitNumber".to_owned(), Value::Long(77)),
        ("commitUser".to_owned(), text("0055g0000000001AAA")),
        ("nulledFields".to_owned(), texts(&["0x04"])),
        ("diffFields".to_owned(), texts(&[])),
        ("changedFields".to_owned(), texts(&["0x0C", "1-0x02"])),
    ]);
    let null = || Value::Union(0, Box::new(Value::Null));
    let name = Value::Record(vec![
        ("FirstName".to_owned(), null()),
        (
            "LastName".to_owned(),
            Value::Union(1, Box::new(text("Hara"))),
        ),
    ]);
    bus.push(Value::Record(vec![
        ("ChangeEventHeader".to_owned(), header),
        ("Name".to_owned(), Value::Union(2, Box::new(name))),
        ("Email".to_owned(), null()),
        ("Phone".to_owned(), Value::Union(1, Box::new(text("1")))),
    ]));
    let subscription = pubsub(&bus)
        .subscribe("/data/ContactChangeEvent")
        .replay(Replay::Earliest);
    let event = take(subscription.stream(), 1).await.remove(0);
    let change = event.change().unwrap().unwrap();
    assert_eq!(change.entity_name, "Contact");
    assert_eq!(change.record_ids.len(), 2);
    assert_eq!(change.change_type, ChangeType::Update);
    assert_eq!(change.changed_fields, ["Email", "Phone", "Name.LastName"]);
    assert_eq!(change.nulled_fields, ["Email"]);
    assert_eq!(change.diff_fields, [""; 0]);
    assert_eq!(
        change.commit_timestamp.unwrap().to_string(),
        "2024-05-31T09:10:00Z"
    );
    assert_eq!(change.sequence_number, 1);
    let fields = event.fields().unwrap();
    assert_eq!(fields["Phone"], "1");
    assert_eq!(fields["Name"]["LastName"], "Hara");

    #[derive(Deserialize)]
    struct Contact {
        #[serde(rename = "Phone")]
        phone: Option<String>,
        #[serde(rename = "Email")]
        email: Option<String>,
    }
    let contact: Contact = event.decode().unwrap();
    assert_eq!((contact.phone.as_deref(), contact.email), (Some("1"), None));
}

#[tokio::test]
async fn an_event_that_is_no_change_has_no_header_and_a_broken_one_hurts_nobody_else() {
    let bus = bus_of(2).await;
    bus.state().events[0].payload = b"\x09".as_slice().into();
    let subscription = pubsub(&bus)
        .subscribe("/data/X__ChangeEvent")
        .replay(Replay::Earliest);
    let events = take(subscription.stream(), 2).await;
    assert_eq!(
        events[0].decode::<Counted>().unwrap_err().kind(),
        ErrorKind::Decode
    );
    assert_eq!(events[0].fields().unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(events[1].change().unwrap(), None);
    assert_eq!(events[1].fields().unwrap()["Number__c"], 1);
}

#[test]
fn an_endpoint_that_cannot_be_is_told_when_it_is_set_up() {
    let config = |built: salesforce_client::Result<PubSub>| {
        assert_eq!(built.unwrap_err().kind(), ErrorKind::Config);
    };
    config(client().pubsub().endpoint("http://127.0.0.1:1").build());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        config(client().pubsub().endpoint("ftp://example.com").build());
        client()
            .pubsub()
            .endpoint("http://127.0.0.1:1")
            .build()
            .unwrap();
    });
}
