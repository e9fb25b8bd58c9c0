//! What people do on a deal folder, told on the Opportunity and on the Contact.

use std::collections::BTreeMap;

use box_client::{BoxClient, CollaborationId, DeveloperToken, FileId};
use jiff::Timestamp;
use salesforce_client::testing::{Fault, FaultEffect};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::setting::{PATIENCE, Setting};

const TRIGGERS: [&str; 6] = [
    "COLLABORATION.CREATED",
    "COLLABORATION.ACCEPTED",
    "COMMENT.CREATED",
    "FILE.PREVIEWED",
    "FILE.LOCKED",
    "SIGN_REQUEST.COMPLETED",
];

const RULES: &str = r#"
[[rules]]
name = "people"
triggers = ["COLLABORATION.CREATED", "COLLABORATION.ACCEPTED", "COMMENT.CREATED"]
log_task = { subject = "{event.trigger} {item.name}", description = "{person}", contact = "person" }
[[rules]]
name = "previews"
triggers = ["FILE.PREVIEWED"]
log_task = { subject = "{file.name} was looked at", contact = "actor", digest = "1s" }
[[rules]]
name = "signed"
triggers = ["SIGN_REQUEST.COMPLETED", "FILE.LOCKED"]
attach = ["opportunity", "account"]
advance_stage = "Closed Won"
log_task = { subject = "{file.name} is signed" }
"#;

async fn up() -> Setting {
    watched(&TRIGGERS, RULES).await.0
}

/// With these rules alone, and a webhook for what they want.
async fn watched(triggers: &[&str], rules: &str) -> (Setting, String) {
    let configure = |it: String| {
        let (before, _) = it.split_once("[[rules]]").unwrap();
        format!("{before}{rules}")
    };
    let mut setting = Setting::with(configure, true).await;
    let address = format!("{}/webhooks/box", setting.url);
    // One webhook for each item, application and user: the folder inside is watched as well.
    let content = &setting.content;
    let inner = content.create_folder(&setting.folder, "Contracts").unwrap();
    let webhook = content.create_webhook(&inner, &address, triggers).unwrap();
    setting.folder = inner;
    (setting, webhook)
}

fn contact(setting: &Setting, email: &str) -> String {
    let contact = json!({ "LastName": email, "Email": email, "AccountId": setting.account });
    setting.crm.create("Contact", contact).unwrap()
}

