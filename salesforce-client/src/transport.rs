//! The only place that sends: token, attempt, classification, one repeat after 401, retries.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tracing::{Instrument, debug};
use url::Url;

use crate::{
    ApiUsage, RetryPolicy, TokenSource,
    api_error::ApiErrors,
    call::{Auth, Call, Repeat},
    classify::{is_session_end, kind_of},
    error::{Error, ErrorKind, Result},
    governor::{Governor, Priority, Slot},
    limits::LatestUsage,
    observe::{self, Seen},
    retry::{Attempts, retry_after},
    token::{AccessToken, TokenCache},
};

/// Error bodies are short; what a gateway sends beyond this is not worth reading.
const ERROR_BODY_LIMIT: usize = 64 * 1024;
/// A body is given the idle timeout once more for each of these.
const SLOW_BODY: usize = 1024 * 1024;
/// So many idle timeouts a whole answer may take.
const DRIPS: u32 = 10;
/// No answer of the API that this crate decodes comes near this.
const JSON_LIMIT: usize = 32 * 1024 * 1024;
/// What is set aside for a body at once because an answer says that it is so long.
const BELIEVED_LENGTH: usize = 4 * 1024 * 1024;
/// Salesforce's limit for the URI, and for the URI with all headers.
const HEAD_LIMIT: usize = 16_384;
/// What the HTTP library adds to a head: its name, the host, what it accepts.
const HEAD_RESERVE: usize = 256;

/// Sends calls. The token endpoint is called through a sender too, so that a refresh has the same
/// patience and the same errors as everything else.
pub(crate) struct Sender {
    pub(crate) http: reqwest::Client,
    pub(crate) login: Url,
    /// `/services/data/vNN.0`
    pub(crate) data: String,
    pub(crate) call_options: Option<HeaderValue>,
    pub(crate) retry: RetryPolicy,
    pub(crate) idle: Duration,
    pub(crate) upload_answer: Duration,
    pub(crate) token_lifetime: Duration,
    pub(crate) usage: LatestUsage,
    pub(crate) governor: Option<Governor>,
    /// Whether the org has said that it takes no `Idempotency-Key`.
    pub(crate) no_idempotency: AtomicBool,
}

/// A sender with tokens: what the resource handles hold.
pub(crate) struct Transport {
    pub(crate) sender: Arc<Sender>,
    pub(crate) tokens: Arc<TokenCache>,
    pub(crate) priority: Priority,
}

impl Transport {
    pub(crate) fn new(sender: Sender, source: Arc<dyn TokenSource>) -> Self {
        let sender = Arc::new(sender);
        Self {
            tokens: Arc::new(TokenCache::new(source, Arc::clone(&sender))),
            sender,
            priority: Priority::default(),
        }
    }

    /// The same for calls of another urgency.
    pub(crate) fn with_priority(&self, priority: Priority) -> Self {
        Self {
            sender: Arc::clone(&self.sender),
            tokens: Arc::clone(&self.tokens),
            priority,
        }
    }

    /// A call on a resource of the REST API.
    pub(crate) fn call(&self, operation: &'static str, method: Method, segments: &[&str]) -> Call {
        Call::new(operation, method, &self.sender.data, segments)
    }

    /// Sends until there is an answer that is no failure, or no hope. The body is unread.
    pub(crate) async fn send(&self, call: &Call) -> Result<Reply> {
        self.sender
            .send(call, Some((&self.tokens, self.priority)))
            .await
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        let body = self.body(call, JSON_LIMIT).await?;
        decode(&body, call.operation)
    }

    /// The whole body of an answer. One that breaks off after a good head is asked for again, where
    /// nothing was changed.
    pub(crate) async fn body(&self, call: &Call, limit: usize) -> Result<Bytes> {
        let mut attempts = Attempts::new(&self.sender.retry);
        // A POST that may be repeated is a read that has no room in a URL.
        let reads = call.method == Method::GET
            || (call.method == Method::POST && call.repeat == Repeat::Safe);
        loop {
            let mut reply = self.send(call).await?;
            attempts.begin();
            let error = match reply.bytes(limit).await {
                Ok(body) => return Ok(body),
                Err(error) if !reads => return Err(error),
                Err(error) => error,
            };
            let Some(wait) = attempts.wait_after(&error, Repeat::Safe) else {
                return Err(attempts.give_up(error));
            };
            debug!(operation = call.operation, ?wait, %error, "asking again");
            tokio::time::sleep(wait).await;
        }
    }

    pub(crate) async fn empty(&self, call: &Call) -> Result<()> {
        self.send(call).await.map(drop)
    }
}

