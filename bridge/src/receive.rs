//! The way in: verify, store, and only then say yes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use jiff::Timestamp;

use crate::{
    clock::Clock,
    observe,
    queue::{JobId, NewJob, Push, Queue},
    store_error::StoreError,
    webhook::{EventError, Verified, Verifier, VerifyError},
};

/// The kind of job that a Box webhook becomes; its body is the delivery's.
pub const BOX_WEBHOOK: &str = "box.webhook";

/// Takes deliveries in: verifies the raw bytes, puts the event into the inbox, and only then lets
/// the sender know. It knows no web framework; [`axum::route`](crate::axum::route) puts it behind
/// one.
#[derive(Clone, Debug)]
pub struct Receiver {
    verifier: Arc<Verifier>,
    queue: Arc<dyn Queue>,
    clock: Option<Arc<dyn Clock>>,
    body_limit: usize,
    body_timeout: Duration,
    store_within: Duration,
}

/// A delivery that is safe with us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Received {
    /// New, and stored.
    Accepted(JobId),
    /// Known already; nothing was stored.
    Duplicate(JobId),
}

/// Why a delivery was not taken. Nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Larger than is read.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// What is read.
        limit: usize,
    },
    /// Did not come in time.
    #[error("the body did not come within {} seconds", .within.as_secs_f32())]
    TooSlow {
        /// What is waited for.
        within: Duration,
    },
    /// Says of itself that it is something other than JSON.
    #[error("the content type is not JSON")]
    NotJson,
    /// Not signed by Box for this application, or too old.
    #[error("the delivery is not verified")]
    Unverified(#[from] VerifyError),
    /// Signed, and yet no event.
    #[error("the body is no webhook event")]
    NoEvent(#[from] EventError),
    /// The inbox could not take it: Box has to send it again.
    #[error("the inbox cannot take it now")]
    Store(#[from] StoreError),
}

impl Refusal {
    /// The status to answer with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unverified(_) => StatusCode::UNAUTHORIZED,
            Self::NoEvent(_) => StatusCode::BAD_REQUEST,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A word for metrics and answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::TooSlow { .. } => "too_slow",
            Self::NotJson => "not_json",
            Self::Unverified(reason) => reason.code(),
            Self::NoEvent(_) => "no_event",
            Self::Store(_) => "store_unavailable",
        }
    }
}

impl Receiver {
    /// Box's own bodies are a few KiB; this leaves them room.
    pub const DEFAULT_BODY_LIMIT: usize = 1024 * 1024;
    /// As long as Box waits for an answer.
    pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(30);

    /// Stricter than Box, which waits for thirty seconds: where the store is in trouble, deliveries
    /// are not to pile up.
    pub const DEFAULT_STORE_WITHIN: Duration = Duration::from_secs(2);

    /// A receiver that verifies with `verifier` and stores in `queue`.
    pub fn new(verifier: Verifier, queue: Arc<dyn Queue>) -> Self {
        Self {
            verifier: Arc::new(verifier),
            queue,
            clock: None,
            body_limit: Self::DEFAULT_BODY_LIMIT,
            body_timeout: Self::DEFAULT_BODY_TIMEOUT,
            store_within: Self::DEFAULT_STORE_WITHIN,
        }
    }

    /// By the clock of those who work on the inbox: when an event came is told by it, and not by the
    /// time that deliveries are verified at.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// With another limit for bodies.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// With another time within which a body has to have come.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// With another time that the inbox has for storing an event.
    #[must_use]
    pub fn store_within(mut self, time: Duration) -> Self {
        self.store_within = time;
        self
    }

    /// How long a server should wait for [`receive`](Self::receive) before it answers 503, so that
    /// Box comes again. What is stored all the same is known then.
    pub fn patience(&self) -> Duration {
        self.store_within
    }

    /// How long a server should read a body at most.
    pub fn timeout(&self) -> Duration {
        self.body_timeout
    }

    /// The most that [`receive`](Self::receive) takes; a server need not read more.
    pub fn limit(&self) -> usize {
        self.body_limit
    }

    /// Looks at the headers before a byte of the body is read, so that a stranger cannot make a
    /// server hold bodies. [`receive`](Self::receive) looks again, and at the body too.
    pub fn look(&self, headers: &HeaderMap, now: Timestamp) -> Result<(), Refusal> {
        let looked = match may_be_json(headers) {
            true => self.verifier.look(headers, now).map_err(Refusal::from),
            false => Err(Refusal::NotJson),
        };
        looked.inspect_err(|refusal| observe::delivery(refusal.code()))
    }

    /// Takes one delivery. `Ok` means that the event is durable: answer 200. An error carries the
    /// status to answer with.
    pub async fn receive(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Received, Refusal> {
        let received = self.take(headers, body, now).await;
        observe::delivery(match &received {
            Ok(Received::Accepted(_)) => "accepted",
            Ok(Received::Duplicate(_)) => "duplicate",
            Err(refusal) => refusal.code(),
        });
        received
    }

    async fn take(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        now: Timestamp,
    ) -> Result<Received, Refusal> {
        if body.len() > self.body_limit {
            return Err(Refusal::TooLarge {
                limit: self.body_limit,
            });
        }
        if !may_be_json(headers) {
            return Err(Refusal::NotJson);
        }
        self.accept(self.verifier.verify(headers, body, now)?, now)
            .await
    }

    /// Puts a verified delivery into the inbox.
    pub async fn accept(&self, verified: Verified, now: Timestamp) -> Result<Received, Refusal> {
        let event = verified.event()?;
        let job = NewJob {
            dedupe: format!("box:{}", event.id),
            key: event.ordering_key(),
            kind: BOX_WEBHOOK.to_owned(),
            body: verified.into_body(),
        };
        let came_at = self.clock.as_ref().map_or(now, |clock| clock.now());
        match self.queue.push(vec![job], came_at).await?.as_slice() {
            [Push::Queued(id)] => Ok(Received::Accepted(*id)),
            [Push::Duplicate(id)] => Ok(Received::Duplicate(*id)),
            _ => Err(StoreError::new(crate::StoreErrorKind::Corrupt, "push").into()),
        }
    }
}

/// Box's exact content type is not documented, so nothing is demanded; what says of itself that
/// it is something else is not a delivery.
fn may_be_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.to_ascii_lowercase().contains("json"))
    })
}
