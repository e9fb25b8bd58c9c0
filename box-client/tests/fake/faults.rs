use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use box_client::testing::{Fault, FaultEffect};
use serde_json::{Value, json};

use crate::support::{Session, send};

fn folder_names(session: &Session) -> Vec<String> {
    let state = session.fake.state();
    let folders = state["folders"].as_array().unwrap().iter();
    folders
        .skip(1)
        .map(|folder| folder["name"].as_str().unwrap().to_owned())
        .collect()
}

fn create(session: &Session, name: &str) -> reqwest::RequestBuilder {
    let body = json!({ "name": name, "parent": { "id": "0" } });
    session.request("POST", "2.0/folders").json(&body)
}

fn on_folders(effect: FaultEffect) -> Fault {
    Fault::on("/2.0/folders", effect).method("POST")
}

#[tokio::test]
async fn a_status_is_answered_and_nothing_happens() {
    let session = Session::start().await;
    session.fake.inject(on_folders(FaultEffect::Status {
        status: 503,
        headers: BTreeMap::from([("retry-after".to_owned(), "7".to_owned())]),
        body: "<html>".to_owned(),
    }));
    let got = send(create(&session, "a")).await;
    assert_eq!(
        (got.status, got.header("retry-after"), &got.body[..]),
        (503, "7", &b"<html>"[..])
    );
    assert!(folder_names(&session).is_empty());
    assert_eq!(send(create(&session, "a")).await.status, 201);
}

#[tokio::test]
async fn a_reset_has_no_effect_and_a_lost_answer_has() {
    let session = Session::start().await;
    session.fake.inject(on_folders(FaultEffect::Reset));
    assert!(create(&session, "reset").send().await.is_err());
    session.fake.inject(on_folders(FaultEffect::LostAnswer));
    assert!(create(&session, "lost").send().await.is_err());
    assert_eq!(folder_names(&session), ["lost"]);
    let statuses: Vec<_> = session
        .fake
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [None, None]);
}

#[tokio::test]
async fn a_late_commit_happens_after_the_connection_is_gone() {
    let session = Session::start().await;
    session
        .fake
        .inject(on_folders(FaultEffect::LostAnswerLate { millis: 300 }));
    assert!(create(&session, "late").send().await.is_err());
    assert!(folder_names(&session).is_empty());
    let start = Instant::now();
    while folder_names(&session).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_delayed_answer_comes_late_but_its_effect_does_not() {
    let session = Session::start().await;
    session
        .fake
        .inject(on_folders(FaultEffect::Delay { millis: 2000 }));
    let start = Instant::now();
    let answer = tokio::spawn(send(create(&session, "a")));
    while folder_names(&session).is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!answer.is_finished());
    assert_eq!(answer.await.unwrap().status, 201);
    assert!(start.elapsed() >= Duration::from_millis(2000));
}

#[tokio::test]
async fn a_delayed_effect_is_not_there_while_the_request_waits() {
    let session = Session::start().await;
    session
        .fake
        .inject(on_folders(FaultEffect::DelayBefore { millis: 2000 }));
    let answer = tokio::spawn(send(create(&session, "a")));
    // The body is recorded when it has arrived, before the wait.
    while session
        .fake
        .requests()
        .first()
        .is_none_or(|request| request.body.is_empty())
    {
        tokio::task::yield_now().await;
    }
    assert!(folder_names(&session).is_empty());
    assert_eq!(answer.await.unwrap().status, 201);
    assert_eq!(folder_names(&session), ["a"]);
}

#[tokio::test]
async fn a_rate_limit_has_boxs_body_and_the_header_asked_for() {
    let session = Session::start().await;
    for wait in [Some("3"), Some("Wed, 21 Oct 2026 07:28:00 GMT"), None] {
        let effect = FaultEffect::RateLimit {
            retry_after: wait.map(str::to_owned),
        };
        session.fake.inject(on_folders(effect));
        let got = send(create(&session, "a")).await;
        let error = got.json();
        assert_eq!(
            (got.status, &error["code"]),
            (429, &json!("rate_limit_exceeded"))
        );
        assert_eq!(
            got.headers.get("retry-after").map(|w| w.to_str().unwrap()),
            wait
        );
    }
    assert!(folder_names(&session).is_empty());
}

#[tokio::test]
async fn an_expired_session_stays_expired() {
    let session = Session::start().await;
    session.fake.inject(on_folders(FaultEffect::ExpireSession));
    let got = send(create(&session, "a")).await;
    assert_eq!((got.status, got.body.len()), (401, 0));
    assert!(got.header("www-authenticate").contains("invalid_token"));
    assert_eq!(session.get("2.0/users/me").await.status, 401);
}

#[tokio::test]
async fn content_is_not_ready_with_or_without_a_time() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "a", "x").unwrap();
    let path = format!("2.0/files/{}/content", file.file_id);
    for (wait, header) in [(Some(9), "9"), (None, "")] {
        let effect = FaultEffect::NotReady { retry_after: wait };
        session
            .fake
            .inject(Fault::on("/2.0/files/*/content", effect));
        let got = session.get(&path).await;
        assert_eq!((got.status, got.header("retry-after")), (202, header));
    }
    assert_eq!(session.get(&path).await.status, 302);
}

#[tokio::test]
async fn skip_times_and_clearing_are_kept_to() {
    let session = Session::start().await;
    let gone = || FaultEffect::Status {
        status: 500,
        headers: BTreeMap::new(),
        body: String::new(),
    };
    session
        .fake
        .inject(Fault::on("/2.0/users/*", gone()).skip(1).times(2));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(session.get("2.0/users/me").await.status);
    }
    assert_eq!(statuses, [200, 500, 500, 200]);
    session.fake.inject(Fault::on("*", gone()).times(100));
    session.fake.clear_faults();
    assert_eq!(session.get("2.0/users/me").await.status, 200);
}

#[tokio::test]
async fn a_broken_json_answer_does_not_parse() {
    let session = Session::start().await;
    session.fake.inject(Fault::on(
        "/2.0/users/me",
        FaultEffect::CorruptBody { at: 0 },
    ));
    let got = session.get("2.0/users/me").await;
    assert_eq!(got.status, 200);
    assert!(serde_json::from_slice::<Value>(&got.body).is_err());
    session.fake.inject(Fault::on(
        "/2.0/users/me",
        FaultEffect::TruncateBody { after: 3 },
    ));
    let answer = session.request("GET", "2.0/users/me").send().await.unwrap();
    assert!(answer.bytes().await.is_err());
}

#[tokio::test]
async fn a_lost_token_answer_has_spent_the_refresh_token() {
    let session = Session::start().await;
    let token = session.fake.issue_refresh_token();
    session
        .fake
        .inject(Fault::on("/oauth2/token", FaultEffect::LostAnswer));
    let body = format!(
        "grant_type=refresh_token&refresh_token={token}&client_id=fake_client&client_secret=fake_secret"
    );
    let ask = || {
        let request = session
            .http
            .post(format!("{}/oauth2/token", session.fake.url()));
        request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.clone())
    };
    assert!(ask().send().await.is_err());
    assert_eq!(send(ask()).await.json()["error"], "invalid_grant");
}
