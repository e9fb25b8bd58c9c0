use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::admission::{Admitted, admit};
use super::control;
use super::fault::FaultEffect;
use super::log::RecordedRequest;
use super::reply::{Aborted, Reply, ReplyBody};
use super::state::Shared;
use super::upload::{Plan, receive};

const CONNECTIONS_AT_MOST: usize = 1024;

/// Serves until the handles are gone or one of them says stop.
pub(super) async fn run(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            accepted = listener.accept(), if connections.len() < CONNECTIONS_AT_MOST => {
                match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(stream, Arc::clone(&shared)));
                    }
                    // Out of file handles, most likely: connections that end give some back.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Path segments, decoded; a slash at the end makes no difference.
pub(super) fn decoded_path(path: &str) -> Vec<String> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Vec::new();
    }
    path.split('/')
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect()
}

/// Names and values of a query or a form.
pub(super) fn decoded_query(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Without it small answers wait for the acknowledgement of the ones before.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| serve(Arc::clone(&shared), request));
    let io = TokioIo::new(stream);
    // Its error is a connection that was dropped, by the peer or on purpose.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(io, service)
        .await;
}

async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Aborted> {
    let (head, body) = request.into_parts();
    if head.uri.path().starts_with("/_fake/") {
        let received = receive(body, &head.headers, Plan::Buffer, None).await?;
        return Ok(control::answer(&shared, &head, received).send(None));
    }
    let effect = shared
        .lock()
        .faults
        .take(head.method.as_str(), head.uri.path());
    let query = decoded_query(head.uri.query().unwrap_or_default());
    let mut entry = RecordedRequest::new(&head, query.clone());
    if matches!(effect, Some(FaultEffect::Reset)) {
        shared.lock().log.push(entry);
        return Err(Aborted);
    }
    let admitted = admit(&shared, &head, query, effect.as_ref(), Timestamp::now());
    let plan = plan(&shared, &head, &admitted);
    let reset_after = match effect {
        Some(FaultEffect::ResetBody { after }) => Some(after),
        _ => None,
    };
    let received = receive(body, &head.headers, plan, reset_after).await;
    let Ok(received) = received else {
        shared.lock().log.push(entry);
        return Err(Aborted);
    };
    entry.body = String::from_utf8_lossy(&received.start).into_owned();
    entry.content_length = received.length;
    let number = shared.lock().log.push(entry);
    let worker = Arc::clone(&shared);
    // Not bound to the connection: a caller that hangs up does not undo a write.
    let perform = move || admitted.perform(&worker, received.body);
    let mut reply = match effect {
        Some(FaultEffect::LostAnswerLate { millis }) => {
            after(millis, perform);
            return Err(Aborted);
        }
        Some(FaultEffect::DelayBefore { millis }) => {
            after(millis, perform).await.map_err(|_| Aborted)?
        }
        _ => perform(),
    };
    let mut truncate_after = None;
    match effect {
        Some(FaultEffect::LostAnswer) => return Err(Aborted),
        Some(FaultEffect::Delay { millis }) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        Some(FaultEffect::TruncateBody { after }) => truncate_after = Some(after),
        Some(FaultEffect::CorruptBody { at }) => reply.corrupt(at),
        _ => {}
    }
    shared.lock().log.answered(number, reply.status);
    Ok(reply.send(truncate_after))
}

fn after(
    millis: u64,
    perform: impl FnOnce() -> Reply + Send + 'static,
) -> tokio::task::JoinHandle<Reply> {
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        perform()
    })
}

fn plan(shared: &Shared, head: &Parts, admitted: &Admitted) -> Plan {
    let writes = head.method == Method::POST || head.method == Method::PATCH;
    match admitted {
        Admitted::Settled { .. } => Plan::Discard,
        Admitted::Rest(call) if writes && names_version(&call.path) => Plan::Version {
            keep: shared.config.keep_bytes,
            accept_chunked: shared.config.accept_chunked,
            is_user_interface: call.path[0] == "ui-api",
        },
        Admitted::Rest(call) if takes_csv(&call.path) => Plan::Csv,
        #[cfg(feature = "bulk-v1")]
        Admitted::Async(_) => Plan::Buffer,
        Admitted::Rest(_) | Admitted::OAuth(_) => Plan::Buffer,
    }
}

fn takes_csv(path: &[String]) -> bool {
    matches!(path, [jobs, ingest, _, batches]
        if jobs == "jobs" && ingest == "ingest" && batches == "batches")
}

fn names_version(path: &[String]) -> bool {
    matches!(path, [sobjects, object, ..]
        if sobjects == "sobjects" && object.eq_ignore_ascii_case("ContentVersion"))
        || matches!(path, [first, .., last] if first == "ui-api" && last == "content-versions")
}
