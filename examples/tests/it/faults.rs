//! What goes wrong between the service and the vendors, one thing at a time.

use box_client::testing as box_side;
use salesforce_client::testing::{Fault, FaultEffect, Field};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_without_a_reason_is_nobodys_last_word() {
    let setting = Setting::up().await;
    let _server = setting.serve_until_ready().await;
    let mut events = 0;
    // A proxy's page at any call, and then Salesforce's own answer that breaks off before it says
    // that the link is there already.
    let mut troubles: Vec<Vec<Fault>> = Vec::new();
    for status in [400, 403, 404] {
        for call in 0..6 {
            let page = FaultEffect::Status {
                status,
                headers: Default::default(),
                body: "<html>".to_owned(),
            };
            troubles.push(vec![Fault::on("/services/data/*", page).skip(call)]);
        }
    }
    let link = |effect| Fault::on("*/sobjects/ContentDocumentLink", effect).method("POST");
    let broken_off = link(FaultEffect::TruncateBody { after: 3 });
    troubles.push(vec![link(FaultEffect::LostAnswer), broken_off]);
    for faults in troubles {
        let bytes = format!("%PDF-1.7 {faults:?}").into_bytes();
        for fault in faults {
            setting.crm.inject(fault);
        }
        let name = format!("contract {events}.pdf");
        let upload = setting.upload(&name, bytes.clone()).await;
        events += 1;
        setting
            .until("the event to end", async || {
                let dead = setting.queue(&["dead", "--json"]).await;
                assert!(dead.is_empty(), "{dead:?}");
                let done = ["list", "--state", "done", "--limit", "1000", "--json"];
                setting.queue(&done).await.len() == events
            })
            .await;
        setting.crm.clear_faults();
        setting.assert_once(&upload.file_id, &[bytes]);
    }
    setting.assert_a_task_for_each_event(events);
}

/// Where the org has the unique fields, Salesforce itself refuses a second copy, however late the
/// first one lands.
#[tokio::test(flavor = "multi_thread")]
async fn with_unique_fields_even_a_write_that_lands_after_the_look_is_no_double() {
    let fields = "[salesforce]\nversion_key_field = \"Box_Version__c\"\n\
                  task_key_field = \"Box_Event__c\"\n";
    let setting = Setting::with(|it| it.replace("[salesforce]\n", fields), true).await;
    for (object, name) in [
        ("ContentVersion", "Box_Version__c"),
        ("Activity", "Box_Event__c"),
    ] {
        let field = Field::text(name, 120).unique(true).external_id(true);
        setting.crm.add_custom_field(object, field).unwrap();
    }
    let _server = setting.serve_until_ready().await;
    // Far later than `settle_after`: the look finds nothing, and the repeat is sent.
    let late = FaultEffect::LostAnswerLate { millis: 4_000 };
    for (number, object) in ["ContentVersion", "Task"].into_iter().enumerate() {
        let fault = Fault::on(format!("*/sobjects/{object}"), late.clone());
        setting.crm.inject(fault.method("POST"));
        let bytes = format!("%PDF-1.7 {object}").into_bytes();
        let upload = setting
            .upload(&format!("contract {number}.pdf"), bytes.clone())
            .await;
        setting.wait_done(number + 1).await;
        // The fault's own time: then the late write has landed, or was refused for the repeat.
        tokio::time::sleep(std::time::Duration::from_millis(2_000)).await;
        setting.assert_once(&upload.file_id, &[bytes]);
        setting.assert_a_task_for_each_event(number + 1);
    }
}
