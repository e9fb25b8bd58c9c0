use std::collections::BTreeMap;
#[cfg(not(feature = "pubsub"))]
use std::sync::MutexGuard;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method};
use jiff::Timestamp;

use super::auth::Auth;
use super::bulk::Jobs;
#[cfg(feature = "pubsub")]
use super::event_bus::{Bus, Transaction};
use super::fault::Faults;
use super::log::Log;
use super::query::Cursors;
use super::refusal::Refusal;
use super::store::{Actor, Org};
use super::ui_api::Kept;
use super::upload::Body;

/// What the handle and the server have in common.
pub(super) struct Shared {
    pub(super) config: Config,
    state: Mutex<State>,
}

impl Shared {
    pub(super) fn new(config: Config, state: State) -> Self {
        Self {
            config,
            state: Mutex::new(state),
        }
    }

    /// The state; never held while something is waited for.
    #[cfg(feature = "pubsub")]
    pub(super) fn lock(&self) -> Transaction<'_> {
        Transaction(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The state; never held while something is waited for.
    #[cfg(not(feature = "pubsub"))]
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes back all faults.
    pub(super) fn clear_faults(&mut self) {
        self.faults.clear();
        #[cfg(feature = "pubsub")]
        self.bus.clear_faults();
    }
}

/// What is settled when the fake starts.
pub(super) struct Config {
    pub(super) url: String,
    pub(super) instance_url: String,
    pub(super) org_id: String,
    /// The user that integrations act as unless a JWT names another.
    pub(super) integration_user: String,
    /// The person who does what is asked for through the handle.
    pub(super) other_user: String,
    pub(super) versions: Vec<u32>,
    pub(super) page_size: Option<usize>,
    pub(super) keep_bytes: bool,
    pub(super) accept_chunked: bool,
    pub(super) idempotent_uploads: bool,
    pub(super) rotate_refresh_tokens: bool,
    pub(super) forgive_reuse: bool,
    pub(super) session_lifetime: Duration,
    pub(super) bulk_rows_per_poll: usize,
    #[cfg(feature = "pubsub")]
    pub(super) pubsub_url: String,
    /// After how long a quiet subscription is sent a sign of life.
    #[cfg(feature = "pubsub")]
    pub(super) keepalive: Duration,
}

impl Config {
    /// What the browser writes by.
    fn origin_of_people(&self) -> String {
        let version = self.versions.last().copied().unwrap_or_default();
        format!("com/salesforce/api/soap/{version}.0;client=SfdcInternalAPI/")
    }

    pub(super) fn person(&self, now: Timestamp) -> Actor {
        Actor {
            user: self.other_user.clone(),
            is_person: true,
            origin: self.origin_of_people(),
            now,
        }
    }
}

pub(super) struct State {
    pub(super) org: Org,
    pub(super) auth: Auth,
    pub(super) cursors: Cursors,
    pub(super) bulk: Jobs,
    pub(super) faults: Faults,
    pub(super) log: Log,
    pub(super) calls: u64,
    pub(super) daily_limit: u64,
    /// Notifications of outbound messages that were made.
    pub(super) notifications: u64,
    #[cfg(feature = "pubsub")]
    pub(super) bus: Bus,
    /// Answers that are given again to the same key.
    pub(super) kept: Kept,
}

/// An authenticated call of the REST API.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) version: u32,
    /// Path segments after the version, decoded.
    pub(super) path: Vec<String>,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) user: String,
    pub(super) now: Timestamp,
}

impl Call {
    pub(super) fn actor(&self) -> Actor {
        Actor {
            user: self.user.clone(),
            is_person: false,
            origin: self.origin("rest"),
            now: self.now,
        }
    }

    /// The API, and the program by the name that it gave itself.
    pub(super) fn origin(&self, api: &str) -> String {
        let api = format!("com/salesforce/api/{api}/{}.0", self.version);
        let options = self.header("sforce-call-options").unwrap_or_default();
        let mut options = options
            .split(',')
            .filter_map(|it| it.trim().split_once('='));
        match options.find(|(name, _)| name.trim().eq_ignore_ascii_case("client")) {
            Some((_, client)) => format!("{api};client={}", client.trim()),
            None => api,
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        let body = std::mem::replace(&mut self.body, Body::Buffered(bytes::Bytes::new()));
        let bytes = match body {
            Body::Buffered(bytes) => bytes,
            Body::Refused(refusal) => return Err(refusal),
            Body::Version(_) => return Err(Refusal::media_type()),
        };
        let content_type = self
            .header("content-type")
            .unwrap_or_default()
            .to_ascii_lowercase();
        if !content_type.starts_with("application/json") {
            return Err(Refusal::media_type());
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::bad("JSON_PARSER_ERROR", error.to_string()))
    }
}