impl Sender {
    pub(crate) async fn send(
        &self,
        call: &Call,
        caller: Option<(&TokenCache, Priority)>,
    ) -> Result<Reply> {
        let seen = Seen::begin(call);
        let mut attempts = Attempts::new(&self.retry);
        let sent = self.until_answered(call, caller, &mut attempts);
        let sent = sent.instrument(seen.span.clone()).await;
        let outcome = sent.as_ref().map(|reply| reply.status().as_u16());
        seen.end(outcome, attempts.made());
        sent
    }

    async fn until_answered(
        &self,
        call: &Call,
        caller: Option<(&TokenCache, Priority)>,
        attempts: &mut Attempts<'_>,
    ) -> Result<Reply> {
        let mut renewed = false;
        loop {
            let token = match caller.filter(|_| call.auth != Auth::None) {
                Some((tokens, priority)) => {
                    // Without a token nothing of this call was sent, whatever became of the login.
                    let late = |_| {
                        Error::new(ErrorKind::Timeout, call.operation)
                            .detail("there was no token in time")
                    };
                    let token = timeout(attempts.left(), tokens.token()).await.map_err(late);
                    let token = token
                        .and_then(|token| token)
                        .map_err(|error| attempts.give_up(error.incomplete()))?;
                    Some((tokens, token, priority))
                }
                None => None,
            };
            let mut slot = match &token {
                Some((_, _, priority)) => {
                    let late = |_| {
                        Error::new(ErrorKind::Timeout, call.operation)
                            .detail("not sent: its turn did not come in time")
                    };
                    let admitted = timeout(attempts.left(), self.admit(call.operation, *priority))
                        .await
                        .unwrap_or_else(|elapsed| Err(late(elapsed)));
                    admitted.map_err(|error| attempts.give_up(error))?
                }
                None => None,
            };
            // What is begun with no time left is cut off on its way, and nobody knows what it did.
            if attempts.left().is_zero() {
                let late = Error::new(ErrorKind::Timeout, call.operation);
                return Err(attempts.give_up(late.detail("not sent: there was no time left")));
            }
            attempts.begin();
            let attempt = self
                .attempt(
                    call,
                    token.as_ref().map(|(_, token, _)| token),
                    attempts.time_to_answer(),
                )
                .await;
            let outcome = self.governed(attempt).await;
            if let Some(slot) = &mut slot {
                slot.heard(outcome.as_ref().map(|_| ()));
            }
            let error = match outcome {
                // Its place is the next one's from here on: who reads a body slowly, or makes other
                // calls before it is read, must not keep them waiting for himself.
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            drop(slot);
            if let Some((tokens, token, _)) = &token
                && !renewed
                && is_session_end(&error)
            {
                renewed = true;
                tokens.reject(token);
                continue;
            }
            let Some(wait) = attempts.wait_after(&error, call.repeat) else {
                return Err(attempts.give_up(error));
            };
            debug!(operation = call.operation, ?wait, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits for a call's turn, where there is a governor.
    pub(crate) async fn admit(
        &self,
        operation: &'static str,
        priority: Priority,
    ) -> Result<Option<Slot>> {
        match &self.governor {
            Some(governor) => governor.admit(operation, priority).await.map(Some),
            None => Ok(None),
        }
    }

    /// Lets the governor, where there is one, know what became of an attempt.
    pub(crate) async fn governed<T>(&self, outcome: Result<T>) -> Result<T> {
        observe::attempted(&outcome);
        let Some(governor) = &self.governor else {
            return outcome;
        };
        match governor.judge(outcome.as_ref().map(|_| ())).await {
            Some(wait) => outcome.map_err(|error| error.wait(Some(wait))),
            None => outcome,
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        token: Option<&AccessToken>,
        left: Duration,
    ) -> Result<Reply> {
        let mut request = self.request(call, token)?;
        let length = call.body.as_ref().map_or(0, |body| body.len());
        *request.body_mut() = call.body.clone().map(Into::into);
        // A large body takes its time, which is no silence.
        let patience = match u32::try_from(length / SLOW_BODY) {
            Ok(0) => self.idle.min(left),
            times => self
                .idle
                .saturating_mul(times.unwrap_or(u32::MAX).saturating_add(1)),
        };
        let response = timeout(patience, self.http.execute(request))
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, call.operation).sent())?
            .map_err(|cause| broken(call.operation, cause))?;
        self.judge(call.operation, response).await
    }

    /// The request without its body.
    pub(crate) fn request(
        &self,
        call: &Call,
        token: Option<&AccessToken>,
    ) -> Result<reqwest::Request> {
        let base = token.map_or(&self.login, AccessToken::base);
        let mut request = reqwest::Request::new(call.method.clone(), call.url(base)?);
        let headers = request.headers_mut();
        *headers = call.headers.clone();
        if let Some(token) = token {
            match call.auth {
                Auth::Session => {
                    headers.insert(HeaderName::from_static("x-sfdc-session"), token.session()?)
                }
                _ => headers.insert(AUTHORIZATION, token.bearer().clone()),
            };
            if let Some(options) = &self.call_options {
                headers.insert(
                    HeaderName::from_static("sforce-call-options"),
                    options.clone(),
                );
            }
        }
        let headers: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        if request.url().as_str().len() + headers + HEAD_RESERVE > HEAD_LIMIT {
            return Err(Error::new(ErrorKind::TooLarge, call.operation)
                .detail("URL and headers are longer than the 16,384 bytes that Salesforce takes"));
        }
        Ok(request)
    }

    pub(crate) async fn judge(
        &self,
        operation: &'static str,
        response: reqwest::Response,
    ) -> Result<Reply> {
        let reply = Reply {
            response,
            operation,
            idle: self.idle,
        };
        if let Some(usage) = reply.header("sforce-limit-info").and_then(ApiUsage::read) {
            self.usage.set(usage);
            observe::usage(usage);
            if let Some(governor) = &self.governor {
                governor.observe(usage);
            }
        }
        debug!(operation, status = reply.status().as_u16(), "answered");
        match reply.status() {
            status if status.is_success() || status == StatusCode::NOT_MODIFIED => Ok(reply),
            _ => Err(reply.into_error().await),
        }
    }
}

/// An answer that is no failure.
pub(crate) struct Reply {
    response: reqwest::Response,
    operation: &'static str,
    idle: Duration,
}

impl Reply {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// The next piece of the body, `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        timeout(self.idle, self.response.chunk())
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, self.operation).sent())?
            .map_err(|cause| broken(self.operation, cause))
    }

