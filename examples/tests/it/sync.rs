use salesforce_client::testing::{Fault, FaultEffect, Field};
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
    let is_write = |method: &str, path: &str| method == "PUT" && path.contains("/folders/");
    let writes = writes.iter().filter(|it| is_write(&it.method, &it.path));
    let writes = writes.count();
    assert_eq!(writes, 1, "the client's name, once");
}

const SECRET: &str = "the-secret-of-the-path";
const OUTBOUND: &str = "[salesforce.events.outbound]\n\
    secret = { file = \"outbound.secret\" }\norganization_id = \"00D5g0000000001EAA\"\n";

/// Two rules as they are shipped, whether they are switched on there or not.
fn shipped() -> String {
    const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../bridge.example.toml");
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let on = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.starts_with([' ', '#']) => key.to_owned(),
        _ => line.to_owned(),
    };
    let lines: Vec<_> = text.lines().map(on).collect();
    let text = lines.join("\n");
    let rules = text.split("[[rules]]").skip(1);
    let is_wanted = |rule: &&str| {
        let mut names = ["folders", "fields"].iter();
        names.any(|name| rule.contains(&format!("name = \"{name}\"")))
    };
    let wanted: Vec<_> = rules.filter(is_wanted).collect();
    assert_eq!(wanted.len(), 2);
    format!("[[rules]]{}[[rules]]{}", wanted[0], wanted[1])
}

/// What Box says to its own application.
async fn ask(setting: &Setting, path: &str, body: Option<Value>) -> Value {
    let url = format!("{}/2.0/{path}", setting.content.url());
    let http = reqwest::Client::new();
    let ask = match body {
        Some(body) => http.post(url).json(&body),
        None => http.get(url),
    };
    let answer = ask.bearer_auth(setting.content.issue_token()).send().await;
    answer.unwrap().json().await.unwrap()
}

