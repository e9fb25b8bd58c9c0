use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::SecretString;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Authorization, RedirectError};

const PATH: &str = "/callback";

/// A browser opens a few; whoever opens more is none.
const CONNECTIONS: usize = 16;

/// How long a connection may take over its request, and over reading the page.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest request line and headers that are read.
const HEAD_LIMIT: usize = 32 * 1024;

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Receives one redirect on this machine, for programs that have no web server.
///
/// ```no_run
/// use std::time::Duration;
///
/// use box_client::{LoopbackRedirect, OAuth};
///
/// # async fn example(oauth: OAuth) -> Result<(), Box<dyn std::error::Error>> {
/// let redirect = LoopbackRedirect::bind(0).await?;
/// let login = oauth.authorize().redirect_uri(redirect.uri()).start()?;
/// println!("Please open {}", login.url());
/// let code = redirect.wait(&login, Duration::from_secs(300)).await?;
/// let grant = oauth.exchange(&code).await?;
/// # let _ = grant;
/// # Ok(())
/// # }
/// ```
///
/// Configure `http://127.0.0.1/callback` as a redirect URI of the application; Box lets the port
/// differ on loopback.
#[derive(Debug)]
pub struct LoopbackRedirect {
    listener: TcpListener,
    address: SocketAddr,
    host: &'static str,
    path: String,
}

type Outcome = Result<SecretString, RedirectError>;

/// What a connection is answered from, and where its outcome goes.
#[derive(Debug)]
struct Desk {
    path: String,
    login: Authorization,
    outcome: Mutex<Option<Outcome>>,
}

impl LoopbackRedirect {
    /// Listens on 127.0.0.1 and nowhere else. Port 0 takes any that is free.
    pub async fn bind(port: u16) -> Result<Self, RedirectError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.map_err(RedirectError::Listen)?;
        let address = listener.local_addr().map_err(RedirectError::Listen)?;
        Ok(Self {
            listener,
            address,
            host: "127.0.0.1",
            path: PATH.to_owned(),
        })
    }

    /// Another path than `/callback`.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.path = format!("/{}", path.trim_start_matches('/'));
        self
    }

    /// Calls this machine `localhost` in the URI, for an application that is configured so.
    #[must_use]
    pub fn localhost(mut self) -> Self {
        self.host = "localhost";
        self
    }

    /// The redirect URI to start the login with.
    pub fn uri(&self) -> String {
        format!("http://{}:{}{}", self.host, self.address.port(), self.path)
    }

    /// Waits until the browser comes back, shows the person a short page, and gives the code.
    /// The first redirect decides, also one with a wrong state: start anew then.
    pub async fn wait(
        self,
        login: &Authorization,
        patience: Duration,
    ) -> Result<SecretString, RedirectError> {
        let desk = Arc::new(Desk {
            path: self.path,
            login: login.clone(),
            outcome: Mutex::default(),
        });
        timeout(patience, serve(self.listener, &desk))
            .await
            .unwrap_or(Err(RedirectError::TimedOut))
    }
}

async fn serve(listener: TcpListener, desk: &Arc<Desk>) -> Outcome {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(desk)));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            // The page has been sent when its connection has ended.
            Some(_) = connections.join_next() => if let Some(outcome) = desk.outcome().take() {
                return outcome;
            },
        }
    }
}

async fn connection(stream: TcpStream, desk: Arc<Desk>) {
    let service = service_fn(|request| {
        let page = desk.answer(&request);
        async { Ok::<_, Infallible>(page) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks or dawdles is the browser's matter: what counts is what it asked.
    let _ = timeout(PATIENCE * 2, serving).await;
}

impl Desk {
    fn outcome(&self) -> MutexGuard<'_, Option<Outcome>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        // Browsers also ask for an icon.
        if request.uri().path() != self.path {
            return page(StatusCode::NOT_FOUND, "There is nothing here.");
        }
        if request.method() != Method::GET {
            return page(StatusCode::METHOD_NOT_ALLOWED, "There is nothing here.");
        }
        let code = self.login.code(request.uri().query().unwrap_or_default());
        let shown = match &code {
            Ok(_) => page(
                StatusCode::OK,
                "You are logged in. You can close this window.",
            ),
            Err(RedirectError::Denied { .. }) => page(
                StatusCode::OK,
                "Box did not authorize the application. You can close this window.",
            ),
            Err(_) => page(
                StatusCode::BAD_REQUEST,
                "This is not the login that was started. Please start again.",
            ),
        };
        self.outcome().get_or_insert(code);
        shown
    }
}

/// Nothing of the request is in the page, so it can carry nobody's script.
fn page(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Box login</title>\
         <p style=\"font:18px sans-serif;margin:4em auto;max-width:30em\">{text}</p></html>"
    );
    let mut response = Response::new(Full::from(html));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // The URL of the page holds the code.
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'",
        ),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
