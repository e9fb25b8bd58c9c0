//! Far more events than the org has calls for: ten for each.
//!
//! `STORM_EVENTS=50000 cargo test -p bridge-examples --test it storm -- --nocapture` is the storm in
//! its full size, with 5,000 calls a day. On a machine with two cores, not optimised: accepted
//! within 7 s, all done on the second day, after 61 s.

use std::{collections::BTreeSet, env};

use futures_util::{StreamExt, stream};
use tokio::time::{Duration, Instant, sleep};

use crate::{load::event, setting::Setting};

/// A tenth of what `STORM_EVENTS=50000` tries in full, in all its numbers.
const EVENTS: usize = 5_000;
/// Nobody else uses the org: what is used, the bridge has used.
const RESERVE: f64 = 0.05;
/// One file is attached for so many events.
const EVENTS_A_FILE: usize = 20;
/// Longer than it takes to see that the calls are used up.
const PAUSE: Duration = Duration::from_secs(12);

fn rules(configuration: String) -> String {
    let pause = PAUSE.as_secs();
    let budget = format!("budget = {{ reserve = {RESERVE}, pause = \"{pause}s\" }}");
    let configuration = configuration.replace("budget = { pause = \"300ms\" }", &budget);
    let (before, _) = configuration.split_once("[[rules]]").unwrap();
    let rules = r#"
[[rules]]
name = "contracts"
triggers = ["FILE.UPLOADED"]
file = "*.pdf"
attach = ["opportunity", "account"]
[[rules]]
name = "everything"
triggers = ["FILE.UPLOADED"]
log_task = { subject = "{file.name} came" }
"#;
    format!("{before}{rules}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_spends_the_calls_down_to_the_reserve_and_goes_on_the_next_day() {
    let events = env::var("STORM_EVENTS").map_or(EVENTS, |it| it.parse().unwrap());
    let (files, limit) = (events / EVENTS_A_FILE, events as u64 / 10);
    let ours = limit - (limit as f64 * RESERVE) as u64;
    let setting = Setting::with(rules, false).await;
    setting.crm.set_calls(0, limit);
    let _server = setting.serve_until_ready().await;

    let began = Instant::now();
    for number in 0..files {
        let name = format!("{number}.pdf");
        setting
            .content
            .upload(&setting.folder, &name, "%PDF-1.7")
            .unwrap();
    }
    post(&setting, 0..events - files).await;
    setting
        .until("all events to be accepted", async || {
            setting.readiness().await.waiting + setting.done().await >= events
        })
        .await;
    eprintln!("{events} events accepted in {:.1?}", began.elapsed());

    let mut days = 1;
    loop {
        let mut seen = setting.readiness().await;
        while seen.waiting > 0 && seen.line.is_none() {
            sleep(Duration::from_millis(200)).await;
            seen = setting.readiness().await;
        }
        let used = setting.crm.calls();
        let refused = setting.crm.requests();
        assert!(
            refused.iter().all(|it| it.status != Some(403)),
            "locked out"
        );
        assert!(used <= ours, "{used} of {limit} used, {ours} are ours");
        let Some(line) = seen.line else {
            break;
        };
        if !line.contains("kept for others") {
            sleep(Duration::from_millis(200)).await;
            continue;
        }
        eprintln!("day {days}, {:.1?}: {line}", began.elapsed());
        // The calls of a group that was under way may be left, and no more.
        assert!(used + 12 > ours, "{used} of {ours} used");
        if days == 1 {
            let says = "kept for others until";
            setting
                .until("the log and the list to say so", async || {
                    let told = setting.said_by_queue_list().await;
                    told.contains(says) && setting.log().contains(says)
                })
                .await;
        }
        // It goes on accepting.
        post(&setting, events - files + days..events - files + days + 1).await;
        days += 1;
        assert!(days < 9, "the days bring too little");
        setting.crm.set_calls(0, limit);
        setting
            .until("calls to be made again", async || setting.crm.calls() > 0)
            .await;
        // What was told of the day before is told for two seconds more.
        sleep(Duration::from_secs(3)).await;
    }
    let all = events + days - 1;
    setting.wait_done(all).await;
    eprintln!("all done on day {days}, after {:.1?}", began.elapsed());
    setting.assert_a_task_for_each_event(all);
    let stored = setting.crm.files();
    assert_eq!(stored.len(), files);
    for file in stored {
        assert_eq!(file.versions.len(), 1);
        let records: BTreeSet<_> = file.links.iter().map(|it| it.record.as_str()).collect();
        assert!(records.contains(&*setting.account) && records.contains(&*setting.opportunity));
    }
}

async fn post(setting: &Setting, numbers: std::ops::Range<usize>) {
    let http = reqwest::Client::new();
    let address = format!("{}/webhooks/box", setting.url);
    let deliveries = stream::iter(numbers).map(|number| {
        let body = event(&setting.folder, number).replace(".pdf", ".txt");
        let delivery = setting.content.sign(body, jiff::Timestamp::now());
        let mut request = http.post(&address).body(delivery.body);
        for (name, value) in delivery.headers {
            request = request.header(name, value);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    });
    let answers: Vec<_> = deliveries.buffer_unordered(32).collect().await;
    assert!(answers.iter().all(|status| *status == 200));
}

struct Readiness {
    waiting: usize,
    line: Option<String>,
}

impl Setting {
    async fn readiness(&self) -> Readiness {
        let answer = reqwest::get(format!("{}/readyz", self.url)).await.unwrap();
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        let (counts, line) = text.split_once('\n').unwrap();
        let waiting = counts.trim_start_matches("ready ").split(',').next();
        let line = line.trim();
        Readiness {
            waiting: waiting.unwrap().parse().unwrap(),
            line: (!line.is_empty()).then(|| line.to_owned()),
        }
    }

    async fn done(&self) -> usize {
        let done = ["list", "--state", "done", "--limit", "1000000", "--json"];
        self.queue(&done).await.len()
    }

    async fn said_by_queue_list(&self) -> String {
        let run = self
            .program()
            .args(["queue", "list", "--limit", "1"])
            .output()
            .await;
        String::from_utf8(run.unwrap().stdout).unwrap()
    }
}
