//! Waits until Box says that something is new.

use std::time::Duration;

use http::Method;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::debug;
use url::Url;

use super::StreamPosition;
use crate::{
    call::{Call, Target},
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

/// What Box's documents give as examples, for servers that do not say.
const TIMEOUT: Duration = Duration::from_secs(610);
const MAX_RETRIES: u64 = 10;
/// No server may keep the stream waiting longer than this.
const LONGEST: Duration = Duration::from_secs(3600);
/// Doubled with each fruitless poll up to the second, so that trouble makes no storm. At least half of
/// it is waited.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// So many polls may come back at once for nothing: an event can be told twice, or late.
const FRUITLESS: u32 = 3;

/// Has no `Debug`: the server's URL is as good as a password for its channel.
#[derive(Default)]
pub(super) struct LongPoll {
    server: Option<Server>,
    /// Polls that failed, or came back at once, since there was news.
    fruitless: u32,
}

#[derive(Deserialize)]
struct Servers {
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    entries: Vec<Server>,
}

#[derive(Deserialize)]
struct Server {
    #[serde(deserialize_with = "address")]
    url: Url,
    #[serde(default, deserialize_with = "number")]
    max_retries: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    retry_timeout: Option<u64>,
    #[serde(skip)]
    asked: u64,
}

#[derive(Deserialize)]
struct Said {
    message: Option<String>,
}

impl LongPoll {
    /// Comes back when there may be something new: to ask once too often costs little. Events can
    /// have come before the poll began, which is why it is told the position, and why it is never
    /// waited for beyond its own time.
    pub(super) async fn wait(&mut self, transport: &Transport, from: &StreamPosition) {
        let started = Instant::now();
        let doublings = match self.poll(transport, from).await {
            Ok(()) if started.elapsed() >= FIRST_PAUSE => {
                self.fruitless = 0;
                return;
            }
            Ok(()) => self.fruitless.checked_sub(FRUITLESS),
            Err(error) => {
                debug!(%error, fruitless = self.fruitless, "the long poll failed");
                Some(self.fruitless)
            }
        };
        self.fruitless = self.fruitless.saturating_add(1);
        if let Some(doublings) = doublings {
            let pause = FIRST_PAUSE.saturating_mul(1 << doublings.min(6));
            sleep(pause.min(LAST_PAUSE).mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        }
    }

    /// The last poll was not for nothing.
    pub(super) fn brought_news(&mut self) {
        self.fruitless = 0;
    }

    /// The server is put back only when it did well and is not worn out.
    async fn poll(&mut self, transport: &Transport, from: &StreamPosition) -> Result<()> {
        let mut server = match self.server.take() {
            Some(server) => server,
            None => server(transport).await?,
        };
        server.asked += 1;
        let patience = server.retry_timeout.map_or(TIMEOUT, Duration::from_secs);
        let mut url = server.url.clone();
        url.query_pairs_mut()
            .append_pair("stream_position", from.as_str());
        // Another host: it gets no token.
        let call = Call::to("events.long_poll", Method::GET, Target::Given(url))
            .patience(patience.min(LONGEST))
            .once();
        match transport.json::<Said>(&call).await {
            Ok(said) if said.message.as_deref() == Some("new_change") => {
                if server.asked < server.max_retries.unwrap_or(MAX_RETRIES) {
                    self.server = Some(server);
                }
                Ok(())
            }
            // `reconnect`, `max_retries` and whatever else: another server.
            Ok(_) => Ok(()),
            // Nothing happened in all that time.
            Err(error) if error.kind() == ErrorKind::Timeout => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn server(transport: &Transport) -> Result<Server> {
    let call = Call::new("events.long_poll_server", Method::OPTIONS, ["events"]);
    let servers: Servers = transport.json(&call).await?;
    servers.entries.into_iter().next().ok_or_else(|| {
        Error::new(ErrorKind::Decode, "events.long_poll_server")
            .sent()
            .detail("Box named no server")
    })
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    Url::parse(&text).map_err(|_| serde::de::Error::custom("no URL"))
}

/// Box sends numbers and numbers in text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    })
}
