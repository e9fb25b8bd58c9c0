use box_client::testing::FakeBox;
use serde_json::{Value, json};

use crate::support::{Session, send};

const ADDRESS: &str = "https://bridge.example.com/hooks/box";

fn webhook(kind: &str, id: &str, address: &str, triggers: &[&str]) -> Value {
    json!({ "target": { "type": kind, "id": id }, "address": address, "triggers": triggers })
}

#[tokio::test]
async fn a_webhook_is_created_read_changed_and_deleted() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "Deals").unwrap();
    let body = webhook("folder", &folder, ADDRESS, &["FILE.UPLOADED"]);
    let got = session.post("2.0/webhooks", body).await;
    assert_eq!(got.status, 201);
    let path = format!("2.0/webhooks/{}", got.text("/id"));
    let members: Vec<_> = got.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(members.len(), 7, "{members:?}");
    assert_eq!(session.get(&path).await.json(), got.json());
    let change = json!({ "triggers": ["FILE.LOCKED"], "address": "https://other.example.com" });
    let changed = session.put(&path, change).await;
    assert_eq!(changed.json()["triggers"], json!(["FILE.LOCKED"]));
    assert_eq!(changed.text("/address"), "https://other.example.com");
    assert_eq!(session.delete(&path).await.status, 204);
    for got in [session.get(&path).await, session.delete(&path).await] {
        got.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_second_webhook_on_a_target_names_the_first_in_its_message() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "Deals").unwrap();
    let body = webhook("folder", &folder, ADDRESS, &["FILE.UPLOADED"]);
    let id = session.post("2.0/webhooks", body.clone()).await.text("/id");
    let error = session
        .post("2.0/webhooks", body.clone())
        .await
        .refused(409, "conflict");
    assert_eq!(error["message"], "Bad Request");
    assert_eq!(
        error["context_info"]["errors"],
        json!([{
            "reason": "invalid_parameter",
            "name": "existWebhookId",
            "message": format!("Webhook:{id} already exists on the specified target."),
        }])
    );
    // Another user's webhook is another matter, and not to be seen.
    let ann = session.fake.create_user("Ann", "ann@example.com");
    let theirs = session
        .request("POST", "2.0/webhooks")
        .header("as-user", &ann)
        .json(&body);
    let theirs = send(theirs).await;
    assert_eq!(theirs.status, 201);
    session
        .get(&format!("2.0/webhooks/{}", theirs.text("/id")))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn what_box_refuses_of_a_webhook_is_refused() {
    let session = Session::start().await;
    let folder = session.fake.create_folder("0", "Deals").unwrap();
    let file = session.fake.upload("0", "a", "x").unwrap().file_id;
    let up = &["FILE.UPLOADED"][..];
    for (body, status, code) in [
        (webhook("folder", "0", ADDRESS, up), 400, "bad_request"),
        (webhook("folder", "9", ADDRESS, up), 404, "not_found"),
        (
            webhook("file", &folder, ADDRESS, &["FILE.LOCKED"]),
            404,
            "not_found",
        ),
        (webhook("user", "9", ADDRESS, up), 400, "bad_request"),
        (webhook("file", &file, ADDRESS, up), 400, "bad_request"),
        (webhook("folder", &folder, ADDRESS, &[]), 400, "bad_request"),
        (
            webhook("folder", &folder, ADDRESS, &["FILE.VERSION.RESTORED"]),
            400,
            "bad_request",
        ),
        (
            webhook("folder", &folder, ADDRESS, &["NO_ACTIVE_SESSION"]),
            400,
            "bad_request",
        ),
        (
            webhook("folder", &folder, "http://bridge.example.com", up),
            400,
            "bad_request",
        ),
        (
            webhook("folder", &folder, "https://bridge.example.com:8443", up),
            400,
            "bad_request",
        ),
        (
            webhook("folder", &folder, "https://app.box.com/x", up),
            400,
            "bad_request",
        ),
        (
            webhook("folder", &folder, "nowhere", up),
            400,
            "bad_request",
        ),
        (json!({}), 400, "bad_request"),
    ] {
        let got = session.post("2.0/webhooks", body.clone()).await;
        assert_eq!(got.refused(status, code)["status"], status, "{body}");
    }
    let loopback = webhook("folder", &folder, "http://127.0.0.1:9/x", up);
    assert_eq!(session.post("2.0/webhooks", loopback).await.status, 201);
}

#[tokio::test]
async fn plain_http_can_be_allowed_everywhere_or_nowhere() {
    for (allow, address, status) in [
        (true, "http://bridge.example.com:8080", 201),
        (false, "http://127.0.0.1:9", 400),
        (false, ADDRESS, 201),
    ] {
        let session = Session::with(FakeBox::builder().allow_http_addresses(allow)).await;
        let folder = session.fake.create_folder("0", "Deals").unwrap();
        let body = webhook("folder", &folder, address, &["FILE.UPLOADED"]);
        assert_eq!(
            session.post("2.0/webhooks", body).await.status,
            status,
            "{address}"
        );
    }
}

#[tokio::test]
async fn the_list_is_mini_and_paged_by_marker() {
    let session = Session::start().await;
    let mut created = Vec::new();
    for n in 0..5 {
        let folder = session.fake.create_folder("0", &n.to_string()).unwrap();
        created.push(
            session
                .fake
                .create_webhook(&folder, ADDRESS, &["FILE.UPLOADED"])
                .unwrap(),
        );
    }
    let (mut listed, mut marker) = (Vec::new(), String::new());
    loop {
        let page = session
            .get(&format!("2.0/webhooks?limit=2&marker={marker}"))
            .await
            .json();
        for entry in page["entries"].as_array().unwrap() {
            assert_eq!(entry.as_object().unwrap().len(), 3, "{entry}");
            listed.push(entry["id"].as_str().unwrap().to_owned());
        }
        match page["next_marker"].as_str().unwrap_or_default() {
            "" => break,
            next => next.clone_into(&mut marker),
        }
    }
    assert_eq!(listed, created);
    session
        .get("2.0/webhooks?limit=201")
        .await
        .refused(400, "bad_request");
}
