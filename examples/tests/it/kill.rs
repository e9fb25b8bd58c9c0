use std::time::Duration;

use salesforce_client::testing::{Fault, FaultEffect};
use tokio::time::sleep;

use crate::setting::{PATIENCE, Setting};

/// `BRIDGE_KILLS` sets how many times the service is killed.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_does_everything_once_and_in_order() {
    let kills: usize = std::env::var("BRIDGE_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100);
    let setting = Setting::up().await;
    // Every effect happens a moment later, also when whoever asked for it is gone.
    let slow = FaultEffect::DelayBefore { millis: 25 };
    let slow = |path| Fault::on(path, slow.clone()).method("POST").times(u32::MAX);
    let late = FaultEffect::LostAnswerLate { millis: 60 };
    for object in ["ContentVersion", "ContentDocumentLink", "Task"] {
        let path = format!("*/sobjects/{object}");
        for n in 1..=4 {
            let late = Fault::on(&path, late.clone()).method("POST");
            setting.crm.inject(late.skip(n * 7));
        }
        setting.crm.inject(slow(path));
    }

    let uploading = async {
        let mut files = Vec::new();
        for number in 0..kills {
            let mut versions = vec![format!("%PDF-1.7 contract {number}").into_bytes()];
            let name = format!("contract {number}.pdf");
            let upload = setting
                .content
                .upload(&setting.folder, &name, versions[0].clone());
            let upload = upload.unwrap();
            if number % 4 == 0 {
                for version in ["second", "third"] {
                    let bytes = format!("%PDF-1.7 contract {number}, {version}").into_bytes();
                    versions.push(bytes.clone());
                    setting
                        .content
                        .upload_version(&upload.file_id, bytes)
                        .unwrap();
                }
            }
            files.push((upload.file_id, versions));
            sleep(Duration::from_millis(fastrand::u64(0..150))).await;
        }
        files
    };
    let killing = async {
        for _ in 0..kills {
            let mut server = setting.serve();
            sleep(Duration::from_millis(fastrand::u64(20..400))).await;
            server.kill().await.unwrap();
        }
        setting.serve_until_ready().await
    };
    let (files, _server) = tokio::join!(uploading, killing);

    // Box gives up after its twelfth repetition; what it then knows as missed is sent by hand.
    let _ = setting.content.wait_all_delivered(PATIENCE).await;
    for event in setting.content.events() {
        if !event.delivered {
            setting.content.redeliver(&event.id);
            setting
                .content
                .wait_delivered(&event.id, PATIENCE)
                .await
                .unwrap();
        }
    }
    let events = setting.content.events().len();
    setting.wait_done(events).await;
    for (file, versions) in &files {
        setting.assert_once(file, versions);
    }
    assert_eq!(setting.crm.files().len(), files.len());
    setting.assert_a_task_for_each_event(events);
    assert_eq!(setting.stage(), "Negotiation/Review");
}
