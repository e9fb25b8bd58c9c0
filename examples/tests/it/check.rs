//! `bridge-server check`: what is there, what is not, and what to do about it.

use std::collections::BTreeMap;

use box_client::{
    BoxClient, DeveloperToken, TemplateField, TemplateUpdate,
    testing::{Fault as BoxFault, FaultEffect as BoxEffect},
};
use salesforce_client::testing::{Fault, FaultEffect, Field};
use serde_json::{Value, json};

use crate::setting::Setting;

/// Its exit code, and what it found by what it is about. Several of one kind are joined.
async fn check(setting: &Setting) -> (Option<i32>, BTreeMap<String, String>) {
    let mut command = setting.program();
    let output = command.args(["check", "--json"]).output().await.unwrap();
    let mut found = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let it: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| it[key].as_str().unwrap_or_default();
        assert_eq!(it["todo"].is_null(), text("state") == "ok", "{it}");
        let entry: &mut String = found.entry(text("about").to_owned()).or_default();
        *entry += &format!("{}: {}; {}\n", text("state"), text("says"), text("todo"));
    }
    (output.status.code(), found)
}

fn is(found: &BTreeMap<String, String>, about: &str, state: &str, says: &str) {
    let Some(line) = found.get(about) else {
        panic!("nothing about {about} in {found:#?}");
    };
    assert!(
        line.starts_with(state) && line.contains(says),
        "{about}: {line}"
    );
}

