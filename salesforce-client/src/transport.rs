//! The only place that sends: token, attempt, classification, one repeat after 401, retries.

use std::{
    pin::pin,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};
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
    pulse::Pulse,
    retry::{Attempts, retry_after},
    token::{AccessToken, Refusal, TokenCache},
};

/// 200 records can each have several errors; what a gateway sends beyond this is not worth reading.
const ERROR_BODY_LIMIT: usize = 1024 * 1024;
/// A body of this size takes its time to go out, which is no silence.
const SLOW_BODY: usize = 1024 * 1024;
/// In which pieces such a body is handed to the connection.
const PIECE: usize = 64 * 1024;
/// So many idle timeouts a whole answer may take.
const DRIPS: u32 = 10;
/// No answer of the API that this crate decodes comes near this.
pub(crate) const JSON_LIMIT: usize = 32 * 1024 * 1024;
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
    pub(crate) call_options: Option<HeaderValue>,
    pub(crate) retry: RetryPolicy,
    pub(crate) idle: Duration,
    pub(crate) upload_answer: Duration,
    pub(crate) token_lifetime: Duration,
    pub(crate) usage: LatestUsage,
    pub(crate) governor: Option<Governor>,
    pub(crate) refusal: Refusal,
    /// Whether the org has said that it takes no `Idempotency-Key`.
    pub(crate) no_idempotency: AtomicBool,
}

/// A sender with tokens: what the resource handles hold.
pub(crate) struct Transport {
    pub(crate) sender: Arc<Sender>,
    pub(crate) tokens: Arc<TokenCache>,
    /// `/services/data/vNN.0`
    pub(crate) data: String,
    pub(crate) priority: Priority,
}

impl Transport {
    pub(crate) fn new(sender: Sender, data: String, source: Arc<dyn TokenSource>) -> Self {
        let sender = Arc::new(sender);
        Self {
            tokens: Arc::new(TokenCache::new(source, Arc::clone(&sender))),
            sender,
            data,
            priority: Priority::default(),
        }
    }

    /// The same for calls of another urgency.
    pub(crate) fn with_priority(&self, priority: Priority) -> Self {
        Self {
            sender: Arc::clone(&self.sender),
            tokens: Arc::clone(&self.tokens),
            data: self.data.clone(),
            priority,
        }
    }

    /// The same for calls of another version of the API.
    pub(crate) fn with_data(&self, data: String) -> Self {
        Self {
            data,
            ..self.with_priority(self.priority)
        }
    }

    /// A call on a resource of the REST API.
    pub(crate) fn call(&self, operation: &'static str, method: Method, segments: &[&str]) -> Call {
        Call::new(operation, method, &self.data, segments)
    }

    /// Sends until there is an answer that is no failure, or no hope. The body is unread.
    pub(crate) async fn send(&self, call: &Call) -> Result<Reply> {
        let caller = (&*self.tokens, self.priority);
        self.sender.send(call, Some(caller), Read::Head).await
    }

    /// The same with the whole body, of no more than `limit` bytes. An answer that breaks off after
    /// a good head is asked for again, where that is safe.
    pub(crate) async fn whole(&self, call: &Call, limit: usize) -> Result<Whole> {
        let caller = (&*self.tokens, self.priority);
        self.sender.whole(call, Some(caller), limit).await
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        self.whole(call, JSON_LIMIT).await?.json()
    }

    /// A token and a turn for a call that is sent in its own way.
    pub(crate) async fn ready(
        &self,
        operation: &'static str,
        patience: Duration,
    ) -> Result<(AccessToken, Option<Slot>)> {
        let caller = (&*self.tokens, self.priority);
        self.sender.ready(operation, caller, patience).await
    }

    pub(crate) async fn empty(&self, call: &Call) -> Result<()> {
        self.send(call).await.map(drop)
    }
}

/// How much of an answer belongs to its attempt.
#[derive(Clone, Copy)]
enum Read {
    Head,
    /// The body as well, of no more bytes than this.
    Body(usize),
}

impl Sender {
    pub(crate) async fn whole(
        &self,
        call: &Call,
        caller: Option<(&TokenCache, Priority)>,
        limit: usize,
    ) -> Result<Whole> {
        let mut reply = self.send(call, caller, Read::Body(limit)).await?;
        Ok(Whole {
            status: reply.status(),
            headers: std::mem::take(reply.response.headers_mut()),
            body: reply.body,
            operation: call.operation,
        })
    }

    async fn send(
        &self,
        call: &Call,
        caller: Option<(&TokenCache, Priority)>,
        read: Read,
    ) -> Result<Reply> {
        let seen = Seen::begin(call);
        let mut attempts = Attempts::new(&self.retry);
        let sent = self.until_answered(call, caller, read, &mut attempts);
        let sent = sent.instrument(seen.span.clone()).await;
        let outcome = sent.as_ref().map(|reply| reply.status().as_u16());
        seen.end(outcome, attempts.made());
        sent
    }

