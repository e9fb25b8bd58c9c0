//! The event bus, against an org that breaks on purpose.

mod changes;
mod refusals;
mod wire;

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use salesforce_client::{
    ClientCredentials, ErrorKind, SalesforceClient, StaticToken,
    pubsub::{Delivery, Event, PubSub, Replay, ReplayId},
    testing::{
        FakeSalesforce, FakeSalesforceBuilder, Field, PlatformEvent, StreamEnd, StreamFault,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::wire::{Fate, Wire};
use crate::support::quick;

const ACCOUNTS: &str = "/data/AccountChangeEvent";
const UNAVAILABLE: i32 = 14;
/// After so long nothing comes any more, however busy the machine is.
const HOPELESS: Duration = Duration::from_secs(300);

#[derive(Debug, Deserialize)]
struct Counted {
    #[serde(rename = "NumberOfEmployees")]
    number: Option<i64>,
}

fn settings() -> FakeSalesforceBuilder {
    FakeSalesforce::builder()
        .client("app", "secret")
        .capture_changes(["Account"])
        .keepalive(Duration::from_millis(20))
}

/// An org in which so many accounts were created.
async fn org_of(accounts: i64) -> FakeSalesforce {
    let org = settings().start().await.unwrap();
    (0..accounts).for_each(|number| count(&org, number));
    org
}

fn count(org: &FakeSalesforce, number: i64) {
    let account = json!({ "Name": "Acme", "NumberOfEmployees": number });
    org.create("Account", account).unwrap();
}

fn client(org: &FakeSalesforce) -> SalesforceClient {
    let token = StaticToken::new(org.issue_token(), org.url());
    let client = SalesforceClient::builder(token.unwrap()).retry(quick());
    client.build().unwrap()
}

fn pubsub(org: &FakeSalesforce) -> PubSub {
    let endpoint = client(org).pubsub().endpoint(org.pubsub_url());
    endpoint.build().unwrap()
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
    tokio::time::timeout(HOPELESS, taken)
        .await
        .unwrap()
        .unwrap()
}

/// All events of a topic, which are so many.
async fn all(org: &FakeSalesforce, topic: &str, count: usize) -> Vec<Event> {
    let subscription = pubsub(org).subscribe(topic).replay(Replay::Earliest);
    let mut stream = pin!(subscription.stream());
    let events = take(&mut stream, count).await;
    let next = stream.next().await.unwrap().unwrap();
    assert!(matches!(next, Delivery::Quiet { .. }), "{next:?}");
    events
}

fn numbers(events: &[Event]) -> Vec<i64> {
    let number = |event: &Event| event.decode::<Counted>().unwrap().number.unwrap();
    events.iter().map(number).collect()
}

fn status(code: i32, error_code: &str) -> StreamEnd {
    let error_code = Some(format!("sfdc.platform.eventbus.grpc.{error_code}"));
    StreamEnd::Status { code, error_code }
}

#[tokio::test]
async fn no_event_is_lost_or_comes_twice_over_a_hundred_broken_connections() {
    const EVENTS: i64 = 1_500;
    const LOST: usize = 40;
    let org = org_of(EVENTS).await;
    let plain = |code| StreamEnd::Status {
        code,
        error_code: None,
    };
    let ends = [
        StreamEnd::Close,
        plain(UNAVAILABLE),
        StreamEnd::Silence,
        StreamEnd::NewestThenClose,
        plain(13),
        status(16, "service.auth.error"),
        status(UNAVAILABLE, "service.unavailable"),
        status(8, "concurrent.client.limit.exceeded"),
    ];
    for (n, end) in (0..120).zip(ends.into_iter().cycle()) {
        let fault = StreamFault::after(n % 25, end).batch(1 + n % 9);
        org.inject_stream_fault(fault.again(n % 13));
    }
    let tokens = ClientCredentials::new("app", "secret".to_owned());
    let client = SalesforceClient::builder(tokens)
        .login_url(org.url())
        .retry(quick());
    // Beneath the streams whole connections go as well, most of them in the middle of an answer.
    let fates = (0..LOST).map(|n| match n % 5 {
        4 => Fate::Hang(n * 379 % 4_000),
        _ => Fate::Cut(n * 379 % 4_000),
    });
    let wire = Wire::to(org.pubsub_url(), fates).await;
    let pubsub = client.build().unwrap().pubsub().endpoint(&wire.url);
    let subscription = pubsub
        .keep_alive(Duration::from_millis(50), Duration::from_millis(200))
        .build()
        .unwrap()
        .subscribe("/data/ChangeEvents")
        .replay(Replay::Earliest)
        .silence(Duration::from_millis(300));
    let events = take(subscription.stream(), EVENTS as usize).await;
    assert_eq!(numbers(&events), (0..EVENTS).collect::<Vec<_>>());
    let subscriptions = org.subscriptions();
    assert!(subscriptions.len() > 100, "{}", subscriptions.len());
    assert_eq!(wire.met(), (LOST - LOST / 5, LOST / 5));
    // Before anything has come there is no place to go on from.
    let mut later = subscriptions.iter().skip_while(|it| it.preset != "CUSTOM");
    assert!(later.all(|it| it.preset == "CUSTOM"));
    assert!(subscriptions.iter().all(|it| it.most_outstanding <= 100));
    let delivered: u64 = subscriptions.iter().map(|it| it.delivered).sum();
    assert!(
        delivered > EVENTS as u64,
        "nothing came twice to be left out"
    );
}

#[tokio::test]
async fn a_connection_that_nobody_answers_over_any_more_is_given_up() {
    let org = org_of(600).await;
    // With all that goes before them, some of the events.
    let wire = Wire::to(org.pubsub_url(), [Fate::Hang(6_000)]).await;
    let endpoint = client(&org).pubsub().endpoint(&wire.url);
    let endpoint = endpoint.keep_alive(Duration::from_millis(50), Duration::from_secs(5));
    let pubsub = endpoint.build().unwrap();
    // Nothing but the connection itself tells that it is dead.
    let subscription = pubsub.subscribe(ACCOUNTS).replay(Replay::Earliest);
    let subscription = subscription.silence(Duration::from_secs(24 * 60 * 60));
    let events = take(subscription.stream(), 600).await;
    assert_eq!(numbers(&events), (0..600).collect::<Vec<_>>());
    assert_eq!(wire.met(), (0, 1));
    assert!(wire.connections() >= 2);
}

#[tokio::test]
async fn a_far_side_that_lives_and_brings_nothing_is_left_for_another_connection() {
    let org = org_of(3).await;
    org.inject_stream_fault(StreamFault::after(1, StreamEnd::Silence));
    let wire = Wire::to(org.pubsub_url(), []).await;
    let pubsub = client(&org).pubsub().endpoint(&wire.url).build().unwrap();
    let subscription = pubsub.subscribe(ACCOUNTS).replay(Replay::Earliest);
    let subscription = subscription.silence(Duration::from_millis(500));
    let events = take(subscription.stream(), 3).await;
    assert_eq!(numbers(&events), [0, 1, 2]);
    assert!(wire.connections() >= 2, "it hangs where it hung before");
}

#[tokio::test]
async fn a_schema_is_asked_for_once() {
    let org = org_of(50).await;
    let pubsub = pubsub(&org);
    for _ in 0..2 {
        let subscription = pubsub.subscribe(ACCOUNTS).replay(Replay::Earliest);
        take(subscription.stream(), 50).await;
    }
    assert_eq!(org.schemas_asked(), 1);
}

#[tokio::test]
async fn no_more_is_asked_for_than_is_taken() {
    let org = org_of(500).await;
    let subscription = pubsub(&org).subscribe(ACCOUNTS).replay(Replay::Earliest);
    let mut stream = pin!(subscription.at_once(10).stream());
    for number in 0..300 {
        let Some(Ok(Delivery::Event(event))) = stream.next().await else {
            panic!("no event");
        };
        assert_eq!(event.decode::<Counted>().unwrap().number, Some(number));
    }
    let subscriptions = org.subscriptions();
    assert!(subscriptions[0].most_outstanding <= 10);
    assert_eq!(subscriptions.len(), 1);
}

#[tokio::test]
async fn answers_of_one_event_do_not_make_it_ask_for_too_many() {
    let org = org_of(100).await;
    // As changes come one by one, and then none for a while.
    org.inject_stream_fault(StreamFault::after(usize::MAX, StreamEnd::Close).batch(1));
    let subscription = pubsub(&org).subscribe(ACCOUNTS).replay(Replay::Earliest);
    let mut stream = pin!(subscription.stream());
    assert_eq!(take(&mut stream, 100).await.len(), 100);
    for _ in 0..3 {
        let quiet = stream.next().await.unwrap().unwrap();
        assert!(matches!(quiet, Delivery::Quiet { .. }), "{quiet:?}");
    }
    count(&org, 100);
    assert_eq!(numbers(&take(&mut stream, 1).await), [100]);
    let subscriptions = org.subscriptions();
    assert_eq!(subscriptions.len(), 1);
    assert!(subscriptions[0].most_outstanding <= 100);
}

#[tokio::test]
async fn patience_begins_with_the_first_failure_and_not_with_the_last_event() {
    let org = org_of(2).await;
    org.inject_stream_fault(StreamFault::after(1, StreamEnd::Close));
    // Long enough to connect anew on a busy machine.
    let patience = Duration::from_secs(3);
    let subscription = pubsub(&org).subscribe(ACCOUNTS).replay(Replay::Earliest);
    let mut stream = pin!(subscription.patience(patience).stream());
    assert_eq!(numbers(&take(&mut stream, 1).await), [0]);
    // What is done with an event can take longer than that.
    tokio::time::sleep(patience + Duration::from_millis(100)).await;
    assert_eq!(numbers(&take(&mut stream, 1).await), [1]);
}

#[tokio::test]
async fn a_quiet_topic_moves_the_position() {
    let org = org_of(3).await;
    let pubsub = pubsub(&org);
    let first = all(&org, ACCOUNTS, 3).await.remove(0).replay_id;
    let mut stream = pin!(
        pubsub
            .subscribe(ACCOUNTS)
            .replay(Replay::After(first))
            .stream()
    );
    for _ in 0..2 {
        let delivery = stream.next().await.unwrap().unwrap();
        assert!(matches!(delivery, Delivery::Event(_)));
    }
    let quiet = stream.next().await.unwrap().unwrap();
    let Delivery::Quiet { latest } = quiet else {
        panic!("{quiet:?}");
    };
    assert_eq!(latest.as_bytes(), org.latest_replay_id());
    count(&org, 3);
    let later = pubsub.subscribe(ACCOUNTS).replay(Replay::After(latest));
    assert_eq!(numbers(&take(later.stream(), 1).await), [3]);
}

#[tokio::test]
async fn what_comes_while_somebody_listens_comes_at_once() {
    let org = settings().keepalive(HOPELESS * 2).start();
    let org = org.await.unwrap();
    count(&org, 1);
    let subscription = pubsub(&org).subscribe(ACCOUNTS);
    let (events, ()) = tokio::join!(take(subscription.stream(), 1), async {
        while org.subscriptions().is_empty() {
            tokio::task::yield_now().await;
        }
        count(&org, 2);
    });
    assert_eq!(numbers(&events), [2], "from now on");
}

#[tokio::test]
async fn a_place_that_is_lost_is_an_error_unless_another_is_named() {
    let org = org_of(2).await;
    let first = all(&org, ACCOUNTS, 2).await.remove(0).replay_id;
    org.purge_events();
    count(&org, 2);
    let garbage = ReplayId::from(b"garbage".to_vec());
    for (lost, code) in [(garbage, "corrupted"), (first, "validation.failed")] {
        let lost = Replay::After(lost);
        let subscribe = || pubsub(&org).subscribe(ACCOUNTS).replay(lost.clone());
        let mut stream = pin!(subscribe().stream());
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PositionLost);
        let told = error.api().unwrap().code().unwrap().as_str().to_owned();
        assert!(told.ends_with(&format!("replayid.{code}")), "{told}");
        assert!(!error.is_retryable());
        assert!(stream.next().await.is_none());
        let mut stream = pin!(subscribe().if_lost(Replay::Earliest).stream());
        // Before anything else it is told that something may be missing, and after what.
        let told = stream.next().await.unwrap().unwrap();
        let Delivery::Lost { after } = &told else {
            panic!("{told:?}");
        };
        assert_eq!(Replay::After(after.clone()), lost);
        // Who has only come so far begins there again, and is told again.
        assert_eq!(told.replay_id(), after);
        assert_eq!(numbers(&take(&mut stream, 1).await), [2]);
        // One that is lost as well is no reason to go on for ever.
        let mut stream = pin!(subscribe().if_lost(lost.clone()).stream());
        let told = stream.next().await.unwrap().unwrap();
        assert!(matches!(told, Delivery::Lost { .. }), "{told:?}");
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PositionLost);
    }
}

