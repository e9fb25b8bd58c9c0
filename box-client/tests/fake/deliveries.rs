use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use box_client::testing::{FakeBox, FakeBoxBuilder, Undelivered};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use crate::support::{Session, client};

const LONG: Duration = Duration::from_secs(20);

/// Everything but the triggers of folders and versions.
const ALL: &[&str] = &[
    "FILE.UPLOADED",
    "FILE.MOVED",
    "FILE.RENAMED",
    "FILE.LOCKED",
    "FILE.UNLOCKED",
    "FILE.TRASHED",
    "FILE.DOWNLOADED",
    "FILE.PREVIEWED",
    "COLLABORATION.CREATED",
    "COLLABORATION.ACCEPTED",
    "METADATA_INSTANCE.CREATED",
    "METADATA_INSTANCE.UPDATED",
    "METADATA_INSTANCE.DELETED",
    "SIGN_REQUEST.COMPLETED",
    "FOLDER.CREATED",
    "FOLDER.MOVED",
    "FOLDER.RENAMED",
    "FOLDER.TRASHED",
];

fn keyed() -> FakeBoxBuilder {
    FakeBox::builder()
        .signature_keys("primary-key", "secondary-key")
        .delivery_retry(Duration::ZERO)
}

fn mac(key: &str, body: &[u8], timestamp: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body);
    mac.update(timestamp.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request
        .headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[track_caller]
fn verify(request: &Request) {
    let timestamp = header(request, "BOX-DELIVERY-TIMESTAMP");
    assert!(timestamp.parse::<Timestamp>().is_ok());
    for (name, key) in [
        ("BOX-SIGNATURE-PRIMARY", "primary-key"),
        ("BOX-SIGNATURE-SECONDARY", "secondary-key"),
    ] {
        assert_eq!(header(request, name), mac(key, &request.body, timestamp));
    }
    assert_eq!(header(request, "BOX-SIGNATURE-VERSION"), "1");
    assert_eq!(header(request, "BOX-SIGNATURE-ALGORITHM"), "HmacSHA256");
    assert_eq!(header(request, "User-Agent"), "Box-WH-Client/0.1");
}

#[tokio::test]
async fn an_upload_is_delivered_signed_in_boxs_shape_and_encoding() {
    let receiver = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200))
        .mount(&receiver)
        .await;
    let session = Session::with(keyed()).await;
    let deals = session.fake.create_folder("0", "Acme Öl").unwrap();
    let contracts = session.fake.create_folder(&deals, "Contracts").unwrap();
    let address = format!("{}/hooks/box", receiver.uri());
    let webhook = session
        .fake
        .create_webhook(&deals, &address, &["FILE.UPLOADED"])
        .unwrap();
    let file = session
        .fake
        .upload(&contracts, "NDA – final 😀.pdf", "x")
        .unwrap();
    session
        .fake
        .wait_delivered(&file.event_ids[0], LONG)
        .await
        .unwrap();

    let received = receiver.received_requests().await.unwrap();
    assert_eq!((received.len(), received[0].url.path()), (1, "/hooks/box"));
    verify(&received[0]);
    let raw = String::from_utf8(received[0].body.clone()).unwrap();
    assert!(
        raw.is_ascii() && raw.contains(r"NDA \u2013 final \ud83d\ude00.pdf"),
        "{raw}"
    );
    assert!(raw.ends_with(r#""additional_info":[]}"#), "{raw}");
    let body: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(body["type"], "webhook_event");
    assert_eq!(body["id"], json!(file.event_ids[0]));
    assert_eq!(body["webhook"], json!({ "id": webhook, "type": "webhook" }));
    assert_eq!(body["created_by"]["login"], "jo@example.com");
    assert_eq!(body["source"]["file_version"]["id"], json!(file.version_id));
    assert_eq!(body["source"]["parent"]["id"], json!(contracts));
    let members: BTreeSet<_> = body["source"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let documented = [
        "id",
        "type",
        "file_version",
        "sequence_id",
        "etag",
        "sha1",
        "name",
        "description",
        "size",
        "path_collection",
        "created_at",
        "modified_at",
        "trashed_at",
        "purged_at",
        "content_created_at",
        "content_modified_at",
        "created_by",
        "modified_by",
        "owned_by",
        "shared_link",
        "parent",
        "item_status",
    ];
    assert_eq!(members, BTreeSet::from(documented));
}

#[tokio::test]
async fn a_refused_delivery_is_sent_again_with_a_new_id_and_signature_and_the_same_event() {
    let receiver = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(500))
        .up_to_n_times(2)
        .mount(&receiver)
        .await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(204))
        .mount(&receiver)
        .await;
    let session = Session::with(keyed()).await;
    let folder = session.fake.create_folder("0", "Deals").unwrap();
    session
        .fake
        .create_webhook(&folder, &receiver.uri(), &["FILE.UPLOADED"])
        .unwrap();
    let file = session.fake.upload(&folder, "a", "x").unwrap();
    session.fake.wait_all_delivered(LONG).await.unwrap();
    let received = receiver.received_requests().await.unwrap();
    received.iter().for_each(verify);
    let ids: BTreeSet<_> = received
        .iter()
        .map(|r| header(r, "BOX-DELIVERY-ID"))
        .collect();
    let bodies: BTreeSet<_> = received.iter().map(|r| r.body.clone()).collect();
    assert_eq!((received.len(), ids.len(), bodies.len()), (3, 3, 1));
    let log = session.fake.deliveries();
    let seen: Vec<_> = log
        .iter()
        .map(|entry| (entry.attempt, entry.status))
        .collect();
    assert_eq!(seen, [(1, Some(500)), (2, Some(500)), (3, Some(204))]);
    assert!(log.iter().all(|entry| entry.event_id == file.event_ids[0]));

    // A duplicate is the same event once more.
    assert!(session.fake.redeliver(&file.event_ids[0]));
    session.fake.wait_all_delivered(LONG).await.unwrap();
    let received = receiver.received_requests().await.unwrap();
    assert_eq!((received.len(), &received[3].body), (4, &received[0].body));
    assert!(!session.fake.redeliver("unknown"));
}

