//! An inbox with far more in it than fits into memory at a time.

use bridge::{BOX_WEBHOOK, NewJob, Queue, store::sqlite::SqliteStore};
use jiff::Timestamp;
use salesforce_client::testing::{Fault, FaultEffect};

use crate::{load::event, memory::status, setting::Setting};

const MIB: u64 = 1 << 20;
/// What SQLite, the allocator and the connections may take, however much is queued.
const ROOM: u64 = 24 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_queued_events_take_no_memory() {
    queued(50_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; run it by its name"]
async fn a_million_queued_events_take_no_memory() {
    queued(1_000_000).await;
}

async fn queued(events: usize) {
    let only_tasks = |it: String| {
        it.replace("attach = [\"opportunity\", \"account\"]\n", "")
            .replace("advance_stage = \"Negotiation/Review\"\n", "")
            .replace("[worker]\n", "calls = { max_attempts = 1 }\n[worker]\n")
    };
    let setting = Setting::with(only_tasks, true).await;
    let mut server = setting.serve_until_ready().await;
    let idle = status(&server, "VmRSS:");
    server.kill().await.unwrap();

    let store = SqliteStore::open(setting.home.path().join("bridge.db")).unwrap();
    for first in (0..events).step_by(1_000) {
        let jobs = first..events.min(first + 1_000);
        let jobs = jobs.map(|number| NewJob {
            dedupe: format!("box:event-{number}"),
            key: format!("box-file/{}", 700_000 + number),
            kind: BOX_WEBHOOK.to_owned(),
            body: event(&setting.folder, number).into(),
        });
        store.push(jobs.collect(), Timestamp::now()).await.unwrap();
    }
    store.close().await;

    // A far side that fails makes the worker go through the inbox and leave everything in it.
    let failing = Fault::on("*/sobjects/Task", FaultEffect::RowLock).times(u32::MAX);
    setting.crm.inject(failing);
    let server = setting.serve_until_ready().await;
    setting
        .until("many attempts", async || setting.crm.requests().len() > 300)
        .await;
    let delivery = setting
        .content
        .sign(event(&setting.folder, events), Timestamp::now());
    let mut request = reqwest::Client::new()
        .post(format!("{}/webhooks/box", setting.url))
        .body(delivery.body);
    for (name, value) in delivery.headers {
        request = request.header(name, value);
    }
    assert_eq!(request.send().await.unwrap().status(), 200);
    setting.crm.clear_faults();
    setting
        .until("many events to be done", async || {
            setting.crm.records("Task").len() > 300
        })
        .await;
    let grown = status(&server, "VmHWM:").saturating_sub(idle);
    eprintln!(
        "{events} events queued: {:.1} MiB above idle",
        grown as f64 / MIB as f64
    );
    assert!(grown <= ROOM, "{} MiB above idle", grown / MIB);
}
