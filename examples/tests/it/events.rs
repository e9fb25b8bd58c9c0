//! Records' events into the real program, from all its sources.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::setting::{PUBSUB_URL, Setting};

const SECRET: &str = "the-secret-of-the-path";

fn ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

/// The kinds and dedupe texts of all jobs of records.
async fn jobs(setting: &Setting) -> Vec<String> {
    let all = setting.queue(&["list", "--limit", "1000", "--json"]).await;
    let of_records = all.iter().filter(|job| job["kind"] == "crm.record");
    let text = |job: &Value| job["dedupe"].as_str().unwrap().to_owned();
    of_records.map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_to_the_org_outlives_the_service_and_is_there_once() {
    let events = "[salesforce.events.outbound]\n\
        secret = { file = \"outbound.secret\" }\norganization_id = \"00D5g0000000001EAA\"\n";
    let setting = Setting::with(
        |it| it.replace("[worker]", &format!("{events}[worker]")),
        true,
    );
    let setting = setting.await;
    let secret = setting.home.path().join("outbound.secret");
    std::fs::write(secret, SECRET).unwrap();
    assert_eq!(setting.crm.org_id(), "00D5g0000000001EAA");
    let mut server = setting.serve_until_ready().await;
    let deal = setting.opportunity.as_str();
    let message = setting
        .crm
        .outbound_message("04kxx0000000001AAA", &[deal], &["Name"]);
    let message = message.unwrap();
    let url = format!("{}/webhooks/salesforce/{SECRET}", setting.url);
    let wrong = setting.crm.deliver(&format!("{url}x"), &message).await;
    assert_eq!(wrong.unwrap().status, 401);
    let delivered = setting.crm.deliver(&url, &message).await.unwrap();
    assert!(delivered.acknowledged);
    server.kill().await.unwrap();

    let _server = setting.serve_until_ready().await;
    assert!(
        setting
            .crm
            .deliver(&url, &message)
            .await
            .unwrap()
            .acknowledged
    );
    setting.wait_done(1).await;
    assert_eq!(jobs(&setting).await.len(), 1);
    assert!(!setting.log().contains(SECRET), "{}", setting.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_creation_that_asking_and_the_bus_tell_of_is_one_job_whenever_it_is_killed() {
    let since = ago(3600);
    let events = format!(
        "[salesforce.events.poll]\nobjects = [\"Contact\"]\nevery = \"100ms\"\nsince = \"{since}\"\n\
         [salesforce.events.pubsub]\nendpoint = \"{PUBSUB_URL}\"\ntopics = [\"/data/ContactChangeEvent\"]\n"
    );
    let setting = Setting::with(
        |it| it.replace("[worker]", &format!("{events}[worker]")),
        true,
    );
    let setting = setting.await;
    let crm = &setting.crm;
    crm.capture_changes(["Contact"]).unwrap();
    let at = ago(600);
    let stamp = at.to_string();
    let fields = json!({ "LastName": "Doe", "CreatedDate": stamp, "SystemModstamp": stamp });
    let contact = crm.create("Contact", fields).unwrap();
    let mut server = setting.serve_until_ready().await;
    setting
        .until("the creation", async || !jobs(&setting).await.is_empty())
        .await;
    let listened = async || !crm.subscriptions().is_empty();
    setting.until("the bus to be listened to", listened).await;
    crm.update(&contact, json!({ "Phone": "1" })).unwrap();
    setting
        .until("the change", async || jobs(&setting).await.len() > 1)
        .await;
    server.kill().await.unwrap();

    let opened = crm.subscriptions().len();
    let mut server = setting.serve_until_ready().await;
    let again = async || crm.subscriptions().len() > opened;
    setting
        .until("the bus to be listened to again", again)
        .await;
    crm.delete(&contact).unwrap();
    setting
        .until("the deletion", async || jobs(&setting).await.len() > 2)
        .await;
    let jobs = jobs(&setting).await;
    assert_eq!(jobs.len(), 3, "{jobs:?}");
    let created = format!("crm:{contact}:CREATED@{}", at.as_second());
    assert_eq!(jobs[0], created);
    assert!(
        jobs[1].contains("UPDATED") && jobs[2].contains("DELETED"),
        "{jobs:?}"
    );

    // It stops when it is told to, whatever it is listening to.
    let id = server.id().unwrap().to_string();
    let mut kill = tokio::process::Command::new("kill");
    kill.arg(&id).status().await.unwrap();
    assert!(server.wait().await.unwrap().success(), "{}", setting.log());
}