#[tokio::test]
async fn an_event_is_lost_after_twelve_retries() {
    let receiver = MockServer::start().await;
    // A redirect is no success either.
    let elsewhere = ResponseTemplate::new(302).insert_header("location", "/x");
    Mock::given(any())
        .respond_with(elsewhere)
        .mount(&receiver)
        .await;
    let session = Session::with(keyed()).await;
    let folder = session.fake.create_folder("0", "Deals").unwrap();
    session
        .fake
        .create_webhook(&folder, &receiver.uri(), &["FILE.UPLOADED"])
        .unwrap();
    let event = session
        .fake
        .upload(&folder, "a", "x")
        .unwrap()
        .event_ids
        .remove(0);
    let given_up = Err(Undelivered::GivenUp(event.clone()));
    assert_eq!(session.fake.wait_delivered(&event, LONG).await, given_up);
    assert_eq!(receiver.received_requests().await.unwrap().len(), 13);
    let unknown = session.fake.wait_delivered("x", LONG).await;
    assert_eq!(unknown, Err(Undelivered::Unknown("x".to_owned())));
}

#[tokio::test]
async fn a_receiver_that_takes_too_long_has_failed() {
    let receiver = MockServer::start().await;
    let late = ResponseTemplate::new(200).set_delay(LONG);
    Mock::given(any())
        .respond_with(late)
        .up_to_n_times(1)
        .mount(&receiver)
        .await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200))
        .mount(&receiver)
        .await;
    let session = Session::with(keyed().delivery_timeout(Duration::from_millis(300))).await;
    let folder = session.fake.create_folder("0", "Deals").unwrap();
    session
        .fake
        .create_webhook(&folder, &receiver.uri(), &["FILE.UPLOADED"])
        .unwrap();
    session.fake.upload(&folder, "a", "x").unwrap();
    session.fake.wait_all_delivered(LONG).await.unwrap();
    let statuses: Vec<_> = session
        .fake
        .deliveries()
        .iter()
        .map(|entry| entry.status)
        .collect();
    assert_eq!(statuses, [None, Some(200)]);
}

