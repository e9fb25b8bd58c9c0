//! Two hundred records and their folders, by three processes, while answers are lost and one of
//! the processes is killed.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use box_client::testing::{Fault as BoxFault, FaultEffect as BoxEffect};
use bridge::{
    Change, NewJob, Queue, RecordEvent,
    crm::Record,
    store::{
        postgres::{PostgresOptions, PostgresStore},
        sqlite::SqliteStore,
    },
};
use jiff::Timestamp;
use salesforce_client::{
    RecordId,
    testing::{Fault, FaultEffect, Field},
};
use serde_json::{Value, json};
use tokio::{process::Child, time::sleep};

use crate::{cluster::Cluster, setting::Setting};

const RULE: &str = r#"
[[rules]]
name = "folders"
triggers = ["Account.*", "Opportunity.*"]
[rules.provision]
layout = [
  "/Clients/{Account.Name}{Account.BillingStreet}/{Opportunity.Name}/Contracts",
  "/Clients/{Account.Name}{Account.BillingStreet}/{Opportunity.Name}/Proposals",
]
collaborators = [{ owner = true, role = "editor" }]
link_field = "Box_Folder__c"
"#;

const ACCOUNTS: usize = 40;
const DEALS: usize = 160;

/// What customers are called.
fn name(number: usize) -> String {
    match number % 10 {
        0 => "Smith / Wesson \\ Sons".to_owned(),
        1 => format!("trailing {number}   "),
        2 => "..".to_owned(),
        3 => format!("dots {number}..."),
        4 => format!("🦀 Größe {number} 合同"),
        5 => "Acme".to_owned(),
        6 => "ACME".to_owned(),
        7 => "acme".to_owned(),
        8 => "x".repeat(119),
        _ => format!("Plain {number}"),
    }
}

async fn records(setting: &Setting) -> Vec<(&'static str, String)> {
    for object in ["Account", "Opportunity"] {
        setting
            .crm
            .add_custom_field(object, Field::text("Box_Folder__c", 255))
            .unwrap();
    }
    let mut records = Vec::new();
    for number in 0..ACCOUNTS {
        // 300 characters take two fields.
        let street = (number % 10 == 8).then(|| "y".repeat(181));
        let account = json!({ "Name": name(number), "BillingStreet": street });
        records.push(("Account", setting.crm.create("Account", account).unwrap()));
    }
    for number in 0..DEALS {
        let account = &records[number % ACCOUNTS].1;
        let deal = json!({
            "Name": name(number / ACCOUNTS * 3), "AccountId": account,
            "StageName": "Prospecting", "CloseDate": "2030-06-30",
        });
        records.push((
            "Opportunity",
            setting.crm.create("Opportunity", deal).unwrap(),
        ));
    }
    records
}

fn job(object: &str, id: &str, event: &str) -> NewJob {
    let id: RecordId = id.parse().unwrap();
    let record = Record {
        id: id.to_string(),
        object: Some(object.to_owned()),
    };
    RecordEvent::new(event, record, Change::Created)
        .job()
        .unwrap()
}

