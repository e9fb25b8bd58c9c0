//! `bridge-server attach`, with and without a service.

use serde_json::Value;

use crate::setting::Setting;

async fn without_events() -> Setting {
    Setting::with(|text| text.replace("FILE.UPLOADED", "FILE.LOCKED"), true).await
}

fn upload(setting: &Setting, name: &str, bytes: &'static str) -> String {
    let upload = setting.content.upload(&setting.folder, name, bytes);
    upload.unwrap().file_id
}

/// Its exit code, and what it said on standard output and error.
async fn attach(setting: &Setting, arguments: &[&str]) -> (Option<i32>, String) {
    let run = setting.program().arg("attach").args(arguments).output();
    let output = run.await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let setting = without_events().await;
    let file = upload(&setting, "contract.pdf", "%PDF-1.7");
    let (code, said) = attach(&setting, &[&file, "--dry-run"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (opportunity, account) = (&setting.opportunity, &setting.account);
    assert!(said.contains(&format!("to {opportunity}, {account}  (rule command")));
    let to = [&file, "--to", account, "--dry-run", "--json"];
    let (code, said) = attach(&setting, &to).await;
    assert_eq!(code, Some(0), "{said}");
    let plan: Value = serde_json::from_str(&said).unwrap();
    let does = plan["steps"][0]["does"].as_str().unwrap();
    assert!(does.ends_with(&format!("to {account}")), "{does}");
    assert!(setting.crm.files().is_empty());
    assert!(!setting.home.path().join("bridge.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_service_it_is_done_at_once_and_with_one_through_its_inbox() {
    let setting = without_events().await;
    let file = upload(&setting, "contract.pdf", "%PDF-1.7 one");
    for _ in 0..2 {
        let (code, said) = attach(&setting, &[&file]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("done: "), "{said}");
    }
    setting.assert_once(&file, &[b"%PDF-1.7 one".to_vec()]);
    assert!(setting.queue(&["list", "--json"]).await.is_empty());

    let _server = setting.serve_until_ready().await;
    let other = upload(&setting, "other.pdf", "%PDF-1.7 two");
    let (code, said) = attach(&setting, &[&other, "--json"]).await;
    assert_eq!(code, Some(0), "{said}");
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(told["state"], "done");
    setting.assert_once(&other, &[b"%PDF-1.7 two".to_vec()]);
    let jobs = setting.queue(&["list", "--json"]).await;
    assert!(jobs.iter().any(|job| job["kind"] == "command"), "{jobs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_attached_ends_with_the_reason() {
    let setting = without_events().await;
    for arguments in [&["404404"][..], &["404404", "--dry-run"]] {
        let (code, said) = attach(&setting, arguments).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("there is no file 404404"), "{said}");
    }
    let file = upload(&setting, "contract.pdf", "%PDF-1.7");
    let (code, said) = attach(&setting, &[&file, "--to", "nothing"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("to: it is no record's id"), "{said}");
}