#[tokio::test]
async fn what_waiting_does_not_mend_is_told_at_once() {
    let org = org_of(1).await;
    for topic in ["/event/Missing__e", "/data/accountChangeEvent", "Account"] {
        let stream = pubsub(&org).subscribe(topic).stream();
        let error = pin!(stream).next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{topic}");
        let error = pubsub(&org).topic(topic).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{topic}");
    }
    assert_eq!(org.subscriptions(), []);
}

#[tokio::test]
async fn a_token_that_stays_refused_is_tried_twice_and_no_more() {
    let org = org_of(1).await;
    let pubsub = pubsub(&org);
    org.expire_sessions();
    let stream = pubsub.subscribe("/data/ChangeEvents").stream();
    let error = pin!(stream).next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    let error = pubsub.topic("/event/X__e").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    let fault = StreamFault::after(0, status(16, "service.auth.error"));
    org.inject_stream_fault(fault.times(u32::MAX));
    let stream = self::pubsub(&org).subscribe(ACCOUNTS).stream();
    let error = pin!(stream).next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(org.subscriptions().len() <= 2);
}

#[tokio::test]
async fn a_bus_that_is_away_is_waited_for_and_not_for_ever() {
    let org = org_of(0).await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let pubsub = client(&org).pubsub().endpoint(&url).build().unwrap();
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
    let events: [Signed; 0] = [];
    let error = pubsub.publish("/event/X__e", &events).await.unwrap_err();
    assert!(!error.may_have_happened());
    assert_eq!(error.attempts(), 5);
}

