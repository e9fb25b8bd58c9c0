//! What people do with the inbox while the service works on it.

use salesforce_client::testing::{Fault, FaultEffect};

use crate::setting::Setting;

async fn told(setting: &Setting, arguments: &[&str]) -> (bool, String) {
    let run = setting.program().arg("queue").args(arguments).output();
    let output = run.await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

async fn ready(setting: &Setting) -> String {
    let ready = reqwest::get(format!("{}/readyz", setting.url)).await;
    ready.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_vendor_is_left_alone_until_somebody_resumes_it() {
    let setting = Setting::up().await;
    let _server = setting.serve_until_ready().await;
    let (done, said) = told(&setting, &["pause", "salesforce"]).await;
    assert!(done && said.contains("paused    salesforce"), "{said}");
    setting
        .until("the service to obey", async || {
            ready(&setting).await.contains("salesforce paused")
        })
        .await;
    let upload = setting.upload("contract.pdf", "%PDF-1.7").await;
    let waits = ["list", "--state", "ready", "--json"];
    setting
        .until("the event to be put off", async || {
            let jobs = setting.queue(&waits).await;
            jobs.iter().any(|job| job["note"].as_str().is_some())
        })
        .await;
    assert_eq!(setting.queue(&waits).await[0]["attempts"], 0);
    assert!(setting.crm.files().is_empty());

    let (done, said) = told(&setting, &["resume"]).await;
    assert!(done && said.contains("paused    nothing"), "{said}");
    let id = setting.queue(&waits).await[0]["id"].to_string();
    let (done, said) = told(&setting, &["retry", &id]).await;
    assert!(done && said.contains("1 of 1 due now"), "{said}");
    setting.wait_done(1).await;
    setting.assert_once(&upload.file_id, &[b"%PDF-1.7".to_vec()]);
}

fn refusal() -> Fault {
    let effect = FaultEffect::Status {
        status: 400,
        headers: Default::default(),
        body: r#"[{"message":"No.","errorCode":"FIELD_CUSTOM_VALIDATION_EXCEPTION","fields":[]}]"#
            .to_owned(),
    };
    Fault::on("*/sobjects/ContentVersion", effect).method("POST")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_tell_what_was_taken_refused_done_tried_again_dead_and_moved() {
    let setting = Setting::up().await;
    let _server = setting.serve_until_ready().await;
    // One is refused by Salesforce, and of another nobody knows at first whether it was stored.
    setting.crm.inject(refusal());
    setting.upload("refused.pdf", "%PDF-1.7").await;
    setting
        .until("a dead letter", async || {
            setting.queue(&["dead", "--json"]).await.len() == 1
        })
        .await;
    let lost = Fault::on("*/sobjects/ContentVersion", FaultEffect::LostAnswer);
    setting.crm.inject(lost.method("POST"));
    setting.upload("contract.pdf", "%PDF-1.7").await;
    setting.wait_done(1).await;
    let stranger = reqwest::Client::new();
    let stranger = stranger
        .post(format!("{}/webhooks/box", setting.url))
        .send();
    assert_eq!(stranger.await.unwrap().status(), 401);

    let numbers = async || {
        let numbers = reqwest::get(format!("{}/metrics", setting.url)).await;
        numbers.unwrap().text().await.unwrap()
    };
    // They are counted, or looked at, a little later.
    let late = [
        "bridge_jobs{state=\"done\"} 1",
        "bridge_jobs{state=\"dead\"} 1",
        "bridge_server_salesforce_calls_left ",
    ];
    setting
        .until("the numbers to be taken", async || {
            let numbers = numbers().await;
            late.iter().all(|due| numbers.contains(due))
        })
        .await;
    let numbers = numbers().await;
    for due in [
        // Accepted, and refused by reason.
        "bridge_deliveries_total{outcome=\"accepted\"} 2",
        "bridge_deliveries_total{outcome=\"missing_signature\"} 1",
        // Done, retried, dead.
        "bridge_attempts_total{outcome=\"done\"} 1",
        "bridge_attempts_total{outcome=\"retried\"} 1",
        "bridge_attempts_total{outcome=\"dead\"} 1",
        "bridge_event_seconds_count 1",
        // How far behind.
        "bridge_oldest_unfinished_seconds 0",
        // Calls per vendor and status.
        "bridge_calls_total{side=\"crm\",operation=\"upload\",outcome=\"refused\",status=\"400\"} 1",
        "bridge_calls_total{side=\"crm\",operation=\"upload\",outcome=\"unknown\",status=\"none\"} 1",
        "bridge_calls_total{side=\"content\",operation=\"open\",outcome=\"ok\",status=\"2xx\"} 2",
        "bridge_call_seconds_bucket{side=\"crm\",operation=\"upload\",le=\"",
        "box_client_calls_total{",
        "salesforce_client_calls_total{",
        "bridge_circuit_open{side=\"content\"} 0",
        "bridge_circuit_open{side=\"crm\"} 0",
        // The budget.
        "salesforce_client_api_calls_used ",
        "salesforce_client_api_calls_allowed ",
        // Bytes moved.
        "bridge_content_bytes_total 16",
        // How long attaching takes.
        "bridge_step_seconds_bucket{action=\"attach\",le=\"",
        // More often than once, where the deal was changed just now.
        "bridge_step_seconds_count{action=\"attach\"}",
        "bridge_step_seconds_count{action=\"log_task\"} 1",
    ] {
        assert!(numbers.contains(due), "{due} is not in\n{numbers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_over_from_a_dead_process_is_counted() {
    let setting = Setting::up().await;
    let mut server = setting.serve_until_ready().await;
    let slow = Fault::on(
        "*/sobjects/ContentVersion",
        FaultEffect::Delay { millis: 60_000 },
    );
    setting.crm.inject(slow.method("POST"));
    setting.upload("contract.pdf", "%PDF-1.7").await;
    setting
        .until("the upload to be under way", async || {
            !setting.crm.files().is_empty()
        })
        .await;
    server.kill().await.unwrap();
    let _server = setting.serve_until_ready().await;
    setting.wait_done(1).await;
    let numbers = reqwest::get(format!("{}/metrics", setting.url)).await;
    let numbers = numbers.unwrap().text().await.unwrap();
    assert!(
        numbers.contains("bridge_lease_takeovers_total 1"),
        "{numbers}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_dead_letter_waits_until_it_is_discarded_where_that_is_wanted() {
    let hold = |it: String| it.replace("[worker]\n", "[worker]\nafter_dead = \"hold\"\n");
    let setting = Setting::with(hold, true).await;
    let _server = setting.serve_until_ready().await;
    setting.crm.inject(refusal());
    let upload = setting.upload("contract.pdf", "%PDF-1.7 one").await;
    let dead = ["dead", "--json"];
    setting
        .until("a dead letter", async || {
            setting.queue(&dead).await.len() == 1
        })
        .await;
    setting.content.lock(&upload.file_id).unwrap();
    let waits = ["list", "--state", "ready", "--json"];
    setting
        .until("the next event", async || {
            setting.queue(&waits).await.len() == 1
        })
        .await;
    let id = setting.queue(&dead).await[0]["id"].to_string();
    let (done, said) = told(&setting, &["retry", &id]).await;
    assert!(!done && said.contains("only waiting"), "{said}");
    assert_eq!(setting.queue(&waits).await.len(), 1, "it is held");
    let (done, said) = told(&setting, &["discard", &id]).await;
    assert!(done && said.contains("1 of 1 discarded"), "{said}");
    setting.wait_done(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_event_leads_to_is_shown_whatever_became_of_it() {
    let setting = Setting::up().await;
    let server = setting.serve_until_ready().await;
    let upload = setting.upload("contract.pdf", "%PDF-1.7").await;
    setting.wait_done(1).await;
    setting.content.lock(&upload.file_id).unwrap();
    setting.wait_done(2).await;
    let refused = Fault::on(
        "*/sobjects/ContentVersion",
        FaultEffect::Status {
            status: 400,
            headers: Default::default(),
            body:
                r#"[{"message":"No.","errorCode":"FIELD_CUSTOM_VALIDATION_EXCEPTION","fields":[]}]"#
                    .to_owned(),
        },
    );
    setting.crm.inject(refused.method("POST"));
    setting.upload("other.pdf", "%PDF-1.7").await;
    let dead = ["dead", "--json"];
    setting
        .until("a dead letter", async || {
            setting.queue(&dead).await.len() == 1
        })
        .await;
    drop(server);

    let all = setting.queue(&["list", "--json"]).await;
    let ids: Vec<_> = all.iter().map(|job| job["id"].to_string()).collect();
    let writes = || {
        let requests = setting.crm.requests().into_iter();
        requests
            .filter(|it| it.method != "GET" && !it.path.ends_with("/token"))
            .count()
    };
    let before = (writes(), all.clone());
    let status = &setting.queue(&["status", "--json"]).await[0];
    assert_eq!((&status["done"], &status["dead"]), (&2.into(), &1.into()));
    let shown = &setting.queue(&["show", &ids[0], "--json"]).await[0];
    assert_eq!(shown["body"]["trigger"], "FILE.UPLOADED");
    let (done, said) = told(&setting, &["plan", &ids[0]]).await;
    assert!(done && said.starts_with("1. "), "{said}");
    for action in ["attach", "advance_stage", "log_task"] {
        assert!(
            said.contains(&format!("(rule contracts, {action})")),
            "{said}"
        );
    }
    let (done, said) = told(&setting, &["plan", &ids[1]]).await;
    assert!(
        done && said == "nothing to do: no rule for FILE.LOCKED\n",
        "{said}"
    );
    let plans = setting.queue(&["plan", &ids[0], &ids[1], "--json"]).await;
    assert_eq!(plans[0]["steps"].as_array().unwrap().len(), 3);
    assert_eq!(plans[1]["note"], "no rule for FILE.LOCKED");

    let (done, said) = told(&setting, &["replay", "--all", "--dry-run"]).await;
    assert!(done && said.contains("other.pdf"), "{said}");
    let (done, said) = told(&setting, &["replay", &ids[0], "--dry-run"]).await;
    assert!(!done && said.contains("only dead letters"), "{said}");
    let (done, said) = told(&setting, &["plan", "404"]).await;
    assert!(!done && said.contains("there is no such event"), "{said}");
    let after = (writes(), setting.queue(&["list", "--json"]).await);
    assert_eq!(after, before, "something was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_by_hand_stops_where_somebody_has_paused_it() {
    let rules = |it: String| {
        it + "[[rules]]\nname = \"folders\"\ntriggers = [\"Opportunity.*\"]\n\
              provision = { layout = [\"/Clients/{Opportunity.Name}\"] }\n\
              [[rules]]\nname = \"fields\"\ntriggers = [\"METADATA_INSTANCE.UPDATED\"]\n\
              sync_metadata = { fields = [{ field = \"NextStep\", key = \"next_step\" }] }\n"
    };
    let setting = Setting::with(rules, true).await;
    let (deal, folder) = (setting.opportunity.clone(), setting.folder.clone());
    let file = setting.content.upload(&folder, "contract.pdf", "%PDF-1.7");
    let file = file.unwrap().file_id;
    // The first command makes the store.
    let first = setting
        .program()
        .args(["task", &deal, "--subject", "x"])
        .output();
    assert!(first.await.unwrap().status.success());
    let (done, said) = told(&setting, &["pause", "salesforce"]).await;
    assert!(done, "{said}");
    // Deliveries go on, to nobody.
    let held = || {
        let mut state = setting.content.state();
        state["events"] = serde_json::Value::Null;
        (state, setting.crm.records("Task").len())
    };
    let before = held();
    for arguments in [
        &["attach", &file][..],
        &["task", &deal, "--subject", "y"],
        &["provision", &deal],
        &["sync", &deal],
        &["sync", "--all"],
        &["backfill", "--folder", &folder],
    ] {
        let output = setting.program().args(arguments).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("paused salesforce"), "{arguments:?}: {said}");
    }
    assert_eq!(held(), before);
    assert!(setting.crm.files().is_empty());
    let (_, said) = told(&setting, &["resume"]).await;
    assert!(said.contains("paused    nothing"), "{said}");
    let again = setting
        .program()
        .args(["attach", &file])
        .output()
        .await
        .unwrap();
    assert!(again.status.success());
}
