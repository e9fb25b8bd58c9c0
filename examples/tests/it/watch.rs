use std::time::Duration;

use box_client::{
    BoxClient, ClientCredentials, DeveloperToken, FolderId, Subject, WebhookId, WebhookTarget,
    testing::UploadedFile,
};
use bridge::{EffectKey, Ledger, store::sqlite::SqliteStore};
use tokio::process::Child;

use crate::setting::{PATIENCE, SECRET, Setting};

/// The service watches the deal's folder, and does nothing but what the test waits for.
fn watched(setting: &Setting, more: &str) {
    let path = setting.home.path().join("bridge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let watch = format!(
        "[watch]\nfolders = [\"{}\"]\naddress = \"{}/webhooks/box\"\ncheck_every = \"200ms\"\n\
         catch_up_every = \"200ms\"\n{more}\n",
        setting.folder, setting.url
    );
    std::fs::write(
        path,
        text.replace("[[rules]]", &format!("{watch}[[rules]]")),
    )
    .unwrap();
}

/// As our own application, as another user of the same login would be.
pub(crate) fn ours(setting: &Setting) -> BoxClient {
    let token = DeveloperToken::new(setting.content.issue_token());
    let client = BoxClient::builder(token).base_url(&setting.content.url());
    client.build().unwrap()
}

pub(crate) async fn webhooks(setting: &Setting) -> Vec<WebhookId> {
    use futures_util::TryStreamExt;
    let client = ours(setting);
    let all = client.webhooks().list().map_ok(|hook| hook.id);
    all.try_collect().await.unwrap()
}