#[tokio::test]
async fn each_call_is_by_the_org_that_it_is_for_and_shows_no_token() {
    let org = org_of(1).await;
    let endpoint = client(&org).pubsub().endpoint(org.pubsub_url());
    let other = endpoint.tenant_id("00D000000000001").build().unwrap();
    let error = other.topic(ACCOUNTS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    let token = org.issue_token();
    let elsewhere = StaticToken::new(token.clone(), "https://other.my.salesforce.com").unwrap();
    let elsewhere = SalesforceClient::builder(elsewhere).retry(quick()).build();
    let elsewhere = elsewhere.unwrap().pubsub().endpoint(org.pubsub_url());
    let elsewhere = elsewhere.build().unwrap();
    let error = elsewhere.topic(ACCOUNTS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    let shown = format!("{error:?} {error} {elsewhere:?}");
    assert!(!shown.contains(&token[16..]), "{shown}");
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Signed {
    #[serde(rename = "CreatedDate")]
    created: i64,
    #[serde(rename = "CreatedById")]
    by: String,
    #[serde(rename = "Number__c")]
    number: Option<f64>,
    #[serde(rename = "Note__c")]
    note: Option<String>,
}

fn signed(org: &FakeSalesforce, number: i32, note: Option<&str>) -> Signed {
    Signed {
        created: 1_717_146_600_000,
        by: org.integration_user().to_owned(),
        number: Some(number.into()),
        note: note.map(str::to_owned),
    }
}

fn signed_event() -> PlatformEvent {
    PlatformEvent::new("Signed__e")
        .field(Field::new(
            "Number__c",
            salesforce_client::testing::FieldType::Double,
        ))
        .field(Field::text("Note__c", 10))
}

#[tokio::test]
async fn each_event_published_has_its_own_outcome() {
    let org = settings().platform_event(signed_event()).start();
    let org = org.await.unwrap();
    let pubsub = pubsub(&org);
    let notes = [None, Some("short"), Some("longer than ten"), Some("last")];
    let events: Vec<Signed> = (0..4)
        .zip(notes)
        .map(|(number, note)| signed(&org, number, note))
        .collect();
    let topic = pubsub.topic("/event/Signed__e").await.unwrap();
    assert!(topic.can_publish && topic.can_subscribe);
    let outcomes = pubsub.publish("/event/Signed__e", &events).await.unwrap();
    assert_eq!(outcomes.len(), 4);
    let refused = outcomes[2].as_ref().unwrap_err();
    assert_eq!(refused.code.as_str(), "PUBLISH");
    assert!(refused.message.contains("STRING_TOO_LONG"), "{refused:?}");

    // What was published is what a subscriber reads, where it was said to be.
    let read = all(&org, "/event/Signed__e", 3).await;
    for (event, number) in read.iter().zip([0, 1, 3]) {
        let published = outcomes[number].as_ref().unwrap();
        assert_eq!(event.id, published.id);
        assert_eq!(event.replay_id, published.replay_id);
        assert_eq!(event.decode::<Signed>().unwrap(), events[number]);
        assert_eq!(event.change().unwrap(), None);
    }

    #[derive(Serialize)]
    struct Wrong {
        #[serde(rename = "Number__c")]
        number: &'static str,
    }
    let error = pubsub
        .publish("/event/Signed__e", &[Wrong { number: "one" }])
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    // JSON does as well as a type.
    let json = serde_json::to_value(&events[3]).unwrap();
    let outcomes = pubsub.publish("/event/Signed__e", &[json]).await.unwrap();
    outcomes[0].as_ref().unwrap();
    let read = all(&org, "/event/Signed__e", 4).await;
    assert_eq!(read[3].decode::<Signed>().unwrap(), events[3]);
    // Changes are told of by Salesforce alone.
    let topic = pubsub.topic(ACCOUNTS).await.unwrap();
    assert!(!topic.can_publish);
    let nothing: [Signed; 0] = [];
    let error = pubsub.publish(ACCOUNTS, &nothing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_hurts_nobody_else() {
    let org = org_of(0).await;
    org.tell_unreadable(ACCOUNTS).unwrap();
    org.tell_without_schema(ACCOUNTS).unwrap();
    count(&org, 1);
    let events = all(&org, ACCOUNTS, 3).await;
    assert_eq!(
        events[0].decode::<Counted>().unwrap_err().kind(),
        ErrorKind::Decode
    );
    assert_eq!(events[0].fields().unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(events[1].fields().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(events[1].change().is_err());
    assert_eq!(events[2].fields().unwrap()["NumberOfEmployees"], 1);
}

#[test]
fn an_endpoint_that_cannot_be_is_told_when_it_is_set_up() {
    let client = || {
        let token = StaticToken::new("token".to_owned(), "https://example.my.salesforce.com");
        SalesforceClient::builder(token.unwrap()).build().unwrap()
    };
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

#[tokio::test]
async fn times_beyond_what_a_clock_can_count_are_as_good_as_none() {
    const NEVER: Duration = Duration::MAX;
    let org = org_of(3).await;
    let token = StaticToken::new(org.issue_token(), org.url());
    let client = SalesforceClient::builder(token.unwrap())
        .retry(quick().deadline(NEVER))
        .connect_timeout(NEVER)
        .idle_timeout(NEVER)
        .upload_answer_timeout(NEVER)
        .build()
        .unwrap();
    let content = stream::iter([Ok::<_, std::io::Error>(Bytes::from("x"))]);
    let upload = client.files().upload("a.pdf");
    upload.send(content, 1).await.unwrap();
    for (every, within) in [(NEVER, NEVER), (Duration::ZERO, NEVER)] {
        let pubsub = client.pubsub().endpoint(org.pubsub_url());
        let pubsub = pubsub.keep_alive(every, within);
        let subscription = pubsub.build().unwrap().subscribe(ACCOUNTS);
        let subscription = subscription.replay(Replay::Earliest);
        let subscription = subscription.silence(NEVER).patience(NEVER);
        assert_eq!(take(subscription.stream(), 3).await.len(), 3);
    }
    let opened = org.subscriptions();
    assert_eq!(opened.len(), 2, "a connection died of its times");
}