fn serve(setting: &Setting, number: usize) -> Child {
    let log = setting.home.path().join("log");
    let mut options = std::fs::File::options();
    let log = options.create(true).append(true).open(log).unwrap();
    let config = format!("bridge{number}.toml");
    let mut command = setting.program();
    let command = command.args(["serve", "--config", &config]);
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_records_told_twice_to_three_workers_have_one_tree_each() {
    let cluster = Cluster::start();
    let store = cluster.database();
    let setting = Setting::with(|it| it.replace("sqlite:bridge.db", &store) + RULE, false).await;
    let text = std::fs::read_to_string(setting.home.path().join("bridge.toml")).unwrap();
    let own = setting.url.trim_start_matches("http://");
    for number in 0..3 {
        let text = text.replace(own, "127.0.0.1:0");
        std::fs::write(
            setting.home.path().join(format!("bridge{number}.toml")),
            text,
        )
        .unwrap();
    }
    let records = records(&setting).await;
    for n in 0..12 {
        for path in [
            "/2.0/folders",
            "/2.0/folders/*/metadata/*",
            "/2.0/collaborations",
        ] {
            let lost = BoxFault::on(path, BoxEffect::LostAnswer).method("POST");
            setting.content.inject(lost.skip(n * 9 + 3));
        }
        let lost = Fault::on("*/sobjects/Opportunity/*", FaultEffect::LostAnswer);
        setting.crm.inject(lost.method("PATCH").skip(n * 9));
    }

    let inbox = PostgresStore::open_with(&store, &PostgresOptions::default())
        .await
        .unwrap();
    let mut jobs: Vec<_> = Vec::new();
    for (object, id) in &records {
        // One source tells it twice in the same words, another once more in its own.
        for event in ["cdc:1", "cdc:1", "poll:1"] {
            jobs.push(job(object, id, event));
        }
    }
    fastrand::Rng::with_seed(6).shuffle(&mut jobs);
    let mut processes: Vec<_> = (0..3).map(|number| serve(&setting, number)).collect();
    for jobs in jobs.chunks(100) {
        inbox.push(jobs.to_vec(), Timestamp::now()).await.unwrap();
    }
    for kill in 0..4 {
        sleep(Duration::from_millis(700)).await;
        processes[kill % 3].kill().await.unwrap();
        processes[kill % 3] = serve(&setting, kill % 3);
    }
    setting.wait_done(2 * records.len()).await;
    assert_one_tree_each(&setting, &records);

    // The ledger is lost, and everything is told once more.
    let before = folders(&setting);
    for process in &mut processes {
        process.kill().await.unwrap();
    }
    cluster.run(&store, "TRUNCATE bridge.effect");
    let _process = serve(&setting, 0);
    let jobs = records
        .iter()
        .map(|(object, id)| job(object, id, "again"))
        .collect();
    inbox.push(jobs, Timestamp::now()).await.unwrap();
    setting.wait_done(3 * records.len()).await;
    assert_eq!(folders(&setting), before);
}

/// Each folder's path, by its id.
pub(crate) fn paths(setting: &Setting) -> BTreeMap<String, String> {
    let state = setting.content.state();
    let folders = state["folders"].as_array().unwrap().iter();
    let by_id: BTreeMap<_, _> = folders.map(|it| (it["id"].as_str().unwrap(), it)).collect();
    let path = |folder: &Value| {
        let mut names = vec![folder["name"].as_str().unwrap()];
        let mut above = folder["parent"]["id"].as_str();
        while let Some(folder) = above.filter(|id| *id != "0").and_then(|id| by_id.get(id)) {
            names.insert(0, folder["name"].as_str().unwrap());
            above = folder["parent"]["id"].as_str();
        }
        names.join("/")
    };
    let paths = by_id
        .iter()
        .map(|(id, folder)| ((*id).to_owned(), path(folder)));
    paths.collect()
}

/// Each folder's path and the record that it says it is of.
pub(crate) fn folders(setting: &Setting) -> BTreeMap<String, Option<String>> {
    let paths = paths(setting);
    let state = setting.content.state();
    let of = |folder: &Value| {
        let mapping = folder["metadata"].get(0)?;
        let id = mapping["opportunity_id"]
            .as_str()
            .or(mapping["account_id"].as_str());
        id.map(str::to_owned)
    };
    let folders = state["folders"].as_array().unwrap().iter();
    let ours = folders.map(|it| (paths[it["id"].as_str().unwrap()].clone(), of(it)));
    ours.filter(|(path, _)| path.starts_with("Clients"))
        .collect()
}

fn assert_one_tree_each(setting: &Setting, records: &[(&str, String)]) {
    let folders = folders(setting);
    assert_eq!(folders.len(), 1 + ACCOUNTS + DEALS * 3, "{folders:#?}");
    let mut by_record: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for (path, record) in &folders {
        if let Some(record) = record {
            by_record.entry(record).or_default().push(path);
        }
    }
    for (object, id) in records {
        let long = id.parse::<RecordId>().unwrap().to_string();
        let paths = by_record.get(&*long).cloned().unwrap_or_default();
        assert_eq!(paths.len(), 1, "{object} {id}: {paths:?}");
        assert_eq!(
            paths[0].matches('/').count(),
            1 + usize::from(*object == "Opportunity")
        );
        if *object == "Opportunity" {
            for below in ["Contracts", "Proposals"] {
                assert!(folders.contains_key(&format!("{}/{below}", paths[0])));
            }
        }
        let link = setting.crm.record(id).unwrap()["Box_Folder__c"].clone();
        assert!(
            link.as_str()
                .unwrap()
                .starts_with("https://app.box.com/folder/"),
            "{link}"
        );
    }
    let collaborations = setting.content.state()["collaborations"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(collaborations, records.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_records_folders_are_shown_and_made_by_hand() {
    let setting = Setting::with(|it| it + RULE, false).await;
    for object in ["Account", "Opportunity"] {
        setting
            .crm
            .add_custom_field(object, Field::text("Box_Folder__c", 255))
            .unwrap();
    }
    let account = setting
        .crm
        .create("Account", json!({ "Name": "By/Hand " }))
        .unwrap();
    let run = async |arguments: &[&str]| {
        let command = setting.program().arg("provision").args(arguments).output();
        let output = command.await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = run(&[&account, "--dry-run"]).await;
    let made = "  + make a record's folder /Clients/By_Hand (slashes replaced, spaces at the ends";
    assert!(shown.contains(made), "{shown}");
    assert!(folders(&setting).is_empty());
    run(&[&account]).await;
    assert!(folders(&setting).contains_key("Clients/By_Hand"));
    let done: Value = serde_json::from_str(&run(&[&account, "--json"]).await).unwrap();
    assert!(
        done["done"].as_str().unwrap().contains("as it should be"),
        "{done}"
    );

    for more in [&[][..], &["--dry-run"]] {
        let mut wrong = setting.program();
        let wrong = wrong.args(["provision", "00Qxx0000000001"]).args(more);
        let output = wrong.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("no rule provisions a record of kind Lead"),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(2), "{said}");
    }
}

/// A new deal is greeted, whoever has made its folders.
const GREET: &str = r#"
[[rules]]
name = "greet"
triggers = ["Opportunity.CREATED"]
[rules.log_task]
subject = "{event.trigger}"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn folders_deleted_in_box_are_made_anew_by_hand_and_no_creation_is_lost_by_that() {
    let setting = Setting::with(|it| it + RULE + GREET, false).await;
    for object in ["Account", "Opportunity"] {
        let link = Field::text("Box_Folder__c", 255);
        setting.crm.add_custom_field(object, link).unwrap();
    }
    let now = Timestamp::now().as_second();
    let at = |ago: i64| Timestamp::from_second(now - ago).unwrap().to_string();
    let deal = json!({
        "Name": "By Hand", "AccountId": setting.account, "StageName": "Prospecting",
        "CloseDate": "2030-06-30", "CreatedDate": at(3600), "SystemModstamp": at(3600),
    });
    let deal = setting.crm.create("Opportunity", deal).unwrap();
    let run = async || {
        let command = setting.program().args(["provision", &deal]).output();
        let output = command.await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    // With those that lie in the trash.
    let contracts = || {
        let all = paths(&setting).into_iter();
        let ours = all.filter(|(_, path)| path.ends_with("/By Hand/Contracts"));
        let mut ids: Vec<u64> = ours.map(|(id, _)| id.parse().unwrap()).collect();
        ids.sort_unstable();
        ids
    };
    let delete = async || {
        let id = *contracts().last().unwrap();
        let url = format!("{}/2.0/folders/{id}", setting.content.url());
        let request = reqwest::Client::new().delete(url);
        let token = setting.content.issue_token();
        let answer = request.bearer_auth(token).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    };
    let tasks = |about: &str| {
        let tasks = setting.crm.records("Task").into_iter();
        tasks.filter(|it| it["Subject"] == about).count()
    };
    run().await;
    delete().await;
    let said = run().await;
    assert!(said.contains("made Contracts"), "{said}");
    assert_eq!(contracts().len(), 2);
    assert_eq!(
        tasks("Opportunity.CREATED"),
        0,
        "only folders were asked for"
    );

    // An outbound message tells of it late, and it has changed since.
    let changed = json!({ "SystemModstamp": at(60) });
    setting.crm.update(&deal, changed).unwrap();
    let inbox = SqliteStore::open(setting.home.path().join("bridge.db")).unwrap();
    let id: RecordId = deal.parse().unwrap();
    let record = Record {
        id: id.to_string(),
        object: Some("Opportunity".to_owned()),
    };
    let told = RecordEvent::new("late", record, Change::Changed);
    let told = vec![told.job().unwrap()];
    inbox.push(told, Timestamp::now()).await.unwrap();
    let ids = setting.queue(&["list", "--json"]).await;
    let plan = &setting
        .queue(&["plan", &ids[0]["id"].to_string(), "--json"])
        .await[0];
    let steps = plan["steps"].as_array().unwrap().iter();
    let steps: Vec<_> = steps.map(|it| it["rule"].as_str().unwrap()).collect();
    assert_eq!(steps, ["folders", "greet", "folders"], "{plan}");
    let deeds = plan["steps"][0]["deeds"].as_array().unwrap().iter();
    assert!(deeds.clone().all(|deed| deed["writes"] == false), "{plan}");
    assert!(deeds.clone().any(|deed| deed["what"] == "folder"), "{plan}");
    assert_eq!(plan["steps"][1]["deeds"], Value::Null);
    let server = setting.serve_until_ready().await;
    let is_greeted = async || tasks("Opportunity.CREATED") == 1;
    setting.until("a Task", is_greeted).await;

    // The service that runs does the same.
    delete().await;
    let said = run().await;
    assert!(said.contains("made Contracts"), "{said}");
    assert_eq!(contracts().len(), 3);
    assert_eq!(tasks("Opportunity.CREATED"), 1);
    drop(server);
}
