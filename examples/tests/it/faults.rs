//! What goes wrong between the service and the vendors, one thing at a time.

use box_client::testing as box_side;
use salesforce_client::testing::{Fault, FaultEffect};

use crate::setting::Setting;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_at_any_write_still_gives_exactly_one() {
    let setting = Setting::up().await;
    let _server = setting.serve_until_ready().await;
    let mut events = 0;
    for path in [
        "ContentVersion",
        "ContentDocumentLink",
        "Task",
        "Opportunity/*",
    ] {
        for effect in [
            FaultEffect::LostAnswer,
            FaultEffect::LostAnswerLate { millis: 100 },
            FaultEffect::TruncateBody { after: 3 },
            FaultEffect::Reset,
            FaultEffect::Unavailable,
            FaultEffect::ExpireSession,
        ] {
            let fault = Fault::on(format!("*/sobjects/{path}"), effect.clone());
            // Only writes: what the look finds must be true.
            let method = if path == "Opportunity/*" {
                "PATCH"
            } else {
                "POST"
            };
            setting.crm.inject(fault.method(method));
            let name = format!("contract {events}.pdf");
            let bytes = format!("%PDF-1.7 {path} {effect:?}").into_bytes();
            let upload = setting.upload(&name, bytes.clone()).await;
            events += 1;
            setting.wait_done(events).await;
            setting.assert_once(&upload.file_id, &[bytes]);
            setting.assert_a_task_for_each_event(events);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_waits_or_lies_ends_with_the_right_bytes() {
    let setting = Setting::up().await;
    let _server = setting.serve_until_ready().await;
    let mut events = 0;
    for (path, effect) in [
        (
            "/dl/*",
            box_side::FaultEffect::TruncateBody { after: 10_000 },
        ),
        ("/dl/*", box_side::FaultEffect::CorruptBody { at: 70_000 }),
        ("/dl/*", box_side::FaultEffect::Reset),
        (
            "/2.0/files/*/content",
            box_side::FaultEffect::NotReady {
                retry_after: Some(1),
            },
        ),
        (
            "/2.0/*",
            box_side::FaultEffect::RateLimit {
                retry_after: Some("1".to_owned()),
            },
        ),
    ] {
        setting.content.inject(box_side::Fault::on(path, effect));
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n ^ events) as u8).collect();
        let upload = setting
            .upload(&format!("contract {events}.pdf"), bytes.clone())
            .await;
        events += 1;
        setting.wait_done(events as usize).await;
        setting.assert_once(&upload.file_id, &[bytes]);
    }
    assert_eq!(
        setting.crm.files().len(),
        events as usize,
        "no file of wrong bytes was left behind"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn both_limits_are_waited_out() {
    let setting = Setting::up().await;
    let _server = setting.serve_until_ready().await;
    for (number, effect) in [
        FaultEffect::ConcurrentLimit,
        FaultEffect::DailyLimit,
        FaultEffect::RowLock,
    ]
    .into_iter()
    .enumerate()
    {
        setting
            .crm
            .inject(Fault::on("*/sobjects/*", effect).times(3));
        let upload = setting
            .upload(&format!("contract {number}.pdf"), "%PDF-1.7")
            .await;
        setting.wait_done(number + 1).await;
        setting.assert_once(&upload.file_id, &[b"%PDF-1.7".to_vec()]);
    }
    setting.assert_a_task_for_each_event(3);
}
