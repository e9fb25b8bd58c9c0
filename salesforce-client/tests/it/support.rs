//! What the tests share: a client that does not wait, ids, and a server that can break off.

use std::{path::PathBuf, time::Duration};

use salesforce_client::{
    RecordId, RetryPolicy, SalesforceClient, SalesforceClientBuilder, StaticToken,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

pub(crate) const DATA: &str = "/services/data/v58.0";

pub(crate) fn quick() -> RetryPolicy {
    RetryPolicy::default().delays(Duration::from_millis(1), Duration::from_millis(2))
}

pub(crate) fn builder(url: &str) -> SalesforceClientBuilder {
    let token = StaticToken::new("token-1", url).unwrap();
    SalesforceClient::builder(token)
        .login_url(url)
        .retry(quick())
}

pub(crate) fn client(url: &str) -> SalesforceClient {
    builder(url).build().unwrap()
}

pub(crate) fn id(text: &str) -> RecordId {
    RecordId::new(text).unwrap()
}

pub(crate) fn errors(code: &str, message: &str) -> Value {
    json!([{ "errorCode": code, "message": message, "fields": [] }])
}

/// Vendors' own bodies lie beside the checkout, or where `SALESFORCE_FIXTURES` says. Without them a
/// test says so, and in CI it fails.
pub(crate) fn fixture(name: &str) -> Option<Value> {
    let folder = std::env::var_os("SALESFORCE_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/salesforce"),
        PathBuf::from,
    );
    let path = folder.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(_) if std::env::var_os("CI").is_some() => panic!("{} is missing", path.display()),
        Err(_) => {
            eprintln!("SKIPPED: {} is missing", path.display());
            None
        }
    }
}

/// What a [`BrokenServer`] does with one connection.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Reads the request and answers.
    Answer(u16, String),
    /// Reads the request, waits, and answers.
    AnswerLate(Duration, u16, String),
    /// Reads the request and breaks off in the answer, after so many bytes of its body.
    Torn(usize, String),
    /// Reads the request and closes without an answer.
    LoseAnswer,
    /// Reads the head and so many bytes, and closes.
    Close(usize),
    /// Reads the head and so many bytes, and then nothing.
    Stall(usize),
}

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether it was as long as its `Content-Length`.
    pub(crate) is_whole: bool,
}

/// A server for one connection after the other, each with its own fate.
pub(crate) struct BrokenServer {
    pub(crate) url: String,
    arrived: mpsc::UnboundedReceiver<Arrived>,
}

impl BrokenServer {
    pub(crate) async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, arrived) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for act in acts {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, act, tell.clone()));
            }
        });
        Self { url, arrived }
    }

    pub(crate) async fn arrived(&mut self) -> Arrived {
        self.arrived.recv().await.unwrap()
    }

    /// How many requests have come that nobody has looked at.
    pub(crate) fn waiting(&self) -> usize {
        self.arrived.len()
    }

    /// Whether what the next connection brought was a whole request.
    pub(crate) async fn got_whole(&mut self) -> bool {
        self.arrived.recv().await.is_some_and(|it| it.is_whole)
    }
}

async fn serve(
    mut stream: TcpStream,
    act: Act,
    tell: mpsc::UnboundedSender<Arrived>,
) -> Option<()> {
    let mut read = Vec::new();
    let end_of_head = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return None;
        }
    };
    let head = String::from_utf8(read[..end_of_head].to_vec()).unwrap();
    let length: usize = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let wanted = match act {
        Act::Close(bytes) | Act::Stall(bytes) => bytes,
        _ => length,
    };
    while read.len() < end_of_head + wanted {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            break;
        }
    }
    let body = read[end_of_head..].to_vec();
    let _ = tell.send(Arrived {
        head,
        is_whole: body.len() == length,
        body,
    });
    let (status, answer) = match act {
        Act::Close(_) | Act::LoseAnswer => return None,
        Act::Stall(_) => std::future::pending().await,
        Act::Answer(status, answer) => (status, answer),
        Act::Torn(bytes, answer) => {
            let head = format!(
                "HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&answer.as_bytes()[..bytes]).await.ok()?;
            return stream.shutdown().await.ok();
        }
        Act::AnswerLate(wait, status, answer) => {
            tokio::time::sleep(wait).await;
            (status, answer)
        }
    };
    let answer = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{answer}",
        answer.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}
