//! What `provision --dry-run` tells is what is done then, and until then nothing is.

use std::collections::{BTreeMap, BTreeSet};

use salesforce_client::{
    RecordId,
    testing::{CustomObject, Field, LeadConversion},
};
use serde_json::{Value, json};

use crate::{provisioning::paths, setting::Setting};

const RULES: &str = r#"
[[rules]]
name = "folders"
triggers = ["Lead.*", "Account.*", "Opportunity.*"]
[rules.provision]
layout = [
  "/Leads/{Lead.Name}",
  "/Clients/{Account.Name}/{Opportunity.Name}/Contracts",
  "/Clients/{Account.Name}/General",
]
fields = [{ key = "step", from = "Opportunity.NextStep" }]
collaborators = [
  { owner = true, role = "editor" },
  { login = "legal@example.com", role = "viewer uploader" },
  { group = "GROUP", role = "viewer" },
]
keep_former_owner = false
link_field = "Opportunity.Box_Folder__c"
package = "share"
"#;

/// What there is on both sides, each thing by a name.
#[derive(Debug, Default)]
struct There {
    folders: BTreeMap<String, (String, String, String)>,
    things: BTreeMap<String, String>,
}

impl There {
    fn now(setting: &Setting) -> Self {
        let (paths, state) = (paths(setting), setting.content.state());
        let mut there = Self::default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all = |name: &str| state[name].as_array().unwrap().clone();
        for folder in all("folders") {
            let id = text(&folder["id"]);
            let path = format!("/{}", paths[&id]);
            for instance in folder["metadata"].as_array().unwrap() {
                for (key, value) in instance.as_object().unwrap() {
                    if !key.starts_with('$') && !value.is_null() {
                        let name = format!("metadata {id} {key}");
                        there.things.insert(name, text(value));
                    }
                }
            }
            let at = (text(&folder["parent"]["id"]), text(&folder["name"]), path);
            there.folders.insert(id, at);
        }
        for one in all("collaborations") {
            let login = text(&one["accessible_by"]["login"]) + &text(&one["invite_email"]);
            let who = match one["accessible_by"]["type"].as_str() {
                Some("group") => format!("group {}", text(&one["accessible_by"]["id"])),
                _ => login,
            };
            let name = format!("person {} {who}", text(&one["item"]["id"]));
            there.things.insert(name, text(&one["role"]));
        }
        for template in all("metadata_templates") {
            for field in template["fields"].as_array().unwrap() {
                let (of, key) = (text(&template["templateKey"]), text(&field["key"]));
                there.things.insert(format!("template {of} {key}"), key);
            }
        }
        for deal in setting.crm.records("Opportunity") {
            let link = text(&deal["Box_Folder__c"]);
            let link = link.trim_start_matches("https://app.box.com/folder/");
            if !link.is_empty() {
                let name = format!("link {}", long(&text(&deal["Id"])));
                there.things.insert(name, link.to_owned());
            }
        }
        for row in setting.crm.records("box__FRUP__c") {
            let name = format!("package {}", text(&row["box__Record_ID__c"]));
            there.things.insert(name, text(&row["box__Folder_ID__c"]));
        }
        there
    }

    /// What has become of it, in the words of [`told`].
    fn until(&self, now: &Self) -> BTreeSet<String> {
        let mut done = BTreeSet::new();
        for (id, (parent, name, path)) in &now.folders {
            match self.folders.get(id) {
                None => drop(done.insert(format!("make {path}"))),
                Some((was_in, was_called, _)) => {
                    if was_in != parent {
                        done.insert(format!("move {path}"));
                    }
                    if was_called != name {
                        done.insert(format!("rename {path}"));
                    }
                }
            }
        }
        let path = |id: &str| now.folders[id].2.clone();
        let names: BTreeSet<_> = self.things.keys().chain(now.things.keys()).collect();
        for name in names {
            let (was, is) = (self.things.get(name), now.things.get(name));
            if was == is {
                continue;
            }
            let shown = is.map_or("-", String::as_str);
            let (kind, of) = name.split_once(' ').unwrap();
            done.insert(match kind {
                "template" => format!("template {shown}"),
                "link" | "package" => format!("{kind} {of}"),
                _ => {
                    let (folder, of) = of.split_once(' ').unwrap();
                    format!("{kind} {} {of} = {shown}", path(folder))
                }
            });
        }
        done
    }
}

