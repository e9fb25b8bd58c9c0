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
