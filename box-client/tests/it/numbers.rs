//! What feature `metrics` counts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use box_client::{
    FileId,
    testing::{Fault, FaultEffect},
};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use crate::boxed::{Boxed, PART, bytes, root};
use crate::vendor::{Vendor, error, file, reply, status};

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

#[derive(Clone, Debug, Default)]
struct Book(Counts);

struct Line {
    name: String,
    counts: Counts,
}

impl Book {
    fn line(&self, key: &Key) -> Arc<Line> {
        let labels: Vec<_> = key
            .labels()
            .map(|it| format!("{}={}", it.key(), it.value()))
            .collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Arc::new(Line {
            name,
            counts: Arc::clone(&self.0),
        })
    }
}

impl Line {
    fn add(&self, value: u64) {
        *self
            .counts
            .lock()
            .unwrap()
            .entry(self.name.clone())
            .or_default() += value;
    }
}

impl CounterFn for Line {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, _: u64) {}
}

impl HistogramFn for Line {
    fn record(&self, _: f64) {
        self.add(1);
    }
}

impl Recorder for Book {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.line(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.line(key))
    }
}

#[tokio::test]
async fn calls_retries_throttles_and_durations_are_counted_by_operation() {
    let book = Book::default();
    let guard = metrics::set_default_local_recorder(&book);
    let vendor = Vendor::start().await;
    let limited = error(429, "rate_limit_exceeded");
    let answers = [
        status(503),
        limited,
        reply(200, file()),
        error(404, "not_found"),
    ];
    vendor.answers("GET", "/2.0/files/777", answers).await;
    let (client, id) = (vendor.client(), FileId::new("777").unwrap());
    client.files().get(&id).send().await.unwrap();
    client.files().get(&id).send().await.unwrap_err();
    drop(guard);
    let counts = book.0.lock().unwrap().clone();
    let expected = [
        (
            "box_client_call_duration_seconds operation=files.get outcome=not found",
            1,
        ),
        (
            "box_client_call_duration_seconds operation=files.get outcome=ok",
            1,
        ),
        (
            "box_client_calls_total operation=files.get outcome=not found",
            1,
        ),
        ("box_client_calls_total operation=files.get outcome=ok", 1),
        ("box_client_retries_total operation=files.get", 2),
        ("box_client_throttles_total operation=files.get", 1),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counts, BTreeMap::from(expected));
    vendor.done().await;
}

#[tokio::test]
async fn uploads_are_counted_like_other_calls() {
    let boxed = Boxed::start().await;
    let limit = || FaultEffect::RateLimit { retry_after: None };
    boxed
        .fake
        .inject(Fault::on("/api/2.0/files/content", limit()));
    boxed
        .fake
        .inject(Fault::on("/api/2.0/files/upload_sessions/*", limit()).method("PUT"));
    let book = Book::default();
    let guard = metrics::set_default_local_recorder(&book);
    for (name, chunked_from) in [("one", u64::MAX), ("parts", 0)] {
        let upload = boxed.client.files().upload(&root(), name, bytes(2 * PART));
        let upload = upload.chunked_from(chunked_from).parallel(1);
        upload.send().await.unwrap();
    }
    drop(guard);
    let mut counts = book.0.lock().unwrap().clone();
    counts.retain(|name, _| !name.contains("operation=token"));
    let expected = [
        ("files.upload", 1, 1),
        ("upload_sessions.create", 1, 0),
        ("upload_sessions.part", 2, 1),
        ("upload_sessions.commit", 1, 0),
    ];
    let expected = expected
        .into_iter()
        .flat_map(|(operation, calls, refused)| {
            let line = |name: &str, rest| format!("box_client_{name} operation={operation}{rest}");
            [
                (line("calls_total", " outcome=ok"), calls),
                (line("call_duration_seconds", " outcome=ok"), calls),
                (line("retries_total", ""), refused),
                (line("throttles_total", ""), refused),
            ]
        });
    let expected: BTreeMap<_, _> = expected.filter(|(_, count)| *count > 0).collect();
    assert_eq!(counts, expected);
    boxed.done();
}