async fn killed(mut server: Child) {
    server.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deleted_webhook_missed_is_found_and_attached_once() {
    let setting = Setting::up().await;
    watched(&setting, "");
    let others = BoxClient::builder(ClientCredentials::new(
        "another app",
        SECRET,
        Subject::Enterprise("12345".to_owned()),
    ));
    let others = others.base_url(&setting.content.url()).build().unwrap();
    let target = WebhookTarget::Folder {
        id: FolderId::new(&setting.folder).unwrap(),
    };
    let elsewhere = "http://127.0.0.1:9/another/app";
    let webhooks_of_others = others.webhooks();
    let foreign = webhooks_of_others.create(&target, elsewhere, &["FILE.TRASHED"]);
    let foreign = foreign.await.unwrap();

    let server = setting.serve_until_ready().await;
    let upload = setting.upload("before.pdf", "%PDF-1.7 before").await;
    setting.wait_done(1).await;
    killed(server).await;

    let first = webhooks(&setting).await;
    assert_eq!(first.len(), 1, "the webhook that was there is taken over");
    ours(&setting).webhooks().delete(&first[0]).await.unwrap();
    let mut files = vec![(upload.file_id, b"%PDF-1.7 before".to_vec())];
    let number: usize = std::env::var("BRIDGE_MISSED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(500);
    for number in 0..number {
        let bytes = format!("%PDF-1.7 contract {number}").into_bytes();
        let name = format!("contract {number}.pdf");
        let upload = setting
            .content
            .upload(&setting.folder, &name, bytes.clone());
        let upload = upload.unwrap();
        assert!(upload.event_ids.is_empty(), "no webhook tells of it");
        files.push((upload.file_id, bytes));
    }
    // Cut off in the middle of it, several times.
    for _ in 0..5 {
        let server = setting.serve();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..400))).await;
        killed(server).await;
    }
    let _server = setting.serve_until_ready().await;
    setting
        .until("all files to be attached", async || {
            setting.crm.files().len() == files.len()
                && setting.crm.records("Task").len() == files.len()
        })
        .await;
    setting
        .until("the inbox to be empty", async || {
            let ready = setting.queue(&["list", "--state", "ready", "--json"]).await;
            let leased = setting
                .queue(&["list", "--state", "leased", "--json"])
                .await;
            ready.is_empty() && leased.is_empty()
        })
        .await;
    for (file, bytes) in files.iter() {
        setting.assert_once(file, std::slice::from_ref(bytes));
    }
    setting.assert_a_task_for_each_event(files.len());

    let now = webhooks(&setting).await;
    assert_eq!(now.len(), 1, "one webhook, made anew");
    assert_ne!(now, first);
    let left_alone = others.webhooks().get(&foreign.id).await.unwrap();
    assert!(
        left_alone.is(elsewhere, &["FILE.TRASHED"]),
        "{left_alone:?}"
    );
    // The new one works.
    let upload = setting.upload("after.pdf", "%PDF-1.7 after").await;
    setting
        .until("the next upload", async || {
            !setting.files_of(&upload.file_id).is_empty()
        })
        .await;
    setting.content.wait_all_delivered(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_mapped_while_the_service_was_away_are_looked_through() {
    let mut setting = Setting::up().await;
    let outer = setting.content.create_folder("0", "Deals").unwrap();
    let content = &setting.content;
    let [during, before, late, elsewhere] = [&outer, &outer, &outer, "0"].map(|parent| {
        content
            .create_folder(parent, &fastrand::u64(..).to_string())
            .unwrap()
    });
    let map = |setting: &Setting, folder: &str| {
        let mapping = serde_json::json!({
            "opportunity_id": setting.opportunity, "account_id": setting.account,
        });
        let mapped = setting
            .content
            .apply_metadata(folder, "salesforce_mapping", mapping);
        mapped.unwrap();
    };
    let upload = |setting: &Setting, folder: &str| {
        let upload = setting.content.upload(folder, "contract.pdf", "%PDF-1.7");
        upload.unwrap().file_id
    };
    // What was mapped before anybody looked is for a backfill.
    map(&setting, &before);
    let [during_file, before_file, elsewhere_file] =
        [&during, &before, &elsewhere].map(|folder| upload(&setting, folder));
    setting.folder = outer.clone();
    watched(&setting, "scan_every = \"200ms\"");
    let server = setting.serve_until_ready().await;
    let store = SqliteStore::open(setting.home.path().join("bridge.db")).unwrap();
    let is_noted = async || {
        let noted = EffectKey::new(["watch", "mappings seen"]);
        store.read(&noted).await.unwrap().is_some()
    };
    setting.until("the mappings to be noted", is_noted).await;
    killed(server).await;
    // No webhook tells of what happens now.
    for hook in webhooks(&setting).await {
        ours(&setting).webhooks().delete(&hook).await.unwrap();
    }
    map(&setting, &during);
    map(&setting, &elsewhere);
    for _ in 0..3 {
        let server = setting.serve();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..400))).await;
        killed(server).await;
    }
    let _server = setting.serve_until_ready().await;
    let bytes = [b"%PDF-1.7".to_vec()];
    let is_attached = async || !setting.files_of(&during_file).is_empty();
    setting.until("the file to be attached", is_attached).await;

    // And while it runs.
    let late_file = upload(&setting, &late);
    map(&setting, &late);
    let is_attached = async || !setting.files_of(&late_file).is_empty();
    setting
        .until("the late one to be attached", is_attached)
        .await;
    let all = ["list", "--limit", "1000", "--json"];
    let is_idle = async || {
        let jobs = setting.queue(&all).await;
        jobs.iter().all(|job| job["state"] == "done")
    };
    setting.until("the end of all work", is_idle).await;
    for file in [&during_file, &late_file] {
        setting.assert_once(file, &bytes);
    }
    for file in [&before_file, &elsewhere_file] {
        assert!(setting.files_of(file).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_webhooks_are_listed_and_which_are_looked_after() {
    let setting = Setting::up().await;
    watched(&setting, "triggers = [\"FILE.UPLOADED\", \"FILE.LOCKED\"]");
    let other = setting.content.create_folder("0", "Other").unwrap();
    let elsewhere = "http://127.0.0.1:9/elsewhere";
    let by_hand = setting
        .content
        .create_webhook(&other, elsewhere, &["FILE.TRASHED"])
        .unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = setting.program();
        let output = command
            .arg("webhooks")
            .args(arguments)
            .output()
            .await
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = run(&["list", "--json"]).await;
    let mut listed: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    listed.sort_by_key(|it| it["ours"] == true);
    assert_eq!(listed.len(), 2, "{lines}");
    assert_eq!(
        listed[0],
        serde_json::json!({
            "id": by_hand, "target": format!("folder {other}"), "address": elsewhere,
            "triggers": ["FILE.TRASHED"], "status": null, "ours": false,
        })
    );
    assert_eq!(listed[1]["target"], format!("folder {}", setting.folder));
    assert_eq!(listed[1]["ours"], true);
    let table = run(&["list"]).await;
    assert!(
        table.contains(elsewhere) && table.contains(&by_hand),
        "{table}"
    );
    assert!(!setting.home.path().join("bridge.db").exists());
}

/// Nothing tells of it but the event stream. Box tells times in whole seconds, and the service knows
/// when it heard a webhook last to a quarter of `silent_after`: this shall not pass for what was told
/// before, so it happens so much later.
fn untold(setting: &Setting, name: &str, bytes: &str) -> UploadedFile {
    let content = &setting.content;
    content.set_clock_ahead(5);
    let upload = content.upload(&setting.folder, name, bytes.to_owned());
    content.set_clock_ahead(0);
    let upload = upload.unwrap();
    assert!(upload.event_ids.is_empty(), "a webhook tells of it");
    upload
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_goes_silent_is_reported_and_made_anew_and_nothing_is_lost() {
    let setting = Setting::up().await;
    // Longer than a delivery takes on a busy machine, or it would seem to be missing.
    watched(&setting, "silent_after = \"8s\"");
    let _server = setting.serve_until_ready().await;
    setting
        .until("the webhook to be taken over", async || {
            let found = webhooks(&setting).await;
            let hook = ours(&setting).webhooks().get(&found[0]).await.unwrap();
            hook.triggers
                .iter()
                .any(|it| it == "METADATA_INSTANCE.CREATED")
        })
        .await;
    let before = setting.upload("before.pdf", "%PDF-1.7 before").await;
    let first = webhooks(&setting).await;
    let silence = |on| {
        let silenced = setting.content.silence_webhook(first[0].as_str(), on);
        silenced.unwrap();
    };
    silence(true);
    let silent = untold(&setting, "silent.pdf", "%PDF-1.7 silent");
    setting
        .until("the webhook to be made anew", async || {
            let now = webhooks(&setting).await;
            now.len() == 1 && now != first
        })
        .await;
    let after = setting.upload("after.pdf", "%PDF-1.7 after").await;
    for (upload, bytes) in [
        (&before, "%PDF-1.7 before"),
        (&silent, "%PDF-1.7 silent"),
        (&after, "%PDF-1.7 after"),
    ] {
        setting
            .until("every file to be attached", async || {
                !setting.files_of(&upload.file_id).is_empty()
            })
            .await;
        setting.assert_once(&upload.file_id, &[bytes.as_bytes().to_vec()]);
    }
    let log = setting.log();
    assert!(log.contains("had told of nothing since"), "{log}");

    // The new one is silent too: nothing is to be done from here.
    let second = webhooks(&setting).await;
    setting
        .content
        .silence_webhook(second[0].as_str(), true)
        .unwrap();
    let last = untold(&setting, "last.pdf", "%PDF-1.7 last");
    setting
        .until("the webhook to be made anew", async || {
            webhooks(&setting).await != second
        })
        .await;
    let third = webhooks(&setting).await;
    setting
        .content
        .silence_webhook(third[0].as_str(), true)
        .unwrap();
    untold(&setting, "more.pdf", "%PDF-1.7 more");
    let said = format!("the webhook of folder {} is silent", setting.folder);
    setting
        .until("the silence to be said in /readyz", async || {
            let answer = reqwest::get(format!("{}/readyz", setting.url)).await;
            answer.unwrap().text().await.unwrap().contains(&said)
        })
        .await;
    let check = setting
        .program()
        .args(["webhooks", "check", "--json"])
        .output();
    let output = check.await.unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.contains("\"state\":\"silent\""), "{line}");
    assert!(!output.status.success());
    assert_eq!(webhooks(&setting).await, third, "it is made anew once");
    let list = setting
        .program()
        .args(["webhooks", "list", "--json"])
        .output();
    let listed = String::from_utf8(list.await.unwrap().stdout).unwrap();
    assert!(
        listed.contains(third[0].as_str()) && listed.contains("FILE.UPLOADED"),
        "{listed}"
    );
    setting
        .until("the last file", async || {
            !setting.files_of(&last.file_id).is_empty()
        })
        .await;
}
