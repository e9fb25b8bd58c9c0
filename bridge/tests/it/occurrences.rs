//! One event told of by a webhook and by the event stream, whichever comes first.

use bridge::{BOX_FOUND, BOX_MISSED, BOX_WEBHOOK, NewJob, Queue, content::FileVersion};
use jiff::Timestamp;
use serde_json::json;

use crate::setting::{Bridge, body};

async fn tell(bridge: &Bridge, kind: &str, event: &str, version: &FileVersion) {
    let job = NewJob {
        dedupe: event.to_owned(),
        key: "box-file/7".to_owned(),
        kind: kind.to_owned(),
        body: body(event, "7", version).into(),
    };
    bridge
        .store
        .push(vec![job], Timestamp::now())
        .await
        .unwrap();
    bridge.work().await;
}

#[tokio::test]
async fn whoever_tells_of_an_upload_second_finds_it_done() {
    for [first, second] in [
        [BOX_WEBHOOK, BOX_MISSED],
        [BOX_MISSED, BOX_WEBHOOK],
        [BOX_WEBHOOK, BOX_FOUND],
        [BOX_FOUND, BOX_WEBHOOK],
        [BOX_MISSED, BOX_FOUND],
        [BOX_FOUND, BOX_MISSED],
        [BOX_FOUND, BOX_FOUND],
    ] {
        let bridge = Bridge::new();
        let version = bridge.sides.add_version("7", b"bytes");
        tell(&bridge, first, "one", &version).await;
        tell(&bridge, second, "other", &version).await;
        bridge.assert_once(&format!("{first}, then {second}"));
        // The stream repeats itself, in any order.
        tell(&bridge, BOX_FOUND, "a third", &version).await;
        bridge.assert_once(&format!("{first}, then {second}, then found"));
    }
}

#[tokio::test]
async fn two_deliveries_of_a_webhook_are_never_taken_for_one() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    tell(&bridge, BOX_MISSED, "from the stream", &version).await;
    tell(&bridge, BOX_WEBHOOK, "its webhook", &version).await;
    assert_eq!(bridge.sides.world().tasks.len(), 1);
    tell(&bridge, BOX_WEBHOOK, "another one", &version).await;
    assert_eq!(bridge.sides.world().tasks.len(), 2);
}

#[tokio::test]
async fn each_version_is_an_upload_of_its_own() {
    let bridge = Bridge::new();
    let first = bridge.sides.add_version("7", b"one");
    tell(&bridge, BOX_WEBHOOK, "w1", &first).await;
    let second = bridge.sides.add_version("7", b"two");
    tell(&bridge, BOX_MISSED, "g2", &second).await;
    tell(&bridge, BOX_MISSED, "g1", &first).await;
    let world = bridge.sides.world();
    assert_eq!((world.stored.len(), world.tasks.len()), (2, 2));
}

/// What happened to file 7 at a time, and what no version tells apart.
async fn preview(bridge: &Bridge, kind: &str, event: &str, at: &str) {
    let body = json!({
        "type": "webhook_event", "id": event, "trigger": "FILE.PREVIEWED", "created_at": at,
        "created_by": { "type": "user", "id": "3", "name": "Jo Rep" },
        "source": { "type": "file", "id": "7" },
    });
    let job = NewJob {
        dedupe: event.to_owned(),
        key: "box-file/7".to_owned(),
        kind: kind.to_owned(),
        body: body.to_string().into(),
    };
    bridge
        .store
        .push(vec![job], Timestamp::now())
        .await
        .unwrap();
    bridge.work().await;
}

#[tokio::test]
async fn previews_are_told_apart_by_their_times_also_around_the_turn_of_an_hour() {
    for [first, second] in [[BOX_WEBHOOK, BOX_MISSED], [BOX_MISSED, BOX_WEBHOOK]] {
        let bridge = Bridge::new();
        bridge.sides.add_version("7", b"bytes");
        preview(&bridge, first, "one", "2026-03-01T09:59:45Z").await;
        preview(&bridge, second, "the same", "2026-03-01T10:00:15Z").await;
        assert_eq!(bridge.sides.world().tasks.len(), 1, "{first}, {second}");
        preview(&bridge, second, "a later one", "2026-03-01T10:02:00Z").await;
        assert_eq!(bridge.sides.world().tasks.len(), 2, "{first}, {second}");
    }
}

/// Webhooks on folders one inside of the other: each of them tells of it.
#[tokio::test]
async fn what_several_webhooks_and_the_stream_tell_of_is_one_event() {
    let bridge = Bridge::new();
    let version = bridge.sides.add_version("7", b"bytes");
    let of = |webhook: &str, event: &str| {
        let own = r#""webhook":{"id":"1","#;
        let text = body(event, "7", &version);
        assert!(text.contains(own), "{text}");
        NewJob {
            dedupe: event.to_owned(),
            key: "box-file/7".to_owned(),
            kind: BOX_WEBHOOK.to_owned(),
            body: text
                .replace(own, &format!(r#""webhook":{{"id":"{webhook}","#))
                .into(),
        }
    };
    let jobs = vec![of("1", "a"), of("2", "b"), of("3", "c")];
    bridge.store.push(jobs, Timestamp::now()).await.unwrap();
    bridge.work().await;
    tell(&bridge, BOX_MISSED, "d", &version).await;
    bridge.assert_once("three webhooks and the stream");
    // A second delivery of one of them is another event.
    let again = vec![of("2", "e"), of("3", "f")];
    bridge.store.push(again, Timestamp::now()).await.unwrap();
    bridge.work().await;
    assert_eq!(bridge.sides.world().tasks.len(), 2);
}
