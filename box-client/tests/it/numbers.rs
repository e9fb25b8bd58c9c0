//! What feature `metrics` counts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use box_client::FileId;
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

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
