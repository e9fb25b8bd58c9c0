//! The two listeners, and each request's way through faults to its answer.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
    time::sleep,
};

use super::{
    answer::{Answer, Refused},
    builder::Config,
    control, deliver, event_log,
    fault::{FaultEffect, Faults},
    handle::FakeBox,
    head::{Head, Host},
    record::Recorder,
    reply::{Harm, Reply, response},
    route,
    state::State,
    upload::{Received, Seen},
};

/// How long to wait when a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the handles and the server's tasks share.
pub(super) struct Inner {
    pub(super) config: Arc<Config>,
    pub(super) urls: [String; 2],
    pub(super) faults: Faults,
    pub(super) recorder: Recorder,
    /// Wakes the sender of deliveries.
    pub(super) outbox: Notify,
    /// Changes whenever a delivery has come to its end.
    pub(super) settled: watch::Sender<()>,
    /// The end of the event log.
    pub(super) logged: watch::Sender<u64>,
    #[cfg(feature = "openapi")]
    pub(super) violations: super::openapi::Violations,
    state: Mutex<State>,
    /// Closes when the fake stops.
    stop: watch::Receiver<bool>,
}

/// The connection is to be closed without an answer.
#[derive(Debug)]
struct Dropped;

pub(super) async fn start(config: Config) -> io::Result<FakeBox> {
    let api = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, config.port))).await?;
    let download = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let config = Arc::new(config);
    let (alive, stop) = watch::channel(false);
    let inner = Arc::new(Inner {
        urls: [
            format!("http://{}", api.local_addr()?),
            format!("http://{}", download.local_addr()?),
        ],
        faults: Faults::default(),
        recorder: Recorder::default(),
        outbox: Notify::new(),
        settled: watch::Sender::new(()),
        logged: watch::Sender::new(0),
        #[cfg(feature = "openapi")]
        violations: super::openapi::Violations::new(config.spec.clone()),
        state: Mutex::new(State::new(Arc::clone(&config))),
        stop: stop.clone(),
        config,
    });
    for (listener, host) in [(api, Host::Api), (download, Host::Download)] {
        tokio::spawn(until(
            stop.clone(),
            accept(Arc::clone(&inner), listener, host),
        ));
    }
    tokio::spawn(until(stop, deliver::run(Arc::clone(&inner))));
    Ok(FakeBox::new(inner, alive))
}

impl Inner {
    /// Looks at or changes the state, and has raised events sent.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        let end = state.log.end();
        self.logged
            .send_if_modified(|known| std::mem::replace(known, end) != end);
        if !state.events.outbox.is_empty() {
            self.outbox.notify_one();
        }
        result
    }

    fn answer(&self, head: &Head, body: &Received) -> Answer {
        #[cfg(feature = "openapi")]
        let allowed = self.violations.check(head, body);
        #[cfg(not(feature = "openapi"))]
        let allowed: Result<(), Refused> = Ok(());
        let [url, download_url] = &self.urls;
        self.with(|state| {
            let outcome =
                allowed.and_then(|()| route::answer(state, head, body, [url, download_url]));
            let answer = match outcome {
                Ok(answer) => answer,
                Err(refused) => refused.answer(&state.ids.request_id()),
            };
            // Box's two ids of one request differ.
            answer.header("box-request-id", state.ids.request_id())
        })
    }

    fn fail(&self, status: u16, code: &str, message: &str) -> Answer {
        let refused = Refused::new(status, code, message);
        self.with(|state| refused.answer(&state.ids.request_id()))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

/// Ends the work when the last handle is gone or says stop.
async fn until(mut stop: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        _ = stop.wait_for(|stopped| *stopped) => {}
        () = work => {}
    }
}

