//! `serve`: the receiver and the worker on one store, until they are told to stop.

use std::{path::Path, sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use bridge::{QueueAdmin, Receiver, Worker, store::sqlite::SqliteStore};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use jiff::Timestamp;
use tokio::{net::TcpListener, sync::Semaphore, sync::watch};
use tracing::{info, warn};

use crate::{Failure, build, config::Config, in_one_line};

const TIDY_EVERY: Duration = Duration::from_secs(600);
/// So many rows go in one transaction, so that deliveries never wait long for tidying up.
const TIDY_AT_ONCE: usize = 500;

pub(crate) async fn run(path: &Path) -> Result<(), Failure> {
    let config = Config::read(path)?;
    let parts = build::parts(&config)?;
    let store = SqliteStore::open(config.store_path()).map_err(Failure::run)?;
    let _sole = store.sole_worker().map_err(Failure::run)?;
    // Whatever is leased was left behind by a process that has died.
    let released = store
        .release(None, Timestamp::now())
        .await
        .map_err(Failure::run)?;
    if released > 0 {
        info!(released, "events of an earlier run are taken up again");
    }
    let listener = TcpListener::bind(config.server.listen)
        .await
        .map_err(|error| {
            Failure::Setup(vec![format!(
                "server.listen {}: {error}",
                config.server.listen
            )])
        })?;
    let address = listener.local_addr().map_err(Failure::run)?;

    let receiver = Receiver::new(parts.verifier.clone(), Arc::new(store.clone()))
        .body_limit(config.webhook.body_limit)
        .body_timeout(config.server.idle_timeout.0);
    let router = bridge::axum::route(&config.webhook.path, receiver).merge(
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .with_state(store.clone()),
    );
    let worker = Worker::new(
        Arc::new(store.clone()),
        build::pipeline(&config, parts, &store),
        format!("bridge-server/{}", std::process::id()),
    )
    .options(build::worker_options(&config));

    let (stop, stopped) = watch::channel(false);
    let until = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is a reason to stop too.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    tokio::spawn(async move {
        told_to_stop().await;
        info!("told to stop");
        stop.send_replace(true);
    });
    info!("listening on http://{address}{}", config.webhook.path);
    tokio::join!(
        worker.run(until(stopped.clone())),
        serve(listener, router, &config, until(stopped.clone())),
        tidy(&store, config.store.keep_done.0, until(stopped)),
    );
    info!("stopped");
    Ok(())
}

async fn ready(State(store): State<SqliteStore>) -> (StatusCode, String) {
    match store.counts().await {
        Ok(counts) => (
            StatusCode::OK,
            format!("ready {}, dead {}\n", counts.ready, counts.dead),
        ),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the store does not answer\n".to_owned(),
        ),
    }
}

/// Takes connections, so many at a time, and gives none of them longer than the idle timeout to
/// send the head of a request.
async fn serve(
    listener: TcpListener,
    router: Router,
    config: &Config,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(config.server.max_connections));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            break;
        };
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file handles, most likely: others will be closed soon.
                    warn!(%error, "no connection could be taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(config.server.idle_timeout.0)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is its own business.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(config.worker.grace.0, graceful.shutdown())
        .await
        .is_err()
    {
        warn!("some connections were still open");
    }
}

async fn tidy(store: &SqliteStore, keep: Duration, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    loop {
        let before = Timestamp::now().checked_sub(keep).unwrap_or(Timestamp::MIN);
        match store.purge(before, TIDY_AT_ONCE).await {
            Ok(purged) if purged == TIDY_AT_ONCE as u64 => {
                tokio::task::yield_now().await;
                continue;
            }
            Ok(_) => {}
            Err(error) => warn!(
                error = in_one_line(&error),
                "old events could not be forgotten"
            ),
        }
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(TIDY_EVERY) => {}
        }
    }
}

async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = tokio::signal::ctrl_c() => return,
            }
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
