//! Records' events into the real program, from all its sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use salesforce_client::testing::{Fault, FaultEffect};
use serde_json::{Value, json};
use tokio::time::sleep;

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

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_the_bus_whether_it_will_tell_us() {
    let events = format!(
        "[salesforce.events.pubsub]\nendpoint = \"{PUBSUB_URL}\"\n\
         topics = [\"/data/ContactChangeEvent\", \
         {{ topic = \"/event/Nothing__e\", record_field = \"Deal__c\", objects = [\"Opportunity\"] }}]\n"
    );
    let setting = Setting::with(
        |it| it.replace("[worker]", &format!("{events}[worker]")),
        true,
    );
    let setting = setting.await;
    setting.crm.capture_changes(["Contact"]).unwrap();
    let mut check = setting.program();
    let output = check.args(["check", "--json"]).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let found = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let topics: Vec<_> = found
        .filter(|it| it["about"] == "salesforce.topics")
        .collect();
    assert_eq!(topics[0]["says"], "/data/ContactChangeEvent is there");
    assert_eq!(
        (&topics[0]["state"], &topics[1]["state"]),
        (&json!("ok"), &json!("problem"))
    );
    assert_eq!(output.status.code(), Some(1));
}

/// Every change in all three ways, to a process that is killed on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_all_three_sources_tell_of_is_one_task_whenever_it_is_killed() {
    let since = ago(7200);
    let events = format!(
        "[salesforce.events.outbound]\n\
         secret = {{ file = \"outbound.secret\" }}\norganization_id = \"00D5g0000000001EAA\"\n\
         [salesforce.events.poll]\nobjects = [\"Account\"]\nevery = \"100ms\"\nsince = \"{since}\"\n\
         [salesforce.events.pubsub]\nendpoint = \"{PUBSUB_URL}\"\n\
         topics = [\"/data/AccountChangeEvent\"]\nsince = \"{since}\"\n"
    );
    let rule = "[[rules]]\nname = \"changes\"\ntriggers = [\"Account.CHANGED\"]\n\
                log_task = { subject = \"{event.trigger}\", description = \"{event.id}\" }\n";
    let setting = Setting::with(
        |it| {
            let (before, _) = it.split_once("[[rules]]").unwrap();
            before.replace("[worker]", &format!("{events}[worker]")) + rule
        },
        true,
    )
    .await;
    setting.crm.capture_changes(["Account"]).unwrap();
    std::fs::write(setting.home.path().join("outbound.secret"), SECRET).unwrap();
    let slow = FaultEffect::DelayBefore { millis: 25 };
    let slow = Fault::on("*/sobjects/*", slow).method("POST");
    setting.crm.inject(slow.times(u32::MAX));
    let url = format!("{}/webhooks/salesforce/{SECRET}", setting.url);
    let tell = async |id: &str| {
        let message = setting
            .crm
            .outbound_message("04kxx0000000001AAA", &[id], &[]);
        let message = message.unwrap();
        for _ in 0..2 {
            let is_taken = async || {
                let answer = setting.crm.deliver(&url, &message).await;
                answer.is_ok_and(|it| it.acknowledged)
            };
            setting.until("the message to be taken", is_taken).await;
        }
    };
    let mut changes = Vec::new();
    let happens = async {
        let mut accounts: Vec<String> = Vec::new();
        for number in 0..20_usize {
            let at = ago(3600 - i64::try_from(number).unwrap() * 60);
            let stamp = at.to_string();
            let (done, id) = match number % 3 {
                0 => {
                    let made = json!({
                        "Name": "Acme", "CreatedDate": stamp, "SystemModstamp": stamp,
                    });
                    let id = setting.crm.create("Account", made).unwrap();
                    accounts.push(id.clone());
                    ("CREATED", id)
                }
                _ => {
                    let id = accounts[number % accounts.len()].clone();
                    let changed = json!({ "Name": stamp, "SystemModstamp": stamp });
                    setting.crm.update(&id, changed).unwrap();
                    ("UPDATED", id)
                }
            };
            changes.push(format!("{id}:{done}@{}", at.as_second()));
            tell(&id).await;
        }
    };
    let dies = async {
        for life in [300, 700, 500, 900, 400] {
            let mut server = setting.serve();
            sleep(Duration::from_millis(life)).await;
            server.kill().await.unwrap();
        }
        setting.serve_until_ready().await
    };
    let ((), _server) = tokio::join!(happens, dies);
    // What was changed again before the bus was first listened to is told of by its last change.
    let first_line = |task: &Value| {
        let text = task["Description"].as_str().unwrap();
        text.lines().next().unwrap().to_owned()
    };
    let told = || -> Vec<String> {
        let tasks = setting.crm.records("Task");
        let own = format!("{}:", setting.account);
        let told = tasks.iter().map(first_line);
        told.filter(|line| !line.starts_with(&own)).collect()
    };
    let mut last = BTreeMap::new();
    for change in &changes {
        last.insert(change.split(':').next().unwrap(), change);
    }
    let is_told = async || {
        let told = told();
        last.values().all(|change| told.contains(change))
    };
    setting
        .until("the last changes to be told of", is_told)
        .await;
    let all = ["list", "--limit", "1000", "--json"];
    let is_done = |job: &Value| job["state"] == "done";
    let is_idle = async || setting.queue(&all).await.iter().all(is_done);
    setting.until("the end of all work", is_idle).await;
    let tasks = told();
    let once: BTreeSet<_> = tasks.iter().collect();
    assert_eq!(once.len(), tasks.len(), "told of twice: {tasks:#?}");
    for task in &tasks {
        assert!(changes.contains(task), "{task} has never been");
    }
    let made = |lines: &[String]| lines.iter().filter(|it| it.contains("CREATED")).count();
    assert_eq!(made(&tasks), made(&changes));
}