/// Raises events without sending them, and gives trigger and body of each.
fn told(fake: &FakeBox) -> Vec<(String, Value)> {
    let events = fake.events().into_iter();
    events
        .map(|e| (e.trigger.clone(), serde_json::from_slice(&e.body).unwrap()))
        .collect()
}

#[tokio::test]
async fn everything_that_happens_to_a_file_is_told_with_its_own_details() {
    let session = Session::with(keyed().auto_deliver(false)).await;
    let fake = &session.fake;
    let folder = fake.create_folder("0", "Deals").unwrap();
    fake.create_webhook(&folder, "http://127.0.0.1:9", ALL)
        .unwrap();
    let inner = fake.create_folder(&folder, "Inner").unwrap();
    let file = fake.upload(&folder, "a", "1").unwrap();
    let id = &file.file_id;
    let next = fake.upload_version(id, "2").unwrap();
    fake.rename_file(id, "b").unwrap();
    fake.move_file(id, &inner).unwrap();
    fake.preview(id).unwrap();
    fake.lock(id).unwrap();
    fake.unlock(id).unwrap();
    fake.sign_completed(id, &["buyer@customer.example"])
        .unwrap();
    session.get(&format!("2.0/files/{id}/content")).await;
    fake.trash(id).unwrap();

    let told = told(fake);
    let triggers: Vec<_> = told.iter().map(|(trigger, _)| trigger.as_str()).collect();
    assert_eq!(
        triggers,
        [
            "FOLDER.CREATED",
            "FILE.UPLOADED",
            "FILE.UPLOADED",
            "FILE.RENAMED",
            "FILE.MOVED",
            "FILE.PREVIEWED",
            "FILE.LOCKED",
            "FILE.UNLOCKED",
            "SIGN_REQUEST.COMPLETED",
            "FILE.DOWNLOADED",
            "FILE.TRASHED",
        ]
    );
    // A new version is an upload of the same file.
    assert_eq!(told[2].1["source"]["id"], json!(id));
    assert_eq!(
        told[2].1["source"]["file_version"]["id"],
        json!(next.version_id)
    );
    assert_eq!(told[3].1["additional_info"], json!({ "old_name": "a" }));
    assert_eq!(
        told[4].1["additional_info"],
        json!({
            "before": { "id": folder, "type": "folder" },
            "after": { "id": inner, "type": "folder" },
        })
    );
    assert_eq!(told[4].1["source"]["parent"]["id"], json!(inner));
    let signed = &told[8].1;
    assert_eq!(signed["created_by"]["name"], "Box Sign");
    assert_eq!(
        signed["additional_info"]["signer_emails"],
        json!(["buyer@customer.example"])
    );
    assert_eq!(told[10].1["source"], json!({ "id": id, "type": "file" }));
}

#[tokio::test]
async fn a_file_that_is_moved_into_a_watched_folder_is_uploaded_there() {
    let session = Session::with(keyed().auto_deliver(false)).await;
    let fake = &session.fake;
    let (from, to) = (
        fake.create_folder("0", "From").unwrap(),
        fake.create_folder("0", "To").unwrap(),
    );
    for folder in [&from, &to] {
        let triggers = ["FILE.UPLOADED", "FILE.MOVED"];
        fake.create_webhook(folder, "http://127.0.0.1:9", &triggers)
            .unwrap();
    }
    let file = fake.upload(&from, "a", "x").unwrap();
    fake.move_file(&file.file_id, &to).unwrap();
    let told: Vec<_> = fake
        .events()
        .into_iter()
        .map(|e| (e.trigger, e.webhook_id))
        .collect();
    let webhooks: BTreeSet<_> = told.iter().map(|(_, webhook)| webhook.clone()).collect();
    let of = |trigger: &str| told[1..].iter().filter(|(t, _)| t == trigger).count();
    assert_eq!(
        (of("FILE.MOVED"), of("FILE.UPLOADED"), webhooks.len()),
        (2, 1, 2)
    );
}

