//! `serve`: the receiver and the worker on one store, until they are told to stop.

use std::{path::Path, sync::Arc, time::Duration};

use axum::Router;
use bridge::{Handler, Queue, Receiver, Retention, Worker, watch::Watched};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, sync::watch};
use tracing::{info, warn};

use crate::{
    Failure, api, build, config::Config, in_one_line, numbers, ready, secrets, store::Store,
    watch as watching,
};

/// So many rows go in one transaction, so that deliveries never wait long for tidying up.
const TIDY_AT_ONCE: usize = 500;

pub(crate) async fn run(path: &Path, stop_with_stdin: bool) -> Result<(), Failure> {
    let config = Config::read(path)?;
    let secrets = secrets::open(&config).await?;
    let gathered = numbers::gather()?;
    let parts = build::parts(&config, secrets.as_ref())?;
    let api_token = api::token(&config)?;
    let (store, _at_work) = Store::open_to_work(&config).await?;
    let listener = TcpListener::bind(config.server.listen)
        .await
        .map_err(|error| {
            Failure::Setup(vec![format!(
                "server.listen {}: {error}",
                config.server.listen
            )])
        })?;
    let address = listener.local_addr().map_err(Failure::run)?;

    let budget = parts.budget.clone();
    budget.share_in(&store);
    let policy = config.worker.after_dead.into();
    store
        .queue
        .set_after_dead(policy)
        .await
        .map_err(Failure::run)?;
    let queue: Arc<dyn Queue> = store.queue.clone();
    // Before anything could call a side that an operator has paused.
    let pauses = queue.pauses().await.map_err(Failure::run)?;
    let receiver = Receiver::new(parts.verifier.clone(), Arc::clone(&queue))
        .clock(Arc::clone(&store.clock))
        .body_limit(config.webhook.body_limit)
        .body_timeout(config.server.idle_timeout.0)
        .store_within(config.webhook.store_within.0);
    let watch = watching::watch(&config, &parts.content, &parts.circuits, &store).map(Arc::new);
    let commands = api::routes(&config, api_token, &store, &parts);
    let outbound = parts.sources.route(&config, &store);
    let outbound = outbound.map_err(|problem| Failure::Setup(vec![problem]))?;
    let sources = parts.sources.running(&config, &store, &parts.rules);
    let pipeline = build::pipeline(&config, parts, &store);
    pipeline.obey(pauses);
    let router = bridge::axum::route(&config.webhook.path, receiver)
        .merge(ready::routes(
            &store,
            &budget,
            pipeline.circuits(),
            watch.clone(),
        ))
        .merge(numbers::routes(gathered.clone(), &store))
        .merge(commands)
        .merge(outbound);
    let name = format!("bridge-server/{}/{}", host(), std::process::id());
    let handler = Watched::new(pipeline, watch.clone());
    let worker = Worker::new(queue, handler, name)
        .options(build::worker_options(&config))
        .clock(Arc::clone(&store.clock));

    let (stop, stopped) = watch::channel(false);
    let until = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is a reason to stop too.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    tokio::spawn(async move {
        tokio::select! {
            () = told_to_stop() => {}
            () = stdin_ends(), if stop_with_stdin => {}
        }
        info!("told to stop");
        stop.send_replace(true);
    });
    info!("listening on http://{address}{}", config.webhook.path);
    tokio::join!(
        worker.run(until(stopped.clone())),
        serve(listener, router, &config, until(stopped.clone())),
        budget.watch(&store, until(stopped.clone())),
        numbers::take_in(gathered, until(stopped.clone())),
        tidy(&store, &config, until(stopped.clone())),
        sources.run(|| until(stopped.clone())),
        async {
            if let Some(watch) = &watch {
                watch.run(until(stopped.clone())).await;
            }
        },
    );
    store.close().await;
    info!("stopped");
    Ok(())
}

/// Workers of one database are told apart by it.
fn host() -> String {
    let host = std::env::var("HOSTNAME").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    host.map_or_else(|_| "localhost".to_owned(), |host| host.trim().to_owned())
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
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            () = &mut stop => break,
            (place, accepted) = next => match accepted {
                Ok((stream, _)) => (place, stream),
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

async fn tidy(store: &Store, config: &Config, stop: impl Future<Output = ()>) {
    let mut retention = Retention::default();
    retention.done = config.store.keep_done.0;
    retention.effects = config.store.keep_effects.0;
    let mut stop = std::pin::pin!(stop);
    let mut is_unfinished;
    loop {
        let (queue, ledger) = (&*store.queue, &*store.ledger);
        match bridge::tidy(queue, ledger, &retention, store.clock.now(), TIDY_AT_ONCE).await {
            Ok(tidied) => is_unfinished = tidied.is_unfinished,
            Err(error) => {
                is_unfinished = false;
                warn!(
                    error = in_one_line(&error),
                    "old events could not be forgotten"
                );
            }
        }
        let pause = match is_unfinished {
            true => Duration::ZERO,
            false => config.store.tidy_every.0,
        };
        // First whether to stop: after a storm there is much to forget.
        tokio::select! {
            biased;
            () = &mut stop => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn stdin_ends() {
    let mut nowhere = tokio::io::sink();
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut nowhere).await;
}

pub(crate) async fn told_to_stop() {
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
