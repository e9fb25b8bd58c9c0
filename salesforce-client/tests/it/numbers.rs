//! What metrics tell of calls.
#![cfg(feature = "metrics")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use salesforce_client::{
    ClientCredentials, ErrorKind, SalesforceClient,
    testing::{FakeSalesforce, Fault, FaultEffect},
};

use crate::{org, support::quick};

/// Keeps counters by their name and labels.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, u64>>>);

struct One(Kept, String);

impl Kept {
    fn one(&self, key: &Key) -> One {
        let labels: Vec<&str> = key.labels().map(|label| label.value()).collect();
        One(self.clone(), format!("{} {}", key.name(), labels.join(" ")))
    }
}

impl Kept {
    fn during(&self, work: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        metrics::with_local_recorder(self, || runtime.block_on(work));
    }
}

impl HistogramFn for One {
    fn record(&self, _: f64) {
        self.increment(1);
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }

    fn absolute(&self, value: u64) {
        self.0.0.lock().unwrap().insert(self.1.clone(), value);
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(self.one(key)))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(self.one(key)))
    }
}

/// What is counted meanwhile.
fn counted(work: impl Future<Output = ()>) -> impl Fn(&str) -> u64 {
    let kept = Kept::default();
    kept.during(work);
    move |name| kept.0.lock().unwrap().get(name).copied().unwrap_or(0)
}

/// Names and labels of all that is counted meanwhile.
pub(crate) fn names_of(work: impl Future<Output = ()>) -> Vec<String> {
    let kept = Kept::default();
    kept.during(work);
    let kept = kept.0.lock().unwrap();
    kept.keys().cloned().collect()
}

#[test]
fn calls_are_counted_by_what_they_were_and_what_became_of_them() {
    let count = counted(async {
        let (org, client) = org::start().await;
        org.inject(Fault::on("*/limits", FaultEffect::RowLock));
        client.limits().await.unwrap();
        client.sobject("Nothing").describe().await.unwrap_err();
    });
    assert_eq!(count("salesforce_client_calls_total limits ok"), 1);
    assert_eq!(
        count("salesforce_client_call_duration_seconds limits ok"),
        1
    );
    assert_eq!(count("salesforce_client_retries_total limits"), 1);
    assert_eq!(
        count("salesforce_client_calls_total sobjects.describe not_found"),
        1
    );
    assert_eq!(count("salesforce_client_throttles_total limits"), 0);
}

#[test]
fn uploads_are_counted_like_all_calls() {
    let count = counted(async {
        let builder = FakeSalesforce::builder().client("app", "secret");
        let org = builder.start().await.unwrap();
        let tokens = ClientCredentials::new("app", "secret");
        let client = SalesforceClient::builder(tokens).login_url(org.url());
        let client = client.retry(quick()).build().unwrap();
        let path = "*/sobjects/ContentVersion";
        org.inject(Fault::on(path, FaultEffect::ConcurrentLimit));
        let open = || async { Ok::<_, std::io::Error>(stream::iter([Ok(Bytes::from("abc"))])) };
        let upload = client.files().upload("a.txt");
        upload.send_with(open, 3).await.unwrap();
        org.inject(Fault::on(path, FaultEffect::DailyLimit));
        let content = stream::iter([Ok::<_, std::io::Error>(Bytes::from("abc"))]);
        let upload = client.files().upload("a.txt");
        upload.send(content, 3).await.unwrap_err();

        org.inject(Fault::on("*/batches", FaultEffect::ExpireSession));
        for outcome in [Ok(()), Err(ErrorKind::DailyLimit)] {
            if outcome.is_err() {
                org.inject(Fault::on("*/batches", FaultEffect::DailyLimit));
            }
            let rows = stream::iter([Ok::<_, std::io::Error>(("Acme",))]);
            let insert = client.bulk().insert("Account").columns(["Name"]);
            let jobs: Result<Vec<_>, _> = insert.rows(rows).try_collect().await;
            assert_eq!(jobs.map(drop).map_err(|error| error.kind()), outcome);
        }
    });
    for (name, expected) in [
        ("calls_total files.upload ok", 1),
        ("calls_total files.upload daily_limit", 1),
        ("call_duration_seconds files.upload ok", 1),
        ("retries_total files.upload", 1),
        ("throttles_total files.upload", 2),
        ("calls_total bulk.upload ok", 1),
        ("calls_total bulk.upload daily_limit", 1),
        ("retries_total bulk.upload", 1),
        ("throttles_total bulk.upload", 1),
    ] {
        let name = format!("salesforce_client_{name}");
        assert_eq!(count(&name), expected, "{name}");
    }
}

#[cfg(feature = "pubsub")]
#[test]
fn events_are_counted_once_and_broken_connections_by_what_broke_them() {
    use salesforce_client::{
        pubsub::{Delivery, Replay},
        testing::{StreamEnd, StreamFault},
    };
    let count = counted(async {
        let builder = FakeSalesforce::builder().capture_changes(["Account"]);
        let org = builder.start().await.unwrap();
        for name in ["a", "b", "c"] {
            org::account(&org, name);
        }
        let closes = StreamFault::after(2, StreamEnd::Close);
        org.inject_stream_fault(closes.clone());
        // Both of them come once more.
        org.inject_stream_fault(closes.again(2));
        let pubsub = org::builder_of(&org).build().unwrap().pubsub();
        let pubsub = pubsub.endpoint(org.pubsub_url()).build().unwrap();
        let topic = pubsub.subscribe("/data/AccountChangeEvent");
        let mut stream = std::pin::pin!(topic.replay(Replay::Earliest).stream());
        for _ in 0..3 {
            let delivery = stream.try_next().await.unwrap().unwrap();
            assert!(matches!(delivery, Delivery::Event(_)), "{delivery:?}");
        }
    });
    let topic = "/data/AccountChangeEvent";
    assert_eq!(count(&format!("salesforce_client_events_total {topic}")), 3);
    let disconnects = format!("salesforce_client_disconnects_total {topic} server");
    assert_eq!(count(&disconnects), 2);
}
