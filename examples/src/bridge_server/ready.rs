//! `/healthz`: the process lives. `/readyz`: its store takes writes; and whether the calls
//! of the day are enough.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use bridge::{CircuitState, Circuits, EffectKey, Side, StoreError, watch::Watch};
use serde_json::Value;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{budget::Budget, store::Store};

/// However often somebody asks, the store is tried no more often than this.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
const WRITES_WITHIN: Duration = Duration::from_secs(5);

pub(crate) fn routes(
    store: &Store,
    budget: &Budget,
    circuits: Circuits,
    watch: Option<Arc<Watch>>,
) -> Router {
    let ready = Ready {
        store: store.clone(),
        budget: budget.clone(),
        circuits,
        watch,
        last: Arc::default(),
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(answer))
        .with_state(ready)
}

#[derive(Clone)]
struct Ready {
    store: Store,
    budget: Budget,
    circuits: Circuits,
    watch: Option<Arc<Watch>>,
    last: Arc<Mutex<Option<(Instant, String)>>>,
}

async fn answer(State(ready): State<Ready>) -> (StatusCode, String) {
    // The lock is the point: those who ask at the same time share one answer.
    let mut last = ready.last.lock().await;
    if let Some((at, counts)) = &*last
        && at.elapsed() < ASK_AGAIN_AFTER
    {
        return (StatusCode::OK, counts.clone());
    }
    match timeout(WRITES_WITHIN, try_out(&ready)).await {
        Ok(Ok(counts)) => {
            *last = Some((Instant::now(), counts.clone()));
            (StatusCode::OK, counts)
        }
        _ => {
            *last = None;
            let unready = "the store takes no writes\n".to_owned();
            (StatusCode::SERVICE_UNAVAILABLE, unready)
        }
    }
}

/// A full disk still answers questions, so something is written.
async fn try_out(ready: &Ready) -> Result<String, StoreError> {
    let Ready {
        store,
        budget,
        circuits,
        watch,
        ..
    } = ready;
    let key = EffectKey::new(["readyz"]);
    let now = store.clock.now();
    store.ledger.finish(&key, Value::Null, now).await?;
    store.ledger.forget(&key).await?;
    let counts = store.queue.counts().await?;
    let mut said = format!("ready {}, dead {}", counts.ready, counts.dead);
    if store.queue.pauses().await?.all {
        said.push_str(", paused");
    }
    for (side, name) in [(Side::Content, "box"), (Side::Crm, "salesforce")] {
        match circuits.state(side) {
            CircuitState::Closed => {}
            state => said.push_str(&format!(", {name} {state}")),
        }
    }
    if let CircuitState::Open(_) | CircuitState::Probing = circuits.uploads() {
        said.push_str(", salesforce has no room for files of some size");
    }
    let hooks = watch
        .as_ref()
        .map(|watch| watch.found())
        .unwrap_or_default();
    for hook in hooks.iter().filter(|hook| !hook.state.is_well()) {
        said.push_str(&format!(
            ", the webhook of folder {} is {}",
            hook.folder, hook.state
        ));
    }
    said.push('\n');
    if let Some(line) = budget.line(store, &counts).await {
        said.push_str(&format!("{line}\n"));
    }
    Ok(said)
}
