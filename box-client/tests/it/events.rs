use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use box_client::{
    Event, EventAt, EventType, ItemId, Result, StreamPosition, UserStream,
    testing::{FakeBox, Fault, FaultEffect},
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use serde_json::json;

use crate::{
    desk::{Desk, all},
    vendor::{Vendor, error, header, reply},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn uploads(desk: &Desk, count: usize) {
    for n in 0..count {
        desk.file(&format!("file {n}"));
    }
}

fn from_the_oldest(desk: &Desk) -> BoxStream<'_, Result<EventAt>> {
    resumed(desk, StreamPosition::oldest())
}

fn resumed(desk: &Desk, from: StreamPosition) -> BoxStream<'_, Result<EventAt>> {
    let events = desk.client.events().user(UserStream::Changes);
    events.from(from).limit(3).stream().boxed()
}

/// The next event, which must not keep the test waiting.
async fn next(events: &mut (impl Stream<Item = Result<EventAt>> + Unpin)) -> EventAt {
    let next = tokio::time::timeout(PATIENCE, events.try_next()).await;
    next.expect("an event in time").unwrap().unwrap()
}

fn id(event: &Event) -> String {
    event.event_id.clone().unwrap()
}

#[tokio::test]
async fn whoever_stops_anywhere_and_goes_on_from_there_loses_nothing() {
    let desk = Desk::start().await;
    uploads(&desk, 9);
    let everything: BTreeSet<String> = {
        let events = from_the_oldest(&desk).take(10);
        all(events).await.iter().map(|it| id(&it.event)).collect()
    };
    assert_eq!(everything.len(), 10, "nine files and their folder");
    for stop in 1..=10 {
        let before = all(from_the_oldest(&desk).take(stop)).await;
        let mut seen: BTreeSet<String> = before.iter().map(|it| id(&it.event)).collect();
        let mut rest = resumed(&desk, before.last().unwrap().position.clone());
        while seen != everything {
            seen.insert(id(&next(&mut rest).await.event));
        }
    }
}

#[tokio::test]
async fn what_box_repeats_is_told_once() {
    let desk = Desk::with(FakeBox::builder().repeat_events(true)).await;
    uploads(&desk, 9);
    let events = all(from_the_oldest(&desk).take(10)).await;
    let ids: BTreeSet<String> = events.iter().map(|it| id(&it.event)).collect();
    assert_eq!(ids.len(), 10);
    let from = StreamPosition::oldest();
    let forgetful = desk
        .client
        .events()
        .user(UserStream::All)
        .from(from)
        .limit(3)
        .remember(0);
    let events = all(forgetful.stream().take(10)).await;
    let ids: BTreeSet<String> = events.iter().map(|it| id(&it.event)).collect();
    assert!(ids.len() < 10, "this fake does repeat");
}

#[tokio::test]
async fn a_long_poll_tells_of_news_at_once_and_without_the_token() {
    let desk = Desk::start().await;
    let mut events = desk.client.events().user(UserStream::All).stream().boxed();
    for n in 0..3 {
        let name = format!("contract {n}");
        let (seen, file) = tokio::join!(next(&mut events), async {
            // The poll is under way before anything happens.
            while desk.count("GET", "/realtime/subscribe") <= n {
                tokio::task::yield_now().await;
            }
            desk.file(&name)
        });
        assert_eq!(seen.event.event_type, Some(EventType::ItemUpload));
        let item = seen.event.item().unwrap();
        assert_eq!((item.id, item.name), (ItemId::from(file), Some(name)));
        assert_eq!(item.parent.unwrap().id, desk.folder);
    }
    let polls = desk.fake.requests();
    let mut polls = polls.iter().filter(|it| it.path.starts_with("/realtime/"));
    assert!(polls.all(|it| it.status == Some(200) && it.header("authorization").is_none()));
    assert_eq!(
        desk.count("OPTIONS", "/2.0/events"),
        1,
        "one server serves several polls"
    );
    let asked = desk.count("GET", "/2.0/events");
    assert!(asked <= 7, "polled and not stormed: {asked}");
}