    async fn until_answered(
        &self,
        call: &Call,
        caller: Option<(&TokenCache, Priority)>,
        read: Read,
        attempts: &mut Attempts<'_>,
    ) -> Result<Reply> {
        let mut renewed = false;
        loop {
            let (token, slot) = match caller.filter(|_| call.auth != Auth::None) {
                Some(caller) => {
                    let ready = self.ready(call.operation, caller, attempts.left()).await;
                    let (token, slot) = ready.map_err(|error| attempts.give_up(error))?;
                    (Some((caller.0, token)), slot)
                }
                None => (None, None),
            };
            let begun = attempts.begin_in_time(call.operation);
            begun.map_err(|error| attempts.give_up(error))?;
            let token_sent = token.as_ref().map(|(_, token)| token);
            let attempt = self.attempt(call, token_sent, attempts.left()).await;
            let answered = match self.governed(attempt, slot).await {
                Ok(reply) => reply.with_body(read).await,
                Err(error) => Err(error),
            };
            let error = match answered {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if let Some((tokens, token)) = &token
                && !renewed
                && is_session_end(&error)
            {
                renewed = true;
                tokens.reject(token);
                continue;
            }
            let repeat = match error.status() {
                // Who is not available has spent nothing.
                Some(503) if call.single_use => Repeat::Safe,
                _ => call.repeat,
            };
            let Some(wait) = attempts.wait_after(&error, repeat) else {
                return Err(attempts.give_up(error));
            };
            debug!(operation = call.operation, ?wait, %error, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits for a token and for the call's turn, where there is a governor: for `patience` at most.
    /// Without them nothing of the call was sent, whatever became of the login.
    async fn ready(
        &self,
        operation: &'static str,
        (tokens, priority): (&TokenCache, Priority),
        patience: Duration,
    ) -> Result<(AccessToken, Option<Slot>)> {
        let until = Instant::now() + patience;
        let late =
            |_| Err(Error::new(ErrorKind::Timeout, operation).detail("there was no token in time"));
        let token = timeout_at(until, tokens.token()).await;
        let token = token.unwrap_or_else(late).map_err(Error::incomplete)?;
        let slot = match &self.governor {
            Some(governor) => {
                let left = until.saturating_duration_since(Instant::now());
                Some(governor.admit(operation, priority, left).await?)
            }
            None => None,
        };
        Ok((token, slot))
    }

    /// Lets the governor, where there is one, know what became of an attempt, whose turn is over.
    pub(crate) async fn governed<T>(&self, outcome: Result<T>, slot: Option<Slot>) -> Result<T> {
        observe::attempted(&outcome);
        let Some(slot) = slot else {
            return outcome;
        };
        match slot.judge(outcome.as_ref().map(|_| ())).await {
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
        // An answer that must not be lost is waited for as long as Salesforce works on a call.
        let answer = match call.single_use {
            true => self.upload_answer,
            false => self.idle.min(left),
        };
        let body = call.body.clone().unwrap_or_default();
        let response = if body.len() < SLOW_BODY {
            *request.body_mut() = call.body.clone().map(Into::into);
            timeout(answer, self.http.execute(request))
                .await
                .map_err(|_| Error::new(ErrorKind::Timeout, call.operation).sent())?
                .map_err(|cause| broken(call.operation, cause))?
        } else {
            let length = HeaderValue::from(body.len());
            request.headers_mut().insert(CONTENT_LENGTH, length);
            let pieces = stream::unfold(body, |mut body| async move {
                let piece = body.split_to(PIECE.min(body.len()));
                (!piece.is_empty()).then_some((Ok::<_, std::io::Error>(piece), body))
            });
            self.stream(call.operation, request, pieces, answer).await?
        };
        self.judge(call.operation, response).await
    }

    /// Sends a request with these pieces as its body. `answer` is how long the answer to the whole
    /// may stay away.
    pub(crate) async fn stream<S, E>(
        &self,
        operation: &'static str,
        mut request: reqwest::Request,
        pieces: S,
        answer: Duration,
    ) -> Result<reqwest::Response>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let pulse = Pulse::new();
        let body = pulse.beating(pieces);
        *request.body_mut() = Some(reqwest::Body::wrap_stream(body));
        self.paced(operation, request, &pulse, answer).await
    }

    /// Sends a request whose body goes out piece by piece: the idle timeout is one for each piece,
    /// and `answer` is how long the answer to the whole may stay away.
    pub(crate) async fn paced(
        &self,
        operation: &'static str,
        request: reqwest::Request,
        pulse: &Pulse,
        answer: Duration,
    ) -> Result<reqwest::Response> {
        let mut answered = pin!(self.http.execute(request));
        loop {
            // The body can become whole meanwhile, which changes how long to wait.
            let look = Instant::now() + self.idle.min(answer);
            let look = look.min(pulse.patience(self.idle, answer));
            if let Ok(answered) = timeout_at(look, &mut answered).await {
                return answered.map_err(|cause| broken(operation, cause));
            }
            if pulse.patience(self.idle, answer) <= Instant::now() {
                return Err(Error::new(ErrorKind::Timeout, operation).sent());
            }
        }
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
            body: Bytes::new(),
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
    /// Of one that was read as a whole.
    body: Bytes,
}

/// An answer that is no failure, with its body.
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    operation: &'static str,
}

impl Whole {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|cause| {
            Error::new(ErrorKind::Decode, self.operation)
                .sent()
                .cause(cause)
        })
    }
}

impl Reply {
    async fn with_body(mut self, read: Read) -> Result<Self> {
        if let Read::Body(limit) = read {
            self.body = self.bytes(limit).await?;
        }
        Ok(self)
    }

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
        serde_json::from_slice(&body).map_err(|cause| {
            Error::new(ErrorKind::Decode, self.operation)
                .sent()
                .cause(cause)
        })
    }

    async fn into_error(mut self) -> Error {
        let wait = retry_after(self.headers(), Timestamp::now());
        // A body that breaks off still leaves the status to report. Nobody waits long for it.
        let read = timeout(self.idle, self.gather(ERROR_BODY_LIMIT)).await;
        let body = read.ok().and_then(Result::ok).unwrap_or_default();
        let errors = ApiErrors::read(&body);
        let (kind, detail) = kind_of(self.status(), &errors);
        let error = Error::new(kind, self.operation)
            .answer(self.status().as_u16(), errors)
            .requested_as(self.headers())
            .wait(wait);
        match detail {
            Some(detail) => error.detail(detail),
            None => error,
        }
    }
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
