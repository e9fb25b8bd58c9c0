use std::time::Duration;

use box_client::testing::FakeBox;
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::support::{Session, send};

#[tokio::test]
async fn faults_are_injected_and_cleared_over_http() {
    let session = Session::start().await;
    let fault = json!({ "path": "/2.0/users/me", "effect": { "do": "status", "status": 418 } });
    assert_eq!(
        session.post("_fake/faults", fault.clone()).await.status,
        204
    );
    assert_eq!(session.get("2.0/users/me").await.status, 418);
    let two = json!([fault, { "path": "*", "times": 3, "effect": { "do": "reset" } }]);
    assert_eq!(session.post("_fake/faults", two).await.status, 204);
    // Control calls are never faulted.
    assert_eq!(session.delete("_fake/faults").await.status, 204);
    assert_eq!(session.get("2.0/users/me").await.status, 200);
    let wrong = json!({ "path": "*", "effect": { "do": "explode" } });
    assert_eq!(session.post("_fake/faults", wrong).await.status, 400);
}

#[tokio::test]
async fn requests_are_recorded_with_what_was_sent_and_without_the_token() {
    let session = Session::start().await;
    let path = "2.0/folders/0/items?fields=name%2Cid&limit=1";
    session.get(path).await;
    session
        .post(
            "2.0/folders",
            json!({ "name": "a", "parent": { "id": "0" } }),
        )
        .await;
    let got = session.get("_fake/requests").await;
    let requests = got.json();
    // Control calls are not recorded.
    assert_eq!(requests.as_array().unwrap().len(), 2);
    assert_eq!(requests[0]["path"], "/2.0/folders/0/items");
    assert_eq!(
        requests[0]["query"],
        json!([["fields", "name,id"], ["limit", "1"]])
    );
    assert_eq!(
        (&requests[1]["method"], &requests[1]["status"]),
        (&json!("POST"), &json!(201))
    );
    assert!(
        requests[1]["body"]
            .as_str()
            .unwrap()
            .contains("\"name\":\"a\"")
    );
    assert!(!String::from_utf8_lossy(&got.body).contains(&session.token));
    let recorded = session.fake.requests();
    assert_eq!(recorded[1].header("Authorization"), Some("Bearer"));
    session.fake.clear_requests();
    session.get(path).await;
    let recorded = session.fake.requests();
    assert_eq!((recorded.len(), recorded[0].status), (1, Some(200)));
}

#[tokio::test]
async fn a_program_in_any_language_can_do_what_the_handle_does() {
    let receiver = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200))
        .mount(&receiver)
        .await;
    let session = Session::with(FakeBox::builder().delivery_retry(Duration::ZERO)).await;
    let tokens = session.post("_fake/tokens", json!({})).await;
    let url = format!("{}/2.0/users/me", session.fake.url());
    let request = session
        .http
        .get(url)
        .bearer_auth(tokens.text("/access_token"));
    assert_eq!(send(request).await.status, 200);
    assert!(!tokens.text("/refresh_token").is_empty());

    let folder = session.fake.create_folder("0", "Deals").unwrap();
    session
        .fake
        .create_webhook(&folder, &receiver.uri(), &["FILE.UPLOADED"])
        .unwrap();
    let body = json!({ "folder": folder, "name": "big", "size": 100_000, "seed": 3 });
    let uploaded = session.post("_fake/upload_generated", body.clone()).await;
    assert_eq!(uploaded.status, 200);
    session.post("_fake/upload_generated", body).await.json()["code"]
        .as_str()
        .filter(|code| *code == "item_name_in_use")
        .unwrap();
    session
        .fake
        .wait_all_delivered(Duration::from_secs(20))
        .await
        .unwrap();
    let event = uploaded.text("/event_ids/0");
    assert_eq!(
        session
            .post(&format!("_fake/redeliver/{event}"), json!({}))
            .await
            .status,
        204
    );
    assert_eq!(
        session.post("_fake/redeliver/none", json!({})).await.status,
        404
    );
    session
        .fake
        .wait_all_delivered(Duration::from_secs(20))
        .await
        .unwrap();
    let log = session.get("_fake/deliveries").await.json();
    assert_eq!(log.as_array().unwrap().len(), 2);
    assert_eq!(
        (&log[1]["attempt"], &log[1]["status"]),
        (&json!(2), &json!(200))
    );

    let file = uploaded.text("/file_id");
    assert_eq!(
        session
            .post(&format!("_fake/lock/{file}"), json!({}))
            .await
            .status,
        204
    );
    let state = session.get("_fake/state").await.json();
    assert_eq!(
        state["files"][0]["lock"]["created_by"]["login"],
        "jo@example.com"
    );
    assert_eq!(state["files"][0]["versions"].as_array().unwrap().len(), 1);
    assert_eq!(state["events"][0]["delivered"], true);
}

#[tokio::test]
async fn it_stops_when_told_to_and_with_the_last_handle() {
    let session = Session::start().await;
    session.get("2.0/users/me").await;
    session.fake.stop();
    let start = std::time::Instant::now();
    while session.request("GET", "2.0/users/me").send().await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    assert!(!session.fake.requests().is_empty());

    let fake = FakeBox::start().await.unwrap();
    let (url, other) = (fake.url(), fake.clone());
    drop(fake);
    let alive = session.http.get(&url).send().await;
    assert_eq!(alive.unwrap().status(), 401);
    drop(other);
    while session.http.get(&url).send().await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