async fn accept(inner: Arc<Inner>, listener: TcpListener, host: Host) {
    // Dropped with this future, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(Arc::clone(&inner), stream, host));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(inner: Arc<Inner>, stream: TcpStream, host: Host) {
    // Small answers would otherwise wait for the client's acknowledgement. Without it they do.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| serve(Arc::clone(&inner), host, request));
    // A connection that breaks, which faults make it do, is the client's matter.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn serve(
    inner: Arc<Inner>,
    host: Host,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Dropped> {
    let (parts, body) = request.into_parts();
    let head = Head::new(host, parts);
    if host == Host::Api && head.path.starts_with("/_fake/") {
        let mut seen = Seen::default();
        let body = Received::read(&head, body, &inner.config, &mut seen).await?;
        let answer = control::answer(&inner, &head, &body).await;
        return response(answer, Harm::default()).ok_or(Dropped);
    }
    let number = inner.recorder.arrived(&head);
    let fault = inner.faults.take(&head.method, &head.path);
    if fault == Some(FaultEffect::Reset) {
        return Err(Dropped);
    }
    let mut seen = Seen::default();
    let body = Received::read(&head, body, &inner.config, &mut seen).await;
    inner.recorder.update(number, |request| {
        request.body = seen.start;
        request.content_length = seen.length;
    });
    if fault.is_none() && head.path.starts_with("/realtime/") {
        event_log::wait(&inner, &head).await;
    }
    let (answer, harm) = faulty(&inner, head, body?, fault).await?;
    inner
        .recorder
        .update(number, |request| request.status = Some(answer.status));
    response(answer, harm).ok_or(Dropped)
}

/// The answer as the fault would have it, or none at all.
async fn faulty(
    inner: &Arc<Inner>,
    head: Head,
    body: Received,
    fault: Option<FaultEffect>,
) -> Result<(Answer, Harm), Dropped> {
    let mut harm = Harm::default();
    let answer = match fault {
        None => inner.answer(&head, &body),
        Some(FaultEffect::Status {
            status,
            headers,
            body,
        }) => {
            let answer = Answer::text(status, body);
            headers.iter().fold(answer, |answer, (name, value)| {
                answer.header(name, value.as_str())
            })
        }
        Some(FaultEffect::Delay { millis }) => {
            let answer = inner.answer(&head, &body);
            sleep(Duration::from_millis(millis)).await;
            answer
        }
        Some(FaultEffect::DelayBefore { millis }) => {
            sleep(Duration::from_millis(millis)).await;
            inner.answer(&head, &body)
        }
        Some(FaultEffect::Reset) => return Err(Dropped),
        Some(FaultEffect::LostAnswer) => {
            inner.answer(&head, &body);
            return Err(Dropped);
        }
        Some(FaultEffect::LostAnswerLate { millis }) => {
            let late = Arc::clone(inner);
            tokio::spawn(until(inner.stop.clone(), async move {
                sleep(Duration::from_millis(millis)).await;
                late.answer(&head, &body);
            }));
            return Err(Dropped);
        }
        Some(FaultEffect::TruncateBody { after }) => {
            harm.break_after = Some(after);
            inner.answer(&head, &body)
        }
        Some(FaultEffect::CorruptBody { at }) => {
            harm.flip = Some(at);
            inner.answer(&head, &body)
        }
        Some(FaultEffect::RateLimit { retry_after }) => {
            let message = "Request rate limit exceeded, please try again later";
            let answer = inner.fail(429, "rate_limit_exceeded", message);
            match retry_after {
                Some(wait) => answer.header("retry-after", wait),
                None => answer,
            }
        }
        Some(FaultEffect::ExpireSession) => {
            if let Some(token) = head.bearer() {
                inner.with(|state| state.kill(token));
            }
            Refused::invalid_token().answer("")
        }
        Some(FaultEffect::NotReady { retry_after }) => {
            let answer = Answer::empty(202);
            match retry_after {
                Some(seconds) => answer.header("retry-after", seconds.to_string()),
                None => answer,
            }
        }
    };
    Ok((answer, harm))
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed without an answer")
    }
}

impl std::error::Error for Dropped {}

/// A body that does not arrive whole leaves nobody to answer.
impl From<io::Error> for Dropped {
    fn from(_: io::Error) -> Self {
        Self
    }
}
