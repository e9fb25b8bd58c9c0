//! A stateless receiver: one delivery in, one answer out, and nothing kept in between but what the
//! queue keeps. AWS Lambda behind a function URL, edge functions and CGI all have this shape; this
//! program has it too: the request is on standard input, the answer on standard output.
//!
//! ```sh
//! export BOX_SIGNATURE_KEY_PRIMARY=… BRIDGE_STORE_URL=postgres://…
//! lambda-style < request.json
//! ```
//!
//! A `bridge-server serve` on the same store, wherever that runs, does the work.

use std::{collections::HashMap, io::Read, process::ExitCode, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bridge::{
    Queue, Receiver,
    store::{postgres::PostgresStore, sqlite::SqliteStore},
    webhook::{SignatureKeys, Verifier},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A request as API Gateway and function URLs hand it over (payload format 2.0).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    headers: HashMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status_code: u16,
    headers: HashMap<&'static str, &'static str>,
    body: String,
}

/// This is all there is to it. `receive` is given the raw bytes, because that is what is signed; it
/// returns after the event is durable, so that 200 is never a promise that a crash can break. It
/// asks for no web framework and starts nothing in the background, which a frozen function would
/// never get to finish.
async fn handle(receiver: &Receiver, request: Request) -> Response {
    let body = match request.is_base64_encoded {
        true => STANDARD.decode(&request.body).unwrap_or_default(),
        false => request.body.into_bytes(),
    };
    let headers = headers(request.headers);
    let received = receiver
        .receive(&headers, Bytes::from(body), Timestamp::now())
        .await;
    match received {
        // Whether it is new makes no difference to Box, which only wants to know that it arrived.
        Ok(_) => answer(200, "accepted"),
        // 4xx where the delivery is at fault; 503 where the queue is, so that Box sends it again.
        Err(refusal) => answer(refusal.status().as_u16(), refusal.code()),
    }
}

fn headers(fields: HashMap<String, String>) -> HeaderMap {
    let field = |(name, value): (String, String)| {
        let name = HeaderName::try_from(name).ok()?;
        Some((name, HeaderValue::try_from(value).ok()?))
    };
    // What is no header cannot be a signature either.
    fields.into_iter().filter_map(field).collect()
}

fn answer(status_code: u16, word: &str) -> Response {
    Response {
        status_code,
        headers: HashMap::from([("content-type", "application/json")]),
        body: json!({ "status": word }).to_string(),
    }
}

/// What a cold start makes once. Any [`Queue`] will do: implement `push` over what your platform
/// keeps, and let a worker elsewhere lease from it.
async fn cold_start() -> Result<Receiver, Box<dyn std::error::Error>> {
    let key = |name: &str| std::env::var(name).ok().map(Into::into);
    let keys = SignatureKeys::new(
        key("BOX_SIGNATURE_KEY_PRIMARY"),
        key("BOX_SIGNATURE_KEY_SECONDARY"),
    )?;
    let url = std::env::var("BRIDGE_STORE_URL")?;
    let queue: Arc<dyn Queue> = match url.strip_prefix("sqlite:") {
        Some(path) => Arc::new(SqliteStore::open(path)?),
        None => Arc::new(PostgresStore::open(&url).await?),
    };
    Ok(Receiver::new(Verifier::new(keys), queue))
}

async fn run() -> Result<String, Box<dyn std::error::Error>> {
    let receiver = cold_start().await?;
    // No more than the receiver would take, base64 and the envelope around it included.
    let most = 2 * receiver.limit() as u64 + 64 * 1024;
    let mut text = String::new();
    std::io::stdin().take(most).read_to_string(&mut text)?;
    let request: Request = serde_json::from_str(&text)?;
    Ok(serde_json::to_string(&handle(&receiver, request).await)?)
}

// The stores want a runtime; one thread is enough for one delivery.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(response) => {
            println!("{response}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("lambda-style: {problem}");
            ExitCode::FAILURE
        }
    }
}