    /// The whole body, if it is no longer than `limit`. One that only drips in has an end too.
    pub(crate) async fn bytes(&mut self, limit: usize) -> Result<Bytes> {
        let (whole, operation) = (self.idle.saturating_mul(DRIPS), self.operation);
        timeout(whole, self.gather(limit))
            .await
            .map_err(|_| Error::new(ErrorKind::Timeout, operation).sent())?
    }

    async fn gather(&mut self, limit: usize) -> Result<Bytes> {
        let length = self.content_length().unwrap_or(0);
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        if first.len() as u64 == length && first.len() <= limit {
            return Ok(first);
        }
        let believed = usize::try_from(length).unwrap_or(usize::MAX);
        let mut body = BytesMut::with_capacity(believed.min(BELIEVED_LENGTH).min(limit));
        let mut next = Some(first);
        while let Some(chunk) = next {
            if body.len() + chunk.len() > limit {
                return Err(Error::new(ErrorKind::TooLarge, self.operation).sent());
            }
            body.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(body.freeze())
    }

    pub(crate) async fn json<T: DeserializeOwned>(mut self) -> Result<T> {
        let body = self.bytes(JSON_LIMIT).await?;
        decode(&body, self.operation)
    }

    async fn into_error(mut self) -> Error {
        let wait = retry_after(self.headers(), Timestamp::now());
        // A body that breaks off still leaves the status to report.
        let body = self.bytes(ERROR_BODY_LIMIT).await.unwrap_or_default();
        let errors = ApiErrors::read(&body);
        let (kind, detail) = kind_of(self.status(), &errors);
        let error = Error::new(kind, self.operation)
            .answer(self.status().as_u16(), errors)
            .wait(wait);
        match detail {
            Some(detail) => error.detail(detail),
            None => error,
        }
    }
}

fn decode<T: DeserializeOwned>(body: &[u8], operation: &'static str) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|cause| Error::new(ErrorKind::Decode, operation).sent().cause(cause))
}

pub(crate) fn broken(operation: &'static str, cause: reqwest::Error) -> Error {
    // A URL can hold a whole query with people's names in it.
    let cause = cause.without_url();
    if cause.is_builder() {
        return Error::new(ErrorKind::Invalid, operation).cause(cause);
    }
    let kind = if cause.is_timeout() {
        ErrorKind::Timeout
    } else {
        ErrorKind::Transport
    };
    let error = Error::new(kind, operation);
    let error = if cause.is_connect() {
        error
    } else {
        error.sent()
    };
    error.cause(cause)
}
