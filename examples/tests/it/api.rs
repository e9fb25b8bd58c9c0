//! Callers without webhooks: what they ask for is done once, however often they ask.

use std::time::Duration;

use reqwest::Response;
use salesforce_client::testing::{Fault, FaultEffect};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::setting::Setting;

const TOKEN: &str = "a-token-for-the-tests-of-the-API";

/// With the API, and with a rule that no event here starts.
async fn with_api() -> Setting {
    let api = "[api]\ntoken = { file = \"api.token\" }\n[worker]";
    let change = |text: String| {
        text.replace("[worker]", api)
            .replace("FILE.UPLOADED", "FILE.LOCKED")
    };
    let setting = Setting::with(change, true).await;
    std::fs::write(setting.home.path().join("api.token"), TOKEN).unwrap();
    setting
}

async fn post(setting: &Setting, path: &str, key: &str, body: &Value) -> Option<Response> {
    let request = reqwest::Client::new().post(format!("{}{path}", setting.url));
    let request = request.bearer_auth(TOKEN).header("Idempotency-Key", key);
    request.json(body).send().await.ok()
}

/// Asks with one key until there is an answer, and gives the job's URL.
async fn insist(setting: &Setting, path: &str, key: &str, body: &Value) -> String {
    let mut job = None;
    setting
        .until("an answer", async || {
            let Some(answer) = post(setting, path, key, body).await else {
                return false;
            };
            assert_eq!(answer.status(), 202);
            let location = answer.headers()["location"].to_str().unwrap();
            job = Some(format!("{}{location}", setting.url));
            true
        })
        .await;
    job.unwrap()
}

/// The job when nothing more will happen to it by itself.
async fn ended(setting: &Setting, job: &str) -> Value {
    let mut state = Value::Null;
    setting
        .until("the command's end", async || {
            let request = reqwest::Client::new().get(job).bearer_auth(TOKEN);
            let Ok(answer) = request.send().await else {
                return false;
            };
            state = answer.json().await.unwrap();
            state["ended_at"].is_string()
        })
        .await;
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_asked_for_again_and_again_through_crashes_and_lost_answers_happens_once() {
    let setting = with_api().await;
    let lost = FaultEffect::LostAnswerLate { millis: 60 };
    for object in ["ContentVersion", "ContentDocumentLink"] {
        let fault = Fault::on(format!("*/sobjects/{object}"), lost.clone());
        setting.crm.inject(fault.method("POST").times(2));
    }
    let bytes = b"%PDF-1.7 one".to_vec();
    let upload = setting
        .content
        .upload(&setting.folder, "contract.pdf", bytes.clone())
        .unwrap();
    let attach = json!({ "file": upload.file_id });
    let mut jobs = Vec::new();
    for _ in 0..8 {
        let mut server = setting.serve_until_ready().await;
        jobs.push(insist(&setting, "/v1/attach", "attach it", &attach).await);
        sleep(Duration::from_millis(fastrand::u64(0..300))).await;
        server.kill().await.unwrap();
    }
    assert!(jobs.iter().all(|job| *job == jobs[0]), "{jobs:?}");
    let _server = setting.serve_until_ready().await;
    let state = ended(&setting, &jobs[0]).await;
    assert_eq!(state["state"], "done", "{state}");
    setting.assert_once(&upload.file_id, &[bytes]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_logged_once_on_the_record_and_on_the_contact() {
    let setting = with_api().await;
    let jo = json!({ "LastName": "Jo", "Email": "jo@example.com" });
    let contact = setting.crm.create("Contact", jo).unwrap();
    let fault = Fault::on(
        "*/sobjects/Task",
        FaultEffect::LostAnswerLate { millis: 60 },
    );
    setting.crm.inject(fault.method("POST").times(1));
    let _server = setting.serve_until_ready().await;
    let task = json!({
        "record": &setting.opportunity[..15], "subject": "Contract {discussed}",
        "description": "By telephone.", "contact": "jo@example.com",
    });
    let job = insist(&setting, "/v1/tasks", "call", &task).await;
    let state = ended(&setting, &job).await;
    assert_eq!(state["state"], "done", "{state}");
    assert_eq!(insist(&setting, "/v1/tasks", "call", &task).await, job);
    let tasks = setting.crm.records("Task");
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    let told = ["WhatId", "WhoId", "Subject"].map(|field| tasks[0][field].as_str().unwrap());
    assert_eq!(
        told,
        [&setting.opportunity, &contact, "Contract {discussed}"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_ends_with_the_reason() {
    let setting = with_api().await;
    let upload = setting
        .content
        .upload(&setting.folder, "contract.pdf", "%PDF-1.7")
        .unwrap();
    let _server = setting.serve_until_ready().await;
    let file = &upload.file_id;
    for (path, body, says) in [
        ("/v1/attach", json!({ "file": "404404" }), "no file 404404"),
        (
            "/v1/attach",
            json!({ "file": file, "to": "006000000000009AAA" }),
            "INVALID_CROSS_REFERENCE_KEY",
        ),
        (
            "/v1/tasks",
            json!({ "record": "006000000000009AAA", "subject": "call" }),
            "Task",
        ),
    ] {
        let job = insist(&setting, path, &body.to_string(), &body).await;
        let state = ended(&setting, &job).await;
        assert_eq!(state["state"], "dead", "{state}");
        let note = state["note"].as_str().unwrap();
        assert!(note.contains(says), "{note}");
    }
    let jobs = setting.queue(&["list", "--json"]).await.len();
    for (path, body, status, says) in [
        (
            "/v1/attach",
            json!({ "file": file, "to": "not an id" }),
            400,
            "to: it is no record's",
        ),
        (
            "/v1/attach",
            json!({ "file": "f_7" }),
            400,
            "file: it is no file's id",
        ),
        (
            "/v1/provision",
            json!({ "record": setting.opportunity }),
            422,
            "no rule provisions a record of kind Opportunity",
        ),
    ] {
        let refused = post(&setting, path, "bad", &body).await.unwrap();
        assert_eq!(refused.status(), status, "{body}");
        let problem: Value = refused.json().await.unwrap();
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{problem}"
        );
    }
    assert_eq!(
        setting.queue(&["list", "--json"]).await.len(),
        jobs,
        "it was refused at once"
    );
    assert!(setting.crm.files().is_empty() && setting.crm.records("Task").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_api_unless_it_is_configured_with_a_good_token() {
    let setting = Setting::up().await;
    let mut server = setting.serve_until_ready().await;
    let attach = json!({ "file": "7" });
    let answer = post(&setting, "/v1/attach", "k", &attach).await.unwrap();
    assert_eq!(answer.status(), 404);
    server.kill().await.unwrap();

    let setting = with_api().await;
    std::fs::write(setting.home.path().join("api.token"), "short").unwrap();
    let serve = setting
        .program()
        .args(["serve", "--config", "bridge.toml"])
        .output();
    let output = serve.await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("at least 16 characters"), "{said}");
}
