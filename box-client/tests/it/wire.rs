//! A server below HTTP: it writes bytes and then closes, resets or says nothing more.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};
use url::Url;

use crate::desk::spec;

/// Takes one request a connection and has one turn for each.
pub(crate) struct Wire {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    pub(crate) arrived: Arc<Notify>,
    server: JoinHandle<()>,
    leads_astray: bool,
}

pub(crate) struct Turn {
    bytes: Vec<u8>,
    then: Then,
    gate: Option<Arc<Notify>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Then {
    Close,
    Reset,
    Hold,
}

impl Turn {
    pub(crate) fn new(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        Self {
            bytes: bytes.into(),
            then,
            gate: None,
        }
    }

    /// A whole answer. Its headers end in line breaks.
    pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Self {
        let length = body.len();
        Self::partial(
            status,
            &format!("{headers}content-length: {length}\r\n"),
            body,
        )
    }

    /// An answer whose headers may promise more than its body holds.
    pub(crate) fn partial(status: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\n\r\n");
        Self::new([head.as_bytes(), body].concat(), Then::Close)
    }

    pub(crate) fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// Not before this.
    pub(crate) fn after(mut self, gate: &Arc<Notify>) -> Self {
        self.gate = Some(Arc::clone(gate));
        self
    }
}

impl Wire {
    pub(crate) async fn start(turns: impl IntoIterator<Item = Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let arrived = Arc::<Notify>::default();
        let turns: Vec<_> = turns.into_iter().collect();
        let server = tokio::spawn(serve(
            listener,
            turns,
            Arc::clone(&seen),
            Arc::clone(&arrived),
        ));
        Self {
            address,
            seen,
            arrived,
            server,
            leads_astray: false,
        }
    }

    /// For answers with addresses and markers of any kind, which are followed: what comes of them
    /// is no request that Box documents.
    pub(crate) fn leading_astray(mut self) -> Self {
        self.leads_astray = true;
        self
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All requests so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// One header of each request.
    pub(crate) fn headers(&self, name: &str) -> Vec<Option<String>> {
        self.requests()
            .iter()
            .map(|request| {
                request.lines().find_map(|line| {
                    let (key, value) = line.split_once(": ")?;
                    key.eq_ignore_ascii_case(name).then(|| value.to_owned())
                })
            })
            .collect()
    }
}

/// Nobody may send what Box does not document, to a broken server neither.
impl Drop for Wire {
    fn drop(&mut self) {
        self.server.abort();
        if self.leads_astray || std::thread::panicking() {
            return;
        }
        for request in self.requests() {
            // What broke off before it was whole is no request.
            match request.split_once("\r\n\r\n") {
                Some((head, body)) if body.len() >= length(head) => {
                    assert_documented(head, body.as_bytes());
                }
                _ => {}
            }
        }
    }
}

/// Holds a request, as it went over the wire, against Box's document.
pub(crate) fn assert_documented(head: &str, body: &[u8]) {
    let Some(spec) = spec() else { return };
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (verb, target) = (first.next().unwrap(), first.next().unwrap());
    let content_type = lines.find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-type").then_some(value)
    });
    let url = Url::parse("http://127.0.0.1").unwrap().join(target);
    let url = url.unwrap();
    let query: Vec<_> = url.query_pairs().into_owned().collect();
    let checked = spec.check(verb, url.path(), &query, content_type, body);
    checked.unwrap();
}

async fn serve(
    listener: TcpListener,
    turns: Vec<Turn>,
    seen: Arc<Mutex<Vec<String>>>,
    arrived: Arc<Notify>,
) {
    let mut held = Vec::new();
    let mut turns = turns.into_iter();
    while let Ok((mut stream, _)) = listener.accept().await {
        let request = read_request(&mut stream).await;
        seen.lock().unwrap().push(request);
        arrived.notify_one();
        // A request too many is recorded and gets nothing.
        let Some(turn) = turns.next() else { continue };
        if let Some(gate) = turn.gate {
            gate.notified().await;
        }
        stream.write_all(&turn.bytes).await.ok();
        match turn.then {
            Then::Close => drop(stream.shutdown().await),
            Then::Reset => stream.set_zero_linger().unwrap(),
            Then::Hold => held.push(stream),
        }
    }
}

fn length(head: &str) -> usize {
    let mut lengths = head.lines().filter_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    lengths.next().unwrap_or(0)
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length(head)
        {
            return text.into_owned();
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return text.into_owned(),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}
