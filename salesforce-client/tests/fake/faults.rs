use std::collections::BTreeMap;
use std::time::Duration;

use salesforce_client::testing::{Fault, FaultEffect};
use serde_json::json;

use crate::support::{Session, base64, eventually, refused, send};

fn on_tasks(effect: FaultEffect) -> Fault {
    Fault::on("*/sobjects/Task", effect).method("POST")
}

fn tasks(session: &Session) -> usize {
    session.fake.records("Task").len()
}

fn task(session: &Session) -> reqwest::RequestBuilder {
    session
        .request("POST", "sobjects/Task")
        .json(&json!({ "Subject": "x" }))
}

#[tokio::test]
async fn a_status_is_answered_and_nothing_happens() {
    let session = Session::start().await;
    session.fake.inject(on_tasks(FaultEffect::Status {
        status: 502,
        headers: BTreeMap::from([("retry-after".to_owned(), "7".to_owned())]),
        body: "<html>".to_owned(),
    }));
    let answer = send(task(&session)).await;
    let got = (
        answer.status,
        answer.header("retry-after"),
        &answer.body[..],
    );
    assert_eq!(got, (502, Some("7"), &b"<html>"[..]));
    assert_eq!(tasks(&session), 0);
    assert_eq!(send(task(&session)).await.status, 201);
}

#[tokio::test]
async fn a_reset_has_no_effect_and_a_lost_answer_has() {
    let session = Session::start().await;
    session.fake.inject(on_tasks(FaultEffect::Reset));
    assert!(task(&session).send().await.is_err());
    assert_eq!(tasks(&session), 0);
    session.fake.inject(on_tasks(FaultEffect::LostAnswer));
    assert!(task(&session).send().await.is_err());
    assert_eq!(tasks(&session), 1);
    let statuses: Vec<_> = session
        .fake
        .requests()
        .iter()
        .map(|request| request.status)
        .collect();
    assert_eq!(statuses, [None, None]);
}

#[tokio::test]
async fn the_answer_to_an_upload_can_be_lost() {
    let session = Session::start().await;
    let path = "*/sobjects/ContentVersion";
    session
        .fake
        .inject(Fault::on(path, FaultEffect::LostAnswer).times(2));
    let fields = json!({ "PathOnClient": "a" });
    let form = session
        .form_request()
        .body(crate::support::form(&fields, b"form"));
    assert!(form.send().await.is_err());
    let body = json!({ "PathOnClient": "a", "VersionData": base64(b"json") });
    let json = session
        .request("POST", "sobjects/ContentVersion")
        .json(&body);
    assert!(json.send().await.is_err());
    let sizes: Vec<u64> = session
        .fake
        .files()
        .iter()
        .map(|file| file.versions[0].size)
        .collect();
    assert_eq!(sizes, [4, 4]);
}

const HOUR: u64 = 60 * 60 * 1000;

/// Lets a fault's hour go by at once.
async fn an_hour_later() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(HOUR + 1)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_late_commit_comes_after_the_connection_is_gone() {
    let session = Session::start().await;
    session
        .fake
        .inject(on_tasks(FaultEffect::LostAnswerLate { millis: HOUR }));
    assert!(task(&session).send().await.is_err());
    assert_eq!(tasks(&session), 0);
    an_hour_later().await;
    eventually(|| tasks(&session) == 1).await;
}

#[tokio::test]
async fn a_delayed_answer_comes_after_its_effect() {
    let session = Session::start().await;
    session
        .fake
        .inject(on_tasks(FaultEffect::Delay { millis: HOUR }));
    let sent = tokio::spawn(send(task(&session)));
    eventually(|| tasks(&session) == 1).await;
    assert!(!sent.is_finished());
    an_hour_later().await;
    assert_eq!(sent.await.unwrap().status, 201);
}

#[tokio::test]
async fn a_delayed_effect_happens_even_if_the_caller_gives_up() {
    let session = Session::start().await;
    session
        .fake
        .inject(on_tasks(FaultEffect::DelayBefore { millis: HOUR }));
    let impatient = tokio::spawn(send(task(&session)));
    eventually(|| !session.fake.requests().is_empty()).await;
    impatient.abort();
    assert!(impatient.await.is_err());
    assert_eq!(tasks(&session), 0);
    an_hour_later().await;
    eventually(|| tasks(&session) == 1).await;
}