fn with_watch(setting: &Setting) {
    let path = setting.home.path().join("bridge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let watch = format!(
        "[watch]\nfolders = [\"{}\"]\naddress = \"{}/webhooks/box\"\ntriggers = [\"FILE.UPLOADED\", \
         \"FILE.LOCKED\"]\n",
        setting.folder, setting.url
    );
    std::fs::write(
        path,
        text.replace("[worker]\n", &format!("{watch}[worker]\n")),
    )
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_everything_is_there_it_says_so_and_changes_nothing() {
    let keys = "version_key_field = \"Box_Version__c\"\ntask_key_field = \"Box_Event__c\"\n";
    let setting = Setting::with(
        |it| it.replace("budget =", &format!("{keys}budget =")),
        true,
    )
    .await;
    with_watch(&setting);
    for (object, name) in [
        ("ContentVersion", "Box_Version__c"),
        ("Activity", "Box_Event__c"),
    ] {
        let field = Field::text(name, 255).unique(true).external_id(true);
        setting.crm.add_custom_field(object, field).unwrap();
    }
    let before = (setting.content.state(), setting.crm.records("Task"));
    let (code, found) = check(&setting).await;
    for about in [
        "webhook.keys",
        "store",
        "box.token",
        "box.clock",
        "box.template",
        "box.events",
        "salesforce.token",
        "salesforce.calls",
        "salesforce.clock",
        "salesforce.version",
        "salesforce.stages",
        "salesforce.ContentVersion",
        "salesforce.Task",
        "salesforce.Opportunity",
        "rules",
    ] {
        is(&found, about, "ok", "");
    }
    is(
        &found,
        &format!("box.folder.{}", setting.folder),
        "ok",
        "`Deal` can be worked in",
    );
    is(
        &found,
        &format!("box.webhooks.{}", setting.folder),
        "ok",
        "as it should be",
    );
    assert!(found.values().all(|it| it.starts_with("ok")), "{found:#?}");
    assert_eq!(code, Some(0));
    assert_eq!(
        (setting.content.state(), setting.crm.records("Task")),
        before
    );
    let writes = setting.content.requests().into_iter();
    let writes = writes.filter(|it| it.method != "GET").count();
    assert_eq!(writes, 0, "a developer token needs no login");
    let writes = setting.crm.requests().into_iter();
    let writes = writes.filter(|it| it.method != "GET" && !it.path.ends_with("/token"));
    assert_eq!(writes.count(), 0);
    assert!(!setting.home.path().join("bridge.db").exists());
}

const WRONG: &str = r#"
[[rules]]
name = "folders"
triggers = ["Opportunity.*"]
[rules.provision]
layout = ["/{Account.Nom}/{Opportunity.Name}"]
link_field = "Box_Folder__c"
fields = [{ key = "stage", from = "Opportunity.StageName" }]
[[rules]]
name = "fields"
triggers = ["METADATA_INSTANCE.UPDATED"]
[rules.sync_metadata]
fields = [{ field = "CreatedDate", key = "made", type = "date" }, { field = "Name", key = "name", type = "float" }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn each_thing_that_is_wrong_is_a_line_that_says_what_to_do() {
    let wrong = |it: String| {
        let keys = "version_key_field = \"Box_Version__c\"\ntask_key_field = \"Box_Event__c\"\n\
                    api_version = \"99.0\"\n";
        it.replace("budget =", &format!("{keys}budget ="))
            .replace("Negotiation/Review", "Nearly There")
            + WRONG
    };
    let setting = Setting::with(wrong, true).await;
    with_watch(&setting);
    let path = setting.home.path().join("bridge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    // A webhook that calls another address, and a folder that is not there.
    let text = text.replace(
        &format!("{}/webhooks/box\"\ntriggers", setting.url),
        "https://example.com/elsewhere\"\ntriggers",
    );
    let text = text.replace("folders = [\"", "folders = [\"404404\", \"");
    std::fs::write(&path, text).unwrap();
    let templates = DeveloperToken::new(setting.content.issue_token());
    let templates = BoxClient::builder(templates).base_url(&setting.content.url());
    let templates = templates.build().unwrap();
    let name = TemplateUpdate::new().add_field(TemplateField::string("name", "Name"));
    let added = templates.metadata_templates();
    added
        .update("enterprise", "salesforce_mapping", &name)
        .await
        .unwrap();
    let short = Field::text("Box_Version__c", 20).unique(true);
    setting
        .crm
        .add_custom_field("ContentVersion", short)
        .unwrap();
    let plain = Field::text("Box_Event__c", 255);
    setting.crm.add_custom_field("Activity", plain).unwrap();
    let (code, found) = check(&setting).await;
    assert_eq!(code, Some(1), "{found:#?}");
    for (about, says) in [
        ("box.folder.404404", "invite the user"),
        (
            &format!("box.webhooks.{}", setting.folder),
            "calls another address",
        ),
        ("salesforce.version", "does not speak 99.0"),
    ] {
        is(&found, about, "problem", says);
    }
    for made in [
        "no key stage, which `folders`",
        "no key made, which `fields`",
    ] {
        is(&found, "box.template", "warning", made);
    }
    is(&found, "watch.address", "warning", "/elsewhere");
    is(
        &found,
        "rules",
        "warning",
        "nothing tells of records, which `folders` waits for",
    );

    // With a version that the org has, it tells what is wrong with fields and stages.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("api_version = \"99.0\"\n", "")).unwrap();
    let (code, found) = check(&setting).await;
    assert_eq!(code, Some(1), "{found:#?}");
    for (about, says) in [
        (
            "salesforce.stages",
            "no stage `Nearly There`; write one of these: Prospecting",
        ),
        (
            "salesforce.ContentVersion",
            "Box_Version__c takes 20 characters",
        ),
        ("salesforce.Task", "Box_Event__c is not unique"),
        (
            "salesforce.Account",
            "no field Nom, which rule `folders` uses",
        ),
        ("salesforce.Opportunity", "no field Box_Folder__c"),
        (
            "salesforce.Opportunity",
            "we may not set CreatedDate, which rule `fields` does",
        ),
    ] {
        is(&found, about, "problem", says);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_is_down_keeps_nothing_else_from_being_seen() {
    let hasty = |it: String| {
        let it = it.replace("[worker]\n", "[check]\ntimeout = \"1s\"\n[worker]\n");
        it + "[[rules]]\nname = \"folders\"\ntriggers = [\"Opportunity.*\"]\n\
              provision = { layout = [\"/Clients/{Opportunity.Name}\"] }\n"
    };
    let setting = Setting::with(hasty, true).await;
    let slow = BoxEffect::Delay { millis: 60_000 };
    setting.content.inject(BoxFault::on("/2.0/users/me", slow));
    let refused = FaultEffect::Status {
        status: 403,
        headers: Default::default(),
        body: r#"[{"message":"No.","errorCode":"INSUFFICIENT_ACCESS"}]"#.to_owned(),
    };
    let root = BoxEffect::Status {
        status: 200,
        headers: BTreeMap::new(),
        body: json!({ "name": "All Files", "permissions": { "can_upload": false } }).to_string(),
    };
    setting.content.inject(BoxFault::on("/2.0/folders/0", root));
    let describe = Fault::on("*/sobjects/Task/describe", refused);
    setting.crm.inject(describe);
    let (code, found) = check(&setting).await;
    assert_eq!(code, Some(1));
    is(&found, "box.token", "problem", "no answer within 1 s");
    is(&found, "box.template", "ok", "");
    is(
        &found,
        "box.folder.0",
        "problem",
        "we may not make folders in it",
    );
    is(&found, "salesforce.token", "ok", "");
    is(&found, "salesforce.Task", "problem", "permission set");
    is(&found, "salesforce.Opportunity", "ok", "");

    // What `serve` would refuse is found too.
    let path = setting.home.path().join("bridge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let api = "[api]\ntoken = { env = \"TEST_API_TOKEN\" }\n[worker]\n";
    std::fs::write(&path, text.replace("[worker]\n", api)).unwrap();
    let mut command = setting.program();
    command.env("TEST_API_TOKEN", "planted");
    command.env("TEST_SALESFORCE_SECRET", "planted-and-wrong");
    command.env_remove("TEST_BOX_TOKEN");
    let output = command.arg("check").output().await.unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let says = |about: &str, what: &str| {
        let mut lines = said
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|words| words.get(1) == Some(&about));
        let line = line.unwrap_or_default().join(" ");
        assert!(line.contains(what), "{about}: {what} is not in\n{said}");
    };
    says("api.token", "at least 16 characters");
    says("box", "the variable TEST_BOX_TOKEN is not set");
    says(
        "salesforce.token",
        "problem salesforce.token token failed: 400 invalid_client",
    );
    says("salesforce.stages", "not checked; see salesforce.token");
    assert!(!said.contains("planted"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_told_before_deliveries_are_refused() {
    let setting = Setting::up().await;
    let user = json!({ "type": "user", "id": "1", "name": "Service", "login": "s@example.com" });
    for (behind, state) in [(600, "problem"), (30, "warning")] {
        let theirs = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(behind);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&theirs)
            .unwrap();
        let answer = BoxEffect::Status {
            status: 200,
            headers: BTreeMap::from([("date".to_owned(), date)]),
            body: user.to_string(),
        };
        setting
            .content
            .inject(BoxFault::on("/2.0/users/me", answer));
        let (code, found) = check(&setting).await;
        is(&found, "box.clock", state, " s behind");
        assert_eq!(code, Some(i32::from(state == "problem")), "{found:#?}");
    }
}