#[tokio::test]
async fn metadata_is_told_when_it_changes_and_only_then() {
    let session = Session::with(keyed().auto_deliver(false)).await;
    let fake = &session.fake;
    let folder = fake.create_folder("0", "Deals").unwrap();
    fake.create_webhook(&folder, "http://127.0.0.1:9", ALL)
        .unwrap();
    let fields = json!([{ "type": "string", "key": "stage", "displayName": "Stage" }]);
    fake.create_template("mapping", fields).unwrap();
    for stage in ["Open", "Won", "Won"] {
        fake.apply_metadata(&folder, "mapping", json!({ "stage": stage }))
            .unwrap();
    }
    session
        .delete(&format!("2.0/folders/{folder}/metadata/enterprise/mapping"))
        .await;
    let triggers: Vec<_> = told(fake).into_iter().map(|(trigger, _)| trigger).collect();
    let expected = [
        "METADATA_INSTANCE.CREATED",
        "METADATA_INSTANCE.UPDATED",
        "METADATA_INSTANCE.DELETED",
    ];
    assert_eq!(triggers, expected);
}

#[tokio::test]
async fn only_what_a_webhook_watches_is_told_to_it() {
    let session = Session::with(keyed().auto_deliver(false)).await;
    let fake = &session.fake;
    let (watched, other) = (
        fake.create_folder("0", "A").unwrap(),
        fake.create_folder("0", "B").unwrap(),
    );
    let webhook = fake
        .create_webhook(&watched, "http://127.0.0.1:9", &["FILE.LOCKED"])
        .unwrap();
    let (inside, outside) = (
        fake.upload(&watched, "a", "x").unwrap(),
        fake.upload(&other, "a", "x").unwrap(),
    );
    fake.lock(&outside.file_id).unwrap();
    assert_eq!(fake.events().len(), 0);
    fake.lock(&inside.file_id).unwrap();
    assert_eq!(fake.events().len(), 1);
    session.delete(&format!("2.0/webhooks/{webhook}")).await;
    fake.unlock(&inside.file_id).unwrap();
    fake.lock(&inside.file_id).unwrap();
    assert_eq!(fake.events().len(), 1);
}

#[tokio::test]
async fn an_event_can_be_sent_by_hand() {
    let receiver = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200))
        .mount(&receiver)
        .await;
    let session = Session::with(keyed().auto_deliver(false)).await;
    let folder = session.fake.create_folder("0", "Deals").unwrap();
    session
        .fake
        .create_webhook(&folder, &receiver.uri(), &["FILE.UPLOADED"])
        .unwrap();
    let event = session
        .fake
        .upload(&folder, "a", "x")
        .unwrap()
        .event_ids
        .remove(0);
    // Nothing is sent on its own, and nothing is waited for.
    session.fake.wait_all_delivered(LONG).await.unwrap();
    let delivery = session.fake.delivery(&event).unwrap();
    let mut request = client().post(receiver.uri()).body(delivery.body);
    for (name, value) in delivery.headers {
        request = request.header(name, value);
    }
    request.send().await.unwrap();
    let old = "2020-01-01T00:00:00-07:00".parse().unwrap();
    let signed = session.fake.sign("{}", old);
    let at = signed.header("box-delivery-timestamp").unwrap();
    assert_eq!(at.parse::<Timestamp>().unwrap(), old);
    let expected = mac("primary-key", b"{}", at);
    assert_eq!(
        signed.header("BOX-SIGNATURE-PRIMARY"),
        Some(expected.as_str())
    );
    let received = receiver.received_requests().await.unwrap();
    assert_eq!(received.len(), 1);
    verify(&received[0]);
    assert!(session.fake.delivery("unknown").is_none());
}

#[tokio::test]
async fn without_keys_deliveries_carry_no_signature() {
    let session = Session::start().await;
    let delivery = session.fake.sign("{}", Timestamp::now());
    assert!(
        delivery
            .headers
            .iter()
            .all(|(name, _)| !name.starts_with("box-signature-p"))
    );
    assert!(
        delivery
            .headers
            .iter()
            .all(|(name, _)| !name.starts_with("box-signature-s"))
    );
    assert!(delivery.header("box-delivery-id").is_some());
}
