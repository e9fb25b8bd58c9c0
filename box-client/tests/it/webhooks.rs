use box_client::{
    BoxClient, Change, Ensured, ErrorKind, FolderId, Result, WebhookId, WebhookTarget,
};
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::vendor::{Vendor, error, reply, status};

const ADDRESS: &str = "https://bridge.example.com/hooks/box";
const TRIGGERS: [&str; 2] = ["FILE.UPLOADED", "FILE.MOVED"];
const ALL: &str = "/2.0/webhooks";
const ONE: &str = "/2.0/webhooks/4220000001";

fn target() -> WebhookTarget {
    WebhookTarget::Folder {
        id: FolderId::new("100").unwrap(),
    }
}

fn webhook(address: &str, triggers: &[&str]) -> Value {
    json!({
        "id": "4220000001", "type": "webhook", "target": { "id": "100", "type": "folder" },
        "created_by": { "type": "user", "id": "11", "name": "Svc", "login": "svc@example.com" },
        "created_at": "2026-03-01T17:41:27-08:00", "address": address, "triggers": triggers,
    })
}

fn exists(sentence: &str) -> ResponseTemplate {
    let errors = json!([{
        "reason": "invalid_parameter", "name": "existWebhookId", "message": sentence,
    }]);
    let body = json!({
        "type": "error", "status": 409, "code": "conflict", "context_info": { "errors": errors },
        "help_url": "x", "message": "Bad Request", "request_id": "1",
    });
    reply(409, body)
}

fn known() -> ResponseTemplate {
    exists("Webhook:4220000001 already exists on the specified target.")
}

async fn ensure(client: &BoxClient) -> Result<Ensured> {
    let webhooks = client.webhooks();
    webhooks.ensure(&target(), ADDRESS, &TRIGGERS).await
}

#[tokio::test]
async fn a_webhook_is_created_as_box_documents_it() {
    let vendor = Vendor::start().await;
    let made = reply(201, webhook(ADDRESS, &TRIGGERS));
    vendor.answers("POST", ALL, [made]).await;
    let ensured = ensure(&vendor.client()).await.unwrap();
    assert_eq!(ensured.change, Change::Created);
    assert_eq!(ensured.webhook.target, Some(target()));
    let body: Value = vendor.request().await.body_json().unwrap();
    let target = json!({ "type": "folder", "id": "100" });
    assert_eq!(
        body,
        json!({ "target": target, "address": ADDRESS, "triggers": TRIGGERS })
    );
    vendor.done().await;
}

#[tokio::test]
async fn an_existing_webhook_that_is_right_is_left_alone() {
    let vendor = Vendor::start().await;
    let as_it_is = webhook(ADDRESS, &["FILE.MOVED", "FILE.UPLOADED"]);
    vendor.answers("POST", ALL, [known()]).await;
    vendor.answers("GET", ONE, [reply(200, as_it_is)]).await;
    let ensured = ensure(&vendor.client()).await.unwrap();
    assert_eq!(ensured.change, Change::None);
    vendor.done().await;
}

#[tokio::test]
async fn an_existing_webhook_that_differs_is_changed() {
    let mut unhealthy = webhook(ADDRESS, &TRIGGERS);
    unhealthy["status"] = "disabled".into();
    for as_it_is in [
        webhook("https://old.example.com/", &TRIGGERS),
        webhook(ADDRESS, &["FILE.UPLOADED"]),
        webhook(ADDRESS, &["FILE.UPLOADED", "FILE.MOVED", "FILE.LOCKED"]),
        unhealthy,
    ] {
        let vendor = Vendor::start().await;
        vendor.answers("POST", ALL, [known()]).await;
        vendor.answers("GET", ONE, [reply(200, as_it_is)]).await;
        let after = reply(200, webhook(ADDRESS, &TRIGGERS));
        vendor.answers("PUT", ONE, [after]).await;
        let ensured = ensure(&vendor.client()).await.unwrap();
        assert_eq!(ensured.change, Change::Updated);
        assert!(ensured.webhook.is(ADDRESS, &TRIGGERS));
        let put = vendor.requests().await.pop().unwrap();
        let body: Value = put.body_json().unwrap();
        assert_eq!(body, json!({ "address": ADDRESS, "triggers": TRIGGERS }));
        vendor.done().await;
    }
}

