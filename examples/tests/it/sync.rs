use salesforce_client::testing::{Fault, FaultEffect};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::setting::Setting;

const RULE: &str = r#"
[[rules]]
name = "fields"
triggers = ["METADATA_INSTANCE.UPDATED"]
[rules.sync_metadata]
on_conflict = "ask"
fields = [
    { field = "NextStep", key = "next_step" },
    { field = "Account.Name", key = "client", direction = "to_box" },
]
"#;

async fn up() -> Setting {
    let setting = Setting::with(|it| it + RULE, true).await;
    let text = |key: &str| json!({ "type": "string", "key": key, "displayName": key });
    let fields = json!([text("opportunity_id"), text("next_step"), text("client")]);
    setting.content.create_template("deal", fields).unwrap();
    let path = setting.home.path().join("bridge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("[box]\n", "[box]\nmetadata_template = \"deal\"\n");
    std::fs::write(path, text).unwrap();
    let mapping = json!({ "opportunity_id": setting.opportunity, "next_step": "call" });
    setting
        .content
        .apply_metadata(&setting.folder, "deal", mapping)
        .unwrap();
    setting
}

/// What a command says, a JSON a line; it has to succeed.
async fn run(setting: &Setting, arguments: &[&str]) -> Vec<Value> {
    let output = setting.program().args(arguments).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn step(setting: &Setting) -> Value {
    setting.crm.record(&setting.opportunity).unwrap()["NextStep"].clone()
}

fn edit_folder(setting: &Setting, value: &str) {
    let values = json!({ "next_step": value });
    let content = &setting.content;
    content
        .apply_metadata(&setting.folder, "deal", values)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_a_preview_writes_nothing_and_a_round_writes_what_it_showed() {
    let setting = up().await;
    let preview = ["sync", &setting.opportunity, "--dry-run", "--json"];
    let shown = run(&setting, &preview).await;
    let fields = shown[0]["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 2, "{shown:?}");
    assert_eq!(step(&setting), Value::Null);

    let done = run(&setting, &["sync", &setting.opportunity, "--json"]).await;
    assert_eq!(done, shown);
    assert_eq!(step(&setting), "call");
    let again = run(&setting, &["sync", "--all", "--json"]).await;
    assert_eq!(again.len(), 1, "the record is known now");
    assert_eq!(again[0]["fields"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_have_changed_waits_for_a_person_who_decides_once() {
    let setting = up().await;
    run(&setting, &["sync", &setting.opportunity, "--json"]).await;
    edit_folder(&setting, "sign");
    let other = json!({ "NextStep": "wait" });
    setting.crm.update(&setting.opportunity, other).unwrap();
    run(&setting, &["sync", &setting.opportunity, "--json"]).await;
    let open = run(&setting, &["conflicts", "--json"]).await;
    assert_eq!(open.len(), 1);
    assert_eq!(
        (&open[0]["in_box"], &open[0]["in_salesforce"]),
        (&json!("sign"), &json!("wait"))
    );
    assert_eq!(step(&setting), "wait");

    let id = open[0]["id"].as_str().unwrap();
    let resolve = ["conflicts", "resolve", id, "--box"];
    let decided = setting.program().args(resolve).output().await.unwrap();
    let said = String::from_utf8_lossy(&decided.stderr);
    assert!(decided.status.success(), "{said}");
    assert_eq!(step(&setting), "sign");
    assert_eq!(
        run(&setting, &["conflicts", "--json"]).await,
        Vec::<Value>::new()
    );
    let all = run(&setting, &["conflicts", "--all", "--json"]).await;
    assert_eq!(
        (&all[0]["kept"], &all[0]["by"]),
        (&json!("box"), &json!("person"))
    );
    let twice = setting.program().args(resolve).output().await.unwrap();
    assert!(!twice.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_folder_reaches_the_record_and_its_echo_changes_nothing() {
    let setting = up().await;
    // A webhook has one address and folder; this folder has its own one for files.
    let inner = setting
        .content
        .create_folder(&setting.folder, "Terms")
        .unwrap();
    let deal = json!({
        "Name": "Terms", "StageName": "Prospecting", "CloseDate": "2030-06-30",
        "AccountId": setting.account,
    });
    let deal = setting.crm.create("Opportunity", deal).unwrap();
    let address = format!("{}/webhooks/box", setting.url);
    let triggers = ["METADATA_INSTANCE.CREATED", "METADATA_INSTANCE.UPDATED"];
    setting
        .content
        .create_webhook(&inner, &address, &triggers)
        .unwrap();
    let _server = setting.serve_until_ready().await;
    let mapping = json!({ "opportunity_id": deal });
    setting
        .content
        .apply_metadata(&inner, "deal", mapping)
        .unwrap();
    let values = json!({ "next_step": "negotiate" });
    setting
        .content
        .apply_metadata(&inner, "deal", values)
        .unwrap();
    setting
        .until("the record to follow", async || {
            setting.crm.record(&deal).unwrap()["NextStep"] == "negotiate"
        })
        .await;
    setting
        .until("the folder to be told of the client", async || {
            let known = setting.content.state().to_string();
            known.contains("Acme")
        })
        .await;
    // Our own writes are told of too, and lead to nothing more.
    let mut events = 0;
    while events != setting.content.events().len() {
        events = setting.content.events().len();
        setting
            .content
            .wait_all_delivered(crate::setting::PATIENCE)
            .await
            .unwrap();
        let done = ["list", "--state", "done", "--limit", "1000", "--json"];
        setting
            .until("the echo to be worked on", async || {
                let told = setting.content.events().len();
                setting.queue(&done).await.len() >= told
            })
            .await;
        sleep(Duration::from_millis(200)).await;
    }
    let writes = setting.crm.requests();
    let writes = writes.iter().filter(|it| it.method == "PATCH").count();
    assert_eq!(writes, 1);
    let writes = setting.content.requests();
    let writes = writes.iter().filter(|it| it.method == "PUT").count();
    assert_eq!(writes, 1, "the client's name, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_those_that_a_folder_names_and_a_stopped_run_goes_on() {
    let setting = up().await;
    let mut deals = vec![setting.opportunity.clone()];
    for number in 0..5 {
        let deal = json!({
            "Name": format!("Deal {number}"), "StageName": "Prospecting",
            "CloseDate": "2030-06-30", "AccountId": setting.account,
        });
        let deal = setting.crm.create("Opportunity", deal).unwrap();
        let folder = setting
            .content
            .create_folder("0", &format!("Deal {number}"))
            .unwrap();
        // Folders that people have mapped by hand may name the short form.
        let named = if number % 2 == 0 { &deal[..15] } else { &deal };
        let values = json!({ "opportunity_id": named, "next_step": format!("step {number}") });
        setting
            .content
            .apply_metadata(&folder, "deal", values)
            .unwrap();
        deals.push(deal);
    }
    let stray = setting.content.create_folder("0", "Stray").unwrap();
    let values = json!({ "opportunity_id": "to be found out" });
    setting
        .content
        .apply_metadata(&stray, "deal", values)
        .unwrap();

    // The fourth write hangs, and the program is killed there.
    let hangs = FaultEffect::DelayBefore { millis: 600_000 };
    let hangs = Fault::on("/services/data/*/sobjects/Opportunity/*", hangs);
    setting.crm.inject(hangs.method("PATCH").skip(3));
    let mut all = setting.program();
    all.args(["sync", "--all", "--json"]);
    let mut child = all.spawn().unwrap();
    let has_step = |deal: &&String| setting.crm.record(deal).unwrap()["NextStep"].is_string();
    let writes = || {
        let requests = setting.crm.requests();
        requests.iter().filter(|it| it.method == "PATCH").count()
    };
    setting
        .until("the write that hangs", async || writes() == 4)
        .await;
    child.kill().await.unwrap();
    assert_eq!(deals.iter().filter(has_step).count(), 3);

    let output = all.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("1 of 6 failed"), "{said}");
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rounds: Vec<_> = lines.filter(|it| it["record"]["id"].is_string()).collect();
    assert_eq!(
        rounds.len(),
        3,
        "what was done is not gone through again: {rounds:#?}"
    );
    assert_eq!(deals.iter().filter(has_step).count(), deals.len());
    assert_eq!(writes(), 7);

    // From the beginning, for it had come to its end; the folder that names nobody is told of.
    let output = setting
        .program()
        .args(["sync", "--all"])
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("6 of 6 records: 0 differed"),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("names `to be found out`"), "{said}");
    assert!(!output.status.success());
}
