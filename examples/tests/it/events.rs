//! Records' events into the real program, from all its sources.

#[allow(dead_code, reason = "it can do more than is wanted here")]
#[path = "../../../salesforce-client/tests/it/pubsub/bus.rs"]
mod bus;
#[path = "../../../bridge/tests/it/sources/change_event.rs"]
mod change_event;
#[allow(dead_code, reason = "it can do more than is wanted here")]
#[path = "../../../salesforce-client/tests/it/pubsub/wire.rs"]
mod wire;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::{
    bus::Bus,
    change_event::{change, schema},
};
use crate::setting::Setting;

const SECRET: &str = "the-secret-of-the-path";
const THEIRS: &str = "com/salesforce/api/soap/58.0;client=SfdcInternalAPI/";

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
    let bus = Bus::start(&schema()).await;
    let since = ago(3600);
    let events = format!(
        "[salesforce.events.poll]\nobjects = [\"Contact\"]\nevery = \"100ms\"\nsince = \"{since}\"\n\
         [salesforce.events.pubsub]\nendpoint = \"{}\"\ntopics = [\"/data/ContactChangeEvent\"]\n",
        bus.url
    );
    let setting = Setting::with(
        |it| it.replace("[worker]", &format!("{events}[worker]")),
        true,
    );
    let setting = setting.await;
    let at = ago(600);
    let stamp = at.to_string();
    let fields = json!({ "LastName": "Doe", "CreatedDate": stamp, "SystemModstamp": stamp });
    let contact = setting.crm.create("Contact", fields).unwrap();
    let mut server = setting.serve_until_ready().await;
    setting
        .until("the creation", async || !jobs(&setting).await.is_empty())
        .await;
    let listened = async || !bus.state().opened.is_empty();
    setting.until("the bus to be listened to", listened).await;
    bus.push(change("CREATE", &[&contact], THEIRS, at));
    bus.push(change("UPDATE", &[&contact], THEIRS, ago(500)));
    setting
        .until("the change", async || jobs(&setting).await.len() > 1)
        .await;
    server.kill().await.unwrap();

    let opened = bus.state().opened.len();
    let mut server = setting.serve_until_ready().await;
    let again = async || bus.state().opened.len() > opened;
    setting
        .until("the bus to be listened to again", again)
        .await;
    bus.push(change("DELETE", &[&contact], THEIRS, ago(400)));
    setting
        .until("the deletion", async || jobs(&setting).await.len() > 2)
        .await;
    let named = |what: &str, at: Timestamp| format!("crm:{contact}:{what}@{}", at.as_second());
    let jobs = jobs(&setting).await;
    assert_eq!(jobs.len(), 3, "{jobs:?}");
    assert_eq!(jobs[0], named("CREATED", at));
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
    // It lets everybody publish, and nobody subscribe.
    let bus = Bus::start(&schema()).await;
    let events = format!(
        "[salesforce.events.pubsub]\nendpoint = \"{}\"\ntopics = [\"/data/ContactChangeEvent\"]\n",
        bus.url
    );
    let setting = Setting::with(
        |it| it.replace("[worker]", &format!("{events}[worker]")),
        true,
    );
    let setting = setting.await;
    let mut check = setting.program();
    let output = check.args(["check", "--json"]).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut found = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let topic = found.find(|it| it["about"] == "salesforce.topics").unwrap();
    assert_eq!(topic["state"], "problem");
    assert_eq!(
        topic["says"],
        "we may not subscribe to /data/ContactChangeEvent"
    );
    assert_eq!(output.status.code(), Some(1));
}
