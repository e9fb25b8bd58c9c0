//! `/metrics`: the service in numbers, as Prometheus reads them.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, routing::get};
use bridge::{Clock, QueueAdmin};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{Failure, store::Store};

/// However often somebody asks, the jobs are counted no more often than this.
const COUNT_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// What histograms have gathered is taken in so often, asked or not.
const TAKE_IN_EVERY: Duration = Duration::from_secs(5);
/// From a quick call to a large file over a slow line.
const SECONDS: [f64; 13] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
];

/// Gathers what the libraries count from now on.
pub(crate) fn gather() -> Result<PrometheusHandle, Failure> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("seconds".to_owned()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(Failure::run)
}

/// Keeps what has been gathered from growing.
pub(crate) async fn take_in(numbers: PrometheusHandle, stop: impl Future<Output = ()>) {
    let for_ever = async {
        loop {
            sleep(TAKE_IN_EVERY).await;
            numbers.run_upkeep();
        }
    };
    tokio::select! {
        () = stop => {}
        () = for_ever => {}
    }
}

pub(crate) fn routes(numbers: PrometheusHandle, store: &Store) -> Router {
    let numbers = Numbers {
        numbers,
        queue: Arc::clone(&store.queue),
        clock: Arc::clone(&store.clock),
        counted_at: Arc::default(),
    };
    Router::new()
        .route("/metrics", get(answer))
        .with_state(numbers)
}

#[derive(Clone)]
struct Numbers {
    numbers: PrometheusHandle,
    queue: Arc<dyn QueueAdmin>,
    clock: Arc<dyn Clock>,
    counted_at: Arc<Mutex<Option<Instant>>>,
}

async fn answer(State(numbers): State<Numbers>) -> String {
    // The lock is the point: those who ask at the same time share one count.
    let mut counted_at = numbers.counted_at.lock().await;
    if counted_at.is_none_or(|at| at.elapsed() >= COUNT_AGAIN_AFTER)
        // Where the store does not answer, the other numbers still tell something.
        && let Ok(counts) = numbers.queue.counts().await
    {
        counts.record(numbers.clock.now());
        *counted_at = Some(Instant::now());
    }
    drop(counted_at);
    numbers.numbers.render()
}