#[tokio::test]
async fn a_server_that_asks_to_reconnect_is_left_for_another() {
    let builder = FakeBox::builder().long_poll_timeout(Duration::from_millis(10));
    let desk = Desk::with(builder).await;
    let mut events = desk.client.events().user(UserStream::All).stream().boxed();
    let (seen, file) = tokio::join!(next(&mut events), async {
        while desk.count("OPTIONS", "/2.0/events") < 3 {
            tokio::task::yield_now().await;
        }
        desk.file("nda.pdf")
    });
    assert_eq!(seen.event.item().unwrap().id, ItemId::from(file));
}

#[tokio::test]
async fn trouble_with_the_long_poll_loses_no_event() {
    let desk = Desk::start().await;
    for (n, effect) in [
        FaultEffect::Reset,
        FaultEffect::Status {
            status: 500,
            headers: BTreeMap::new(),
            body: String::new(),
        },
        FaultEffect::CorruptBody { at: 0 },
    ]
    .into_iter()
    .enumerate()
    {
        let mut events = desk.client.events().user(UserStream::All).stream().boxed();
        let (polls, servers) = (
            desk.count("GET", "/realtime/subscribe"),
            desk.count("OPTIONS", "/2.0/events"),
        );
        desk.fake.inject(Fault::on("/realtime/*", effect).times(1));
        let (seen, file) = tokio::join!(next(&mut events), async {
            while desk.count("GET", "/realtime/subscribe") == polls {
                tokio::task::yield_now().await;
            }
            desk.file(&format!("after {n}"))
        });
        assert_eq!(seen.event.item().unwrap().id, ItemId::from(file));
        assert!(desk.count("OPTIONS", "/2.0/events") > servers);
    }
}

#[tokio::test]
async fn a_long_poll_that_is_always_for_nothing_makes_no_storm() {
    // Fails, comes back with nothing to do, or claims that there is something.
    let said = |message: &str| FaultEffect::Status {
        status: 200,
        headers: BTreeMap::new(),
        body: json!({ "message": message }).to_string(),
    };
    for (effect, free) in [
        (FaultEffect::Reset, 1),
        (said("reconnect"), 4),
        (said("new_change"), 4),
    ] {
        let desk = Desk::start().await;
        let fault = Fault::on("/realtime/*", effect).times(1000);
        desk.fake.inject(fault);
        let mut events = desk.client.events().user(UserStream::All).stream().boxed();
        let start = Instant::now();
        let (seen, file) = tokio::join!(next(&mut events), async {
            while desk.count("GET", "/realtime/subscribe") <= free {
                tokio::task::yield_now().await;
            }
            assert!(start.elapsed() >= Duration::from_millis(500));
            desk.file("nda.pdf")
        });
        let item = seen.event.item().unwrap();
        assert_eq!(item.id, ItemId::from(file), "slower, and not lost");
    }
}

#[tokio::test]
async fn the_enterprise_is_asked_again_and_again_for_the_types_wanted() {
    let desk = Desk::start().await;
    let events = desk
        .client
        .events()
        .enterprise()
        .poll_every(Duration::from_millis(2));
    let events = events.event_types([EventType::CollaborationInvite, EventType::Upload]);
    let mut events = events.stream().boxed();
    let (seen, file) = tokio::join!(next(&mut events), async {
        while desk.count("GET", "/2.0/events") < 4 {
            tokio::task::yield_now().await;
        }
        let file = desk.file("nda.pdf");
        desk.fake.lock(file.as_str()).unwrap();
        file
    });
    assert_eq!(seen.event.event_type, Some(EventType::Upload));
    // Here the item is only named.
    let item = seen.event.item().unwrap();
    assert_eq!(
        (item.id, item.name.as_deref()),
        (ItemId::from(file), Some("nda.pdf"))
    );
    desk.fake
        .collaborate(desk.folder.as_str(), "jo@example.com", "viewer")
        .unwrap();
    let seen = next(&mut events).await;
    assert_eq!(
        seen.event.event_type,
        Some(EventType::CollaborationInvite),
        "no lock"
    );
    assert_eq!(desk.count("OPTIONS", "/2.0/events"), 0);
}