fn task<'t>(tasks: &'t [Value], subject: &str) -> &'t Value {
    let mut with = tasks.iter().filter(|task| task["Subject"] == subject);
    let task = with
        .next()
        .unwrap_or_else(|| panic!("no {subject} in {tasks:#?}"));
    assert!(with.next().is_none(), "{subject} twice");
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_is_told_once_on_the_deal_and_on_their_contact() {
    let setting = up().await;
    let buyer = contact(&setting, "buyer@customer.example");
    let _server = setting.serve_until_ready().await;
    // The first answer to a Task is lost: it is looked for, not written again.
    setting
        .crm
        .inject(Fault::on("*/sobjects/Task", FaultEffect::LostAnswer).times(1));

    setting
        .content
        .create_user("Bea Buyer", "buyer@customer.example");
    setting
        .content
        .collaborate(&setting.folder, "buyer@customer.example", "viewer")
        .unwrap();
    let file = setting
        .content
        .upload(&setting.folder, "NDA.pdf", "%PDF")
        .unwrap()
        .file_id;
    let client = BoxClient::builder(DeveloperToken::new(setting.content.issue_token()))
        .base_url(&setting.content.url())
        .build()
        .unwrap();
    client
        .comments()
        .create(&FileId::new(&file).unwrap(), "Looks good.")
        .send()
        .await
        .unwrap();
    setting.content.wait_all_delivered(PATIENCE).await.unwrap();
    for event in setting.content.events() {
        setting.content.redeliver(&event.id);
    }
    setting.content.wait_all_delivered(PATIENCE).await.unwrap();
    setting
        .until("the Tasks", async || setting.crm.records("Task").len() >= 3)
        .await;
    let queue = ["list", "--state", "ready", "--json"];
    setting
        .until("the end of all work", async || {
            setting.queue(&queue).await.is_empty()
        })
        .await;
    let tasks = setting.crm.records("Task");
    for event in ["CREATED", "ACCEPTED"] {
        let invited = task(&tasks, &format!("COLLABORATION.{event} Contracts"));
        assert_eq!(invited["WhatId"], setting.opportunity);
        assert_eq!(invited["WhoId"], buyer);
    }
    let comment = task(&tasks, "COMMENT.CREATED NDA.pdf");
    assert_eq!(comment["WhatId"], setting.opportunity);
    assert_eq!(
        comment["WhoId"],
        Value::Null,
        "nobody has the author's address"
    );
    assert_eq!(tasks.len(), 3, "{tasks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_previews_are_one_task_and_hold_up_no_upload() {
    let setting = up().await;
    let _server = setting.serve_until_ready().await;
    let file = setting
        .content
        .upload(&setting.folder, "NDA.pdf", "%PDF")
        .unwrap()
        .file_id;
    let begun = Instant::now();
    for _ in 0..30 {
        setting.content.preview(&file).unwrap();
    }
    setting.content.wait_all_delivered(PATIENCE).await.unwrap();
    let told = || {
        let tasks = setting.crm.records("Task");
        let lines = tasks.iter().map(|task| {
            let text = task["Description"].as_str().unwrap();
            text.lines()
                .filter(|line| line.contains("was looked at"))
                .count()
        });
        (tasks.len(), lines.sum::<usize>())
    };
    setting
        .until("all previews to be told of", async || told().1 == 30)
        .await;
    // One for each second that they took to be noted, begun ones included.
    let most = begun.elapsed().as_secs() + 2;
    assert!(told().0 as u64 <= most, "{} Tasks in {most} s", told().0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_contract_is_attached_in_its_final_version_and_closes_the_deal() {
    let setting = up().await;
    let _server = setting.serve_until_ready().await;
    let file = setting
        .content
        .upload(&setting.folder, "NDA.pdf", "%PDF draft")
        .unwrap()
        .file_id;
    for turn in ["%PDF signed by one", "%PDF signed by both"] {
        setting.content.upload_version(&file, turn).unwrap();
    }
    let events = setting
        .content
        .sign_completed(&file, &["buyer@customer.example", "jo@example.com"])
        .unwrap();
    setting
        .content
        .wait_delivered(&events[0], PATIENCE)
        .await
        .unwrap();
    // Three uploads, which no rule is about, and the end of the sign request.
    setting.wait_done(4).await;
    setting.assert_once(&file, &[b"%PDF signed by both".to_vec()]);
    assert_eq!(setting.stage(), "Closed Won");
    task(&setting.crm.records("Task"), "NDA.pdf is signed");

    // The same deal again by its lock: nothing is there twice.
    setting.content.lock(&file).unwrap();
    setting.content.wait_all_delivered(PATIENCE).await.unwrap();
    // Both webhooks tell of it.
    setting.wait_done(6).await;
    setting.assert_once(&file, &[b"%PDF signed by both".to_vec()]);
    assert_eq!(setting.stage(), "Closed Won");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_sign_request_waits_for_the_file_that_all_have_signed() {
    let setting = up().await;
    let _server = setting.serve_until_ready().await;
    let content = &setting.content;
    let upload = content.upload(&setting.folder, "NDA.pdf", "%PDF draft");
    let file = upload.unwrap().file_id;
    let request = content
        .request_signatures(&file, &["jo@example.com"])
        .unwrap();
    content
        .sign_request(&request, "jo@example.com", "%PDF turn")
        .unwrap();
    content.wait_all_delivered(PATIENCE).await.unwrap();
    let waits = ["list", "--state", "ready", "--json"];
    let is_waiting = async || {
        let jobs = setting.queue(&waits).await;
        let note = jobs.iter().filter_map(|job| job["note"].as_str()).next();
        note.is_some_and(|note| note.contains("not final yet"))
    };
    setting.until("the event to wait", is_waiting).await;
    assert!(setting.crm.files().is_empty());
    assert_eq!(setting.stage(), "Prospecting");

    content.finish_signing(&request, "%PDF final").unwrap();
    let id = setting.queue(&waits).await[0]["id"].to_string();
    let retried = setting.program().args(["queue", "retry", &id]).output();
    assert!(retried.await.unwrap().status.success());
    let is_closed = async || setting.stage() == "Closed Won";
    setting.until("the deal to be closed", is_closed).await;
    setting.assert_once(&file, &[b"%PDF final".to_vec()]);
}

/// What Box tells of, and on what. A new version is a further upload.
const EVERYTHING: [(&str, usize); 13] = [
    ("COLLABORATION.ACCEPTED", 1),
    ("COLLABORATION.CREATED", 2),
    ("COLLABORATION.REMOVED", 1),
    ("COMMENT.CREATED", 1),
    ("FILE.DOWNLOADED", 1),
    ("FILE.MOVED", 1),
    ("FILE.PREVIEWED", 2),
    ("FILE.UPLOADED", 2),
    ("SHARED_LINK.CREATED", 1),
    ("SIGN_REQUEST.COMPLETED", 1),
    ("SIGN_REQUEST.DECLINED", 1),
    ("SIGN_REQUEST.SIGNATURE_REQUESTED", 1),
    ("SIGN_REQUEST.SIGNER_SIGNED", 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_box_tells_of_is_one_task_for_each_time() {
    let triggers = EVERYTHING.map(|(trigger, _)| trigger);
    let rules = format!(
        "[[rules]]\nname = \"everything\"\ntriggers = {triggers:?}\n\
         log_task = {{ subject = \"{{event.trigger}}\", contact = \"person\" }}\n"
    );
    let (setting, webhook) = watched(&triggers, &rules).await;
    let buyer = contact(&setting, "buyer@customer.example");
    let content = &setting.content;
    let inner = content.create_folder(&setting.folder, "Signed").unwrap();
    let client = BoxClient::builder(DeveloperToken::new(content.issue_token()))
        .base_url(&content.url())
        .build()
        .unwrap();

    let invited = content.collaborate(&setting.folder, "buyer@customer.example", "viewer");
    let invited = invited.unwrap();
    content.accept_collaboration(&invited).unwrap();
    let id = CollaborationId::new(&invited).unwrap();
    client.collaborations().delete(&id).await.unwrap();
    let upload = content.upload(&setting.folder, "NDA.pdf", "%PDF").unwrap();
    let file = upload.file_id;
    content.upload_version(&file, "%PDF 2").unwrap();
    for _ in 0..2 {
        content.preview(&file).unwrap();
    }
    let id = FileId::new(&file).unwrap();
    drop(client.files().download(&id).send().await.unwrap());
    let comment = client.comments().create(&id, "Looks good.");
    comment.send().await.unwrap();
    content.move_file(&file, &inner).unwrap();
    content
        .sign_completed(&file, &["buyer@customer.example"])
        .unwrap();

    // What the fake raises no events for, and an invitation whose folder Box keeps to itself.
    let item = json!({ "type": "file", "id": file });
    let open = json!({
        "type": "collaboration", "id": "77", "status": "pending", "item": null,
        "invite_email": "buyer@customer.example",
    });
    let by_hand = [
        ("SIGN_REQUEST.SIGNATURE_REQUESTED", &item),
        ("SIGN_REQUEST.SIGN_SIGNER_SIGNED", &item),
        ("SIGN_REQUEST.DECLINED", &item),
        ("SHARED_LINK.CREATED", &item),
        ("COLLABORATION.CREATED", &open),
    ];
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let _server = setting.serve_until_ready().await;
    for (number, (trigger, source)) in by_hand.into_iter().enumerate() {
        let body = json!({
            "type": "webhook_event", "id": format!("by-hand-{number}"), "trigger": trigger,
            "created_at": Timestamp::now().to_string(),
            "webhook": { "type": "webhook", "id": webhook }, "source": source,
            "additional_info": [],
        });
        for _ in 0..2 {
            let delivery = content.sign(body.to_string(), Timestamp::now());
            let mut request = http.post(format!("{}/webhooks/box", setting.url));
            for (name, value) in &delivery.headers {
                request = request.header(name, value);
            }
            let answer = request.body(delivery.body).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{trigger}");
        }
    }
    for event in content.events() {
        content.redeliver(&event.id);
    }
    content.wait_all_delivered(PATIENCE).await.unwrap();
    setting
        .wait_done(content.events().len() + by_hand.len())
        .await;

    let tasks = setting.crm.records("Task");
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for task in &tasks {
        let subject = task["Subject"].as_str().unwrap();
        *told.entry(subject).or_default() += 1;
        assert_eq!(task["WhatId"], setting.opportunity);
        let is_of_buyer = subject.starts_with("COLLABORATION");
        assert_eq!(task["WhoId"] == *buyer, is_of_buyer, "{task:#}");
    }
    // Box has two names for it; the one that was sent is shown.
    let shown = told.remove("SIGN_REQUEST.SIGN_SIGNER_SIGNED");
    told.insert("SIGN_REQUEST.SIGNER_SIGNED", shown.unwrap());
    assert_eq!(told.into_iter().collect::<Vec<_>>(), EVERYTHING);
}
