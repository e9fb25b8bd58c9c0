use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use salesforce_client::testing::{Fault, FaultEffect};
use serde_json::json;
use tokio::time::Instant;

use crate::setting::Setting;

const EVENTS: usize = 10_000;
/// Stricter than Box, which waits 30 seconds.
const BOXS_PATIENCE: Duration = Duration::from_secs(2);

/// Only a Task for each: what is tried here is the way in, and that nothing gets lost behind it.
fn only_tasks(configuration: String) -> String {
    configuration
        .replace("attach = [\"opportunity\", \"account\"]\n", "")
        .replace("advance_stage = \"Negotiation/Review\"\n", "")
        .replace("[worker]\n", "[worker]\nconcurrency = 32\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_are_answered_in_time_and_none_is_lost_behind_a_slow_far_side() {
    let setting = Setting::with(only_tasks, true).await;
    let _server = setting.serve_until_ready().await;
    let slow = FaultEffect::DelayBefore { millis: 2_000 };
    setting.crm.inject(Fault::on("*", slow).times(u32::MAX));

    let http = reqwest::Client::new();
    let address = Arc::new(format!("{}/webhooks/box", setting.url));
    let deliveries = stream::iter(0..EVENTS).map(|number| {
        let delivery = setting
            .content
            .sign(event(&setting.folder, number), jiff::Timestamp::now());
        let mut request = http.post(address.as_str()).body(delivery.body);
        for (name, value) in delivery.headers {
            request = request.header(name, value);
        }
        async move {
            let began = Instant::now();
            let status = request.send().await.unwrap().status();
            (status.as_u16(), began.elapsed())
        }
    });
    let answers: Vec<_> = deliveries.buffer_unordered(32).collect().await;
    assert!(answers.iter().all(|(status, _)| *status == 200));
    let slowest = answers.iter().map(|(_, took)| *took).max().unwrap();
    assert!(slowest < BOXS_PATIENCE, "{slowest:?}");
    let list = ["list", "--limit", "1000000", "--json"];
    assert_eq!(setting.queue(&list).await.len(), EVENTS);

    setting.crm.clear_faults();
    setting.wait_done(EVENTS).await;
    setting.assert_a_task_for_each_event(EVENTS);
}

pub(crate) fn event(folder: &str, number: usize) -> String {
    let entry = |id: &str| json!({ "type": "folder", "id": id, "name": id });
    json!({
        "type": "webhook_event", "id": format!("event-{number}"), "trigger": "FILE.UPLOADED",
        "created_at": jiff::Timestamp::now().to_string(),
        "webhook": { "id": "1", "type": "webhook" },
        "source": {
            "type": "file", "id": (700_000 + number).to_string(), "name": format!("{number}.pdf"),
            "size": 1, "file_version": {
                "type": "file_version", "id": (900_000 + number).to_string(),
                "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            },
            "path_collection": { "total_count": 2, "entries": [entry("0"), entry(folder)] },
        },
        "additional_info": [],
    })
    .to_string()
}
