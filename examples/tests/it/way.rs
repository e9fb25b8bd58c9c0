use tokio::process::Command;

use crate::setting::Setting;

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_upload_reaches_the_opportunity_once_however_often_it_is_told() {
    let setting = Setting::up().await;
    let mut server = setting.serve_until_ready().await;
    let upload = setting.upload("contract.pdf", "%PDF-1.7 one").await;
    setting.content.redeliver(&upload.event_ids[0]);
    setting
        .content
        .wait_all_delivered(crate::setting::PATIENCE)
        .await
        .unwrap();
    setting.wait_done(1).await;
    let all = setting.queue(&["list", "--json"]).await;
    assert_eq!(all.len(), 1, "a duplicate is answered and not stored");
    setting.assert_once(&upload.file_id, &[b"%PDF-1.7 one".to_vec()]);
    setting.assert_a_task_for_each_event(1);
    assert_eq!(setting.stage(), "Negotiation/Review");

    // SIGTERM ends it in order.
    let id = server.id().unwrap().to_string();
    Command::new("kill").arg(&id).status().await.unwrap();
    assert!(server.wait().await.unwrap().success(), "{}", setting.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_and_one_beyond_base64_arrive_whole() {
    let setting = Setting::up().await;
    let _server = setting.serve_until_ready().await;
    let empty = setting.upload("empty.pdf", "").await;
    let large: Vec<u8> = (0_u32..9_000_001).map(|n| ((n * 31) >> 3) as u8).collect();
    let other = setting.upload("Größe № 9.pdf", large.clone()).await;
    setting.wait_done(2).await;
    setting.assert_once(&empty.file_id, &[Vec::new()]);
    setting.assert_once(&other.file_id, &[large]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_says_why_and_can_be_replayed_while_the_service_runs() {
    let setting = Setting::with(
        |it| it.replace("max_attempts = 1000", "max_attempts = 1"),
        true,
    )
    .await;
    let _server = setting.serve_until_ready().await;
    let fault = salesforce_client::testing::FaultEffect::RowLock;
    let fault = salesforce_client::testing::Fault::on("*/sobjects/Task", fault).times(50);
    setting.crm.inject(fault);
    let upload = setting.upload("contract.pdf", "%PDF-1.7").await;
    let dead = ["dead", "--json"];
    setting
        .until("a dead letter", async || {
            !setting.queue(&dead).await.is_empty()
        })
        .await;
    let letter = &setting.queue(&dead).await[0];
    let reason = letter["note"].as_str().unwrap();
    assert!(reason.contains("UNABLE_TO_LOCK_ROW"), "{letter}");

    setting.crm.clear_faults();
    let id = letter["id"].to_string();
    let replay = setting.program().args(["queue", "replay", &id]).status();
    assert!(replay.await.unwrap().success());
    setting.wait_done(1).await;
    setting.assert_once(&upload.file_id, &[b"%PDF-1.7".to_vec()]);
    setting.assert_a_task_for_each_event(1);
}