/// What a plan says that would be written.
fn told(plan: &Value) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for deed in plan["deeds"].as_array().unwrap() {
        if deed["writes"] != true {
            continue;
        }
        let text = |name: &str| deed[name].as_str().unwrap_or_default();
        let path = text("path");
        match deed["what"].as_str().unwrap() {
            "make_folder" => drop(told.insert(format!("make {path}"))),
            "move_folder" => drop(told.insert(format!("move {path}"))),
            "rename_folder" => drop(told.insert(format!("rename {path}"))),
            "make_template" | "extend_template" => {
                let keys = deed["fields"].as_object().unwrap().keys();
                told.extend(keys.map(|key| format!("template {key}")));
            }
            "apply_metadata" | "change_metadata" => {
                for (key, value) in deed["values"].as_object().unwrap() {
                    let value = value.as_str().unwrap_or("-");
                    told.insert(format!("metadata {path} {key} = {value}"));
                }
            }
            "let_in" | "change_role" => {
                let (who, role) = (text("who"), text("role"));
                told.insert(format!("person {path} {who} = {role}"));
            }
            "let_out" => drop(told.insert(format!("person {path} {} = -", text("who")))),
            "write_link" => drop(told.insert(format!("link {}", text("record")))),
            "show_in_package" => drop(told.insert(format!("package {}", text("record")))),
            other => panic!("{other}: {deed}"),
        }
    }
    told
}

fn long(id: &str) -> String {
    id.parse::<RecordId>().unwrap().to_string()
}

/// Requests that may change something, but for those that ask for a token or by a query.
fn writes(setting: &Setting) -> Vec<String> {
    let content = setting.content.requests().into_iter();
    let content = content.map(|it| (it.method, it.path));
    let crm = setting.crm.requests().into_iter();
    let crm = crm.map(|it| (it.method, it.path));
    let is_read = |method: &str, path: &str| {
        method == "GET" || path.contains("oauth2") || path.contains("metadata_queries")
    };
    let all = content.chain(crm);
    let writes = all.filter(|(method, path)| !is_read(method, path));
    writes
        .map(|(method, path)| format!("{method} {path}"))
        .collect()
}

