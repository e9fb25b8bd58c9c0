//! What metrics tell of calls.
#![cfg(feature = "metrics")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use salesforce_client::testing::{Fault, FaultEffect};

use crate::org;

/// Keeps counters by their name and labels.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, u64>>>);

struct One(Kept, String);

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
        let labels: Vec<&str> = key.labels().map(|label| label.value()).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Counter::from_arc(Arc::new(One(self.clone(), name)))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn calls_are_counted_by_what_they_were_and_what_became_of_them() {
    let kept = Kept::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&kept, || {
        runtime.block_on(async {
            let (org, client) = org::start().await;
            org.inject(Fault::on("*/limits", FaultEffect::RowLock));
            client.limits().await.unwrap();
            client.sobject("Nothing").describe().await.unwrap_err();
        });
    });
    let kept = kept.0.lock().unwrap();
    let count = |name: &str| kept.get(name).copied().unwrap_or(0);
    assert_eq!(count("salesforce_client_calls_total limits ok"), 1);
    assert_eq!(count("salesforce_client_retries_total limits"), 1);
    assert_eq!(
        count("salesforce_client_calls_total sobjects.describe not_found"),
        1
    );
}