#[tokio::test]
async fn the_logs_of_a_time_come_to_an_end() {
    let desk = Desk::start().await;
    uploads(&desk, 7);
    let logs = || desk.client.events().admin_logs().limit(3);
    let after = "2020-01-01T00:00:00Z".parse().unwrap();
    let uploads = logs().created_after(after).event_types([EventType::Upload]);
    let uploads = all(uploads.stream()).await;
    assert_eq!(uploads.len(), 8);
    let rest = logs()
        .created_after(after)
        .from(uploads[2].position.clone());
    assert_eq!(all(rest.stream()).await.len(), 5);
    assert!(all(logs().created_before(after).stream()).await.is_empty());
}

#[tokio::test]
async fn a_position_for_the_first_start_can_be_had_before_anything_happens() {
    let desk = Desk::start().await;
    let page = desk
        .client
        .events()
        .user(UserStream::Changes)
        .page()
        .await
        .unwrap();
    assert!(page.entries.is_empty());
    let stored = serde_json::to_string(&page.next).unwrap();
    let file = desk.file("while away");
    let from: StreamPosition = serde_json::from_str(&stored).unwrap();
    let seen = next(&mut resumed(&desk, from)).await;
    assert_eq!(seen.event.item().unwrap().id, ItemId::from(file));
}

#[tokio::test]
async fn an_odd_event_does_not_stop_the_stream_and_is_handed_on_as_it_came() {
    let vendor = Vendor::start().await;
    let entries = json!([
        { "type": "event", "event_id": 7, "event_type": null, "created_at": "yesterday",
          "created_by": "nobody", "source": null },
        { "type": "event", "event_id": "a", "event_type": "QUITE_NEW", "source": { "item_type": "hub" } },
        { "event_id": "b", "event_type": "LOCK_DESTROY", "source": null, "additional_details": {} },
        { "event_id": "a", "event_type": "QUITE_NEW" },
    ]);
    let first = json!({ "chunk_size": 4, "next_stream_position": 1152922976252290886_u64, "entries": entries });
    let last =
        json!({ "chunk_size": 0, "next_stream_position": "1152922976252290886", "entries": [] });
    vendor
        .answers("GET", "/2.0/events", [reply(200, first), reply(200, last)])
        .await;
    let client = vendor.client();
    let logs = client.events().admin_logs();
    let events = all(logs.stream()).await;
    let types: Vec<_> = events
        .iter()
        .map(|it| it.event.event_type.clone())
        .collect();
    let new = EventType::Other("QUITE_NEW".to_owned());
    assert_eq!(types, [None, Some(new), Some(EventType::LockDestroy)]);
    assert!(events.iter().all(|it| it.event.item().is_none()));
    assert_eq!(events[1].event.source, Some(json!({ "item_type": "hub" })));
    let positions: Vec<_> = events.iter().map(|it| it.position.as_str()).collect();
    assert_eq!(positions, ["0", "0", "1152922976252290886"]);
    vendor.done().await;
}

#[tokio::test]
async fn an_error_ends_the_stream_after_what_was_read() {
    let vendor = Vendor::start().await;
    let page = json!({ "next_stream_position": "5", "entries": [{ "event_id": "a" }] });
    let denied = error(403, "insufficient_scope");
    vendor
        .answers("GET", "/2.0/events", [reply(200, page), denied])
        .await;
    let client = vendor.client();
    let mut events = client.events().enterprise().stream().boxed();
    assert_eq!(next(&mut events).await.position.as_str(), "5");
    assert!(events.next().await.unwrap().is_err());
    assert!(events.next().await.is_none());
    assert!(header(&vendor.requests().await[0], "authorization").is_some());
    vendor.done().await;
}