async fn provision(setting: &Setting, record: &str, more: &[&str]) -> String {
    let mut command = setting.program();
    let command = command.args(["provision", record]).args(more).output();
    let output = command.await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Holds the deed against its plan, and gives the plan.
async fn holds(setting: &Setting, record: &str) -> Value {
    let before = There::now(setting);
    let (content, calls) = (setting.content.state(), setting.crm.records("Opportunity"));
    setting.content.clear_requests();
    setting.crm.clear_requests();
    let store = setting.home.path().join("bridge.db");
    let remembered = std::fs::metadata(&store).is_ok();
    let plan = provision(setting, record, &["--dry-run", "--json"]).await;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(writes(setting), Vec::<String>::new());
    assert!(!setting.content.requests().is_empty());
    assert_eq!(setting.content.state(), content);
    assert_eq!(setting.crm.records("Opportunity"), calls);
    assert_eq!(
        std::fs::metadata(&store).is_ok(),
        remembered,
        "it makes no store"
    );

    provision(setting, record, &[]).await;
    let done = before.until(&There::now(setting));
    assert_eq!(told(&plan), done, "{plan:#}");
    plan
}

fn whats(plan: &Value) -> BTreeSet<&str> {
    let deeds = plan["deeds"].as_array().unwrap().iter();
    deeds.map(|deed| deed["what"].as_str().unwrap()).collect()
}

async fn up() -> (Setting, String, String) {
    let change =
        |it: String| it.replace("[box]\n", "[box]\nmetadata_template = \"deal\"\n") + RULES;
    let setting = Setting::told_by_hand(change).await;
    let group = setting.content.create_group("Legal").unwrap();
    let config = setting.home.path().join("bridge.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("GROUP", &group)).unwrap();
    let link = Field::text("Box_Folder__c", 255);
    setting.crm.add_custom_field("Opportunity", link).unwrap();
    let frup = CustomObject::new("box__FRUP__c")
        .field(Field::text("box__Record_ID__c", 18))
        .field(Field::text("box__Folder_ID__c", 40));
    setting.crm.add_custom_object(frup).unwrap();
    let user = |name: &str| {
        setting
            .content
            .create_user(name, &format!("{name}@example.com"));
        let user = json!({
            "Username": format!("{name}@example.com.org"), "LastName": name,
            "Email": format!("{name}@example.com"), "IsActive": true,
        });
        setting.crm.create("User", user).unwrap()
    };
    let (rep, other) = (user("rep"), user("other"));
    (setting, rep, other)
}

fn deal(setting: &Setting, name: &str, account: &str, owner: &str) -> String {
    let deal = json!({
        "Name": name, "AccountId": account, "StageName": "Prospecting", "OwnerId": owner,
        "CloseDate": "2030-06-30", "NextStep": "Call",
    });
    setting.crm.create("Opportunity", deal).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dry_run_of_provisioning_tells_is_what_is_done_and_it_writes_nothing() {
    let (setting, rep, other) = up().await;
    let account = setting.account.clone();
    let first = deal(&setting, "First/One ", &account, &rep);

    let plan = holds(&setting, &first).await;
    let all = [
        "make_template",
        "make_folder",
        "apply_metadata",
        "write_link",
        "let_in",
    ];
    let whats_told = whats(&plan);
    assert!(all.iter().all(|it| whats_told.contains(it)), "{plan:#}");
    let shown = provision(&setting, &first, &["--dry-run"]).await;
    assert!(
        shown.contains("    a record's folder /Clients/Acme/First_One is there ("),
        "{shown}"
    );
    assert!(!shown.contains("  + "), "{shown}");
    assert!(whats(&holds(&setting, &first).await).contains("collaborator"));

    // Renamed, with an owner of another name, and then moved to an account that has no folder yet.
    setting
        .crm
        .update(&first, json!({ "Name": "Renamed", "OwnerId": other }))
        .unwrap();
    let plan = holds(&setting, &first).await;
    let whats_told = whats(&plan);
    let all = ["rename_folder", "let_in", "let_out"];
    assert!(all.iter().all(|it| whats_told.contains(it)), "{plan:#}");
    let second = setting
        .crm
        .create("Account", json!({ "Name": "Bcme" }))
        .unwrap();
    setting
        .crm
        .update(&first, json!({ "AccountId": second }))
        .unwrap();
    let plan = holds(&setting, &first).await;
    assert!(whats(&plan).contains("move_folder"), "{plan:#}");

    // A name that another record's folder has, and one that is taken where it goes to.
    let same = setting
        .crm
        .create("Account", json!({ "Name": "ACME" }))
        .unwrap();
    let plan = holds(&setting, &same).await;
    assert!(whats(&plan).contains("name_taken"), "{plan:#}");
    let twin = deal(&setting, "Renamed", &account, &rep);
    holds(&setting, &twin).await;
    setting
        .crm
        .update(&twin, json!({ "AccountId": second }))
        .unwrap();
    let plan = holds(&setting, &twin).await;
    assert!(whats(&plan).contains("name_taken"), "{plan:#}");

    // Somebody has made a folder by hand, and let somebody in.
    let clients = paths(&setting)
        .into_iter()
        .find(|(_, path)| path == "Clients");
    let by_hand = setting
        .content
        .create_folder(&clients.unwrap().0, "dcme")
        .unwrap();
    setting.content.create_folder(&by_hand, "GENERAL").unwrap();
    setting
        .content
        .collaborate(&by_hand, "legal@example.com", "editor")
        .unwrap();
    let dcme = setting
        .crm
        .create("Account", json!({ "Name": "Dcme", "OwnerId": rep }))
        .unwrap();
    let plan = holds(&setting, &dcme).await;
    assert!(whats(&plan).contains("adopt_folder"), "{plan:#}");
    let is_in = |deed: &&Value| deed["who"] == "legal@example.com";
    let legal = plan["deeds"]
        .as_array()
        .unwrap()
        .iter()
        .find(is_in)
        .unwrap();
    assert_eq!(
        (&legal["what"], &legal["has"], &legal["writes"]),
        (&json!("collaborator"), &json!("editor"), &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_foretells_what_is_found_lost_deleted_and_converted() {
    let (setting, rep, _) = up().await;
    let account = setting.account.clone();
    let first = deal(&setting, "First", &account, &rep);
    holds(&setting, &first).await;

    // Without any memory the folders are found by their mapping.
    for name in ["bridge.db", "bridge.db-wal", "bridge.db-shm"] {
        let _ = std::fs::remove_file(setting.home.path().join(name));
    }
    let plan = holds(&setting, &first).await;
    let found = plan["deeds"].as_array().unwrap().iter();
    let found: Vec<_> = found.filter(|it| it["what"] == "adopt_folder").collect();
    assert_eq!(found.len(), 2, "{plan:#}");

    // A folder was deleted.
    let all = paths(&setting).into_iter();
    let mut contracts = all.filter(|(_, path)| path.ends_with("First/Contracts"));
    let (id, _) = contracts.next().unwrap();
    let url = format!("{}/2.0/folders/{id}", setting.content.url());
    let request = reqwest::Client::new().delete(url);
    let answer = request
        .bearer_auth(setting.content.issue_token())
        .send()
        .await;
    assert!(answer.unwrap().status().is_success());
    let plan = holds(&setting, &first).await;
    assert!(whats(&plan).contains("make_folder"), "{plan:#}");

    // One that the package shows.
    let theirs = setting
        .content
        .create_folder("0", "By the package")
        .unwrap();
    let packaged = setting
        .crm
        .create("Account", json!({ "Name": "Packaged" }))
        .unwrap();
    let row = json!({ "box__Record_ID__c": packaged[..15], "box__Folder_ID__c": theirs });
    setting.crm.create("box__FRUP__c", row).unwrap();
    let plan = holds(&setting, &packaged).await;
    assert!(whats(&plan).contains("adopt_folder"), "{plan:#}");

    // A Lead, before and after it was converted.
    for into_new in [true, false] {
        let lead = json!({ "LastName": format!("Ann {into_new}"), "Company": "Ann Ltd" });
        let lead = setting.crm.create("Lead", lead).unwrap();
        holds(&setting, &lead).await;
        let made = setting
            .crm
            .convert_lead(&lead, LeadConversion::new())
            .unwrap();
        if !into_new {
            holds(&setting, &made.opportunity.unwrap()).await;
        }
        let plan = holds(&setting, &lead).await;
        assert!(whats(&plan).contains("move_folder"), "{plan:#}");
    }

    // An Account's folder was deleted, and a deal of it comes.
    let other = json!({ "Name": "Gone Ltd" });
    let other = setting.crm.create("Account", other).unwrap();
    holds(&setting, &other).await;
    let at = |path: &str| {
        let all = paths(&setting).into_iter();
        let mut found = all.filter(|(_, it)| it == path);
        found.next().map(|(id, _)| id)
    };
    let gone = at("Clients/Gone Ltd").unwrap();
    let url = format!(
        "{}/2.0/folders/{gone}?recursive=true",
        setting.content.url()
    );
    let request = reqwest::Client::new().delete(url);
    let token = setting.content.issue_token();
    let answer = request.bearer_auth(token).send().await;
    assert!(answer.unwrap().status().is_success());
    let second = deal(&setting, "Second", &other, &rep);
    let plan = holds(&setting, &second).await;
    assert!(whats(&plan).contains("make_folder"), "{plan:#}");

    // A deal's folder that the Account's lies in cannot go into it.
    let within = json!({ "Name": "Within Ltd" });
    let within = setting.crm.create("Account", within).unwrap();
    let around = deal(&setting, "Around", &within, &rep);
    let outer = setting.content.create_folder("0", "Outer").unwrap();
    let inner = setting.content.create_folder(&outer, "Inner").unwrap();
    for (folder, key, record) in [
        (&outer, "opportunity_id", &around),
        (&inner, "account_id", &within),
    ] {
        let values = json!({ key: long(record) });
        let applied = setting.content.apply_metadata(folder, "deal", values);
        applied.unwrap();
    }
    let plan = provision(&setting, &around, &["--dry-run", "--json"]).await;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let last = plan["deeds"].as_array().unwrap().last().unwrap();
    assert_eq!(last["what"], "stop", "{plan:#}");

    // What stops the deed stops its plan: a file has the name.
    let clients = paths(&setting)
        .into_iter()
        .find(|(_, path)| path == "Clients");
    setting
        .content
        .upload(&clients.unwrap().0, "Filed", "%PDF-1.7")
        .unwrap();
    let filed = setting
        .crm
        .create("Account", json!({ "Name": "Filed" }))
        .unwrap();
    let plan = provision(&setting, &filed, &["--dry-run", "--json"]).await;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let last = plan["deeds"].as_array().unwrap().last().unwrap();
    assert_eq!(last["what"], "stop", "{plan:#}");
    assert!(
        last["does"].as_str().unwrap().contains("rename it"),
        "{plan:#}"
    );
}