#[tokio::test]
async fn a_body_breaks_off_or_comes_with_a_wrong_byte() {
    let session = Session::start().await;
    let content: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let id = session
        .upload(json!({ "PathOnClient": "a" }), &content)
        .await
        .id();
    let path = format!("sobjects/ContentVersion/{id}/VersionData");
    let fault = |effect| Fault::on("*/VersionData", effect);

    session
        .fake
        .inject(fault(FaultEffect::TruncateBody { after: 150_000 }));
    let mut broken = session.request("GET", &path).send().await.unwrap();
    assert_eq!(broken.content_length(), Some(200_000));
    let mut seen = Vec::new();
    let end = loop {
        match broken.chunk().await {
            Ok(Some(chunk)) => seen.extend_from_slice(&chunk),
            end => break end,
        }
    };
    assert!(end.is_err());
    assert_eq!(seen, content[..150_000]);

    session
        .fake
        .inject(fault(FaultEffect::CorruptBody { at: 70_000 }));
    let wrong = session.get(&path).await;
    let differing: Vec<usize> = wrong
        .body
        .iter()
        .zip(&content)
        .enumerate()
        .filter(|(_, (got, sent))| got != sent)
        .map(|(place, _)| place)
        .collect();
    assert_eq!((wrong.body.len(), differing), (content.len(), vec![70_000]));
    assert_eq!(session.get(&path).await.body, content);
}

#[tokio::test]
async fn the_faults_of_an_org_answer_in_its_words_and_do_nothing() {
    let session = Session::start().await;
    for (effect, status, code, text) in [
        (
            FaultEffect::DailyLimit,
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "TotalRequests Limit exceeded.",
        ),
        (
            FaultEffect::ConcurrentLimit,
            403,
            "REQUEST_LIMIT_EXCEEDED",
            "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
        ),
        (
            FaultEffect::RowLock,
            400,
            "UNABLE_TO_LOCK_ROW",
            "unable to obtain exclusive access to this record or 1 records: ",
        ),
        (
            FaultEffect::Unavailable,
            503,
            "SERVER_UNAVAILABLE",
            "Server too busy",
        ),
        (
            FaultEffect::RateLimit { retry_after: None },
            429,
            "REQUEST_LIMIT_EXCEEDED",
            "",
        ),
    ] {
        session.fake.inject(on_tasks(effect));
        let answer = send(task(&session)).await;
        assert_eq!(answer.error(), refused(status, code));
        assert!(answer.message().starts_with(text), "{}", answer.message());
        assert_eq!(
            answer.header("sforce-limit-info").is_some(),
            status != 429,
            "{status}"
        );
    }
    let effect = FaultEffect::RateLimit {
        retry_after: Some("3".to_owned()),
    };
    session.fake.inject(on_tasks(effect));
    assert_eq!(send(task(&session)).await.header("retry-after"), Some("3"));
    assert_eq!(tasks(&session), 0);
}

#[tokio::test]
async fn an_expired_session_is_dead_and_others_live() {
    let session = Session::start().await;
    session.fake.inject(on_tasks(FaultEffect::ExpireSession));
    assert_eq!(
        send(task(&session)).await.error(),
        refused(401, "INVALID_SESSION_ID")
    );
    assert_eq!(
        send(task(&session)).await.error(),
        refused(401, "INVALID_SESSION_ID")
    );
    assert_eq!(tasks(&session), 0);
    let other = session.fake.issue_token();
    let url = session.url("limits");
    assert_eq!(
        send(session.http.get(url).bearer_auth(other)).await.status,
        200
    );
}

#[tokio::test]
async fn faults_skip_and_repeat_and_the_first_that_matches_acts() {
    let session = Session::start().await;
    session
        .fake
        .inject(on_tasks(FaultEffect::Unavailable).skip(1).times(2));
    session
        .fake
        .inject(Fault::on("*/sobjects/*", FaultEffect::RowLock));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(send(task(&session)).await.status);
    }
    assert_eq!(statuses, [201, 503, 503, 400, 201]);
    session
        .fake
        .inject(on_tasks(FaultEffect::Unavailable).times(9));
    session.fake.clear_faults();
    assert_eq!(send(task(&session)).await.status, 201);
}

#[tokio::test]
async fn faults_hit_the_token_endpoint_too() {
    let session = Session::start().await;
    session.fake.inject(Fault::on(
        "/services/oauth2/token",
        FaultEffect::Unavailable,
    ));
    let request = session.http.post(session.url("/services/oauth2/token"));
    assert_eq!(send(request.form(&[("grant_type", "x")])).await.status, 503);
}
