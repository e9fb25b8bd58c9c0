use std::process::Output;

use serde_json::Value;

use crate::setting::Setting;

/// Three mapped files, two of them in a folder below.
fn old_files(setting: &Setting) -> Vec<(String, Vec<u8>)> {
    let deeper = setting
        .content
        .create_folder(&setting.folder, "2019")
        .unwrap();
    let files = [
        ("a.pdf", &setting.folder),
        ("b.pdf", &deeper),
        ("c.pdf", &deeper),
    ];
    let files = files.map(|(name, folder)| {
        let bytes = format!("%PDF-1.7 {name}").into_bytes();
        let upload = setting.content.upload(folder, name, bytes.clone()).unwrap();
        (upload.file_id, bytes)
    });
    files.into()
}

/// Nothing comes by webhook.
async fn without_webhooks() -> Setting {
    let setting = Setting::up().await;
    let client = crate::watch::ours(&setting);
    for hook in crate::watch::webhooks(&setting).await {
        client.webhooks().delete(&hook).await.unwrap();
    }
    setting
}

async fn backfill(setting: &Setting, folder: &str, more: &[&str]) -> Output {
    let mut run = setting.program();
    run.args(["backfill", "--folder", folder]).args(more);
    run.output().await.unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_files_are_attached_once_and_nothing_else_is_done() {
    let setting = without_webhooks().await;
    let files = old_files(&setting);
    let told = lines(&backfill(&setting, &setting.folder, &["--dry-run", "--json"]).await);
    let planned = told.iter().filter(|line| line["is"] == "planned");
    assert_eq!(planned.count(), 3, "{told:#?}");
    assert!(!setting.home.path().join("bridge.db").exists());

    let _server = setting.serve_until_ready().await;
    // No room for all of them at once.
    for more in [["--json", "--ahead", "1"], ["--json", "--ahead", "9"]] {
        let told = lines(&backfill(&setting, &setting.folder, &more).await);
        let end = &told.last().unwrap()["done"];
        assert_eq!(
            (&end["matched"], &end["is_finished"]),
            (&3.into(), &true.into())
        );
    }
    setting.wait_done(6).await;
    for (file, bytes) in &files {
        setting.assert_once(file, std::slice::from_ref(bytes));
    }
    assert_eq!(setting.crm.records("Task").len(), 0);
    assert_eq!(setting.stage(), "Prospecting");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_match_nothing_are_reported() {
    let setting = without_webhooks().await;
    let elsewhere = setting.content.create_folder("0", "Elsewhere").unwrap();
    setting
        .content
        .upload(&elsewhere, "stray.pdf", b"%PDF-1.7 stray".to_vec())
        .unwrap();
    let told = lines(&backfill(&setting, &elsewhere, &["--json"]).await);
    assert_eq!(told[0]["why"], "no_mapping", "{told:#?}");
    assert_eq!(told[0]["name"], "stray.pdf");
    assert!(setting.queue(&["list", "--json"]).await.is_empty());

    let missing = backfill(&setting, "999999999", &[]).await;
    assert!(!missing.status.success(), "{missing:?}");
}

/// Whether the file is on the deal and on its account.
fn is_shown(setting: &Setting, file: &str) -> bool {
    let files = setting.files_of(file);
    let links = |record: &String| {
        let mut links = files.iter().flat_map(|file| &file.links);
        links.any(|link| link.record == *record)
    };
    links(&setting.account) && links(&setting.opportunity)
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_waits_where_the_calls_that_are_left_are_kept_for_what_happens_now() {
    let budget = |text: String| {
        let kept = "budget = { backfill_reserve = 0.5, pause = \"300ms\" }";
        text.replace("budget = { pause = \"300ms\" }", kept)
    };
    let setting = Setting::with(budget, true).await;
    let hook = crate::watch::webhooks(&setting).await.remove(0);
    let silence = |is_silent| {
        let silenced = setting.content.silence_webhook(hook.as_str(), is_silent);
        silenced.unwrap();
    };
    silence(true);
    let old = old_files(&setting);
    silence(false);
    // More than backfill may use up, and far less than all.
    setting.crm.set_calls(600, 1000);
    let _server = setting.serve_until_ready().await;
    let live = async |name: &str| {
        let bytes = format!("%PDF-1.7 {name}").into_bytes();
        let upload = setting.upload(name, bytes.clone()).await;
        setting
            .until("what happens now to be done", async || {
                is_shown(&setting, &upload.file_id)
            })
            .await;
        setting.assert_once(&upload.file_id, &[bytes]);
    };
    live("first.pdf").await;

    lines(&backfill(&setting, &setting.folder, &["--json"]).await);
    let waiting = ["list", "--state", "ready", "--json"];
    let is_left = |job: &Value| {
        let note = job["note"].as_str().unwrap_or_default();
        note.contains("left for later")
    };
    setting
        .until("backfill to be left for later", async || {
            let jobs = setting.queue(&waiting).await;
            jobs.iter().filter(|job| is_left(job)).count() == old.len()
        })
        .await;
    for name in ["second.pdf", "third.pdf"] {
        live(name).await;
    }
    for (file, _) in &old {
        assert!(setting.files_of(file).is_empty());
    }
    assert!(setting.crm.calls() < 700);
    let jobs = setting.queue(&["list", "--json"]).await;
    let of_old = |job: &&Value| {
        let key = job["key"].as_str().unwrap();
        old.iter()
            .any(|(file, _)| key == format!("box-file/{file}"))
    };
    let found: Vec<_> = jobs.iter().filter(of_old).collect();
    assert_eq!(found.len(), old.len(), "{jobs:#?}");
    for job in found {
        assert_ne!(job["state"], "done");
        let attempts = job["attempts"].as_u64().unwrap();
        let is_in_hand = u64::from(job["state"] == "leased");
        assert_eq!(attempts, is_in_hand, "no attempt is counted: {job}");
    }

    // The next day there is enough.
    setting.crm.set_calls(0, 1000);
    setting
        .until("backfill to be done", async || {
            old.iter().all(|(file, _)| is_shown(&setting, file))
        })
        .await;
    for (file, bytes) in &old {
        setting.assert_once(file, std::slice::from_ref(bytes));
    }
}