#[tokio::test]
async fn an_unnamed_existing_webhook_is_found_in_the_list() {
    let mini = |id: &str, target: Value| json!({ "id": id, "type": "webhook", "target": target });
    let first = json!({ "limit": 4, "next_marker": "m1", "entries": [
        mini("1", json!({ "type": "folder", "id": "99" })),
        mini("2", json!({ "type": "web_link", "id": "100" })),
        mini("3", Value::Null),
        mini("4", json!({ "type": "file", "id": "100" })),
    ]});
    let second = json!({ "limit": 4, "next_marker": "", "entries": [
        mini("4220000001", json!({ "type": "folder", "id": "100" })),
    ]});
    for conflict in [
        error(409, "conflict"),
        exists("It is there already"),
        exists("Webhook: it is there already"),
    ] {
        let vendor = Vendor::start().await;
        vendor.answers("POST", ALL, [conflict]).await;
        let pages = [reply(200, first.clone()), reply(200, second.clone())];
        vendor.answers("GET", ALL, pages).await;
        let as_it_is = webhook(ADDRESS, &TRIGGERS);
        vendor.answers("GET", ONE, [reply(200, as_it_is)]).await;
        let ensured = ensure(&vendor.client()).await.unwrap();
        assert_eq!(ensured.change, Change::None);
        let requests = vendor.requests().await;
        assert_eq!(requests[1].url.query(), Some("limit=200"));
        assert_eq!(requests[2].url.query(), Some("limit=200&marker=m1"));
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_conflict_about_something_else_stays_one() {
    let vendor = Vendor::start().await;
    vendor.answers("POST", ALL, [error(409, "conflict")]).await;
    let none = reply(200, json!({ "entries": [], "limit": 100 }));
    vendor.answers("GET", ALL, [none]).await;
    let failure = ensure(&vendor.client()).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Conflict);
    vendor.done().await;
}

#[tokio::test]
async fn a_lost_answer_of_the_creation_finds_what_was_created() {
    let vendor = Vendor::start().await;
    vendor.answers("POST", ALL, [status(503), known()]).await;
    let as_it_is = webhook(ADDRESS, &TRIGGERS);
    vendor.answers("GET", ONE, [reply(200, as_it_is)]).await;
    let ensured = ensure(&vendor.client()).await.unwrap();
    assert_eq!(ensured.change, Change::None);
    vendor.done().await;
}

#[tokio::test]
async fn creating_alone_is_not_repeated() {
    let vendor = Vendor::start().await;
    vendor.answers("POST", ALL, [status(503)]).await;
    let client = vendor.client();
    let created = client
        .webhooks()
        .create(&target(), ADDRESS, &TRIGGERS)
        .await;
    assert!(created.unwrap_err().may_have_happened());
    vendor.done().await;
}

#[tokio::test]
async fn a_refusal_of_the_creation_is_handed_on() {
    let vendor = Vendor::start().await;
    let refused = error(403, "insufficient_scope");
    vendor.answers("POST", ALL, [refused]).await;
    let failure = ensure(&vendor.client()).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Forbidden);
    vendor.done().await;
}

#[tokio::test]
async fn a_list_ends_without_a_marker_and_at_one_that_does_not_move() {
    let page = |marker: Value| reply(200, json!({ "entries": [], "next_marker": marker }));
    for pages in [
        vec![reply(200, json!({ "entries": [] }))],
        vec![page(Value::Null)],
        vec![page("".into())],
        vec![page("m".into()), page("m".into())],
    ] {
        let vendor = Vendor::start().await;
        vendor.answers("GET", ALL, pages).await;
        let client = vendor.client();
        let all: Vec<_> = client.webhooks().list().try_collect().await.unwrap();
        assert!(all.is_empty());
        vendor.done().await;
    }
}

#[tokio::test]
async fn a_webhook_is_deleted() {
    let vendor = Vendor::start().await;
    vendor.answers("DELETE", ONE, [status(204)]).await;
    let id = WebhookId::new("4220000001").unwrap();
    vendor.client().webhooks().delete(&id).await.unwrap();
    vendor.done().await;
}