/// The service with the shipped rules and a template of which there is nothing yet.
async fn shipped_setting(change: impl Fn(String) -> String) -> Setting {
    let setting = Setting::with(
        |it| {
            let it = it.replace("[box]\n", "[box]\nmetadata_template = \"deal\"\n");
            change(it.replace("[worker]", &format!("{OUTBOUND}[worker]")) + &shipped())
        },
        true,
    );
    let setting = setting.await;
    std::fs::write(setting.home.path().join("outbound.secret"), SECRET).unwrap();
    let group = ask(&setting, "groups", Some(json!({ "name": "Legal" }))).await;
    let path = setting.home.path().join("bridge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let group = format!("group = {}", group["id"]);
    std::fs::write(&path, text.replace("group = \"12345\"", &group)).unwrap();
    for object in ["Account", "Opportunity"] {
        let link = Field::text("Box_Folder__c", 255);
        setting.crm.add_custom_field(object, link).unwrap();
    }
    setting
}

async fn tell_of_deal(setting: &Setting) {
    let deal = setting.opportunity.as_str();
    let message = setting
        .crm
        .outbound_message("04kxx0000000001AAA", &[deal], &["Name"])
        .unwrap();
    let url = format!("{}/webhooks/salesforce/{SECRET}", setting.url);
    let delivered = setting.crm.deliver(&url, &message).await.unwrap();
    assert!(delivered.acknowledged);
}

async fn folder_of_deal(setting: &Setting) -> String {
    let link = || {
        let deal = setting.crm.record(&setting.opportunity).unwrap();
        deal["Box_Folder__c"].as_str().map(str::to_owned)
    };
    let there = async || link().is_some();
    setting.until("the deal to have a folder", there).await;
    link().unwrap().rsplit('/').next().unwrap().to_owned()
}

async fn values(setting: &Setting, folder: &str) -> Value {
    ask(
        setting,
        &format!("folders/{folder}/metadata/enterprise/deal"),
        None,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn before_there_is_a_template_no_record_has_a_folder_and_no_event_is_a_dead_letter() {
    let set = |it: String| {
        let it = it.replace("[box]\n", "[box]\nmetadata_template = \"deal\"\n");
        let rule = RULE.replace("METADATA_INSTANCE.UPDATED", "Opportunity.*");
        it.replace("[worker]", &format!("{OUTBOUND}[worker]")) + &rule
    };
    let setting = Setting::with(set, true).await;
    std::fs::write(setting.home.path().join("outbound.secret"), SECRET).unwrap();
    for more in [&[][..], &["--dry-run"]] {
        let one = [&["sync", setting.opportunity.as_str(), "--json"], more].concat();
        let output = setting.program().args(one).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("has no folder"), "{said}");
        run(&setting, &[&["sync", "--all", "--json"], more].concat()).await;
    }
    let _service = setting.serve_until_ready().await;
    let next = json!({ "NextStep": "call" });
    setting.crm.update(&setting.opportunity, next).unwrap();
    tell_of_deal(&setting).await;
    setting.wait_done(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_rules_make_their_template_and_keep_a_deal_and_its_folder_the_same() {
    let setting = shipped_setting(|it| it).await;
    let deal = &setting.opportunity;
    setting
        .crm
        .update(deal, json!({ "Amount": 1_200.5 }))
        .unwrap();
    let _server = setting.serve_until_ready().await;
    tell_of_deal(&setting).await;
    let folder = folder_of_deal(&setting).await;
    let expected = [
        ("stage", json!("Prospecting")),
        ("amount", json!(1_200.5)),
        ("close_date", json!("2030-06-30T00:00:00.000Z")),
        ("client", json!("Acme")),
    ];
    let is_all = |shown: &Value| expected.iter().all(|(key, value)| shown[*key] == *value);
    setting
        .until("the folder to show the deal", async || {
            is_all(&values(&setting, &folder).await)
        })
        .await;
    let schema = ask(&setting, "metadata_templates/enterprise/deal/schema", None).await;
    let fields = schema["fields"].as_array().unwrap();
    let stage = fields.iter().find(|it| it["key"] == "stage").unwrap();
    let options = stage["options"].as_array().unwrap().iter();
    let options: Vec<_> = options.map(|it| it["key"].as_str().unwrap()).collect();
    assert!(options.contains(&"Closed Won"), "{options:?}");

    // Where a record was given its folder, nobody asks all of Box for it.
    let other = json!({
        "Name": "Other", "AccountId": setting.account, "StageName": "Prospecting",
        "CloseDate": "2030-06-30",
    });
    let other = setting.crm.create("Opportunity", other).unwrap();
    let provisioned = setting.program().args(["provision", &other]).output();
    assert!(provisioned.await.unwrap().status.success());
    let queries = || {
        let asked = setting.content.requests();
        let is_query = |path: &str| path.contains("metadata_queries");
        asked.iter().filter(|it| is_query(&it.path)).count()
    };
    let before = queries();
    let synced = run(&setting, &["sync", &other, "--json"]).await;
    assert_ne!(synced[0]["folder"], Value::Null);
    assert_eq!(queries(), before);

    let edit = |values: Value| {
        let content = &setting.content;
        content.apply_metadata(&folder, "deal", values).unwrap();
    };
    edit(json!({ "stage": "Closed Won", "amount": 9 }));
    run(&setting, &["sync", deal, "--json"]).await;
    let record = setting.crm.record(deal).unwrap();
    assert_eq!(
        (&record["StageName"], &record["Amount"]),
        (&json!("Closed Won"), &json!(9.0))
    );
    // A closed deal is not opened again by a slip in a folder, and whoever asks is told why.
    edit(json!({ "stage": "Prospecting" }));
    run(&setting, &["sync", deal, "--json"]).await;
    assert_eq!(setting.stage(), "Closed Won");
    let open = run(&setting, &["conflicts", "--json"]).await;
    assert_eq!(open[0]["in_box"], "Prospecting");
    let why = open[0]["refused"].as_str().unwrap();
    assert!(why.contains("the deal is closed"), "{why}");

    // The folder is lost, and the deal is not.
    let url = format!(
        "{}/2.0/folders/{folder}?recursive=true",
        setting.content.url()
    );
    let delete = reqwest::Client::new().delete(url);
    let deleted = delete
        .bearer_auth(setting.content.issue_token())
        .send()
        .await;
    assert_eq!(deleted.unwrap().status(), 204);
    tell_of_deal(&setting).await;
    setting
        .until("the deal to have another folder", async || {
            folder_of_deal(&setting).await != folder
        })
        .await;
    let folder = folder_of_deal(&setting).await;
    setting
        .until("the new folder to show the deal", async || {
            let shown = values(&setting, &folder).await;
            shown["amount"] == json!(9) || shown["amount"] == json!(9.0)
        })
        .await;
    let record = setting.crm.record(deal).unwrap();
    assert_eq!(
        (
            &record["Amount"],
            &record["CloseDate"],
            &record["StageName"]
        ),
        (&json!(9.0), &json!("2030-06-30"), &json!("Closed Won"))
    );
    let dead = setting.queue(&["list", "--state", "dead", "--json"]).await;
    assert_eq!(dead, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_no_template_can_serve_are_told_of_before_anything_starts() {
    type Change = fn(String) -> String;
    let changes: [(Change, &str); 4] = [
        (
            |it| it.replace("kind = \"enum\"", "kind = \"string\""),
            "beside rule `folders`: the metadata key `stage` cannot be both string and enum",
        ),
        (
            |it| it.replace("key = \"client\"", "key = \"opportunity_id\""),
            "`opportunity_id` holds a record's id",
        ),
        (
            |it| it.replace("key = \"deal\", from", "key = \"account_id\", from"),
            "`account_id` holds a record's id",
        ),
        (
            |it| it.replace("object = \"Opportunity\"", "object = \"Lead\""),
            "`Lead` records have no folders",
        ),
    ];
    for (change, says) in changes {
        let setting = shipped_setting(change).await;
        let serve = setting
            .program()
            .args(["serve", "--config", "bridge.toml"])
            .output();
        let output = serve.await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let lines = said.lines().filter(|it| it.starts_with("bridge-server:"));
        assert_eq!(lines.count(), 1, "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_cannot_work_is_a_dead_letter_and_the_others_work() {
    let setting = shipped_setting(|it| it.replace("field = \"Amount\"", "field = \"Amuont__c\""));
    let setting = setting.await;
    let _server = setting.serve_until_ready().await;
    tell_of_deal(&setting).await;
    let mut dead = Vec::new();
    setting
        .until("the event to be a dead letter", async || {
            dead = setting.queue(&["list", "--state", "dead", "--json"]).await;
            !dead.is_empty()
        })
        .await;
    let note = dead[0]["note"].as_str().unwrap();
    assert!(note.contains("Amuont__c"), "{note}");
    let folder = folder_of_deal(&setting).await;
    let shown = values(&setting, &folder).await;
    assert_eq!(
        (&shown["stage"], &shown["client"]),
        (&json!("Prospecting"), &json!("Acme"))
    );
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

const FOLDERS: &str = r#"
[[rules]]
name = "folders"
triggers = ["Opportunity.CREATED"]
[rules.provision]
layout = ["/Clients/{Account.Name}/{Opportunity.Name}"]
fields = [{ key = "next_step", from = "Opportunity.NextStep" }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_folder_was_given_by_hand_is_no_conflict_with_what_the_record_says_since() {
    let setting = up().await;
    let path = setting.home.path().join("bridge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + FOLDERS).unwrap();
    let deal = |name: &str| {
        let deal = json!({
            "Name": name, "StageName": "Prospecting", "CloseDate": "2030-06-30",
            "AccountId": setting.account, "NextStep": "call",
        });
        setting.crm.create("Opportunity", deal).unwrap()
    };
    let provision = async |id: &str| {
        run(&setting, &["provision", id, "--json"]).await;
        let state = setting.content.state();
        let folders = state["folders"].as_array().unwrap().iter();
        let long: salesforce_client::RecordId = id.parse().unwrap();
        let is_its = |it: &&Value| {
            let instances = it["metadata"].as_array().unwrap();
            instances
                .iter()
                .any(|it| it["opportunity_id"] == long.to_string())
        };
        folders.clone().find(is_its).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let edit = |folder: &str, value: &str| {
        let values = json!({ "next_step": value });
        setting
            .content
            .apply_metadata(folder, "deal", values)
            .unwrap();
    };
    let shown = |folder: &str, id: &str| {
        let state = setting.content.state();
        let folders = state["folders"].as_array().unwrap();
        let folder = folders.iter().find(|it| it["id"] == *folder).unwrap();
        let instances = folder["metadata"].as_array().unwrap().iter();
        let mut values = instances.filter_map(|it| it["next_step"].as_str());
        let record = setting.crm.record(id).unwrap();
        [values.next().unwrap(), record["NextStep"].as_str().unwrap()].map(str::to_owned)
    };
    let (there, here, both) = (deal("There"), deal("Here"), deal("Both"));
    let change = |id: &str| {
        setting
            .crm
            .update(id, json!({ "NextStep": "meet" }))
            .unwrap()
    };

    // The record has changed since, then the folder alone, then both.
    provision(&there).await;
    let folder = provision(&there).await;
    change(&there);
    run(&setting, &["sync", &there, "--json"]).await;
    assert_eq!(shown(&folder, &there), ["meet", "meet"]);

    let folder = provision(&here).await;
    edit(&folder, "sign");
    run(&setting, &["sync", &here, "--json"]).await;
    assert_eq!(shown(&folder, &here), ["sign", "sign"]);
    let conflicts = run(&setting, &["conflicts", "--all", "--json"]).await;
    assert_eq!(conflicts, Vec::<Value>::new());

    let folder = provision(&both).await;
    change(&both);
    edit(&folder, "sign");
    run(&setting, &["sync", &both, "--json"]).await;
    assert_eq!(shown(&folder, &both), ["sign", "meet"]);
    let open = run(&setting, &["conflicts", "--json"]).await;
    assert_eq!(open.len(), 1);
    assert_eq!(
        (&open[0]["in_box"], &open[0]["in_salesforce"]),
        (&json!("sign"), &json!("meet"))
    );
}
