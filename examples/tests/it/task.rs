//! `bridge-server task`, with and without a service.

use serde_json::Value;

use crate::setting::Setting;

async fn task(setting: &Setting, arguments: &[&str]) -> (Option<i32>, String) {
    let run = setting.program().arg("task").args(arguments).output();
    let output = run.await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_by_hand_is_shown_first_and_logged_once_for_each_name() {
    let setting = Setting::up().await;
    let deal = setting.opportunity.clone();
    let (code, said) = task(&setting, &[&deal, "--subject", "Called", "--dry-run"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("\"Called\"") && said.contains(&deal),
        "{said}"
    );
    let json = [&deal, "--subject", "Called", "--dry-run", "--json"];
    let (_, said) = task(&setting, &json).await;
    let plan: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(plan["steps"][0]["action"], "log_task");
    assert!(setting.crm.records("Task").is_empty());
    assert!(!setting.home.path().join("bridge.db").exists());

    let named = [&deal, "--subject", "Called", "--key", "call 7"];
    for _ in 0..2 {
        let (code, said) = task(&setting, &named).await;
        assert_eq!(code, Some(0), "{said}");
    }
    assert_eq!(setting.crm.records("Task").len(), 1);
    let other = [&deal, "--subject", "Called off", "--key", "call 7"];
    let (code, said) = task(&setting, &other).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("used for another command"), "{said}");
    let _server = setting.serve_until_ready().await;
    for _ in 0..2 {
        let (code, said) = task(&setting, &named).await;
        assert_eq!(code, Some(0), "{said}");
    }
    let (code, said) = task(&setting, &other).await;
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(setting.crm.records("Task").len(), 1, "also by the service");
    let more = "More of it.";
    let again = [&deal, "--subject", "Called again", "--description", more];
    let (code, said) = task(&setting, &again).await;
    assert_eq!(code, Some(0), "{said}");
    let tasks = setting.crm.records("Task");
    let again = tasks.iter().find(|it| it["Subject"] == "Called again");
    let again = again.unwrap();
    assert_eq!(again["WhatId"], *deal);
    assert!(again["Description"].as_str().unwrap().starts_with(more));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_cannot_be_is_refused_also_by_a_dry_run() {
    let setting = Setting::up().await;
    let deal = setting.opportunity.clone();
    for (arguments, says) in [
        (
            &["nothing", "--subject", "x"][..],
            "record: it is no record's id",
        ),
        (
            &[&deal, "--subject", " "],
            "subject: it must be a line of text",
        ),
        (
            &[&deal, "--subject", "x", "--contact", "nobody"],
            "contact: it is no e-mail address",
        ),
        (&[&deal, "--subject", "x", "--key", "ü"], "--key: "),
    ] {
        for dry_run in [&[][..], &["--dry-run"]] {
            let (code, said) = task(&setting, &[arguments, dry_run].concat()).await;
            assert_eq!(code, Some(2), "{said}");
            assert!(said.contains(says), "{said}");
        }
    }
    assert!(setting.crm.records("Task").is_empty());
}
